// SPDX-License-Identifier: Apache-2.0

//go:build simtpm

package seal

import (
	"errors"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"testing"
)

// What is wiped was overwritten before it was removed, and nothing else was.
func TestWipe(t *testing.T) {
	dir := t.TempDir()
	store, err := OpenStore(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	for _, name := range []string{"state.1", "state.2", "owner.1", "owner.1.new", "room.1", "room.2", "not-ours", "README.txt", "a.b.1"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("secret of "+name), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	// A second name of the same blocks outlives the first, and shows them.
	witness := filepath.Join(t.TempDir(), "witness")
	if err := os.Link(filepath.Join(dir, "state.2"), witness); err != nil {
		t.Fatal(err)
	}
	names := func() []string {
		entries, err := os.ReadDir(dir)
		if err != nil {
			t.Fatal(err)
		}
		var names []string
		for _, e := range entries {
			names = append(names, e.Name())
		}
		return names
	}
	if err := store.Wipe("room", "owner"); err != nil {
		t.Fatal(err)
	}
	if got, want := names(), []string{"README.txt", "a.b.1", "not-ours", "owner.1", "room.1", "room.2"}; !slices.Equal(got, want) {
		t.Errorf("left %q; want %q", got, want)
	}
	if b, err := os.ReadFile(witness); err != nil || string(b) != string(make([]byte, len("secret of state.2"))) {
		t.Errorf("where the file was: %q, %v; want zeros", b, err)
	}
	if b, err := os.ReadFile(filepath.Join(dir, "owner.1")); err != nil || string(b) != "secret of owner.1" {
		t.Errorf("what was to be kept: %q, %v", b, err)
	}
	for range 2 {
		if err := store.Wipe(); err != nil {
			t.Fatal(err)
		}
	}
	if got, want := names(), []string{"README.txt", "a.b.1", "not-ours"}; !slices.Equal(got, want) {
		t.Errorf("left %q; want %q", got, want)
	}
}

// Whenever the power goes, doing it again ends well, and no file that it began
// with comes back whole.
func TestWipeAfterPowerCut(t *testing.T) {
	files := map[string]string{"state.1": "a key", "recovery.1": "another key", "room.1": "no secret"}
	for at := 0; ; at++ {
		f := &fuse{left: unbroken}
		p := newPlatter(f)
		for name, content := range files {
			p.names[name] = &inode{data: []byte(content)}
		}
		p.durable = maps.Clone(p.names)
		f.left = at
		err := (&Store{p}).Wipe("room")
		if err == nil {
			if at < 7 {
				t.Errorf("%d writes; want overwrite, sync and remove of two files, then their names", at)
			}
			if len(p.durable) != 1 {
				t.Errorf("%d files left", len(p.durable))
			}
			return
		}
		if !errors.Is(err, errCut) {
			t.Fatal(err)
		}
		for _, c := range p.crashed(&fuse{left: unbroken}) {
			if err := (&Store{c}).Wipe("room"); err != nil {
				t.Fatalf("again after a cut at write %d: %v", at, err)
			}
			if len(c.durable) != 1 || string(c.durable["room.1"].data) != "no secret" {
				t.Fatalf("again after a cut at write %d: left %v", at, c.durable)
			}
		}
	}
}
