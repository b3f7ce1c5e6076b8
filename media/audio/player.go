// SPDX-License-Identifier: Apache-2.0

package audio

import (
	"sync/atomic"
	"time"

	"incamera/media/frame"
)

// packetSamples is how many samples a packet holds.
const packetSamples = 2 * frame.PeriodSamples

// A Decoder turns the packets of one sender into sound. Package codec has one.
type Decoder interface {
	// Decode fills dst with the 20 ms of packet.
	Decode(dst *[packetSamples]float32, packet []byte) error
	// Conceal fills dst with something that hides a packet which is missing.
	Conceal(dst *[packetSamples]float32)
}

const (
	// quietPower is what a pause between words stays below: -50 dB.
	quietPower = 1e-5
	// patience is how many packets the player waits for a quiet spot before
	// it leaves out or stretches in the middle of a word: 1 s.
	patience = 50
	// rest is how many packets pass between two corrections: a tenth faster
	// is not heard as fast.
	rest = 5
)

// A Player plays one member: it takes packets from a [JitterBuffer], decodes
// them and evens out the clocks, 10 ms at a time, in quiet spots and
// cross-faded. It is a [Source].
//
// Put may be called by one goroutine and Period by another.
type Player struct {
	buffer JitterBuffer
	dec    Decoder
	meter  Meter

	// pcm ends with the packet that is being played; in front of it is room
	// to stretch it.
	pcm    [frame.PeriodSamples + packetSamples]float32
	left   int  // samples of pcm still to be played, from its end
	heard  bool // something was decoded since the stream began
	gap    int  // packets concealed in a row
	wait   int  // packets since a correction is due
	rest   int  // packets until the next may be made
	failed atomic.Uint64
	moved  atomic.Uint64
}

// NewPlayer returns a player that owns dec but does not close it.
func NewPlayer(dec Decoder) *Player { return &Player{dec: dec} }

// Put takes a packet in clear, see [JitterBuffer.Put].
func (p *Player) Put(seq uint32, t time.Duration, packet []byte) { p.buffer.Put(seq, t, packet) }

// Stats gives the counters of the buffer.
func (p *Player) Stats() JitterStats { return p.buffer.Stats() }

// Failed counts packets that the decoder refused.
func (p *Player) Failed() uint64 { return p.failed.Load() }

// Corrections counts how often 10 ms were left out or stretched.
func (p *Player) Corrections() uint64 { return p.moved.Load() }

// Level is what this member sounds like, before the volume.
func (p *Player) Level() Level { return p.meter.Level() }

// Delay is how long sound now waits from arrival to the mix; pictures of the
// same member are shown as much later.
func (p *Player) Delay() time.Duration { return p.buffer.Stats().Depth }

// Period implements [Source].
func (p *Player) Period(dst *[frame.PeriodSamples]float32) bool {
	if p.left == 0 && !p.fetch() {
		clear(dst[:])
		p.meter.Add(dst)
		return false
	}
	copy(dst[:], p.pcm[len(p.pcm)-p.left:])
	p.left -= frame.PeriodSamples
	p.meter.Add(dst)
	return true
}

// fetch decodes the next packet. It reports false in silence.
func (p *Player) fetch() bool {
	packet, ok := p.buffer.Next()
	pcm := (*[packetSamples]float32)(p.pcm[frame.PeriodSamples:])
	if ok && p.dec.Decode(pcm, packet) != nil {
		p.failed.Add(1)
		ok = false
	}
	if !ok {
		// The concealment has faded out long before 200 ms.
		if p.gap++; !p.heard || p.gap > maxPackets {
			p.heard = false
			return false
		}
		p.dec.Conceal(pcm)
	} else {
		p.gap, p.heard = 0, true
	}
	p.left = packetSamples
	p.even()
	return true
}

// even leaves out 10 ms when too much waits, or plays 10 ms twice when too
// little does.
func (p *Player) even() {
	if p.rest > 0 {
		p.rest--
		return
	}
	excess := p.buffer.Excess()
	if excess == 0 {
		p.wait = 0
		return
	}
	const n = frame.PeriodSamples
	first, second := (*[n]float32)(p.pcm[n:]), (*[n]float32)(p.pcm[2*n:])
	if p.wait++; p.wait < patience && power(first)+power(second) > 2*quietPower {
		return
	}
	p.wait, p.rest = 0, rest
	p.moved.Add(1)
	if excess > 0 {
		p.buffer.Corrected(-frame.Period)
		fade(second, first, second)
		p.left = n
		return
	}
	p.buffer.Corrected(frame.Period)
	copy(p.pcm[:n], first[:])
	fade(first, second, first)
	p.left = 3 * n
}

// fade sets dst to what begins as from and ends as to.
func fade(dst, from, to *[frame.PeriodSamples]float32) {
	for i := range dst {
		f := float32(i) / frame.PeriodSamples
		dst[i] = from[i]*(1-f) + to[i]*f
	}
}

func power(pcm *[frame.PeriodSamples]float32) float32 {
	var sum float32
	for _, v := range pcm {
		sum += v * v
	}
	return sum / frame.PeriodSamples
}
