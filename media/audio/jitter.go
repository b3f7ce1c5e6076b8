// SPDX-License-Identifier: Apache-2.0

package audio

import (
	"sync"
	"time"

	"incamera/media/frame"
)

// Bounds of a [JitterBuffer].
const (
	// PacketTime is the length of every packet of sound in a meeting.
	PacketTime = 20 * time.Millisecond
	// MaxPacket is the largest Opus packet (RFC 6716, Section 3.2.1: 1275
	// bytes a frame, one frame a packet). Ours have 256.
	MaxPacket = 1275

	// maxPackets bounds what waits, and so the delay that we add: 200 ms.
	maxPackets = 10
	// slots is a power of two above maxPackets.
	slots = 16
	// minTarget is two packets where one is played: 20 to 40 ms of waiting.
	minTarget = 2
	// farJump is how many packets a sequence number may be away before it
	// counts as another stream: RFC 3550, Appendix A.1, takes 3000 packets for
	// loss; ours are bounded by time, here 1.3 s.
	farJump = 64
	// calm is how many packets are played before their least depth counts as
	// lasting: 3 s, so that a network that stutters once a second keeps what
	// it needs.
	calm = 150
	// shallow and deep bound the least depth, in periods of 10 ms, between
	// which nothing is corrected: one packet where one is played, and three.
	shallow, deep = 2, 6
	// wander is how often the least transit time is forgotten, so that it
	// follows a drifting clock: 100 ppm are 0.5 ms in these 5 s.
	wander = 250
)

// A JitterBuffer puts the packets of one sender in order and evens out their
// arrival.
//
// It counts in packets, not in instants, so the clock of the loudspeaker rules
// and the drift of the sender's clock shows as a change of depth. What waits is
// usually 20 to 40 ms, as much as arrival scatters, and never above 200 ms. The
// memory is fixed, and neither method allocates.
//
// Packets come from authenticated members but pass through a network, so every
// number may lie: each sequence of calls leaves the buffer within its bounds.
// One goroutine may Put while another calls Next.
type JitterBuffer struct {
	mu     sync.Mutex
	slot   [slots]packet
	next   uint32 // sequence number to be played
	newest uint32 // highest present; meaningful while count > 0
	count  int    // slots in use
	state  bufferState
	begun  bool   // something was played since the numbering began
	starve int    // periods concealed in a row because nothing was there
	stray  uint32 // follows the last packet of a strange numbering
	odd    bool   // stray is set

	transit transit
	depth   depth
	stats   JitterStats

	out [MaxPacket]byte // lent by Next
}

type bufferState uint8

const (
	fresh   bufferState = iota // nothing came yet, or everything restarts
	filling                    // waiting until the target is reached
	playing
)

type packet struct {
	used bool
	seq  uint32
	n    int
	data [MaxPacket]byte
}

// JitterStats counts since the buffer was made.
type JitterStats struct {
	Played, Concealed     uint64 // results of Next while a stream was playing
	Late, Duplicate       uint64 // came after their turn; came twice
	Dropped               uint64 // given up to keep within 200 ms
	Refused               uint64 // too large, empty or of a strange numbering
	Restarts              uint64 // the numbering or the stream began anew
	Depth, Target, Jitter time.Duration
}

// Put takes a packet. seq is its RTP sequence number, extended to 32 bits; it
// may wrap. t is the instant at which it arrived, on any monotonic clock. The
// packet is copied.
func (b *JitterBuffer) Put(seq uint32, t time.Duration, packet []byte) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(packet) == 0 || len(packet) > MaxPacket {
		b.stats.Refused++
		return
	}
	if b.state == fresh {
		b.restart(seq)
	}
	ahead := int32(seq - b.next)
	if !b.begun && ahead < 0 && ahead > -maxPackets && b.span(seq) <= maxPackets {
		b.next, ahead = seq, 0 // reordered before anything was played
	}
	switch {
	case ahead >= farJump || ahead <= -farJump:
		// Two in a row are a new numbering, one is a stray.
		if !b.odd || seq != b.stray {
			b.odd, b.stray = true, seq+1
			b.stats.Refused++
			return
		}
		b.stats.Restarts++
		b.restart(seq)
		ahead = 0
	case ahead < 0:
		b.stats.Late++
		return
	}
	b.odd = false
	b.transit.add(seq, t)
	b.store(seq, ahead, packet)
}

// restart begins a stream at seq.
func (b *JitterBuffer) restart(seq uint32) {
	for i := range b.slot {
		b.slot[i].used = false
	}
	b.count, b.starve = 0, 0
	b.next, b.newest, b.state, b.begun = seq, seq, filling, false
	b.transit.reset()
	b.depth.reset()
}

// span is how many packets lie from seq, or the next to play, to the newest.
func (b *JitterBuffer) span(from uint32) int {
	if b.count == 0 {
		return 0
	}
	return int(b.newest-from) + 1
}

func (b *JitterBuffer) store(seq uint32, ahead int32, data []byte) {
	s := &b.slot[seq%slots]
	if s.used && s.seq == seq {
		b.stats.Duplicate++
		return
	}
	if b.count == 0 || int32(seq-b.newest) > 0 {
		if ahead >= maxPackets {
			// Too much waits: keep the newest, as many as the target asks.
			b.skipTo(seq - uint32(b.transit.target()) + 1)
		}
		b.newest = seq
	}
	s.used, s.seq, s.n = true, seq, copy(s.data[:], data)
	b.count++
}

