// SPDX-License-Identifier: Apache-2.0

package peer

import "time"

// holeLimit is how long a frame may wait for packets that are missing: several
// rounds of NACK. After it a key frame is faster.
const holeLimit = 150 * time.Millisecond

// resyncAfter is how many packets in a row must be far behind before the
// assembler believes that the sender counts from somewhere else.
const resyncAfter = 64

// An assembler puts frames together from packets that come in any order. A
// frame is whole when it begins with a packet that says so, every number up to
// the marker is there, and the frame before it was handed over or given up.
//
//	   next            scan                newest
//	    v               v                   v
//	... S  .  .  .  .  ( )  .  M  S  .  M
//	    \__ the head __/hole
//
// It holds at most 256 packets and is owned by one goroutine. Its clock is
// whatever its caller passes. Each insert is followed by takes until there is
// nothing more to take.
type assembler struct {
	slots  [maxPackets]slot // by number modulo 256
	next   uint64           // the first number not yet handed over or given up
	scan   uint64           // the head is in order and complete up to here
	newest uint64           // one past the highest number seen
	first  uint64           // the number that Seq counts from
	size   int              // bytes of the head up to scan
	far    int              // packets in a row that were far behind next
	begun  bool             // a packet came
	ready  bool             // the head is whole
	gap    bool             // numbers were given up since the last frame
	holed  bool             // the head waits for a missing packet
	since  time.Duration    // since when, if holed
	counts assemblerCounts
}

// assemblerCounts is what [Stats] shows of an assembler, since its start.
type assemblerCounts struct {
	repaired  uint64 // packets that filled a hole
	late      uint64 // packets that were there already, or were given up
	lost      uint64 // packets given up that had not come
	discarded uint64 // packets that came and were thrown away for lack of others
}

type slot struct {
	number  uint64 // of the packet; 0: none was here
	stamp   uint32
	marker  bool
	begins  bool
	arrived time.Duration
	payload []byte
}

// An assembled frame is one that is whole.
type assembled struct {
	wire  []byte // new
	stamp uint32
	seq   uint32
	gap   bool
}

// numberBase is where extended numbers begin, so that none is 0 and moving back
// is always possible. Its low 16 bits are 0: those are the wire's.
const numberBase = 1 << 16

func (a *assembler) slot(n uint64) *slot { return &a.slots[n%maxPackets] }

func (a *assembler) has(n uint64) bool { return a.slot(n).number == n }

// insert takes in a packet. It copies the payload.
func (a *assembler) insert(p packet, now time.Duration) {
	if !a.begun {
		a.begun = true
		a.first = numberBase + uint64(p.number)
		a.next, a.scan, a.newest = a.first, a.first, a.first
	}
	n := a.newest + uint64(int64(int16(p.number-uint16(a.newest))))
	if n < a.next {
		far := a.next-n > maxPackets
		if !far || a.far < resyncAfter {
			if far {
				a.far++
			}
			a.counts.late++
			return
		}
		n += 1 << 16 // the sender went on from somewhere else
	}
	a.far = 0
	if n >= a.next+maxPackets {
		a.giveUp(n + 1 - maxPackets)
	}
	if a.has(n) {
		a.counts.late++
		return
	}
	if n < a.newest {
		a.counts.repaired++
	} else {
		a.newest = n + 1
	}
	s := a.slot(n)
	*s = slot{
		number: n, stamp: p.stamp, marker: p.marker, begins: p.begins,
		arrived: now, payload: append(s.payload[:0], p.payload...),
	}
	a.advance()
}

// take returns the next frame that is whole, if there is one. It gives up what
// has waited too long.
func (a *assembler) take(now time.Duration) (assembled, bool) {
	for !a.ready {
		if !a.holed || now-a.since < holeLimit {
			return assembled{}, false
		}
		a.giveUp(a.nextBeginning())
		a.advance()
	}
	f := assembled{
		wire:  make([]byte, 0, a.size),
		stamp: a.slot(a.next).stamp,
		seq:   uint32(a.next - a.first),
		gap:   a.gap,
	}
	for n := a.next; n < a.scan; n++ {
		f.wire = append(f.wire, a.slot(n).payload...)
	}
	a.gap = false
	a.head(a.scan)
	a.advance()
	return f, true
}

// advance looks how far the head is whole.
func (a *assembler) advance() {
	for !a.ready && a.scan < a.newest {
		s := a.slot(a.scan)
		switch {
		case !a.has(a.scan):
			a.wait()
			return
		case a.scan == a.next && !s.begins:
			a.giveUp(a.next + 1) // the middle of a frame whose beginning is gone
		case a.scan > a.next && (s.begins || s.stamp != a.slot(a.next).stamp):
			a.giveUp(a.scan) // no marker ended the frame: not what we send
		default:
			a.size += len(s.payload)
			a.scan++
			a.ready = s.marker
		}
	}
	if !a.ready {
		a.holed = false
	}
}

// wait notes that the packet at scan is missing. It is missed since the packet
// behind it came.
func (a *assembler) wait() {
	if a.holed {
		return
	}
	n := a.scan + 1
	for !a.has(n) {
		n++ // ends at newest-1, which is there
	}
	a.holed, a.since = true, a.slot(n).arrived
}

// nextBeginning returns the first number behind the hole that begins a frame.
func (a *assembler) nextBeginning() uint64 {
	n := a.scan + 1
	for n < a.newest && (!a.has(n) || !a.slot(n).begins) {
		n++
	}
	return n
}

// giveUp gives up all numbers below n.
func (a *assembler) giveUp(n uint64) {
	for i := a.next; i < min(n, a.newest); i++ {
		if a.has(i) {
			a.counts.discarded++
		} else {
			a.counts.lost++
		}
	}
	if n > a.newest {
		a.counts.lost += n - max(a.newest, a.next)
		a.newest = n
	}
	a.gap = true
	a.head(n)
}

// head makes n the beginning of the head.
func (a *assembler) head(n uint64) {
	a.next, a.scan, a.size = n, n, 0
	a.ready, a.holed = false, false
}

// waiting reports when take has something to do even if no packet comes.
func (a *assembler) waiting() (until time.Duration, ok bool) {
	return a.since + holeLimit, a.holed
}
