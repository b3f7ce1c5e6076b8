// SPDX-License-Identifier: Apache-2.0

package buildroot

import (
	"fmt"
	"io/fs"
	"maps"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

var (
	set   = regexp.MustCompile(`^([A-Z0-9_a-z]+)=(y|-?[0-9]+|0x[0-9A-Fa-f]+|"[^"]*")$`)
	unset = regexp.MustCompile(`^# ([A-Z0-9_a-z]+) is not set$`)
)

// parseConfig returns the symbols of a defconfig, a fragment or a resolved
// configuration that start with prefix; what is not set has the value "n".
// Comments that look like nothing else are allowed.
func parseConfig(text, prefix string) (map[string]string, error) {
	symbols := map[string]string{}
	for i, line := range strings.Split(text, "\n") {
		name, value := "", ""
		if m := set.FindStringSubmatch(line); m != nil {
			name, value = m[1], m[2]
		} else if m := unset.FindStringSubmatch(line); m != nil {
			name, value = m[1], "n"
		} else if line == "" || (line[0] == '#' && !strings.Contains(line, prefix)) {
			continue
		}
		if !strings.HasPrefix(name, prefix) {
			return nil, fmt.Errorf("line %d: %q sets nothing", i+1, line)
		}
		if _, twice := symbols[name]; twice {
			return nil, fmt.Errorf("line %d: %s twice", i+1, name)
		}
		symbols[name] = value
	}
	return symbols, nil
}

func TestParseConfig(t *testing.T) {
	got, err := parseConfig("# words\n\nA_B=y\n# A_C is not set\nA_D=\"x y\"\nA_E=-2\nA_F=0x10\n", "A_")
	want := map[string]string{"A_B": "y", "A_C": "n", "A_D": `"x y"`, "A_E": "-2", "A_F": "0x10"}
	if err != nil || !maps.Equal(got, want) {
		t.Errorf("parseConfig = %v, %v; want %v", got, err, want)
	}
	for _, text := range []string{"A_B=m", "A_B=n", "A_B", "A_B = y", " A_B=y", "B_B=y", "A_B=y\nA_B=y", "A_B=y\n# A_B is not set", "#A_B is not set", "# A_B=y", `A_B="x`} {
		if got, err := parseConfig(text, "A_"); err == nil {
			t.Errorf("parseConfig(%q) = %v; want an error", text, got)
		}
	}
}

func defconfig(t *testing.T, name string) map[string]string {
	t.Helper()
	symbols, err := parseConfig(read(t, "configs/"+name), "BR2_")
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return symbols
}

// A symbol is one of Buildroot's, as symbols.tsv lists it.
type symbol struct{ kind, class string }

func buildrootSymbols(t *testing.T) map[string]symbol {
	t.Helper()
	symbols := map[string]symbol{}
	for line := range strings.Lines(fromShared(t, "buildroot/symbols.tsv")) {
		cells := strings.Split(strings.TrimRight(line, "\n"), "\t")
		if len(cells) != 3 {
			t.Fatalf("symbols.tsv: %q", line)
		}
		symbols[cells[0]] = symbol{cells[1], cells[2]}
	}
	if len(symbols) < 9000 { // 9,115 in 2026.02.3
		t.Fatalf("symbols.tsv has %d symbols", len(symbols))
	}
	return symbols
}

// lint returns what is wrong with a line of a defconfig, or "".
func lint(known map[string]symbol, name, value string) string {
	s, ok := known[name]
	switch {
	case !ok:
		return "unknown to Buildroot 2026.02.3"
	case s.class == "L":
		return "a legacy symbol"
	case s.class != "p":
		return "internal: nobody can set it"
	case value == "n" && s.kind != "b":
		return "no switch, so it cannot be off"
	case value == "n":
		return ""
	}
	kind := "s"
	switch {
	case value == "y":
		kind = "b"
	case strings.HasPrefix(value, "0x"):
		kind = "h"
	case value[0] != '"':
		kind = "i"
	}
	if kind != s.kind {
		return fmt.Sprintf("of type %s, and %s is of type %s", s.kind, value, kind)
	}
	return ""
}

func TestSymbols(t *testing.T) {
	known := buildrootSymbols(t)
	for _, c := range [][2]string{
		{"BR2_PACKAGE_RPI_FIRMWARE_VARIANT_PI5", "y"}, // never existed
		{"BR2_GCC_VERSION_12_X", "y"},                 // legacy
		{"BR2_LINUX_KERNEL_VERSION", `"6.12"`},        // internal
		{"BR2_LINUX_KERNEL", `"y"`},                   // a switch
		{"BR2_LINUX_KERNEL_DEFCONFIG", "y"},           // a text
		{"BR2_LINUX_KERNEL_DEFCONFIG", "n"},
	} {
		if lint(known, c[0], c[1]) == "" {
			t.Errorf("lint takes %s=%s", c[0], c[1])
		}
	}
	for _, name := range []string{"BR2_PACKAGE_IN_CAMERA", "BR2_PACKAGE_IN_CAMERA_EFI"} {
		known[name] = symbol{"b", "p"} // of this tree
	}
	for _, config := range boards {
		for name, value := range defconfig(t, config) {
			if problem := lint(known, name, value); problem != "" {
				t.Errorf("%s: %s is %s", config, name, problem)
			}
		}
	}
	for _, path := range glob(t, "package/*/Config.in") {
		for _, name := range regexp.MustCompile(`BR2_[A-Z0-9_a-z]+`).FindAllString(read(t, path), -1) {
			if _, ok := known[name]; !ok {
				t.Errorf("%s: %s is unknown to Buildroot 2026.02.3", path, name)
			}
		}
		if !strings.Contains(read(t, "Config.in"), "\nsource \"$BR2_EXTERNAL_IN_CAMERA_PATH/"+path+"\"\n") {
			t.Errorf("Config.in does not read %s", path)
		}
	}
	for _, symbol := range []string{"LIBVPX", "LIBYUV", "OPUS", "ALSA_LIB", "WEBRTC_AUDIO_PROCESSING"} {
		if !strings.Contains(read(t, "package/in-camera/Config.in"), "select BR2_PACKAGE_"+symbol+"\n") {
			t.Errorf("roomd links %s, and its package does not select it", symbol)
		}
	}
}

// TestGoVersion checks that Buildroot's Go builds the module: 1.26.3, which
// fetches no other.
func TestGoVersion(t *testing.T) {
	gomod := read(t, "../go.mod")
	m := regexp.MustCompile(`(?m)^go 1\.26\.(\d+)$`).FindStringSubmatch(gomod)
	if m == nil {
		t.Fatal("go.mod does not ask for a release of Go 1.26")
	}
	if patch, err := strconv.Atoi(m[1]); err != nil || patch > 3 {
		t.Errorf("go.mod asks for Go 1.26.%s; Buildroot 2026.02.3 has 1.26.3", m[1])
	}
	if regexp.MustCompile(`(?m)^(toolchain|tool|replace) `).MatchString(gomod) {
		t.Error("go.mod has a toolchain, tool or replace line")
	}
}

// TestClaims checks that nothing claims what nobody has seen: no board was built
// or booted, and no receipt says that Buildroot accepted its configuration.
func TestClaims(t *testing.T) {
	claim := "configuration-" + "checked"
	pages := []string{"../README.md", "../Makefile"}
	for _, pattern := range []string{"../*/README.md", "../.github/*/*"} {
		found, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		pages = append(pages, found...)
	}
	walk(t, ".", func(path string, d fs.DirEntry) {
		if d.Type().IsRegular() {
			pages = append(pages, path)
		}
	})
	for _, page := range pages {
		text := strings.ReplaceAll(read(t, page), "not "+claim, "")
		if strings.Contains(text, claim) {
			t.Errorf("%s says %q, and there is no receipt", page, claim)
		}
	}
	rows := fields(t, "board/README.md", "board")
	for board, config := range boards {
		i := slices.IndexFunc(rows, func(cells []string) bool { return cells[0] == board })
		if i < 0 || !strings.Contains(rows[i][len(rows[i])-1], "never built or booted") {
			t.Errorf("board/README.md does not say that %s was never built or booted", board)
		}
		if !strings.Contains(read(t, "configs/"+config), "Never built or booted") {
			t.Errorf("%s does not say that it was never built or booted", config)
		}
	}
}
