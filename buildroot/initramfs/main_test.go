// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"compress/gzip"
	"crypto/rand"
	"encoding/hex"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// files makes files in a folder and returns it.
func files(t testing.TB, content map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range content {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func unzip(t testing.TB, path string) []byte {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(z)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// The same files give the same bytes, whatever their times, owners and modes, and
// in whatever order they are named.
func TestSameBytes(t *testing.T) {
	content := map[string]string{"init": strings.Repeat("program", 1000), "release.json": "{}\n"}
	var archives [][]byte
	for i, order := range [][]int{{0, 1, 2, 3}, {3, 2, 1, 0}} {
		dir := files(t, content)
		if i == 1 {
			for name := range content {
				old := time.Unix(1e9, 0)
				if err := os.Chtimes(filepath.Join(dir, name), old, old); err != nil {
					t.Fatal(err)
				}
				if err := os.Chmod(filepath.Join(dir, name), 0o777); err != nil {
					t.Fatal(err)
				}
			}
		}
		args := []string{"init=" + dir + "/init:755", "etc/", "etc/release.json=" + dir + "/release.json:644", "proc/"}
		out := filepath.Join(dir, "initrd")
		run1 := []string{"-out", out}
		for _, n := range order {
			run1 = append(run1, args[n])
		}
		if err := run(run1, io.Discard); err != nil {
			t.Fatal(err)
		}
		b, err := os.ReadFile(out)
		if err != nil {
			t.Fatal(err)
		}
		archives = append(archives, b)
	}
	if !bytes.Equal(archives[0], archives[1]) {
		t.Error("the same files, other bytes")
	}
}

// cpio finds in the archive what was put in, with its modes.
func TestCpio(t *testing.T) {
	random := make([]byte, 100_001)
	_, _ = rand.Read(random) // never fails: crypto/rand
	dir := files(t, map[string]string{"init": string(random), "empty": "", "three": "abc"})
	out := filepath.Join(dir, "initrd")
	err := run([]string{"-out", out, "init=" + dir + "/init:755", "a-b/", "a/", "a/b/", "a/b/empty=" + dir + "/empty:600", "a/three=" + dir + "/three:444", "sys/"}, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	cpio := func(folder string, args ...string) string {
		t.Helper()
		cmd := exec.CommandContext(t.Context(), "cpio", args...)
		cmd.Dir, cmd.Stdin = folder, bytes.NewReader(unzip(t, out))
		var said, complained bytes.Buffer
		cmd.Stdout, cmd.Stderr = &said, &complained
		if err := cmd.Run(); err != nil {
			t.Fatalf("cpio %q: %v\n%s", args, err, complained.String())
		}
		return said.String()
	}
	want := []string{"a", "a-b", "a/b", "a/b/empty", "a/three", "dev", "dev/console", "init", "sys"}
	if got := strings.Fields(cpio(dir, "-t", "--quiet")); !slices.Equal(got, want) {
		t.Errorf("cpio -t: %q; want %q", got, want)
	}
	listing := cpio(dir, "-tvn", "--quiet")
	for _, line := range []string{"crw-------   1 0        0          5,   1 Jan  1  1970 dev/console", "-r--r--r--   1 0        0               3 Jan  1  1970 a/three"} {
		if !strings.Contains(listing, line) {
			t.Errorf("cpio -tv does not say %q:\n%s", line, listing)
		}
	}
	// Devices are for root alone; all else comes out as it went in.
	folder := t.TempDir()
	cpio(folder, "-i", "--quiet", "--no-absolute-filenames", "init", "a", "a/*")
	for name, content := range map[string]string{"init": string(random), "a/b/empty": "", "a/three": "abc"} {
		b, err := os.ReadFile(filepath.Join(folder, name))
		if err != nil || string(b) != content {
			t.Errorf("%s: %d bytes, %v; want %d", name, len(b), err, len(content))
		}
	}
	if info, err := os.Stat(filepath.Join(folder, "init")); err != nil || info.Mode() != 0o755 {
		t.Errorf("init: %v, %v", info, err)
	}
}

func TestRefusals(t *testing.T) {
	dir := files(t, map[string]string{"f": "x"})
	f := "=" + dir + "/f:644"
	for name, args := range map[string][]string{
		"nothing":                  {},
		"no output":                {"a/"},
		"no entries":               {"-out", dir + "/o"},
		"an option nobody knows":   {"-out", dir + "/o", "-x", "a/"},
		"neither file nor folder":  {"-out", dir + "/o", "a"},
		"no mode":                  {"-out", dir + "/o", "a=" + dir + "/f"},
		"no octal mode":            {"-out", dir + "/o", "a=" + dir + "/f:849"},
		"set-uid":                  {"-out", dir + "/o", "a=" + dir + "/f:4755"},
		"negative mode":            {"-out", dir + "/o", "a=" + dir + "/f:-1"},
		"a file that is gone":      {"-out", dir + "/o", "a=" + dir + "/gone:644"},
		"a folder for a file":      {"-out", dir + "/o", "a=" + dir + ":644"},
		"twice":                    {"-out", dir + "/o", "a" + f, "a" + f},
		"file and folder":          {"-out", dir + "/o", "a" + f, "a/"},
		"the console once more":    {"-out", dir + "/o", "dev/console" + f},
		"empty name":               {"-out", dir + "/o", f},
		"the root":                 {"-out", dir + "/o", "/"},
		"absolute":                 {"-out", dir + "/o", "/etc/"},
		"upwards":                  {"-out", dir + "/o", "../etc/"},
		"upwards within":           {"-out", dir + "/o", "a/", "a/../b" + f},
		"doubled slash":            {"-out", dir + "/o", "a/", "a//b" + f},
		"this folder":              {"-out", dir + "/o", "./"},
		"no folder for it":         {"-out", dir + "/o", "etc/release.json" + f},
		"in a file":                {"-out", dir + "/o", "a" + f, "a/b" + f},
		"what ends an archive":     {"-out", dir + "/o", trailer + f},
		"a NUL":                    {"-out", dir + "/o", "a\x00b" + f},
		"a line's end":             {"-out", dir + "/o", "a\nb/"},
		"longer than names may be": {"-out", dir + "/o", strings.Repeat("a", 256) + f},
		"where nobody can write":   {"-out", dir + "/gone/o", "a/"},
	} {
		t.Run(name, func(t *testing.T) {
			if err := run(args, io.Discard); err == nil {
				t.Errorf("run %q", args)
			}
			if _, err := os.Stat(dir + "/o"); err == nil {
				t.Error("something was written")
			}
		})
	}
}

// Whatever the names and the content, each record of an accepted archive is found
// by its own numbers, and gives back what went in.
func FuzzWrite(f *testing.F) {
	f.Add("init", []byte("program"))
	f.Add("a=b", []byte{})
	f.Add("../x", []byte("x"))
	f.Fuzz(func(t *testing.T, name string, data []byte) {
		b, err := write([]entry{{path: name, mode: typeFile | 0o644, data: data}})
		if err != nil {
			return
		}
		z, err := gzip.NewReader(bytes.NewReader(b))
		if err != nil {
			t.Fatal(err)
		}
		cpio, err := io.ReadAll(z)
		if err != nil {
			t.Fatal(err)
		}
		number := func(field int) int {
			n, err := strconv.ParseUint(string(cpio[6+8*field:][:8]), 16, 32)
			if err != nil {
				t.Fatalf("field %d: %q", field, hex.EncodeToString(cpio[:110]))
			}
			return int(n)
		}
		for i, want := range []struct {
			name string
			data []byte
		}{{name, data}, {trailer, nil}} {
			if string(cpio[:6]) != "070701" {
				t.Fatalf("record %d begins with %q", i, cpio[:6])
			}
			size, length := number(6), number(11)
			if got := string(cpio[110:][:length]); got != want.name+"\x00" {
				t.Errorf("name %q; want %q", got, want.name)
			}
			at := (110 + length + 3) &^ 3
			if got := cpio[at:][:size]; !bytes.Equal(got, want.data) {
				t.Errorf("%d bytes; want %d", len(got), len(want.data))
			}
			cpio = cpio[(at+size+3)&^3:]
		}
		if len(cpio) != 0 {
			t.Errorf("%d bytes follow", len(cpio))
		}
	})
}
