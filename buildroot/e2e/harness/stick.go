// SPDX-License-Identifier: Apache-2.0

package harness

import (
	"context"
	"os"
	"strconv"
)

const (
	stickSize  = 512 << 20 // bytes
	stickStart = 1 << 20   // of its one partition
)

// Stick makes the image of a USB stick as people have them: one partition, FAT32,
// with files in its top folder.
func Stick(ctx context.Context, path string, files ...string) error {
	if err := os.WriteFile(path, masterBootRecord(), 0o600); err != nil {
		return err
	}
	if err := os.Truncate(path, stickSize); err != nil {
		return err
	}
	if err := run(ctx, "mkfs.vfat", "-F", "32", "--offset", "2048", path, strconv.Itoa((stickSize-stickStart)>>10)); err != nil {
		return err
	}
	return run(ctx, "mcopy", append(append([]string{"-i", path + "@@1M"}, files...), "::")...)
}

// masterBootRecord has one partition, FAT32 by LBA, to the end of the stick.
func masterBootRecord() []byte {
	b := make([]byte, 512)
	b[450] = 0x0c
	b[454+1] = 2048 >> 8
	n := (stickSize - stickStart) / 512
	b[458], b[459], b[460] = byte(n), byte(n>>8), byte(n>>16)
	b[510], b[511] = 0x55, 0xaa
	return b
}
