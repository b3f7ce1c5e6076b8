// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

func TestCountBoot(t *testing.T) {
	root := t.TempDir()
	for want := range uint64(3) {
		n, was, err := countBoot(root)
		if n != want+1 || was != nil || err != nil {
			t.Fatalf("start %d: countBoot = %d, %v, %v", want+1, n, was, err)
		}
	}
	dir := filepath.Join(root, boxDir)
	for path, want := range map[string]fs.FileMode{dir: fs.ModeDir | 0o700, filepath.Join(dir, "boots"): 0o600} {
		if info, err := os.Stat(path); err != nil || info.Mode() != want {
			t.Errorf("%s: %v, %v; want mode %v", path, info, err, want)
		}
	}
	names, err := os.ReadDir(dir)
	if err != nil || len(names) != 1 {
		t.Errorf("in the folder: %v, %v; want the count alone", names, err)
	}
}

// A count that is lost begins at one, and it is said: never above what it was.
func TestLostCount(t *testing.T) {
	for name, content := range map[string]string{
		"empty": "", "zero": "0", "cut short and padded": "12\x00\x00", "with a sign": "+7", "with a zero in front": "07",
		"with a line's end": "7\n", "negative": "-1", "words": "seven", "too large": strconv.Itoa(maxBoots), "long": strings.Repeat("1", 1<<20),
		"beyond 64 bits": "18446744073709551616",
	} {
		t.Run(name, func(t *testing.T) {
			root := t.TempDir()
			if _, _, err := countBoot(root); err != nil {
				t.Fatal(err)
			}
			path := filepath.Join(root, boxDir, "boots")
			if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
				t.Fatal(err)
			}
			n, was, err := countBoot(root)
			if n != 1 || was == nil || err != nil {
				t.Errorf("countBoot = %d, %v, %v; want 1 and how it was lost", n, was, err)
			}
			if n, was, err := countBoot(root); n != 2 || was != nil || err != nil {
				t.Errorf("the next: countBoot = %d, %v, %v; want 2", n, was, err)
			}
		})
	}
	t.Run("removed", func(t *testing.T) {
		root := t.TempDir()
		if err := os.MkdirAll(filepath.Join(root, boxDir), 0o700); err != nil {
			t.Fatal(err)
		}
		if n, was, err := countBoot(root); n != 1 || was == nil || err != nil {
			t.Errorf("countBoot = %d, %v, %v; want 1 and how it was lost", n, was, err)
		}
	})
}

// The power fails while the count is written: what is left is the old one, beside
// something unfinished that the next start writes over.
func TestBootsAfterPowerCut(t *testing.T) {
	root := t.TempDir()
	if _, _, err := countBoot(root); err != nil {
		t.Fatal(err)
	}
	unfinished := filepath.Join(root, boxDir, "boots.new")
	if err := os.WriteFile(unfinished, []byte("9999"), 0o600); err != nil {
		t.Fatal(err)
	}
	if n, was, err := countBoot(root); n != 2 || was != nil || err != nil {
		t.Errorf("countBoot = %d, %v, %v; want 2", n, was, err)
	}
	if _, err := os.Stat(unfinished); err == nil {
		t.Error("the unfinished file is still there")
	}
}

// A full partition does not stop the start; the count is given all the same.
func TestLeaveBoots(t *testing.T) {
	root, dir := t.TempDir(), t.TempDir()
	for range 2 {
		if err := leaveBoots(dir, root); err != nil {
			t.Fatal(err)
		}
	}
	// A folder where the unfinished file would be: it cannot be written.
	if err := os.Mkdir(filepath.Join(root, boxDir, "boots.new"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := leaveBoots(dir, root); err != nil {
		t.Fatal(err)
	}
	if b, err := os.ReadFile(filepath.Join(dir, "boots")); err != nil || string(b) != "3" {
		t.Errorf("left %q, %v; want 3", b, err)
	}
}

// What is accepted has one spelling.
func FuzzParseBoots(f *testing.F) {
	for _, s := range []string{"1", "41", "", "0", "1099511627775", "1099511627776", "007", "1 "} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		n, err := parseBoots(b)
		if err != nil {
			if n != 0 {
				t.Errorf("parseBoots(%q) = %d with %v", b, n, err)
			}
			return
		}
		if n == 0 || n >= maxBoots || !bytes.Equal(strconv.AppendUint(nil, n, 10), b) {
			t.Errorf("parseBoots(%q) = %d", b, n)
		}
	})
}
