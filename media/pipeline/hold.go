// SPDX-License-Identifier: Apache-2.0

package pipeline

import (
	"errors"
	"time"

	"incamera/media/e2ee"
	"incamera/media/frame"
)

const (
	holdFrames    = 64                     // of an epoch not known yet
	holdTime      = 250 * time.Millisecond // media overtakes a commit by this much at most
	retryInterval = 10 * time.Millisecond
)

// An arrival is one sealed frame as it came from a peer.
type arrival struct {
	wire []byte
	t    time.Duration // in the sender's stream, or the instant of arrival
	seq  uint32        // of sound
	gap  bool          // frames were lost before it
	at   time.Time     // when it was pushed
}

// What became of a frame.
type outcome int

const (
	nothing outcome = iota // no frame can be opened now
	opened
	refused
	late // its epoch did not come in time
)

// A hold opens frames in order. A frame of an unknown epoch waits until its
// epoch is known, at most 250 ms, and those behind it wait with it, at most 64.
type hold struct {
	kind   frame.Kind
	opener Opener
	ring   [holdFrames]arrival
	head   int
	n      int
	data   []byte // the frame that opened last
}

// waiting reports whether frames wait for their epoch.
func (h *hold) waiting() bool { return h.n > 0 }

// next opens the next frame: the one held longest, else the first in the
// queue. The data are the hold's own until the next call.
func (h *hold) next(now time.Time, q *Queue[arrival], from e2ee.Leaf) ([]byte, arrival, outcome) {
	if h.n == 0 && !h.take(q) {
		return nil, arrival{}, nothing
	}
	a := h.ring[h.head]
	if need := len(a.wire); cap(h.data) < need {
		h.data = make([]byte, 0, 2*need)
	}
	data, err := h.opener.Open(h.data[:0], h.kind, from, a.wire)
	what := opened
	switch {
	case err == nil:
	case !errors.Is(err, e2ee.ErrUnknownEpoch):
		what = refused
	case now.Sub(a.at) < holdTime && h.takeAll(q):
		return nil, arrival{}, nothing
	default:
		what = late
	}
	h.ring[h.head] = arrival{}
	h.head = (h.head + 1) % holdFrames
	h.n--
	return data, a, what
}

// take moves the first frame of the queue here.
func (h *hold) take(q *Queue[arrival]) bool {
	a, ok := q.TryPop()
	if ok {
		h.ring[(h.head+h.n)%holdFrames] = a
		h.n++
	}
	return ok
}

// takeAll moves all frames of the queue here and reports whether there is room.
func (h *hold) takeAll(q *Queue[arrival]) bool {
	for h.n < holdFrames {
		if !h.take(q) {
			return true
		}
	}
	return false
}
