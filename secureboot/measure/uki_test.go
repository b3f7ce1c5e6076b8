// SPDX-License-Identifier: Apache-2.0

package measure_test

import (
	"bytes"
	"debug/pe"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"incamera/secureboot/measure"
	"incamera/secureboot/measure/measuretest"
)

// added are the sections of a UKI, with lengths that are no multiple of any
// alignment.
func added() []measure.Section {
	return []measure.Section{
		{Name: ".osrel", Data: []byte("ID=in-camera\nVERSION_ID=1.5.0\n")},
		{Name: ".cmdline", Data: []byte(measuretest.CommandLine)},
		{Name: ".initrd", Data: bytes.Repeat([]byte("initrd!"), 1001)},
		{Name: ".linux", Data: measuretest.Kernel("1.5.0")},
	}
}

func TestWriteUKI(t *testing.T) {
	stub := measuretest.Stub()
	uki, err := measure.WriteUKI(stub, added()...)
	if err != nil {
		t.Fatal(err)
	}
	again, err := measure.WriteUKI(stub, added()...)
	if err != nil || !bytes.Equal(uki, again) {
		t.Errorf("written twice, the UKI differs (%v)", err)
	}
	got, err := measure.Sections(uki)
	if err != nil {
		t.Fatal(err)
	}
	want := append([]string{".text", ".sbat"}, ".osrel", ".cmdline", ".initrd", ".linux")
	for i, s := range got {
		if s.Name != want[i] {
			t.Errorf("section %d is %s; want %s", i, s.Name, want[i])
		}
		if i >= 2 && !bytes.Equal(s.Data, added()[i-2].Data) {
			t.Errorf("%s: content differs", s.Name)
		}
	}
	if len(got) != len(want) || len(uki)%8 != 0 {
		t.Errorf("%d sections in %d bytes", len(got), len(uki))
	}

	// Another parser finds them where a loader wants them.
	second, err := pe.NewFile(bytes.NewReader(uki))
	if err != nil {
		t.Fatal(err)
	}
	header, ok := second.OptionalHeader.(*pe.OptionalHeader64)
	if !ok || len(second.Sections) != len(want) {
		t.Fatalf("%d sections to debug/pe", len(second.Sections))
	}
	for i, s := range second.Sections {
		content, err := s.Data()
		if err != nil || !bytes.Equal(content[:s.VirtualSize], got[i].Data) {
			t.Errorf("%s: content differs to debug/pe (%v)", s.Name, err)
		}
		if s.VirtualAddress%header.SectionAlignment != 0 || s.Offset%header.FileAlignment != 0 || s.VirtualAddress+s.VirtualSize > header.SizeOfImage {
			t.Errorf("%s lies at %#x, in the file at %#x", s.Name, s.VirtualAddress, s.Offset)
		}
	}
	if header.SizeOfImage%header.SectionAlignment != 0 {
		t.Errorf("size of the image: %#x", header.SizeOfImage)
	}
}

// stubs returns the stub made for tests and, where they are installed, the real
// ones of systemd.
func stubs(t *testing.T) map[string][]byte {
	t.Helper()
	all := map[string][]byte{"test stub": measuretest.Stub()}
	paths, err := filepath.Glob("/usr/lib/systemd/boot/efi/linuxaa64.efi.stub")
	if err != nil {
		t.Fatal(err)
	}
	if dir := os.Getenv("STUBS"); dir != "" {
		more, err := filepath.Glob(filepath.Join(dir, "*.efi.stub"))
		if err != nil || len(more) == 0 {
			t.Fatalf("no stubs in %s: %v", dir, err)
		}
		paths = append(paths, more...)
	}
	for _, path := range paths {
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		all[path] = b
	}
	return all
}

