// SPDX-License-Identifier: Apache-2.0

package measure

import (
	"cmp"
	"crypto/sha256"
	"fmt"
	"slices"
)

// Authenticode returns the SHA-256 by which firmware measures an image into
// PCR 4 and which a signature of the image signs (Windows Authenticode Portable
// Executable Signature Format, "Calculating the PE Image Hash"; UEFI 2.10,
// Section 32.2.4). It covers neither checksum nor signature, so an image has
// the same before and after it is signed, if its length is a multiple of 8 as
// [WriteUKI] makes it.
func Authenticode(pe []byte) ([sha256.Size]byte, error) {
	m, err := parseImage(pe)
	if err != nil {
		return [sha256.Size]byte{}, err
	}
	end := len(pe)
	if m.certificate != 0 {
		// What lies behind the signature would be in no hash.
		if end = int(m.certificate); end+int(m.certSize) != len(pe) {
			return [sha256.Size]byte{}, fmt.Errorf("%w: signature is not at the end", ErrImage)
		}
	}
	h := sha256.New()
	h.Write(pe[:m.pe+checksumAt])
	if m.numDirs > 4 {
		h.Write(pe[m.pe+checksumAt+4 : m.pe+certificateAt])
		h.Write(pe[m.pe+certificateAt+8 : m.headersSize])
	} else {
		h.Write(pe[m.pe+checksumAt+4 : m.headersSize])
	}
	sections := slices.DeleteFunc(slices.Clone(m.sections), func(s sectionHeader) bool { return s.rawSize == 0 })
	slices.SortFunc(sections, func(a, b sectionHeader) int { return cmp.Compare(a.raw, b.raw) })
	hashed := int(m.headersSize)
	for _, s := range sections {
		h.Write(pe[s.raw : s.raw+s.rawSize])
		hashed += int(s.rawSize)
	}
	// Gaps between sections are not hashed; what follows the sum of what was
	// hashed is, whatever it is.
	if hashed < end {
		h.Write(pe[hashed:end])
	}
	return [sha256.Size]byte(h.Sum(nil)), nil
}
