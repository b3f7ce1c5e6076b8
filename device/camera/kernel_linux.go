// SPDX-License-Identifier: Apache-2.0

package camera

import (
	"errors"
	"fmt"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// A kernel opens device nodes. It is the seam in front of the operating
// system: tests script one.
type kernel interface {
	open(path string) (node, error)
}

// A node is an open device. Its errors are system call errors.
type node interface {
	// ioctl issues a request with its argument, one of the structs of this
	// package, which the kernel reads and writes before it returns.
	ioctl(request uint32, arg unsafe.Pointer) error
	// mmap maps a buffer for reading, until munmap.
	mmap(offset int64, length int) ([]byte, error)
	munmap(b []byte) error
	// wait returns true when there is a picture to dequeue, or an error to
	// fetch, and false when the time is over or interrupt was called.
	wait(timeout time.Duration) (bool, error)
	// interrupt ends a call of wait, the present or the next one.
	interrupt()
	close() error
}

// ask issues a request with its argument.
func ask[T any](n node, request uint32, arg *T) error {
	return n.ioctl(request, unsafe.Pointer(arg)) //nolint:gosec // the struct of the request, whose size a test checks
}

// linux is the real kernel.
type linux struct{}

// A file is a device node and an event that ends waiting for it.
type file struct{ fd, event int }

func (linux) open(path string) (node, error) {
	fd, err := retry(func() (int, error) { return unix.Open(path, unix.O_RDWR|unix.O_NONBLOCK|unix.O_CLOEXEC, 0) })
	if err != nil {
		return nil, err
	}
	event, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		return nil, errors.Join(err, unix.Close(fd))
	}
	return &file{fd, event}, nil
}

func (f *file) ioctl(request uint32, arg unsafe.Pointer) error {
	_, err := retry(func() (int, error) {
		_, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(f.fd), uintptr(request), uintptr(arg))
		if errno != 0 {
			return 0, errno
		}
		return 0, nil
	})
	return err
}

func (f *file) mmap(offset int64, length int) ([]byte, error) {
	return unix.Mmap(f.fd, offset, length, unix.PROT_READ, unix.MAP_SHARED)
}

func (f *file) munmap(b []byte) error { return unix.Munmap(b) }

func (f *file) wait(timeout time.Duration) (bool, error) {
	end := time.Now().Add(timeout)
	for {
		left := max(time.Until(end), 0)
		fds := []unix.PollFd{{Fd: int32(f.fd), Events: unix.POLLIN}, {Fd: int32(f.event), Events: unix.POLLIN}}
		_, err := unix.Poll(fds, int((left+time.Millisecond-1)/time.Millisecond))
		switch {
		case errors.Is(err, unix.EINTR):
			continue
		case err != nil:
			return false, err
		case fds[1].Revents != 0:
			return false, nil
		}
		return fds[0].Revents != 0, nil
	}
}

func (f *file) interrupt() {
	// It fails only if it was called 2^64 times.
	_, _ = unix.Write(f.event, []byte{1, 0, 0, 0, 0, 0, 0, 0})
}

func (f *file) close() error { return errors.Join(unix.Close(f.fd), unix.Close(f.event)) }

// retry repeats a system call that a signal interrupted.
func retry(call func() (int, error)) (int, error) {
	for {
		n, err := call()
		if !errors.Is(err, unix.EINTR) {
			return n, err
		}
	}
}

// explain says what a person can do about an error of a device.
func explain(err error) error {
	remedy := ""
	switch {
	case errors.Is(err, unix.ENOENT), errors.Is(err, unix.ENODEV), errors.Is(err, unix.ENXIO):
		remedy = "the camera is gone: check its cable"
	case errors.Is(err, unix.EBUSY):
		remedy = "another program uses the camera: close it"
	case errors.Is(err, unix.EACCES), errors.Is(err, unix.EPERM):
		remedy = "no permission: put the daemon's user in the group video"
	case errors.Is(err, unix.ENOSPC):
		remedy = "the USB bus is full: use another port, or fewer pictures"
	default:
		return err
	}
	return fmt.Errorf("%w: %s", err, remedy)
}
