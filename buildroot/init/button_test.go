// SPDX-License-Identifier: Apache-2.0

package main

import (
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"
)

// Only a button that is down at once, and for as long as it must, counts.
func TestHeld(t *testing.T) {
	for name, c := range map[string]struct {
		downFor time.Duration
		want    bool
		took    time.Duration // at most
	}{
		"not touched":           {0, false, 0},
		"touched":               {heldStep / 2, false, heldStep},
		"let go just too early": {heldFor - heldStep/2, false, heldFor},
		"held":                  {heldFor + heldStep, true, heldFor},
		"stuck":                 {time.Hour, true, heldFor},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				begin := time.Now()
				got := held(t.Context(), func() bool { return time.Since(begin) < c.downFor })
				if got != c.want {
					t.Errorf("held = %v; want %v", got, c.want)
				}
				if took := time.Since(begin); took > c.took || got && took < heldFor {
					t.Errorf("it took %v; want at most %v", took, c.took)
				}
			})
		})
	}
}

// The kernel's numbers: input-event-codes.h and the bit map of EVIOCGKEY.
func TestIsDown(t *testing.T) {
	for _, key := range []int{0, 1, 7, 8, keyRestart, keyBytes*8 - 1} {
		var down [keyBytes]byte
		down[key/8] |= 1 << (key % 8)
		for _, other := range []int{0, 1, 7, 8, 9, keyRestart - 1, keyRestart, keyRestart + 1, keyBytes*8 - 1} {
			if got := isDown(down, other); got != (other == key) {
				t.Errorf("with %#x down: isDown(%#x) = %v", key, other, got)
			}
		}
	}
	if getKeys != uint32(0x80604518) {
		t.Errorf("EVIOCGKEY(%d) = %#x", keyBytes, uint32(getKeys))
	}
}

// linux/input.h; a stick that calls itself a keyboard does not count.
func TestBuiltIn(t *testing.T) {
	if getID != uint32(0x80084502) {
		t.Errorf("EVIOCGID = %#x", uint32(getID))
	}
	for bus, want := range map[uint16]bool{0x03: false, 0x05: false, 0x06: true, 0x11: true, 0x18: true, 0x19: true} {
		if got := builtIn(bus); got != want {
			t.Errorf("builtIn(%#x) = %v", bus, got)
		}
	}
}

// What is no input device has no key down, whatever is in it.
func TestPressedNothing(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"event0", "event1", "mouse0"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte{0xFF, 0xFF}, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, dir := range []string{dir, filepath.Join(dir, "gone")} {
		if pressed(dir, keyRestart) {
			t.Errorf("pressed in %s", dir)
		}
	}
}
