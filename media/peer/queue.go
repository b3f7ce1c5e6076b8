// SPDX-License-Identifier: Apache-2.0

package peer

import "time"

// Bounds of the queues of one peer.
const (
	videoFrames = 8
	videoAge    = 250 * time.Millisecond
	audioFrames = 5
)

// A queued frame is a sealed frame that waits to be sent.
type queued struct {
	wire []byte
	pts  time.Duration
	at   time.Duration // when it was queued
	key  bool
}

// A queue is a ring of frames that keeps their memory. The oldest is the head.
type queue struct {
	ring []queued
	from int
	n    int
}

func newQueue(size int) queue { return queue{ring: make([]queued, size)} }

func (q *queue) at(i int) *queued { return &q.ring[(q.from+i)%len(q.ring)] }

// push copies a frame to the end. There must be room.
func (q *queue) push(wire []byte, pts time.Duration, key bool, now time.Duration) {
	f := q.at(q.n)
	f.wire = append(f.wire[:0], wire...)
	f.pts, f.key, f.at = pts, key, now
	q.n++
}

// pop removes the head. Its memory is used again by a later push.
func (q *queue) pop() {
	q.from = (q.from + 1) % len(q.ring)
	q.n--
}

// truncate removes all but the first n frames.
func (q *queue) truncate(n int) { q.n = min(q.n, n) }

// A videoQueue keeps to the bounds by dropping whole runs: what follows a
// dropped frame is worth nothing before the next key frame.
type videoQueue struct {
	queue
	sending bool // the head is partly sent: it stays
	needKey bool // nothing enters but a key frame
	dropped uint64
}

// push queues a frame or drops it, or others for it. wanted reports that a key
// frame should be asked for.
func (q *videoQueue) push(wire []byte, pts time.Duration, key bool, now time.Duration) (wanted bool) {
	if q.needKey && !key {
		q.dropped++
		return false // asked already
	}
	first := 0 // of those that may be dropped
	if q.sending {
		first = 1
	}
	if q.n == len(q.ring) || q.n > first && now-q.at(first).at > videoAge {
		q.dropped += uint64(q.n - first)
		q.truncate(first)
		if !key {
			q.dropped++
			q.needKey = true
			return true
		}
	}
	q.needKey = false
	q.queue.push(wire, pts, key, now)
	return false
}

// reset drops everything but the head if it is partly sent, and waits for a key
// frame.
func (q *videoQueue) reset() {
	first := 0
	if q.sending {
		first = 1
	}
	q.dropped += uint64(q.n - first)
	q.truncate(first)
	q.needKey = true
}
