// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/binary"
	"fmt"
	"os"
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

// The kernel's device mapper (include/uapi/linux/dm-ioctl.h): version 4.0.0 of
// its interface, each call a struct dm_ioctl of 312 bytes with a table behind it.
const (
	mapperHeader   = 312
	mapperReadOnly = 1 << 0

	mapperCreate = 0xC138FD03 // DM_DEV_CREATE
	mapperResume = 0xC138FD06 // DM_DEV_SUSPEND without its flag
	mapperLoad   = 0xC138FD09 // DM_TABLE_LOAD
)

// mapReadOnly makes a read-only mapping of one target, and returns the path of
// its device.
func mapReadOnly(name, target, table string, sectors uint64) (string, error) {
	control, err := os.OpenFile("/dev/mapper/control", os.O_RDWR, 0)
	if err != nil {
		return "", err
	}
	defer control.Close()
	made, err := mapperCall(control, mapperCreate, name, nil)
	if err != nil {
		return "", fmt.Errorf("device mapper: create %s: %w", name, err)
	}
	if _, err := mapperCall(control, mapperLoad, name, mapperTarget(target, table, sectors)); err != nil {
		return "", fmt.Errorf("device mapper: table of %s: %w", name, err)
	}
	if _, err := mapperCall(control, mapperResume, name, nil); err != nil {
		return "", fmt.Errorf("device mapper: start %s: %w", name, err)
	}
	dev := binary.NativeEndian.Uint64(made[40:])
	return fmt.Sprintf("/dev/dm-%d", unix.Minor(dev)), nil
}

// mapperTarget is a struct dm_target_spec with its parameters, padded to 8 bytes.
func mapperTarget(target, table string, sectors uint64) []byte {
	b := make([]byte, 40, 40+len(table)+8)
	binary.NativeEndian.PutUint64(b[8:], sectors)
	copy(b[24:39], target)
	b = append(b, table...)
	b = append(b, make([]byte, 8-len(table)%8)...)
	binary.NativeEndian.PutUint32(b[20:], uint32(len(b)))
	return b
}

func mapperCall(control *os.File, call uintptr, name string, target []byte) ([]byte, error) {
	b := make([]byte, mapperHeader, mapperHeader+len(target))
	b = append(b, target...)
	ne := binary.NativeEndian
	ne.PutUint32(b[0:], 4)
	ne.PutUint32(b[12:], uint32(len(b)))
	ne.PutUint32(b[16:], mapperHeader)
	if target != nil {
		ne.PutUint32(b[20:], 1)
	}
	ne.PutUint32(b[28:], mapperReadOnly)
	copy(b[48:48+127], name)
	_, _, errno := unix.Syscall(unix.SYS_IOCTL, control.Fd(), call, uintptr(unsafe.Pointer(&b[0]))) //nolint:gosec // the kernel reads and writes len(b) bytes of b, as the header says
	runtime.KeepAlive(b)
	if errno != 0 {
		return nil, errno
	}
	return b, nil
}
