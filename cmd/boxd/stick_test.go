// SPDX-License-Identifier: Apache-2.0

package main

import (
	"os"
	"path/filepath"
	"testing"
)

// plug puts a disk behind a USB host into the sysfs of dir.
func plug(t *testing.T, dir, disk string, parts ...string) {
	t.Helper()
	device(t, dir, "devices/platform/usb1/1-1/1-1:1.0/host0/target0:0:0/0:0:0:0", disk, parts...)
}

// device puts a disk into the sysfs of dir, below a device.
func device(t *testing.T, dir, parent, disk string, parts ...string) {
	t.Helper()
	sys := filepath.Join(dir, "sys")
	block := filepath.Join(sys, parent, "block", disk)
	for _, p := range append([]string{"."}, parts...) {
		if err := os.MkdirAll(filepath.Join(block, p), 0o700); err != nil {
			t.Fatal(err)
		}
		if p != "." {
			if err := os.WriteFile(filepath.Join(block, p, "partition"), []byte("1\n"), 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := os.MkdirAll(filepath.Join(sys, "block"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(block, filepath.Join(sys, "block", disk)); err != nil {
		t.Fatal(err)
	}
}
