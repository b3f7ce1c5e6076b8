// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"incamera/secureboot/update"
)

// A mounter mounts the file system of a device at a folder, which it makes, and
// returns what unmounts it again. In boxd's own mount namespace nobody else sees
// it, and with boxd it is gone.
type mounter func(device, folder, kind string, write bool) (unmount func() error, err error)

// mountDevice is the mounter of the kernel.
func mountDevice(device, folder, kind string, write bool) (func() error, error) {
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return nil, err
	}
	flags := uintptr(unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC | unix.MS_NOSYMFOLLOW)
	if !write {
		flags |= unix.MS_RDONLY
	}
	// By default the kernel lets nobody write any more once it meets a chain of
	// clusters that a power cut tore, and so would nobody remove it.
	if err := unix.Mount(device, folder, kind, flags, "umask=0077,errors=continue"); err != nil {
		return nil, fmt.Errorf("mount %s as %s: %w", device, kind, err)
	}
	return func() error {
		if err := unix.Unmount(folder, unix.UMOUNT_NOFOLLOW); err != nil {
			return fmt.Errorf("unmount %s: %w", device, err)
		}
		return nil
	}, nil
}

// An esp is the folder of UKIs, mounted for each call and no longer: FAT has no
// journal, and the power may go at any time. Unmounting also drops what is cached,
// so that a file is read from the medium.
type esp struct {
	device, folder string
	mount          mounter
}

// ukiFolder is where the loader looks (UAPI.5 Boot Loader Specification).
const ukiFolder = "EFI/Linux"

// with calls f with the folder. What f wrote is on the medium afterwards.
func (e esp) with(write bool, f func(*update.Folder) error) (err error) {
	unmount, err := e.mount(e.device, e.folder, "vfat", write)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, unmount()) }()
	folder, err := update.OpenFolder(filepath.Join(e.folder, ukiFolder))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, folder.Close()) }()
	if err := f(folder); err != nil || !write {
		return err
	}
	return folder.Sync() // unmounting flushes as well, and tells of no error
}

// Names implements [update.ESP].
func (e esp) Names() (names []string, err error) {
	err = e.with(false, func(f *update.Folder) (err error) {
		names, err = f.Names()
		return err
	})
	return names, err
}

// ReadFile implements [update.ESP].
func (e esp) ReadFile(name string, limit int64) (b []byte, err error) {
	err = e.with(false, func(f *update.Folder) (err error) {
		b, err = f.ReadFile(name, limit)
		return err
	})
	return b, err
}

// WriteFile implements [update.ESP].
func (e esp) WriteFile(name string, b []byte) error {
	return e.with(true, func(f *update.Folder) error { return f.WriteFile(name, b) })
}

// ReadStart implements [update.ESP].
func (e esp) ReadStart(name string) (b []byte, err error) {
	err = e.with(false, func(f *update.Folder) (err error) {
		b, err = f.ReadStart(name)
		return err
	})
	return b, err
}

// WriteStart implements [update.ESP].
func (e esp) WriteStart(name string, b []byte) error {
	return e.with(true, func(f *update.Folder) error { return f.WriteStart(name, b) })
}

// Remove implements [update.ESP].
func (e esp) Remove(name string) error {
	return e.with(true, func(f *update.Folder) error { return f.Remove(name) })
}

// Sync implements [update.ESP]: each call has flushed what it wrote.
func (e esp) Sync() error { return nil }
