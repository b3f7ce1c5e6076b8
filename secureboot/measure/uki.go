// SPDX-License-Identifier: Apache-2.0

package measure

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"slices"
)

// WriteUKI returns the stub with the sections added behind its own, in the
// given order: the same input gives the same bytes. The stub must not be
// signed, and no name may be there already. What follows the stub's last
// section, such as symbols, is left out: nothing loads it.
func WriteUKI(stub []byte, sections ...Section) ([]byte, error) {
	m, err := parseImage(stub)
	if err != nil {
		return nil, fmt.Errorf("stub: %w", err)
	}
	if m.certificate != 0 {
		return nil, errors.New("measure: stub is signed; a section more would break the signature")
	}
	fileEnd, memoryEnd := m.headersSize, m.headersSize
	for _, h := range m.sections {
		fileEnd = max(fileEnd, h.raw+h.rawSize)
		memoryEnd = max(memoryEnd, h.virtual+h.virtualSize)
	}
	tableEnd := m.table + len(m.sections)*sectionHeaderSize
	if room := (int(m.headersSize) - tableEnd) / sectionHeaderSize; len(sections) > room {
		return nil, fmt.Errorf("measure: stub has room for %d sections more, not %d", room, len(sections))
	}
	for i, s := range sections {
		if len(s.Name) < 2 || len(s.Name) > 8 || s.Name[0] != '.' || len(s.Data) == 0 {
			return nil, fmt.Errorf("measure: section %q of %d bytes: needs content and a name of 2 to 8 bytes with a dot", s.Name, len(s.Data))
		}
		if slices.ContainsFunc(m.sections, func(h sectionHeader) bool { return h.name == s.Name }) ||
			slices.ContainsFunc(sections[:i], func(o Section) bool { return o.Name == s.Name }) {
			return nil, fmt.Errorf("measure: section %s twice", s.Name)
		}
	}

	out := slices.Clone(stub[:fileEnd])
	var added uint32
	for i, s := range sections {
		if len(out)+len(s.Data) > MaxImage {
			return nil, fmt.Errorf("measure: UKI has more than %d bytes", MaxImage)
		}
		out = pad(out, m.fileAlign)
		raw, size := len(out), uint32(len(s.Data))
		out = pad(append(out, s.Data...), m.fileAlign)
		rawSize := uint32(len(out) - raw)
		virtual := alignUp(memoryEnd, m.sectionAlign)
		if uint64(virtual)+uint64(size)+uint64(m.sectionAlign) > math.MaxInt32 {
			return nil, errors.New("measure: UKI has no room in memory")
		}
		memoryEnd = virtual + size
		added += rawSize

		h := out[tableEnd+i*sectionHeaderSize:][:sectionHeaderSize]
		clear(h)
		copy(h, s.Name)
		binary.LittleEndian.PutUint32(h[8:], size)
		binary.LittleEndian.PutUint32(h[12:], virtual)
		binary.LittleEndian.PutUint32(h[16:], rawSize)
		binary.LittleEndian.PutUint32(h[20:], uint32(raw))
		binary.LittleEndian.PutUint32(h[36:], 0x40000040) // initialised data, readable
	}
	put := func(at int, v uint32) { binary.LittleEndian.PutUint32(out[m.pe+at:], v) }
	binary.LittleEndian.PutUint16(out[m.pe+numSectionsAt:], uint16(len(m.sections)+len(sections)))
	put(symbolsAt, 0)
	put(symbolsAt+4, 0)
	put(initializedAt, m.u32(initializedAt)+added)
	put(imageSizeAt, alignUp(memoryEnd, m.sectionAlign))
	put(checksumAt, 0) // UEFI does not look at it
	if _, err := Sections(out); err != nil {
		return nil, fmt.Errorf("result: %w", err)
	}
	return out, nil
}

func alignUp(n, alignment uint32) uint32 { return (n + alignment - 1) &^ (alignment - 1) }

// pad appends zeros up to a multiple of the alignment.
func pad(b []byte, alignment uint32) []byte {
	return append(b, make([]byte, int(alignUp(uint32(len(b)), alignment))-len(b))...)
}
