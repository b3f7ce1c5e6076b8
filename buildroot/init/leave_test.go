// SPDX-License-Identifier: Apache-2.0

package main

import (
	"os"
	"path/filepath"
	"testing"
)

// What lies on the ESP is there for the system, and nothing else of it.
func TestLeaveFiles(t *testing.T) {
	r := release{version: "1.0.0"}
	uki, store, dir := t.TempDir(), t.TempDir(), t.TempDir()
	for path, content := range map[string]string{
		filepath.Join(uki, "in-camera_1.0.0.policies.cbor"): "mine",
		filepath.Join(uki, "in-camera_0.9.0.policies.cbor"): "of the other slot",
		filepath.Join(store, "room.1"):                      "a record",
		filepath.Join(store, "state.1"):                     "a blob",
	} {
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Mkdir(filepath.Join(store, "folder"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("/etc/shadow", filepath.Join(store, "link")); err != nil {
		t.Fatal(err)
	}
	if err := leaveFiles(dir, uki, store, r); err != nil {
		t.Fatal(err)
	}
	left := map[string]string{"policies.cbor": "mine", "store/room.1": "a record", "store/state.1": "a blob"}
	for name, want := range left {
		b, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil || string(b) != want {
			t.Errorf("%s: %q, %v", name, b, err)
		}
		if info, err := os.Stat(filepath.Join(dir, name)); err != nil || info.Mode() != 0o644 {
			t.Errorf("%s: %v, %v; want all to read it", name, info, err)
		}
	}
	if entries, err := os.ReadDir(filepath.Join(dir, "store")); err != nil || len(entries) != 2 {
		t.Errorf("in the store: %v, %v", entries, err)
	}
}

// A box in recovery may have neither; a file that is too long is none of ours.
func TestLeaveFilesOfADamagedESP(t *testing.T) {
	r := release{version: "1.0.0"}
	dir := t.TempDir()
	gone := filepath.Join(dir, "gone")
	if err := leaveFiles(dir, gone, gone, r); err != nil {
		t.Error(err)
	}
	store := t.TempDir()
	if err := os.WriteFile(filepath.Join(store, "state.1"), make([]byte, maxBlob+1), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := leaveFiles(dir, gone, store, r); err == nil {
		t.Error("a file of 64 KiB and a byte was left")
	}
}

// UEFI: four bytes of attributes, then the value.
func TestSecureBoot(t *testing.T) {
	path := filepath.Join(t.TempDir(), "SecureBoot")
	if got := secureBoot(path); got != "unknown" {
		t.Errorf("without the variable: %s", got)
	}
	for content, want := range map[string]string{"\x06\x00\x00\x00\x01": "on", "\x06\x00\x00\x00\x00": "off", "\x06\x00\x00\x00": "unknown", "": "unknown", "\x06\x00\x00\x00\x01\x01": "unknown"} {
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		if got := secureBoot(path); got != want {
			t.Errorf("%q: %s; want %s", content, got, want)
		}
	}
}
