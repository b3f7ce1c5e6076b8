// SPDX-License-Identifier: Apache-2.0

package measure_test

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"incamera/secureboot/measure"
	"incamera/secureboot/measure/measuretest"
)

// systemdMeasure is where Debian has the tool.
const systemdMeasure = "/usr/lib/systemd/systemd-measure"

// TestSystemdMeasure has systemd's own tool predict PCR 11 for all the sections
// and phases that it knows.
func TestSystemdMeasure(t *testing.T) {
	content := map[string][]byte{
		".linux":   measuretest.Kernel("1"),
		".osrel":   []byte("ID=in-camera\n"),
		".cmdline": []byte(measuretest.CommandLine),
		".initrd":  bytes.Repeat([]byte("initrd"), 5000),
		".splash":  []byte("BM"),
		".dtb":     {0xd0, 0x0d, 0xfe, 0xed},
		".pcrpkey": []byte("-----BEGIN PUBLIC KEY-----\n"),
	}
	compared := 0
	for _, names := range [][]string{
		{".linux", ".osrel", ".cmdline", ".initrd"},
		{".initrd", ".linux"},
		{".pcrpkey", ".dtb", ".splash", ".initrd", ".cmdline", ".osrel", ".linux"},
	} {
		args := []string{"calculate", "--bank=sha256"}
		var sections []measure.Section
		dir := t.TempDir()
		for _, name := range names {
			path := filepath.Join(dir, name)
			if err := os.WriteFile(path, content[name], 0o600); err != nil {
				t.Fatal(err)
			}
			args = append(args, "--"+name[1:]+"="+path)
			sections = append(sections, measure.Section{Name: name, Data: content[name]})
		}
		for n := range len(measure.Phases()) + 1 {
			phases := measure.Phases()[:n]
			phase := strings.Join(phases, ":")
			if n == 0 {
				phase = ":"
			}
			out, err := exec.CommandContext(t.Context(), systemdMeasure, append(args, "--phase="+phase)...).Output()
			if errors.Is(err, os.ErrNotExist) {
				t.Fatal("needs systemd-measure: make deps")
			} else if err != nil {
				t.Fatalf("systemd-measure: %v", err)
			}
			want := pcr11Of(t, out)
			got := measure.PCR11(sections, phases...)
			if hex.EncodeToString(got[:]) != want {
				t.Errorf("PCR11(%v, %v) = %x; systemd-measure says %s", names, phases, got, want)
			}
			compared++
		}
	}
	t.Logf("%d values compared", compared)
}

// pcr11Of takes the value out of a line such as 11:sha256=07af....
func pcr11Of(t *testing.T, out []byte) string {
	t.Helper()
	for lines := bufio.NewScanner(bytes.NewReader(out)); lines.Scan(); {
		if v, ok := strings.CutPrefix(lines.Text(), "11:sha256="); ok && len(v) == 64 {
			return v
		}
	}
	t.Fatalf("systemd-measure printed %q", out)
	return ""
}

// TestPCR11Sections covers what systemd-measure 252 does not know: .uname and
// .sbat, and sections that the stub passes over.
func TestPCR11Sections(t *testing.T) {
	content := func(name string) []byte { return []byte("content of " + name) }
	var want [32]byte
	extend := func(b []byte) {
		digest := sha256.Sum256(b)
		want = sha256.Sum256(slices.Concat(want[:], digest[:]))
	}
	for _, name := range []string{".linux", ".osrel", ".cmdline", ".initrd", ".splash", ".dtb", ".uname", ".sbat", ".pcrpkey"} {
		extend([]byte(name + "\x00"))
		extend(content(name))
	}
	extend([]byte("enter-initrd"))

	var sections []measure.Section
	for _, name := range []string{".text", ".sbat", ".reloc", ".uname", ".pcrpkey", ".pcrsig", ".dtb", ".splash", ".initrd", ".cmdline", ".osrel", ".linux"} {
		sections = append(sections, measure.Section{Name: name, Data: content(name)})
	}
	if got := measure.PCR11(sections, measure.EnterInitrd); got != want {
		t.Errorf("PCR11 = %x; want %x", got, want)
	}
	slices.Reverse(sections)
	if got := measure.PCR11(sections, measure.EnterInitrd); got != want {
		t.Errorf("PCR11 of reversed sections = %x; want %x", got, want)
	}
}

func TestPCR12(t *testing.T) {
	digest := sha256.Sum256([]byte("a\x00=\x00\xe9\x00\x00\x00"))
	want := sha256.Sum256(append(make([]byte, 32), digest[:]...))
	if got := measure.PCR12("a=é"); got != want {
		t.Errorf("PCR12 = %x; want %x", got, want)
	}
}
