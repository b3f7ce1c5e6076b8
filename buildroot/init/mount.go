// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// runDir is what init leaves for the system that it starts.
const runDir = "/run/in-camera"

const plain = unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC

// mountKernel mounts what the kernel has to say.
func mountKernel() error {
	for _, m := range []struct {
		kind, path string
		flags      uintptr
		options    string
	}{
		{"proc", "/proc", plain, ""},
		{"sysfs", "/sys", plain, ""},
		{"devtmpfs", "/dev", unix.MS_NOSUID, "mode=0755"},
		{"tmpfs", "/run", unix.MS_NOSUID | unix.MS_NODEV, "mode=0755"},
		{"efivarfs", "/sys/firmware/efi/efivars", plain | unix.MS_RDONLY, ""},
	} {
		err := unix.Mount(m.kind, m.path, m.kind, m.flags, m.options)
		if err != nil && m.kind != "efivarfs" { // there is none without UEFI
			return fmt.Errorf("mount %s: %w", m.path, err)
		}
	}
	return os.MkdirAll(runDir, 0o755) //nolint:gosec // what the daemons read lies in it
}

// secureBootVariable is how the firmware says whether it verified what it started
// (UEFI 2.10, Section 3.3): four bytes of attributes, then the value.
const secureBootVariable = "/sys/firmware/efi/efivars/SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c"

// secureBoot says it for people. What counts is PCR 7.
func secureBoot(variable string) string {
	b, err := readUpTo(variable, 5)
	switch {
	case err != nil || len(b) != 5:
		return "unknown"
	case b[4] == 1:
		return "on"
	default:
		return "off"
	}
}

// bootCount is the variable by which systemd-boot says that a boot is on trial
// (systemd: Automatic Boot Assessment).
const bootCount = "/sys/firmware/efi/efivars/LoaderBootCountPath-4a67b082-0a4c-41cf-b6c7-440b29bb8c4f"

// onTrial reports whether the loader counts this start.
func onTrial() bool {
	_, err := os.Stat(bootCount)
	return err == nil
}

// mountSystem mounts the verified system partition. A damaged block is found
// when it is read, so a boot on trial reads all of it.
func mountSystem(d *disk, i image, trial bool) error {
	table, sectors := d.super.table(d.system, i)
	device, err := mapReadOnly("system", "verity", table, sectors)
	if err != nil {
		return err
	}
	if trial {
		if err := readAll(device); err != nil {
			return fmt.Errorf("the system partition is damaged: %w", err)
		}
		say("on trial: read all %d MiB of the system partition", sectors>>11)
	}
	if err := unix.Mount(device, newRoot, "squashfs", unix.MS_RDONLY|unix.MS_NODEV, ""); err != nil {
		return fmt.Errorf("mount the system partition: %w", err)
	}
	for _, dir := range []string{"/dev", "/proc", "/sys", "/run"} {
		if err := unix.Mount(dir, newRoot+dir, "", unix.MS_BIND|unix.MS_REC, ""); err != nil {
			return fmt.Errorf("mount %s: %w", newRoot+dir, err)
		}
	}
	return nil
}

func readAll(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = io.CopyBuffer(struct{ io.Writer }{io.Discard}, struct{ io.Reader }{f}, make([]byte, 1<<20))
	return err
}

// switchRoot makes the system partition the root and becomes its process 1. It
// returns if that fails.
func switchRoot() error {
	for _, path := range []string{"/init", "/etc/in-camera"} { // memory that nobody needs again
		if err := os.RemoveAll(path); err != nil {
			return err
		}
	}
	if err := os.Chdir(newRoot); err != nil {
		return err
	}
	if err := unix.Mount(".", "/", "", unix.MS_MOVE, ""); err != nil {
		return fmt.Errorf("move the root: %w", err)
	}
	if err := unix.Chroot("."); err != nil {
		return fmt.Errorf("chroot: %w", err)
	}
	if err := os.Chdir("/"); err != nil {
		return err
	}
	say("starting the system")
	return fmt.Errorf("start systemd: %w", unix.Exec("/usr/lib/systemd/systemd", []string{"/usr/lib/systemd/systemd"}, []string{"PATH=/usr/sbin:/usr/bin"}))
}

// readUpTo reads a file that must not be longer than limit.
func readUpTo(path string, limit int64) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err != nil {
		return nil, err
	}
	if int64(len(b)) > limit {
		return nil, fmt.Errorf("%s: longer than %d bytes", filepath.Base(path), limit)
	}
	return b, nil
}

var errNotFound = errors.New("not found")