// skipTo gives up every packet before seq.
func (b *JitterBuffer) skipTo(seq uint32) {
	for i := range b.slot {
		if s := &b.slot[i]; s.used && int32(s.seq-seq) < 0 {
			s.used = false
			b.count--
			b.stats.Dropped++
		}
	}
	b.next = seq
	b.depth.reset()
}

// Next gives the packet to be played in the next 20 ms. ok is false when there
// is none: the caller conceals. The slice is the buffer's own, until the next
// call of Next.
func (b *JitterBuffer) Next() (data []byte, ok bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch b.state {
	case fresh:
		return nil, false
	case filling:
		// After a pause everything that was held back may come at once: the
		// newest are in time, the others are past.
		target := b.transit.target()
		if b.span(b.next) < target {
			return nil, false
		}
		if b.span(b.next) > target {
			b.skipTo(b.newest - uint32(target) + 1)
		}
		b.state, b.begun = playing, true
		b.depth.reset()
	case playing:
	}
	b.depth.add(b.span(b.next))
	s := &b.slot[b.next%slots]
	if !s.used && b.count > 0 && b.starve > 0 {
		// What should have come now was already concealed: play on with the
		// first that is there.
		for !b.slot[b.next%slots].used {
			b.next++
		}
		s = &b.slot[b.next%slots]
	}
	if s.used {
		n := copy(b.out[:], s.data[:s.n])
		s.used = false
		b.count--
		b.next++
		b.starve = 0
		b.stats.Played++
		return b.out[:n], true
	}
	b.stats.Concealed++
	if b.count > 0 { // lost, or too late: its turn is over
		b.next++
		return nil, false
	}
	// Nothing is there. To wait makes the buffer deeper by 20 ms, which is
	// what a network needs whose packets come later than before.
	if b.starve++; b.starve >= maxPackets {
		b.state = filling // the sender is muted or gone
		b.stats.Restarts++
		b.transit.reset()
	}
	return nil, false
}

// Excess is by how much sound waited too long for the last seconds, even when
// it waited least: positive if the player should leave 10 ms out, negative if it
// should stretch by as much, 0 if all is well.
//
// The least depth has the jitter in it already: a packet that comes late is
// found when little waits.
func (b *JitterBuffer) Excess() time.Duration {
	b.mu.Lock()
	defer b.mu.Unlock()
	least := b.depth.least()
	switch {
	case b.state != playing:
	case least <= shallow:
		return time.Duration(least-shallow-1) * frame.Period
	case least >= deep && b.depth.whole:
		return time.Duration(least-deep+1) * frame.Period
	}
	return 0
}

// Corrected tells that the player has made the wait longer by that much, or
// shorter if it is negative.
func (b *JitterBuffer) Corrected(by time.Duration) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.depth.move(int(by / frame.Period))
}

// Stats gives the counters.
func (b *JitterBuffer) Stats() JitterStats {
	b.mu.Lock()
	defer b.mu.Unlock()
	s := b.stats
	s.Depth = time.Duration(b.span(b.next)) * PacketTime
	s.Target = time.Duration(b.transit.target()) * PacketTime
	s.Jitter = b.transit.peak
	return s
}

// transit measures how much later than the fastest ones packets arrive.
type transit struct {
	some        bool
	first       uint32 // the sequence number that times are counted from
	fast, older time.Duration
	n           int
	peak        time.Duration
}

// reset forgets the times, which a pause has made useless, and keeps the peak,
// which is a property of the network.
func (m *transit) reset() { m.some = false }

func (m *transit) add(seq uint32, t time.Duration) {
	if !m.some {
		m.some, m.first, m.n = true, seq, 0
		m.fast, m.older = t, t
		return
	}
	took := t - time.Duration(int32(seq-m.first))*PacketTime
	over := took - min(m.fast, m.older)
	if over > 2*maxPackets*PacketTime || over < -2*maxPackets*PacketTime {
		m.reset() // a pause, not jitter
		m.add(seq, t)
		return
	}
	m.fast = min(m.fast, took)
	if m.n++; m.n >= wander {
		m.n, m.older, m.fast = 0, m.fast, took
	}
	// Up at once, down by half in about 4 s.
	if over > m.peak {
		m.peak = over
	} else {
		m.peak -= (m.peak - max(over, 0)) / 256
	}
	if m.n%wander == 0 && int32(seq-m.first) > 1<<24 {
		m.reset() // long before the difference of sequence numbers overflows
	}
}

// target is how many packets should wait when one is played.
func (m *transit) target() int {
	return min(max(int((m.peak+PacketTime-1)/PacketTime)+1, minTarget), maxPackets-1)
}

// depth keeps the least depth of the last 3 to 6 s, in periods of 10 ms.
type depth struct {
	n         int
	now, past int
	whole     bool // past is of whole 3 s
}

func (d *depth) reset() { *d = depth{now: 2 * slots, past: 2 * slots} }

func (d *depth) add(packets int) {
	d.now = min(d.now, 2*packets)
	if d.n++; d.n == calm {
		*d = depth{now: 2 * slots, past: d.now, whole: true}
	}
}

func (d *depth) move(periods int) {
	d.now += periods
	d.past += periods
}

func (d *depth) least() int { return min(d.now, d.past) }
