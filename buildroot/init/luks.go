// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"incamera/secureboot/seal"
)

const (
	luksOffset = 16 << 20 // bytes in front of the encrypted data
	luksFirst  = 4 << 10  // bytes that disks write whole: the primary header
	luksNew    = 1 << 20  // a partition that begins with so many zeros is new
)

// luksFor bounds one call of a disk tool. Making a file system is the longest.
const luksFor = 5 * time.Minute

// errNotOpened means that the key opens no slot of the partition.
var errNotOpened = errors.New("the key does not open the data partition")

// A luks is the encrypted partition, LUKS2 with an ext4 inside. The tools come
// from the verified system partition, and get the key on a pipe.
type luks struct {
	device string // of the partition
	header string // scratch file in memory for a new header
	name   string // of the mapping
	root   string // where the tools are
	dog    *watchdog
}

func (l *luks) path() string { return filepath.Join("/dev/mapper", l.name) }

// untouched reports whether nobody ever wrote to the partition.
func (l *luks) untouched() (bool, error) { return l.zero(luksNew) }

func (l *luks) zero(n int) (bool, error) {
	f, err := os.Open(l.device)
	if err != nil {
		return false, err
	}
	defer f.Close()
	b := make([]byte, n)
	if _, err := io.ReadFull(f, b); err != nil {
		return false, err
	}
	return bytes.Count(b, []byte{0}) == n, nil
}

// open maps the partition.
func (l *luks) open(ctx context.Context, key seal.Secret) error {
	return l.cryptsetup(ctx, key, "open", "--type", "luks2", "--key-file", "-", l.device, l.name)
}

// Adopt implements [provision.Disk]. The file system is made behind a header that
// is only in memory; then the header is written, its first block last. Without
// that block the partition counts as never formatted, here and nowhere else:
// provision calls this until the room is set up to the end, and then never again.
func (l *luks) Adopt(ctx context.Context, key seal.Secret) error {
	isNew, err := l.zero(luksFirst)
	if err != nil {
		return err
	}
	if !isNew {
		return l.cryptsetup(ctx, key, "open", "--type", "luks2", "--test-passphrase", "--key-file", "-", l.device)
	}
	defer func() { _ = os.Remove(l.header) }() // in memory; the next start has none
	if err := l.format(ctx, key); err != nil {
		return err
	}
	if err := l.cryptsetup(ctx, key, "open", "--type", "luks2", "--header", l.header, "--key-file", "-", l.device, l.name); err != nil {
		return err
	}
	made := l.tool(ctx, nil, "/usr/sbin/mkfs.ext4", "-q", "-L", "data", "-E", "nodiscard", l.path())
	if err := errors.Join(made, l.cryptsetup(ctx, nil, "close", l.name)); err != nil {
		return err
	}
	header, err := readUpTo(l.header, luksOffset)
	if err != nil {
		return err
	}
	f, err := os.OpenFile(l.device, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	return writeHeader(f, header)
}

// format makes a header that key opens, in memory alone.
func (l *luks) format(ctx context.Context, key seal.Secret) error {
	if err := os.WriteFile(l.header, make([]byte, luksOffset), 0o600); err != nil {
		return err
	}
	// The key is random: stretching it would cost time and add nothing.
	return l.cryptsetup(ctx, key, "luksFormat", "--batch-mode", "--type", "luks2", "--header", l.header, "--offset", fmt.Sprint(luksOffset/512),
		"--cipher", "aes-xts-plain64", "--key-size", "512", "--pbkdf", "pbkdf2", "--pbkdf-force-iterations", "1000", "--key-file", "-", l.device)
}

// A medium is what a header is written to.
type medium interface {
	io.WriterAt
	Sync() error
}

// writeHeader writes a header from its second block on, and then the first.
func writeHeader(to medium, header []byte) error {
	if len(header) != luksOffset {
		return fmt.Errorf("header of %d bytes", len(header))
	}
	if _, err := to.WriteAt(header[luksFirst:], luksFirst); err != nil {
		return err
	}
	if err := to.Sync(); err != nil {
		return err
	}
	if _, err := to.WriteAt(header[:luksFirst], 0); err != nil {
		return err
	}
	return to.Sync()
}

// erase makes the partition one that nobody ever wrote to. What is behind the
// header is of no use without a key; flash that can forget it is asked to.
func (l *luks) erase() error {
	f, err := os.OpenFile(l.device, os.O_RDWR|unix.O_EXCL, 0) // not while it is mapped
	if err != nil {
		return err
	}
	defer f.Close()
	size, err := f.Seek(0, io.SeekEnd)
	if err != nil {
		return err
	}
	discard(f, size)
	zeros := make([]byte, 1<<20)
	for at, end := int64(0), min(luksOffset, size); at < end; at += int64(len(zeros)) {
		if _, err := f.WriteAt(zeros[:min(int64(len(zeros)), end-at)], at); err != nil {
			return err
		}
	}
	return f.Sync()
}

// discard tells the disk that n bytes are of no more use. Not every disk listens.
func discard(f *os.File, n int64) {
	part := [2]uint64{0, uint64(n)}
	_, _, _ = unix.Syscall(unix.SYS_IOCTL, f.Fd(), unix.BLKDISCARD, uintptr(unsafe.Pointer(&part[0]))) //nolint:gosec // the kernel reads two numbers
	runtime.KeepAlive(&part)
}

// cryptsetup's exit status for a key that opens nothing.
const noPermission = 2

func (l *luks) cryptsetup(ctx context.Context, key seal.Secret, args ...string) error {
	err := l.tool(ctx, key, "/usr/sbin/cryptsetup", args...)
	if exit, ok := errors.AsType[*exec.ExitError](err); ok && exit.ExitCode() == noPermission {
		return errNotOpened
	}
	return err
}

// tool runs a program of the system partition, with stdin.
func (l *luks) tool(ctx context.Context, stdin []byte, path string, args ...string) error {
	l.dog.step()
	ctx, cancel := context.WithTimeout(ctx, luksFor)
	defer cancel()
	cmd := exec.CommandContext(ctx, path, args...) //nolint:gosec // programs of the verified partition, by constant paths
	cmd.Dir = "/"
	cmd.Env = []string{"PATH=/usr/sbin:/usr/bin", "DM_DISABLE_UDEV=1"} // udev does not run yet
	cmd.Stdin = bytes.NewReader(stdin)
	var said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &said, &said
	if l.root != "" {
		cmd.SysProcAttr = &syscall.SysProcAttr{Chroot: l.root}
	}
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("%s: %w: %.400q", filepath.Base(path), err, said.String())
	}
	return nil
}
