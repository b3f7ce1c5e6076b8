// SPDX-License-Identifier: Apache-2.0

package buildroot

import (
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

const (
	shared  = "../../shared" // beside the checkout: data that is no part of this repository
	overlay = "board/common/rootfs-overlay"
)

// boards are the folders of board, each with the name of its defconfig.
var boards = map[string]string{
	"qemu-arm64": "incamera_qemu_arm64_defconfig",
	"imx8mp-evk": "incamera_imx8mp_evk_defconfig",
	"rpi-cm4":    "incamera_rpi_cm4_defconfig",
	"rpi-cm5":    "incamera_rpi_cm5_defconfig",
	"rock5b":     "incamera_rock5b_defconfig",
}

func TestBoards(t *testing.T) {
	var folders, configs []string
	for board, config := range boards {
		folders = append(folders, board)
		configs = append(configs, config)
	}
	for _, c := range []struct {
		pattern string
		want    []string
	}{{"board/*/meta", folders}, {"board/*/linux.config", folders}, {"board/*/profile.json", folders}, {"configs/*", configs}} {
		var got []string
		for _, path := range glob(t, c.pattern) {
			if strings.HasPrefix(path, "board/") {
				path = filepath.Dir(path)
			}
			got = append(got, filepath.Base(path))
		}
		slices.Sort(got)
		slices.Sort(c.want)
		if !slices.Equal(got, c.want) {
			t.Errorf("%s: %v; want %v", c.pattern, got, c.want)
		}
	}
}

func glob(t *testing.T, pattern string) []string {
	t.Helper()
	paths, err := filepath.Glob(pattern)
	if err != nil {
		t.Fatal(err)
	}
	if len(paths) == 0 {
		t.Fatalf("no file is called %s", pattern)
	}
	return paths
}

func read(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// lines returns the lines of a file that are neither empty nor a comment.
func lines(t *testing.T, path string) []string {
	t.Helper()
	var out []string
	for line := range strings.Lines(read(t, path)) {
		if line = strings.TrimSpace(line); line != "" && line[0] != '#' {
			out = append(out, line)
		}
	}
	if len(out) == 0 {
		t.Fatalf("%s says nothing", path)
	}
	return out
}

// walk calls f for each file below root, links included.
func walk(t *testing.T, root string, f func(path string, d fs.DirEntry)) {
	t.Helper()
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			f(path, d)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// fromShared returns a file beside the checkout. Without it the test is skipped,
// and fails under REQUIRE_VECTORS=1.
func fromShared(t *testing.T, name string) string {
	t.Helper()
	required := os.Getenv("REQUIRE_VECTORS") == "1"
	b, err := os.ReadFile(filepath.Join(shared, name))
	if err != nil && !required {
		t.Skipf("shared/%s is not beside the checkout", name)
	} else if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// tool returns the path of a program. Without it the test is skipped, and fails
// under REQUIRE_VECTORS=1: make deps installs what the tests need.
func tool(t *testing.T, name string) string {
	t.Helper()
	required := os.Getenv("REQUIRE_VECTORS") == "1"
	for _, dir := range []string{"", "/usr/sbin/", "/sbin/", "/usr/lib/systemd/"} {
		if path, err := exec.LookPath(dir + name); err == nil {
			return path
		}
	}
	if required {
		t.Fatalf("%s is not installed", name)
	}
	t.Skipf("%s is not installed", name)
	return ""
}

// fields splits a table of a README: the cells of each row below the header that
// starts with the cell first.
func fields(t *testing.T, path, first string) [][]string {
	t.Helper()
	var rows [][]string
	in := false
	for line := range strings.Lines(read(t, path)) {
		if !strings.HasPrefix(line, "|") {
			in = false
			continue
		}
		cells := strings.Split(strings.Trim(strings.TrimSpace(line), "|"), "|")
		for i := range cells {
			cells[i] = strings.Trim(strings.TrimSpace(cells[i]), "`")
		}
		switch {
		case cells[0] == first:
			in = true
		case in && strings.Trim(cells[0], "-") != "":
			rows = append(rows, cells)
		}
	}
	if len(rows) == 0 {
		t.Fatalf("%s has no table with the column %q", path, first)
	}
	return rows
}

var spdx = regexp.MustCompile(`(?m)^(#|//) SPDX-License-Identifier: Apache-2\.0$`)

func TestLicence(t *testing.T) {
	plain := []string{".md", ".json", ".desc", ".example", ".lock", ".list", ".go"} // Go: archtest
	// What is written to the image byte for byte, or measured.
	raw := []string{"board/common/cmdline.in", "board/common/os-release.in", "board/common/loader.conf"}
	walk(t, ".", func(path string, d fs.DirEntry) {
		switch {
		case !d.Type().IsRegular(), slices.Contains(plain, filepath.Ext(path)), slices.Contains(raw, path), strings.Contains(path, "testdata/"):
		case !spdx.MatchString(read(t, path)):
			t.Errorf("%s names no licence", path)
		}
	})
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// run returns the exit status of a program and all that it printed.
func run(t *testing.T, cmd *exec.Cmd) (int, string) {
	t.Helper()
	out, err := cmd.CombinedOutput()
	if _, ended := errors.AsType[*exec.ExitError](err); err != nil && !ended {
		t.Fatal(err)
	}
	return cmd.ProcessState.ExitCode(), string(out)
}

// overlayFiles are the files of the overlay that are no links.
func overlayFiles(t *testing.T) []string {
	t.Helper()
	var paths []string
	walk(t, overlay, func(path string, d fs.DirEntry) {
		if d.Type().IsRegular() {
			paths = append(paths, path)
		}
	})
	return paths
}