// TestObjcopy builds the same UKI with objcopy, as firmware.md, Section 4 does,
// and compares what the stub will measure.
func TestObjcopy(t *testing.T) {
	for name, stub := range stubs(t) {
		ours, err := measure.WriteUKI(stub, added()...)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		theirs := objcopy(t, stub, added())
		a, err := measure.Sections(ours)
		if err != nil {
			t.Fatal(err)
		}
		b, err := measure.Sections(theirs)
		if err != nil {
			t.Errorf("%s: UKI of objcopy: %v", name, err)
			continue
		}
		x, y := measure.SectionEvents(a), measure.SectionEvents(b)
		if len(x) < 8 || len(x) != len(y) {
			t.Errorf("%s: %d events, with objcopy %d", name, len(x), len(y))
			continue
		}
		for i := range x {
			if x[i] != y[i] {
				t.Errorf("%s: %s differs from objcopy's", name, x[i].Name)
			}
		}
		if measure.PCR11(a) != measure.PCR11(b) {
			t.Errorf("%s: PCR 11 differs from objcopy's", name)
		}
		t.Logf("%s: %d measurements equal, PCR 11 %x", name, len(x), measure.PCR11(a))
	}
}

// objcopy adds sections to a stub at image base plus the end of the last
// section, rounded up to a page.
func objcopy(t *testing.T, stub []byte, sections []measure.Section) []byte {
	t.Helper()
	dir := t.TempDir()
	stubPath, out := filepath.Join(dir, "stub"), filepath.Join(dir, "uki")
	if err := os.WriteFile(stubPath, stub, 0o600); err != nil {
		t.Fatal(err)
	}
	optional := stub[binary.LittleEndian.Uint32(stub[0x3c:])+24:]
	at := binary.LittleEndian.Uint64(optional[24:]) + uint64(binary.LittleEndian.Uint32(optional[56:]))
	var args []string
	for _, s := range sections {
		path := filepath.Join(dir, s.Name)
		if err := os.WriteFile(path, s.Data, 0o600); err != nil {
			t.Fatal(err)
		}
		at = (at + 0xfff) &^ 0xfff
		args = append(args, "--add-section", s.Name+"="+path, "--change-section-vma", fmt.Sprintf("%s=%#x", s.Name, at))
		at += uint64(len(s.Data))
	}
	cmd := exec.CommandContext(t.Context(), "aarch64-linux-gnu-objcopy", append(args, stubPath, out)...)
	if msg, err := cmd.CombinedOutput(); errors.Is(err, exec.ErrNotFound) {
		t.Fatal("needs aarch64-linux-gnu-objcopy: make deps")
	} else if err != nil {
		t.Fatalf("objcopy: %v: %s", err, msg)
	}
	b, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestWriteUKIRefuses(t *testing.T) {
	stub := measuretest.Stub()
	section := func(name string) measure.Section { return measure.Section{Name: name, Data: []byte("x")} }
	var many []measure.Section
	for i := range 20 {
		many = append(many, section(fmt.Sprintf(".n%d", i)))
	}
	signed := bytes.Clone(stub)
	binary.LittleEndian.PutUint32(signed[0x40+24+112+32:], uint32(len(stub)))
	binary.LittleEndian.PutUint32(signed[0x40+24+112+36:], 8)
	signed = append(signed, make([]byte, 8)...)
	for _, c := range []struct {
		name, want string
		stub       []byte
		sections   []measure.Section
	}{
		{"no stub", "no DOS header", nil, added()},
		{"a signed stub", "signed", signed, added()},
		{"no kernel", "no section .linux", stub, added()[:3]},
		{"a name of the stub", ".sbat twice", stub, append(added(), section(".sbat"))},
		{"a name twice", ".linux twice", stub, append(added(), section(".linux"))},
		{"a long name", "2 to 8 bytes", stub, append(added(), section(".osrelease"))},
		{"no name", "2 to 8 bytes", stub, append(added(), section(""))},
		{"an empty section", "needs content", stub, append(added(), measure.Section{Name: ".dtb"})},
		{"a doubtful section", "not every stub", stub, append(added(), section(".ucode"))},
		{"a prefix", "may take it for .dtb", stub, append(added(), section(".dtbx"))},
		{"no room", "has room for", stub, append(added(), many...)},
	} {
		_, err := measure.WriteUKI(c.stub, c.sections...)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("WriteUKI(%s) = %v; want %q", c.name, err, c.want)
		}
	}
}
