// SPDX-License-Identifier: Apache-2.0

package sframe

import (
	"errors"
	"math/bits"
)

// ErrLayout reports a value that does not fit in its field of a key identifier.
var ErrLayout = errors.New("sframe: value does not fit in the key identifier")

// A Layout divides a key identifier between the values that MLS gives it (RFC
// 9605, Section 5.2):
//
//	 64-S-E bits   S bits   E bits
//	+------------+--------+--------+
//	|  context   |  leaf  | epoch  |
//	+------------+--------+--------+
//
// A receiver knows E beforehand. It reads the epoch with [Layout.Epoch], finds
// the group of that epoch, and so learns S.
type Layout struct {
	EpochBits uint // E: how many low bits of the epoch are sent
	LeafBits  uint // S: what a leaf index of the epoch's tree needs; see [LeafBits]
}

// LeafBits returns S for a tree with so many leaf slots: the smallest number of
// bits that indexes all. Blank slots count, since an index may lie behind them.
func LeafBits(slots uint32) uint {
	if slots == 0 {
		return 0
	}
	return uint(bits.Len32(slots - 1))
}

// KID composes an identifier. Of the epoch it takes the low bits. The error is
// [ErrLayout].
func (l Layout) KID(context uint64, leaf uint32, epoch uint64) (uint64, error) {
	if l.EpochBits > 32 || l.LeafBits > 31 {
		return 0, ErrLayout
	}
	if uint64(leaf)>>l.LeafBits != 0 || context>>(64-l.LeafBits-l.EpochBits) != 0 {
		return 0, ErrLayout
	}
	return context<<(l.LeafBits+l.EpochBits) | uint64(leaf)<<l.EpochBits | l.Epoch(epoch), nil
}

// Epoch returns the low bits of v, an identifier or an epoch, that name the
// epoch.
func (l Layout) Epoch(v uint64) uint64 { return v & (1<<l.EpochBits - 1) }

// Split returns context and leaf of an identifier.
func (l Layout) Split(kid uint64) (context uint64, leaf uint32) {
	kid >>= l.EpochBits
	return kid >> l.LeafBits, uint32(kid & (1<<l.LeafBits - 1))
}
