// SPDX-License-Identifier: Apache-2.0

package peer

import (
	"sync"
	"time"
)

// Bounds of the target, in bits a second.
const (
	// initialTarget carries 720p30 from the first picture on: rooms meet on
	// their organisation's own network. Where that is too much, GCC says so
	// within a second.
	initialTarget = 2_500_000
	// minTarget is what sound alone takes, headers included (about 135 kb/s).
	// GCC may say less on a busy computer; less would not even carry sound.
	minTarget = 150_000
	// maxTarget leaves room above the largest picture.
	maxTarget = 8_000_000
)

const (
	// lateStep is when a step of the pacer counts as late: a free processor
	// wakes us within one.
	lateStep = 5 * time.Millisecond
	// lateHold is how long after a late step GCC is not believed when it steps
	// down. Feedback about the packets of that step comes within it.
	lateHold = 500 * time.Millisecond
	// lateLimit bounds the disbelief: a computer that is always late may have a
	// congested network as well.
	lateLimit = 10 * time.Second
)

// A rate turns the estimate of GCC into the target of the sender. It knows two
// things that GCC does not: the least that makes sense, and that packets which
// our own scheduler held up look like congestion.
type rate struct {
	estimator interface{ GetTargetBitrate() int }

	mu       sync.Mutex
	last     int
	lateTill time.Duration // no step down before this instant
	lateFrom time.Duration // since when, without a pause
}

// late records that the pacer woke up late.
func (r *rate) late(now time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if now > r.lateTill {
		r.lateFrom = now
	}
	r.lateTill = now + lateHold
}

func (r *rate) target(now time.Duration) int {
	estimate := min(max(r.estimator.GetTargetBitrate(), minTarget), maxTarget)
	r.mu.Lock()
	defer r.mu.Unlock()
	if estimate < r.last && now < r.lateTill && now-r.lateFrom < lateLimit {
		return r.last
	}
	r.last = estimate
	return estimate
}
