// SPDX-License-Identifier: Apache-2.0

package measure

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// MaxImage bounds a PE image, in bytes. The ESP that holds two has 128 MiB.
const MaxImage = 128 << 20

// maxSections is far more than a UKI has: a stub has 6, we add 4.
const maxSections = 32

// ErrImage means that bytes are not a PE image that can be measured without
// doubt.
var ErrImage = errors.New("measure: not an image")

// Section is a section of a PE image.
type Section struct {
	Name string // with its dot, such as ".linux"
	// Data is what lies in memory once the image is loaded and what the stub
	// measures: as long as the section's virtual size, not padded as in the
	// file. From [Sections] it shares memory with the image.
	Data []byte
}

// doubtful are sections that one version of systemd-stub measures and another
// does not. We use none of them.
var doubtful = []string{".ucode", ".profile", ".dtbauto", ".hwids", ".efifw"}

// Sections returns the sections of a UKI in the order of the file. It refuses
// an image of which a stub might measure something else than [PCR11] does: one
// where a name is doubtful or comes twice, where sections overlap, or where
// what is measured is not all in the file. Errors wrap [ErrImage].
func Sections(uki []byte) ([]Section, error) {
	m, err := parseImage(uki)
	if err != nil {
		return nil, err
	}
	var sections []Section
	for i, h := range m.sections {
		if err := checkName(h.name, m.sections[:i]); err != nil {
			return nil, fmt.Errorf("%w: %w", ErrImage, err)
		}
		if h.virtualSize > h.rawSize && slices.Contains(order, h.name) {
			return nil, fmt.Errorf("%w: section %q is longer in memory than in the file", ErrImage, h.name)
		}
		sections = append(sections, Section{h.name, uki[h.raw:][:min(h.virtualSize, h.rawSize)]})
	}
	if !slices.ContainsFunc(sections, func(s Section) bool { return s.Name == ".linux" }) {
		return nil, fmt.Errorf("%w: no section .linux, so no UKI", ErrImage)
	}
	return sections, nil
}

// checkName refuses a name that could count as another section's. Stubs up to
// 252 compare only as many bytes as the known name has.
func checkName(name string, before []sectionHeader) error {
	if slices.Contains(doubtful, name) {
		return fmt.Errorf("section %s: not every stub measures it", name)
	}
	for _, known := range order {
		if name != known && strings.HasPrefix(name, known) {
			return fmt.Errorf("section %q: a stub may take it for %s", name, known)
		}
		if name == known && slices.ContainsFunc(before, func(h sectionHeader) bool { return h.name == name }) {
			return fmt.Errorf("section %s twice", name)
		}
	}
	return nil
}

// Offsets and sizes of Microsoft's PE Format, "COFF File Header" and "Optional
// Header (Image Only)", PE32+. Those of fields count from the "PE" signature.
const (
	peOffset       = 0x3c // in the file: where the signature is
	numSectionsAt  = 6
	symbolsAt      = 12 // pointer and number
	optionalSizeAt = 20
	optionalAt     = 24 // the optional header
	initializedAt  = optionalAt + 8
	sectionAlignAt = optionalAt + 32
	fileAlignAt    = optionalAt + 36
	imageSizeAt    = optionalAt + 56
	headersSizeAt  = optionalAt + 60
	checksumAt     = optionalAt + 64
	numDirsAt      = optionalAt + 108
	dirsAt         = optionalAt + 112
	certificateAt  = dirsAt + 4*8 // the certificate table's entry

	sectionHeaderSize = 40
)

type sectionHeader struct {
	name                 string
	virtual, virtualSize uint32 // relative to the image base
	raw, rawSize         uint32 // in the file
}

// image is a parsed PE32+ image. All offsets and sizes in it lie inside the
// file and sections overlap neither there nor in memory.
type image struct {
	b            []byte
	pe           int // offset of the signature
	table        int // offset of the section table
	sectionAlign uint32
	fileAlign    uint32
	headersSize  uint32
	numDirs      uint32
	certificate  uint32 // offset in the file, 0 if there is none
	certSize     uint32
	sections     []sectionHeader
}

func parseImage(b []byte) (*image, error) {
	m, err := parsePE(b)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrImage, err)
	}
	return m, nil
}

