// SPDX-License-Identifier: Apache-2.0

package tpm

import (
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"regexp"
	"time"

	"golang.org/x/sys/unix"
)

// Only the resource manager: the raw node has three slots for the whole system,
// and whatever another process left in them.
var deviceName = regexp.MustCompile(`^tpmrm[0-9]{1,3}$`)

// device is a TPM behind the kernel's driver.
type device struct {
	path string
	fd   int // -1 while closed
}

func openDevice(dir, name string) (wire, error) {
	if !deviceName.MatchString(name) {
		return nil, fmt.Errorf("%q is not a resource manager such as tpmrm0", name)
	}
	d := &device{path: filepath.Join(dir, name), fd: -1}
	return d, d.open()
}

func (d *device) open() error {
	// Without O_NONBLOCK, write would return only with the response and no
	// deadline could be kept.
	fd, err := unix.Open(d.path, unix.O_RDWR|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil || st.Mode&unix.S_IFMT != unix.S_IFCHR {
		return errors.Join(errors.New("not a character device"), err, unix.Close(fd))
	}
	d.fd = fd
	return nil
}

func (d *device) exchange(command []byte, deadline time.Time) ([]byte, error) {
	if d.fd < 0 {
		if err := d.open(); err != nil {
			return nil, err
		}
	}
	response, err := d.talk(command, deadline)
	if err != nil {
		// A late response must not be taken for that of the next command.
		// Close waits until the driver is done, which the driver bounds.
		return nil, errors.Join(err, d.Close())
	}
	return response, nil
}

func (d *device) talk(command []byte, deadline time.Time) ([]byte, error) {
	n, err := unix.Write(d.fd, command)
	if err != nil {
		return nil, err
	}
	if n != len(command) {
		return nil, io.ErrShortWrite
	}
	// read does not wait: before the response is there it returns nothing.
	if err := d.wait(deadline); err != nil {
		return nil, err
	}
	response := make([]byte, bufferSize)
	n, err = unix.Read(d.fd, response)
	if err != nil {
		return nil, err
	}
	return response[:n], nil
}

func (d *device) wait(deadline time.Time) error {
	for {
		left := time.Until(deadline)
		if left <= 0 {
			return unix.ETIMEDOUT
		}
		fds := []unix.PollFd{{Fd: int32(d.fd), Events: unix.POLLIN}}
		// One more millisecond, so that the last wait is not of length zero.
		n, err := unix.Poll(fds, int(left.Milliseconds())+1)
		switch {
		case err != nil && !errors.Is(err, unix.EINTR):
			return err
		case n == 1 && fds[0].Revents&unix.POLLIN != 0:
			return nil
		case n == 1:
			return fmt.Errorf("poll: events %#x", fds[0].Revents)
		}
	}
}

func (d *device) Close() error {
	if d.fd < 0 {
		return nil
	}
	fd := d.fd
	d.fd = -1
	return unix.Close(fd)
}
