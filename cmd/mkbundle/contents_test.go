// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// image returns a folder with a root as a build makes one, and the call that
// lists it.
func image(t *testing.T) (dir string, call []string) {
	t.Helper()
	dir = t.TempDir()
	file := func(name, text string) {
		t.Helper()
		if err := os.MkdirAll(filepath.Join(dir, filepath.Dir(name)), 0o750); err != nil {
			t.Fatal(err)
		}
		put(t, dir, name, []byte(text))
	}
	link := func(to, name string) {
		t.Helper()
		if err := os.Symlink(to, filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	file("lock", "libtiny 1 "+zeros+"\nloader 2 "+zeros+"\n")
	// A package from before usr was merged, and one whose file lies beside the root.
	file("unpacked/libtiny/lib/libtiny.so.1.0", "code")
	link("libtiny.so.1.0", "unpacked/libtiny/lib/libtiny.so.1")
	file("unpacked/libtiny/usr/share/doc/libtiny/copyright", "left out")
	file("unpacked/loader/usr/lib/loader.efi", "loader")
	file("overlay/etc/room.conf", "overlay")
	file("generated", "# comment\nlib\netc/passwd\netc/systemd/system/\n")
	file("loader.efi", "loader")

	file("root/usr/lib/libtiny.so.1.0", "code")
	link("libtiny.so.1.0", "root/usr/lib/libtiny.so.1")
	link("usr/lib", "root/lib")
	file("root/etc/room.conf", "overlay")
	file("root/etc/passwd", "root")
	file("root/etc/systemd/system/wants/unit", "unit")
	program := goProgram(t, dir)
	if err := os.MkdirAll(dir+"/root/usr/bin", 0o750); err != nil {
		t.Fatal(err)
	}
	put(t, dir, "root/usr/bin/mkbundle", get(t, dir, filepath.Base(program)))
	return dir, []string{
		"sbom", "-version", "1.5.0", "-binary", program, "-packages", "lock", "-file", "loader@2=loader.efi",
		"-root", "root", "-unpacked", "unpacked", "-ours", "overlay", "-generated", "generated", "-out", "sbom.json",
	}
}

// TestContents checks that each file of a root belongs to a component, and each
// component has a file.
func TestContents(t *testing.T) {
	dir, call := image(t)
	must(t, dir, call...)
	first := get(t, dir, "sbom.json")
	var b bom
	if err := json.Unmarshal(first, &b); err != nil {
		t.Fatal(err)
	}
	files := map[string]string{}
	for _, c := range b.Components {
		for _, p := range c.Properties {
			if p.Name == "in-camera:files" {
				files[c.Name] = p.Value
			}
		}
	}
	if files["libtiny"] != "2" || files["loader"] != "1" || files["mkbundle"] != "1" || files["in-camera-files"] != "4" || len(files) != 4 {
		t.Errorf("files by component: %v", files)
	}

	// What is ours is in the bill, byte for byte.
	put(t, dir, "root/etc/passwd", []byte("another"))
	must(t, dir, call...)
	if slices.Equal(get(t, dir, "sbom.json"), first) {
		t.Error("the bill does not change with a file of ours")
	}
}

func TestContentsRefusals(t *testing.T) {
	dir, call := image(t)
	for _, c := range []struct {
		name, path, text string // a file of the image that is another one
		want             string
	}{
		{"a file of nobody", "root/usr/bin/tool", "tool", `belong to nothing that is listed: ["usr/bin/tool"]`},
		{"a file beside a generated one", "root/etc/passwd-", "root", `["etc/passwd-"]`},
		{"a package's file, changed", "root/usr/lib/libtiny.so.1.0", "c0de", `["usr/lib/libtiny.so.1.0"]`},
		{"a program, changed", "root/usr/bin/mkbundle", "program", `["usr/bin/mkbundle"]`},
		{"an overlay's file, changed", "root/etc/room.conf", "other", `["etc/room.conf"]`},
		{"a package that is not there", "lock", "libtiny 1 " + zeros + "\nloader 2 " + zeros + "\ngone 3 " + zeros + "\n", "unpacked/gone"},
		{"a package of which nothing ships", "unpacked/loader/usr/lib/loader.efi", "other loader", "loader 2 has no file"},
		{"a list that says nothing", "generated", "\n", "says nothing"},
	} {
		before, err := os.ReadFile(filepath.Join(dir, c.path))
		put(t, dir, c.path, []byte(c.text))
		exit, stdout, stderr := mkbundle(t, dir, call...)
		if exit != 1 || !strings.Contains(stderr, c.want) || stdout != "" {
			t.Errorf("%s: exit %d, %q, stdout %q; want %q", c.name, exit, stderr, stdout, c.want)
		}
		if err != nil {
			if err := os.Remove(filepath.Join(dir, c.path)); err != nil {
				t.Fatal(err)
			}
			continue
		}
		put(t, dir, c.path, before)
	}
	if exit, _, stderr := mkbundle(t, dir, with(call, "-unpacked", "")...); exit != 2 || !strings.Contains(stderr, "-root goes with") {
		t.Errorf("a root without packages: exit %d, %q", exit, stderr)
	}
}
