// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

const (
	watchdogDevice = "/dev/watchdog0"
	watchdogFor    = time.Minute      // what the hardware waits for a sign of life
	watchdogStep   = 10 * time.Second // between two signs: hardware that waits less than twice as long is rare
	stepFor        = 6 * time.Minute  // longest step of the start: a tool has five minutes, and there is the rest
)

// A watchdog resets the box if the start hangs. The hardware does it when it
// hears nothing. What it hears comes from a goroutine, since some steps take
// long, but no longer than the main line goes on: that says at each step that it
// lives, and has stepFor until the next. So a disk or a TPM that never answers
// ends in a boot, which may be counted. Waiting for a person has no limit: that
// is no hang, and a box that restarted under the fingers of whoever types a
// recovery key would be none the better.
//
// A nil watchdog does nothing.
type watchdog struct {
	device io.Writer

	mu    sync.Mutex
	until time.Time // zero while a person is waited for
}

// openWatchdog starts the hardware's watchdog, or returns nil where there is
// none. It is never told to stop: the descriptor closes when systemd is started,
// without the magic "V", so the kernel keeps the timer running (kernel:
// watchdog/watchdog-api.rst) until systemd opens the device, which it finds free.
func openWatchdog(path string) *watchdog {
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		say("no watchdog: %v", err)
		return nil
	}
	// What it has already is as good where it takes no other.
	if err := setTimeout(f, watchdogFor); err != nil {
		say("watchdog: not set to %v: %v", watchdogFor, err)
	}
	w := &watchdog{device: f}
	w.step()
	return w
}

func setTimeout(f *os.File, d time.Duration) error {
	raw, err := f.SyscallConn()
	if err != nil {
		return err
	}
	var errno error
	if err := raw.Control(func(fd uintptr) {
		errno = unix.IoctlSetPointerInt(int(fd), unix.WDIOC_SETTIMEOUT, int(d/time.Second))
	}); err != nil {
		return err
	}
	return errno
}

// run gives signs of life until ctx ends.
func (w *watchdog) run(ctx context.Context) {
	if w == nil {
		return
	}
	for tick := time.NewTicker(watchdogStep); ; {
		if err := w.sign(); err != nil {
			say("watchdog: %v", err)
		}
		select {
		case <-ctx.Done():
			tick.Stop()
			return
		case <-tick.C:
		}
	}
}

// sign tells the hardware that the start goes on, if it does.
func (w *watchdog) sign() error {
	w.mu.Lock()
	hangs := !w.until.IsZero() && time.Now().After(w.until)
	w.mu.Unlock()
	if hangs {
		return fmt.Errorf("the start hangs for more than %v: the box will be reset", stepFor)
	}
	_, err := w.device.Write([]byte{0}) // anything but "V"
	return err
}

// step says that the main line lives, and begins another step.
func (w *watchdog) step() {
	if w == nil {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.until = time.Now().Add(stepFor)
}

// person says that a person is waited for, until the next step.
func (w *watchdog) person() {
	if w == nil {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.until = time.Time{}
}