func parsePE(b []byte) (*image, error) {
	if len(b) > MaxImage {
		return nil, fmt.Errorf("%d bytes, more than %d", len(b), MaxImage)
	}
	if len(b) < peOffset+4 || b[0] != 'M' || b[1] != 'Z' {
		return nil, errors.New("no DOS header")
	}
	at := binary.LittleEndian.Uint32(b[peOffset:])
	if uint64(at)+dirsAt > uint64(len(b)) || !bytes.HasPrefix(b[at:], []byte("PE\x00\x00")) {
		return nil, errors.New("no PE header")
	}
	m := &image{b: b, pe: int(at)}
	if magic := m.u16(optionalAt); magic != 0x20b {
		return nil, fmt.Errorf("optional header %#x, not PE32+", magic)
	}
	m.sectionAlign, m.fileAlign, m.headersSize = m.u32(sectionAlignAt), m.u32(fileAlignAt), m.u32(headersSizeAt)
	if !isAlignment(m.sectionAlign) || !isAlignment(m.fileAlign) {
		return nil, fmt.Errorf("alignment %d in memory, %d in the file", m.sectionAlign, m.fileAlign)
	}
	optional := int(m.u16(optionalSizeAt))
	m.numDirs = m.u32(numDirsAt)
	if m.numDirs > 16 || optional < dirsAt-optionalAt+8*int(m.numDirs) {
		return nil, fmt.Errorf("%d data directories in %d bytes", m.numDirs, optional)
	}
	m.table = m.pe + optionalAt + optional
	n := int(m.u16(numSectionsAt))
	if n > maxSections {
		return nil, fmt.Errorf("%d sections, more than %d", n, maxSections)
	}
	end := m.table + n*sectionHeaderSize
	if int64(m.headersSize) > int64(len(b)) || end > int(m.headersSize) {
		return nil, errors.New("headers cut short")
	}
	if m.numDirs > 4 {
		m.certificate, m.certSize = m.u32(certificateAt), m.u32(certificateAt+4)
		if m.certSize == 0 {
			m.certificate = 0
		} else if uint64(m.certificate)+uint64(m.certSize) > uint64(len(b)) {
			return nil, errors.New("signature past the end of the file")
		}
	}
	for i := range n {
		m.sections = append(m.sections, parseSection(b[m.table+i*sectionHeaderSize:][:sectionHeaderSize]))
	}
	return m, m.checkLayout()
}

func parseSection(b []byte) sectionHeader {
	name, _, _ := bytes.Cut(b[:8], []byte{0})
	return sectionHeader{
		name:        string(name),
		virtualSize: binary.LittleEndian.Uint32(b[8:]),
		virtual:     binary.LittleEndian.Uint32(b[12:]),
		rawSize:     binary.LittleEndian.Uint32(b[16:]),
		raw:         binary.LittleEndian.Uint32(b[20:]),
	}
}

// isAlignment accepts powers of two from 32, which old linkers use, up to 64
// KiB, the largest page of arm64.
func isAlignment(n uint32) bool { return n >= 32 && n <= 64<<10 && n&(n-1) == 0 }

// checkLayout keeps every section inside the file and apart from the headers
// and from one another, in the file and in memory.
func (m *image) checkLayout() error {
	type span struct{ from, to uint64 }
	files, memory := []span{{0, uint64(m.headersSize)}}, []span{{0, uint64(m.headersSize)}}
	for i := range m.sections {
		h := &m.sections[i]
		if h.rawSize == 0 {
			h.raw = 0 // there is nothing there
		} else {
			files = append(files, span{uint64(h.raw), uint64(h.raw) + uint64(h.rawSize)})
		}
		memory = append(memory, span{uint64(h.virtual), uint64(h.virtual) + uint64(h.virtualSize)})
	}
	if m.certificate != 0 {
		files = append(files, span{uint64(m.certificate), uint64(m.certificate) + uint64(m.certSize)})
	}
	for _, spans := range [][]span{files, memory} {
		slices.SortFunc(spans, func(a, b span) int { return cmp.Compare(a.from, b.from) })
		for i := 1; i < len(spans); i++ {
			if spans[i].from < spans[i-1].to {
				return errors.New("sections overlap")
			}
		}
	}
	if files[len(files)-1].to > uint64(len(m.b)) {
		return errors.New("section past the end of the file")
	}
	if memory[len(memory)-1].to > uint64(m.u32(imageSizeAt)) {
		return errors.New("section past the end of the image")
	}
	return nil
}

func (m *image) u16(at int) uint16 { return binary.LittleEndian.Uint16(m.b[m.pe+at:]) }
func (m *image) u32(at int) uint32 { return binary.LittleEndian.Uint32(m.b[m.pe+at:]) }
