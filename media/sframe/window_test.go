// SPDX-License-Identifier: Apache-2.0

package sframe

import (
	"math"
	"math/rand/v2"
	"testing"
)

// naiveWindow is the twin of window: every value ever marked, in a map.
type naiveWindow struct {
	marked map[uint64]bool
	newest uint64
}

func (n *naiveWindow) seen(ctr uint64) bool {
	if len(n.marked) == 0 || ctr > n.newest {
		return false
	}
	return n.newest-ctr >= windowSize || n.marked[ctr]
}

func (n *naiveWindow) mark(ctr uint64) {
	n.marked[ctr] = true
	n.newest = max(n.newest, ctr)
}

// TestWindowModel compares the window with its twin over random walks that also
// begin close to the largest counter.
func TestWindowModel(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 0))
	for _, start := range []uint64{0, 1, 1000, math.MaxUint32, math.MaxUint64 - 3000} {
		var w window
		twin := naiveWindow{marked: map[uint64]bool{}}
		base := start
		for range 20000 {
			var ctr uint64
			switch rng.IntN(10) {
			case 0: // a jump ahead, at times past the whole window
				ctr = base + rng.Uint64N(3*windowSize)
			case 1: // far behind
				ctr = base - rng.Uint64N(3*windowSize)
			default: // near
				ctr = base + rng.Uint64N(8) - rng.Uint64N(8)
			}
			if start > 1<<62 && ctr < 1<<62 { // wrapped
				ctr = math.MaxUint64
			} else if start < 1<<62 && ctr > 1<<62 {
				ctr = 0
			}
			got, want := w.seen(ctr), twin.seen(ctr)
			if got != want {
				t.Fatalf("start %d: seen(%d) = %v with newest %d, want %v", start, ctr, got, twin.newest, want)
			}
			if !got && rng.IntN(4) > 0 { // the others fail to verify
				w.mark(ctr)
				twin.mark(ctr)
				base = max(base, ctr)
			}
		}
	}
}
