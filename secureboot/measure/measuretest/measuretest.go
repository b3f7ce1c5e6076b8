// SPDX-License-Identifier: Apache-2.0

// Package measuretest makes small images for tests and for the simulated boot.
// They have the form of systemd's and of a kernel's and are no programs: what
// they hold is measured and never run.
package measuretest

import (
	"encoding/binary"
	"fmt"

	"incamera/secureboot/measure"
)

// Stub returns a stub for arm64 with a section .sbat, as systemd-stub has one.
func Stub() []byte {
	return image([]measure.Section{
		{Name: ".text", Data: []byte("code of the stub")},
		{Name: ".sbat", Data: []byte("sbat,1,SBAT Version,sbat,1,https://github.com/rhboot/shim/blob/main/SBAT.md\n")},
	})
}

// Loader returns an image that stands for systemd-boot.
func Loader() []byte {
	return image([]measure.Section{{Name: ".text", Data: []byte("code of the boot loader")}})
}

// Kernel returns an image that stands for a kernel of that version.
func Kernel(version string) []byte {
	return image([]measure.Section{{Name: ".text", Data: []byte("code of the kernel " + version)}})
}

// CommandLine is that of the UKIs made here.
const CommandLine = "console=ttyAMA0 panic=10 incamera.roothash=f0e1d2c3b4a5968778695a4b3c2d1e0ff0e1d2c3b4a5968778695a4b3c2d1e0f incamera.hashoff=4096"

// UKI returns an image of that version: [Stub], [Kernel], a release file, an
// initial file system and [CommandLine].
func UKI(version string) []byte {
	uki, err := measure.WriteUKI(Stub(),
		measure.Section{Name: ".osrel", Data: fmt.Appendf(nil, "ID=in-camera\nVERSION_ID=%s\n", version)},
		measure.Section{Name: ".cmdline", Data: []byte(CommandLine)},
		measure.Section{Name: ".initrd", Data: []byte("initrd of " + version)},
		measure.Section{Name: ".linux", Data: Kernel(version)},
	)
	if err != nil {
		panic(err) // the input is all above
	}
	return uki
}

// image lays out a PE32+ image with room for more sections (PE Format).
func image(sections []measure.Section) []byte {
	const (
		peAt, optional = 0x40, 112 + 16*8
		headers, page  = 0x400, 0x1000
		align          = 0x200
	)
	b := make([]byte, headers)
	le := binary.LittleEndian
	copy(b, "MZ")
	le.PutUint32(b[0x3c:], peAt)
	pe := b[peAt:]
	copy(pe, "PE\x00\x00")
	le.PutUint16(pe[4:], 0xaa64) // arm64
	le.PutUint16(pe[6:], uint16(len(sections)))
	le.PutUint16(pe[20:], optional)
	le.PutUint16(pe[22:], 0x022e) // an executable, stripped
	opt := pe[24:]
	le.PutUint16(opt, 0x20b)
	le.PutUint32(opt[16:], page) // entry point
	le.PutUint32(opt[20:], page)
	le.PutUint32(opt[32:], page)
	le.PutUint32(opt[36:], align)
	le.PutUint32(opt[60:], headers)
	le.PutUint16(opt[68:], 10) // an EFI application
	le.PutUint32(opt[108:], 16)
	for i, s := range sections {
		h := pe[24+optional+40*i:]
		copy(h, s.Name)
		le.PutUint32(h[8:], uint32(len(s.Data)))
		le.PutUint32(h[12:], uint32(page*(i+1)))
		le.PutUint32(h[16:], align)
		le.PutUint32(h[20:], uint32(len(b)))
		le.PutUint32(h[36:], 0x40000040)
		if s.Name == ".text" {
			le.PutUint32(h[36:], 0x60000020) // code that may run
		}
		b = append(b, make([]byte, align)...)
		copy(b[len(b)-align:], s.Data)
		pe = b[peAt:]
	}
	le.PutUint32(pe[24+56:], uint32(page*(len(sections)+1)))
	return b
}
