// SPDX-License-Identifier: Apache-2.0

package powercut

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"slices"
	"unicode/utf16"
)

// A Partition is a part of a disk, in bytes.
type Partition struct{ Offset, Size int64 }

const (
	maxPartitions = 128
	gptHeader     = 92
	gptEntry      = 128
)

// Partitions reads the partition table (UEFI 2.10, Section 5.3) of a disk of
// size bytes, and returns its partitions by their names. Both copies must be
// whole and say the same.
func Partitions(disk io.ReaderAt, size int64) (map[string]Partition, error) {
	first, err := gptCopy(disk, 1, size)
	if err != nil {
		return nil, fmt.Errorf("powercut: partition table: %w", err)
	}
	second, err := gptCopy(disk, size/sectorSize-1, size)
	if err != nil {
		return nil, fmt.Errorf("powercut: second partition table: %w", err)
	}
	if !bytes.Equal(first, second) {
		return nil, errors.New("powercut: the two partition tables differ")
	}
	le := binary.LittleEndian
	found := map[string]Partition{}
	for e := range slices.Chunk(first, gptEntry) {
		from, last := le.Uint64(e[32:]), le.Uint64(e[40:])
		if bytes.Count(e[:16], []byte{0}) == 16 { // unused
			continue
		}
		if from > last || last >= uint64(size)/sectorSize {
			return nil, fmt.Errorf("powercut: partition table: a partition from %d to %d", from, last)
		}
		var name []uint16
		for i := 56; i < gptEntry && le.Uint16(e[i:]) != 0; i += 2 {
			name = append(name, le.Uint16(e[i:]))
		}
		found[string(utf16.Decode(name))] = Partition{int64(from) * sectorSize, int64(last-from+1) * sectorSize}
	}
	return found, nil
}

// gptCopy returns the entries of the copy whose header lies in a sector.
func gptCopy(disk io.ReaderAt, sector, size int64) ([]byte, error) {
	le := binary.LittleEndian
	h := make([]byte, sectorSize)
	if _, err := disk.ReadAt(h, sector*sectorSize); err != nil {
		return nil, err
	}
	sum := le.Uint32(h[16:])
	clear(h[16:20])
	n, at := le.Uint32(h[80:]), le.Uint64(h[72:])
	switch {
	case !bytes.HasPrefix(h, []byte("EFI PART\x00\x00\x01\x00")) || le.Uint32(h[12:]) != gptHeader:
		return nil, errors.New("no header")
	case crc32.ChecksumIEEE(h[:gptHeader]) != sum:
		return nil, errors.New("checksum of the header")
	case le.Uint64(h[24:]) != uint64(sector) || n > maxPartitions || le.Uint32(h[84:]) != gptEntry || at > uint64(size)/sectorSize:
		return nil, errors.New("header")
	}
	entries := make([]byte, n*gptEntry)
	if _, err := disk.ReadAt(entries, int64(at)*sectorSize); err != nil {
		return nil, err
	}
	if crc32.ChecksumIEEE(entries) != le.Uint32(h[88:]) {
		return nil, errors.New("checksum of the entries")
	}
	return entries, nil
}
