// SPDX-License-Identifier: Apache-2.0

package sframe

// windowSize is how far behind the newest frame another may arrive, in frames:
// some 10 s of audio or 30 s of video, longer than any jitter buffer holds.
const windowSize = 1024

// A window remembers which of the last windowSize counter values were used. The
// zero value has seen none.
//
// The bit of counter c lies at c modulo windowSize, so nothing is shifted when
// the window moves: the values that it passes are cleared.
type window struct {
	next uint64 // one more than the newest value, unless full
	full bool   // the newest value is the largest there is, so next has wrapped
	bits [windowSize / 64]uint64
}

// seen reports whether ctr was marked before, or is too old to tell.
func (w *window) seen(ctr uint64) bool {
	if w.beyond(ctr) {
		return false
	}
	if w.next-1-ctr >= windowSize {
		return true
	}
	return w.bits[ctr%windowSize/64]&(1<<(ctr%64)) != 0
}

// mark records ctr, for which seen has just returned false.
func (w *window) mark(ctr uint64) {
	if w.beyond(ctr) {
		if ctr-w.next >= windowSize {
			clear(w.bits[:])
		} else {
			for c := w.next; c != ctr; c++ {
				w.bits[c%windowSize/64] &^= 1 << (c % 64)
			}
		}
		w.next = ctr + 1
		w.full = w.next == 0
	}
	w.bits[ctr%windowSize/64] |= 1 << (ctr % 64)
}

// beyond reports whether ctr is newer than all values marked so far.
func (w *window) beyond(ctr uint64) bool { return !w.full && ctr >= w.next }
