// SPDX-License-Identifier: Apache-2.0

package sframe

import (
	"bytes"
	"slices"
	"testing"
)

// FuzzOpen checks that Open accepts nothing but what the sender sealed, that
// what is accepted was spelt in the one way, and that what is refused changes
// nothing: neither the window nor the caller's bytes, and the genuine frame
// opens afterwards.
func FuzzOpen(f *testing.F) {
	for _, suite := range suites {
		s, _ := pair(f, suite, 0x123)
		for _, ctr := range []uint64{0, 7, 8, 0xFFFF} {
			s.ctr = ctr
			f.Add(uint16(suite), []byte("meta"), mustSeal(f, s, "meta", "frame"))
		}
	}
	f.Add(uint16(AES256GCMSHA512), []byte{}, []byte{0x77})
	f.Add(uint16(AES256GCMSHA512), []byte{}, bytes.Repeat([]byte{0xFF}, 40))
	f.Fuzz(func(t *testing.T, number uint16, metadata, wire []byte) {
		suite := suites[int(number)%len(suites)]
		s, r := pair(t, suite, 0x123)
		s.ctr = 5
		genuine := mustSeal(t, s, "meta", "frame")
		before, input := r.window, slices.Clone(wire)
		dst := []byte("dst")
		got, err := r.Open(dst, metadata, wire)
		if !bytes.Equal(wire, input) || string(dst) != "dst" {
			t.Fatal("Open changed what it was given")
		}
		if err != nil {
			if got != nil || r.window != before {
				t.Fatalf("refused with %v, but returned %x or moved the window", err, got)
			}
			if _, err := r.Open(nil, []byte("meta"), genuine); err != nil {
				t.Fatalf("the genuine frame does not open after %x: %v", wire, err)
			}
			return
		}
		h, _, err := ParseHeader(wire)
		if err != nil {
			t.Fatalf("accepted %x, whose header is malformed", wire)
		}
		again, _ := pair(t, suite, 0x123)
		again.ctr = h.CTR
		if resealed, err := again.Seal(nil, metadata, got[len(dst):]); err != nil || !bytes.Equal(resealed, wire) {
			t.Fatalf("accepted %x, but its frame is sealed as %x, %v", wire, resealed, err)
		}
		if _, err := r.Open(nil, metadata, wire); err == nil {
			t.Fatalf("%x opened twice", wire)
		}
	})
}
