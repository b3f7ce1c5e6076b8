// SPDX-License-Identifier: Apache-2.0

package sframe

import (
	"errors"
	"math"
	"testing"
)

func TestLeafBits(t *testing.T) {
	for slots, want := range map[uint32]uint{0: 0, 1: 0, 2: 1, 3: 2, 4: 2, 5: 3, 8: 3, 9: 4, 1024: 10, 1025: 11, math.MaxUint32: 32} {
		if got := LeafBits(slots); got != want {
			t.Errorf("LeafBits(%d) = %d, want %d", slots, got, want)
		}
	}
}

// TestLayout composes identifiers with E = 4 and trees of several sizes.
func TestLayout(t *testing.T) {
	for _, tt := range []struct {
		s       uint
		context uint64
		leaf    uint32
		epoch   uint64
		want    uint64
	}{
		{0, 0, 0, 0, 0},
		{0, 1, 0, 14, 0x1e},
		{6, 0, 3, 14, 0x3e},
		{6, 0, 20, 14, 0x14e},
		{6, 0, 5, 15, 0x5f},
		{6, 0, 2, 16, 0x20},
		{6, 0, 33, 17, 0x211},
		{6, 2, 33, 17, 0xa11},
		{6, 3, 51, 17, 0xf31},
		{10, 1, 1023, math.MaxUint64, 0x7fff},
	} {
		l := Layout{EpochBits: 4, LeafBits: tt.s}
		kid, err := l.KID(tt.context, tt.leaf, tt.epoch)
		if err != nil || kid != tt.want {
			t.Errorf("%+v.KID(%d, %d, %d) = %#x, %v; want %#x", l, tt.context, tt.leaf, tt.epoch, kid, err, tt.want)
		}
		context, leaf := l.Split(kid)
		if context != tt.context || leaf != tt.leaf || l.Epoch(kid) != tt.epoch%16 {
			t.Errorf("%+v reads %#x as %d, %d, epoch %d", l, kid, context, leaf, l.Epoch(kid))
		}
	}
}

func TestLayoutRejects(t *testing.T) {
	for _, tt := range []struct {
		name    string
		l       Layout
		context uint64
		leaf    uint32
	}{
		{"leaf beyond the tree", Layout{4, 6}, 0, 64},
		{"leaf in a tree of one", Layout{4, 0}, 0, 1},
		{"context that would be cut", Layout{4, 6}, 1 << 54, 0},
		{"too many epoch bits", Layout{33, 0}, 0, 0},
		{"too many leaf bits", Layout{4, 32}, 0, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if kid, err := tt.l.KID(tt.context, tt.leaf, 0); !errors.Is(err, ErrLayout) {
				t.Errorf("KID = %#x, %v; want %v", kid, err, ErrLayout)
			}
		})
	}
}
