// SPDX-License-Identifier: Apache-2.0

package tpm

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// node is a device whose other end is in the test's hands. A socket that keeps
// message boundaries behaves as /dev/tpmrm0 does: one write is one command, one
// read one response, poll says when it is there.
func node(t *testing.T) (d *device, other int) {
	t.Helper()
	ends, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	d = &device{path: filepath.Join(t.TempDir(), "tpmrm0"), fd: ends[0]}
	t.Cleanup(func() {
		_ = d.Close()
		_ = unix.Close(ends[1])
	})
	return d, ends[1]
}

func TestDevice(t *testing.T) {
	d, other := node(t)
	served := make(chan error, 1)
	go func() {
		buffer := make([]byte, bufferSize)
		peer := device{fd: other}
		if err := peer.wait(time.Now().Add(10 * time.Second)); err != nil {
			served <- err
			return
		}
		n, err := unix.Read(other, buffer)
		if err == nil {
			time.Sleep(20 * time.Millisecond) // the TPM works; read would find nothing
			_, err = unix.Write(other, append([]byte("answer to "), buffer[:n]...))
		}
		served <- err
	}()
	response, err := d.exchange([]byte("command"), time.Now().Add(10*time.Second))
	if err != nil || string(response) != "answer to command" {
		t.Errorf("exchange = %q, %v", response, err)
	}
	if err := <-served; err != nil {
		t.Error(err)
	}
}

// A response that comes late is never taken for the answer to another command.
func TestDeviceDeadline(t *testing.T) {
	d, other := node(t)
	start := time.Now()
	if _, err := d.exchange([]byte("command"), start.Add(30*time.Millisecond)); !errors.Is(err, unix.ETIMEDOUT) {
		t.Errorf("exchange with a silent TPM: %v; want ETIMEDOUT", err)
	}
	if took := time.Since(start); took < 30*time.Millisecond || took > 5*time.Second {
		t.Errorf("took %v; want 30 ms", took)
	}
	if _, err := unix.Write(other, []byte("late")); !errors.Is(err, unix.EPIPE) {
		t.Errorf("late answer: %v; want EPIPE", err)
	}
	// The next command opens the node anew; here there is none.
	if _, err := d.exchange([]byte("command"), time.Now().Add(time.Second)); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("exchange afterwards: %v; want ErrNotExist", err)
	}
}

// The other end going away is an error at once, not at the deadline.
func TestDeviceGone(t *testing.T) {
	d, other := node(t)
	if err := unix.Close(other); err != nil {
		t.Fatal(err)
	}
	start := time.Now()
	if _, err := d.exchange([]byte("command"), start.Add(time.Minute)); err == nil {
		t.Error("exchange = nil; want an error")
	}
	if took := time.Since(start); took > 10*time.Second {
		t.Errorf("took %v", took)
	}
}

func TestOpenDevice(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "tpmrm0"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(os.DevNull, filepath.Join(dir, "tpmrm1")); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"", "tpm0", "tpmrm", "../tpmrm1", "tpmrm0/../tpmrm1", "tpmrm1x", "tpmrm0", "tpmrm9"} {
		if w, err := openDevice(dir, name); err == nil {
			t.Errorf("openDevice(%q) = %v; want an error", name, w)
		}
	}
	w, err := openDevice(dir, "tpmrm1") // a character device, if not a TPM
	if err != nil {
		t.Fatal(err)
	}
	chip := onWire(w)
	if response, err := chip.Send(command); err == nil {
		t.Errorf("Send to %s = %x; want an error", os.DevNull, response)
	}
	if err := chip.Close(); err != nil {
		t.Error(err)
	}
}
