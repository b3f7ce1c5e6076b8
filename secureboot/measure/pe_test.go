// SPDX-License-Identifier: Apache-2.0

package measure_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"strings"
	"testing"

	"incamera/secureboot/measure"
	"incamera/secureboot/measure/measuretest"
)

// Where things are in the images of measuretest.
const (
	signature = 0x40
	optional  = signature + 24
	table     = optional + 112 + 16*8
)

func TestSectionsRefuses(t *testing.T) {
	uki := measuretest.UKI("1")
	put16 := func(at int, v uint16) func(b []byte) []byte {
		return func(b []byte) []byte { binary.LittleEndian.PutUint16(b[at:], v); return b }
	}
	put32 := func(at int, v uint32) func(b []byte) []byte {
		return func(b []byte) []byte { binary.LittleEndian.PutUint32(b[at:], v); return b }
	}
	field := func(section, at int) int { return table + section*40 + at }
	name := func(section int, name string) func(b []byte) []byte {
		return func(b []byte) []byte {
			copy(b[field(section, 0):], name+"\x00\x00\x00\x00\x00\x00\x00\x00"[:8-len(name)])
			return b
		}
	}
	const linux = 5 // text, sbat, osrel, cmdline, initrd, linux
	for _, c := range []struct {
		name, want string
		change     func(b []byte) []byte
	}{
		{"nothing", "no DOS header", func([]byte) []byte { return nil }},
		{"a script", "no DOS header", func([]byte) []byte { return []byte("#!/bin/sh\n") }},
		{"beyond the limit", "more than", func([]byte) []byte { return make([]byte, measure.MaxImage+1) }},
		{"the PE header past the end", "no PE header", put32(0x3c, 0xfffffff0)},
		{"the PE header at the last byte", "no PE header", put32(0x3c, uint32(len(uki)-1))},
		{"PE32", "not PE32+", put16(optional, 0x10b)},
		{"an alignment that is no power of two", "alignment", put32(optional+32, 0x1001)},
		{"an alignment of 0", "alignment", put32(optional+36, 0)},
		{"an alignment of 2 GiB", "alignment", put32(optional+32, 1<<31)},
		{"17 data directories", "17 data directories", put32(optional+108, 17)},
		{"2^32-1 data directories", "data directories", put32(optional+108, 0xffffffff)},
		{"data directories past the optional header", "data directories", put16(signature+20, 112)},
		{"65,535 sections", "65535 sections", put16(signature+6, 0xffff)},
		{"32 sections where there is room for fewer", "headers cut short", put16(signature+6, 32)},
		{"an optional header of 65,535 bytes", "headers cut short", put16(signature+20, 0xffff)},
		{"headers past the end", "headers cut short", put32(optional+60, 0xffffffff)},
		{"headers that end before the table", "headers cut short", put32(optional+60, 64)},
		{"a signature past the end", "signature past", func(b []byte) []byte {
			return put32(optional+112+36, 0xffffffff)(put32(optional+112+32, 8)(b))
		}},
		{"a signature over a section", "overlap", func(b []byte) []byte {
			return put32(optional+112+36, 8)(put32(optional+112+32, 0x400)(b))
		}},
		{"a section past the end", "past the end of the file", put32(field(linux, 16), 0x10000000)},
		{"a section whose end wraps", "past the end of the file", put32(field(linux, 16), 0xffffffff)},
		{"a section over the headers", "overlap", put32(field(linux, 20), 0)},
		{"two sections in one place in the file", "overlap", put32(field(linux, 20), 0x400)},
		{"two sections in one place in memory", "overlap", put32(field(linux, 12), 0x1000)},
		{"a section past the image", "past the end of the image", put32(field(linux, 12), 0xfffff000)},
		{"more in memory than in the file", "longer in memory", put32(field(linux, 8), 0x900)},
		{"no kernel", "no section .linux", name(linux, ".kernel")},
		{".osrel twice", ".osrel twice", name(3, ".osrel")},
		{".linux with more", "may take it for .linux", name(0, ".linux2")},
		{".ucode", "not every stub", name(0, ".ucode")},
	} {
		s, err := measure.Sections(c.change(bytes.Clone(uki)))
		if !errors.Is(err, measure.ErrImage) || !strings.Contains(err.Error(), c.want) || s != nil {
			t.Errorf("Sections(%s) = %v; want ErrImage with %q", c.name, err, c.want)
		}
	}
	for n := range uki {
		if _, err := measure.Sections(uki[:n]); err == nil {
			t.Errorf("the first %d of %d bytes pass for the UKI", n, len(uki))
			break
		}
	}
}

// TestEveryMeasuredByte flips each byte of each measured section: another PCR
// 11. Elsewhere in the file it stays, as the stub does not look there.
func TestEveryMeasuredByte(t *testing.T) {
	uki := measuretest.UKI("1")
	sections, err := measure.Sections(uki)
	if err != nil {
		t.Fatal(err)
	}
	want := measure.PCR11(sections)
	measured := 0
	for _, s := range sections {
		for i := range s.Data {
			s.Data[i] ^= 1
			same := measure.PCR11(sections) == want
			s.Data[i] ^= 1
			if same != (s.Name == ".text") {
				t.Errorf("byte %d of %s: PCR 11 stays %v", i, s.Name, same)
			}
			measured++
		}
	}
	t.Logf("%d bytes flipped", measured)
	for cut := range sections {
		if sections[cut].Name == ".text" {
			continue
		}
		rest := append(append([]measure.Section(nil), sections[:cut]...), sections[cut+1:]...)
		if measure.PCR11(rest) == want {
			t.Errorf("PCR 11 stays without %s", sections[cut].Name)
		}
	}
}

// FuzzSections holds for any bytes: what is accepted lies inside the file, has
// each measured section once, and is the same when its sections are written
// again; what is refused is ErrImage.
func FuzzSections(f *testing.F) {
	f.Add(measuretest.UKI("1"))
	f.Add(measuretest.Stub())
	f.Add(measuretest.Kernel("1"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if _, err := measure.Authenticode(b); err != nil && !errors.Is(err, measure.ErrImage) {
			t.Fatal(err)
		}
		sections, err := measure.Sections(b)
		if err != nil {
			if !errors.Is(err, measure.ErrImage) {
				t.Fatal(err)
			}
			return
		}
		total := 0
		var again []measure.Section
		for _, s := range sections {
			total += len(s.Data)
			switch s.Name {
			case ".linux", ".osrel", ".cmdline", ".initrd", ".splash", ".dtb", ".uname", ".pcrpkey":
				if len(s.Data) > 0 {
					again = append(again, s)
				}
			}
		}
		if total > len(b) {
			t.Fatalf("sections of %d bytes in %d", total, len(b))
		}
		events := measure.SectionEvents(sections)
		if len(events) > 18 {
			t.Fatalf("%d measurements", len(events))
		}
		uki, err := measure.WriteUKI(measuretest.Loader(), again...)
		if err != nil {
			return // an empty kernel
		}
		written, err := measure.Sections(uki)
		if err != nil {
			t.Fatal(err)
		}
		if measure.PCR11(written) != measure.PCR11(again) {
			t.Fatal("written again, PCR 11 differs")
		}
	})
}
