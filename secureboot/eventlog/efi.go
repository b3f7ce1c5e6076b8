// SPDX-License-Identifier: Apache-2.0

package eventlog

import (
	"encoding/binary"
	"unicode/utf16"
)

// GUID is an EFI_GUID as it stands in memory: the first three fields are little
// endian.
type GUID [16]byte

// The vendors of the variables that decide about Secure Boot (UEFI 2.10,
// Sections 3.3 and 32.6).
var (
	GlobalVariable   = GUID{0x61, 0xdf, 0xe4, 0x8b, 0xca, 0x93, 0xd2, 0x11, 0xaa, 0x0d, 0x00, 0xe0, 0x98, 0x03, 0x2b, 0x8c}
	SecurityDatabase = GUID{0xcb, 0xb2, 0x19, 0xd7, 0x3a, 0x3d, 0x96, 0x45, 0xa3, 0xbc, 0xda, 0xd0, 0x0e, 0x67, 0x65, 0x6f}
)

// Variable returns UEFI_VARIABLE_DATA, which is both the data of an event about
// a variable and what its digest is of (PFP, Section 10.2.6).
func Variable(vendor GUID, name string, value []byte) []byte {
	chars := utf16.Encode([]rune(name))
	b := append([]byte(nil), vendor[:]...)
	b = binary.LittleEndian.AppendUint64(b, uint64(len(chars)))
	b = binary.LittleEndian.AppendUint64(b, uint64(len(value)))
	for _, c := range chars {
		b = binary.LittleEndian.AppendUint16(b, c)
	}
	return append(b, value...)
}

// ImageLoad returns UEFI_IMAGE_LOAD_EVENT, the data of the events of PCRs 2 and
// 4 (PFP, Section 10.2.3): where an image of size bytes was loaded from, here a
// file path of the boot volume. The digest of the event is that of the image.
func ImageLoad(size int, path string) []byte {
	// EFI_DEVICE_PATH_PROTOCOL (UEFI 2.10, Section 10.3): a media node with a
	// NUL-terminated path, then the end node.
	name := UTF16(path)
	device := binary.LittleEndian.AppendUint16([]byte{4, 4}, uint16(4+len(name)))
	device = append(device, name...)
	device = append(device, 0x7f, 0xff, 4, 0)

	b := make([]byte, 8, 32+len(device)) // no address: it would differ at every start
	b = binary.LittleEndian.AppendUint64(b, uint64(size))
	b = binary.LittleEndian.AppendUint64(b, 0)
	b = binary.LittleEndian.AppendUint64(b, uint64(len(device)))
	return append(b, device...)
}

// UTF16 returns a string as UEFI has it: UTF-16, little endian, with its NUL.
func UTF16(s string) []byte {
	var b []byte
	for _, c := range utf16.Encode([]rune(s + "\x00")) {
		b = binary.LittleEndian.AppendUint16(b, c)
	}
	return b
}
