// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// The button of a factory reset is a key of the kernel's input system (kernel:
// input/event-codes.rst), which a board names in its device tree (gpio-keys).
const (
	keyRestart = 0x198
	keyBytes   = 0x300 / 8 // KEY_CNT bits

	getKeys = 2<<30 | keyBytes<<16 | 0x45<<8 | 0x18 // EVIOCGKEY(keyBytes): which keys are down
	getID   = 2<<30 | 8<<16 | 0x45<<8 | 0x02        // EVIOCGID: bus, vendor, product, version

	busUSB       = 0x03
	busBluetooth = 0x05

	heldFor  = 5 * time.Second // longer than anybody leans on a button by mistake
	heldStep = 100 * time.Millisecond
)

// pressed reports whether a key is down on any input device in dir that is built
// in: what is plugged in may call itself a keyboard, and destroys nothing. What
// cannot be asked has no key down.
func pressed(dir string, key int) bool {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return false
	}
	for _, e := range entries {
		if !strings.HasPrefix(e.Name(), "event") {
			continue
		}
		bus, down, err := keysOf(filepath.Join(dir, e.Name()))
		if err == nil && builtIn(bus) && isDown(down, key) {
			return true
		}
	}
	return false
}

func builtIn(bus uint16) bool { return bus != busUSB && bus != busBluetooth }

// keysOf asks an input device for its bus, and for a bit for each key, set while
// it is down.
func keysOf(path string) (bus uint16, down [keyBytes]byte, err error) {
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return 0, down, err
	}
	defer f.Close()
	var id [4]uint16
	for request, to := range map[uintptr]unsafe.Pointer{getID: unsafe.Pointer(&id), getKeys: unsafe.Pointer(&down)} { //nolint:gosec // the kernel writes as many bytes as the request says
		if _, _, errno := unix.Syscall(unix.SYS_IOCTL, f.Fd(), request, uintptr(to)); errno != 0 {
			return 0, down, errno
		}
	}
	runtime.KeepAlive(&id)
	runtime.KeepAlive(&down)
	return id[0], down, nil
}

func isDown(down [keyBytes]byte, key int) bool {
	return down[key/8]&(1<<(key%8)) != 0
}

// held reports whether a button that is down stays down for as long as it must.
// Where it is not, it returns at once.
func held(ctx context.Context, down func() bool) bool {
	if !down() {
		return false
	}
	say("RESET: hold the button for %v to destroy the room's data", heldFor)
	tick := time.NewTicker(heldStep)
	defer tick.Stop()
	for begin := time.Now(); time.Since(begin) < heldFor; {
		select {
		case <-ctx.Done():
			return false
		case <-tick.C:
		}
		if !down() {
			say("the button was let go: nothing was changed or erased")
			return false
		}
	}
	return true
}
