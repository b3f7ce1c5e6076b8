// SPDX-License-Identifier: Apache-2.0

package audio

import (
	"bytes"
	"encoding/binary"
	"math/rand/v2"
	"testing"
	"time"
)

func packetOf(n int64) []byte { return binary.BigEndian.AppendUint64(nil, uint64(n)) }

func numberOf(p []byte) int64 { return int64(binary.BigEndian.Uint64(p)) }

// A twin is the rules of JitterBuffer without its economy: sequence numbers
// that do not wrap and a map that forgets nothing it should not.
type twin struct {
	have    map[int64][]byte
	next    int64
	state   bufferState
	begun   bool
	starve  int
	transit transit
}

func (w *twin) newest() int64 {
	newest := w.next - 1
	for s := range w.have {
		newest = max(newest, s)
	}
	return newest
}

func (w *twin) skip() {
	w.next = w.newest() - int64(w.transit.target()) + 1
	for s := range w.have {
		if s < w.next {
			delete(w.have, s)
		}
	}
}

func (w *twin) put(seq int64, t time.Duration, p []byte) {
	if w.state == fresh {
		w.state, w.next, w.have = filling, seq, map[int64][]byte{}
	}
	if seq < w.next && !w.begun && w.newest()-seq < maxPackets {
		w.next = seq
	}
	if seq < w.next {
		return
	}
	w.transit.add(uint32(seq), t)
	if w.have[seq] == nil {
		w.have[seq] = bytes.Clone(p)
	}
	if w.newest()-w.next >= maxPackets {
		w.skip()
	}
}

func (w *twin) get() []byte {
	if w.state == filling {
		if int(w.newest()-w.next)+1 < w.transit.target() {
			return nil
		}
		if int(w.newest()-w.next)+1 > w.transit.target() {
			w.skip()
		}
		w.state, w.begun = playing, true
	}
	if w.state == fresh {
		return nil
	}
	if len(w.have) == 0 {
		if w.starve++; w.starve >= maxPackets {
			w.state = filling
			w.transit.reset()
		}
		return nil
	}
	if w.starve > 0 {
		for w.have[w.next] == nil {
			w.next++
		}
	}
	p := w.have[w.next]
	delete(w.have, w.next)
	w.next++
	if p != nil {
		w.starve = 0
	}
	return p
}

// TestJitterBufferAgainstTwin runs random networks over both: lossy, jumpy,
// silent for a while, and over the end of the sequence numbers.
func TestJitterBufferAgainstTwin(t *testing.T) {
	for seed := range uint64(300) {
		r := rand.New(rand.NewPCG(seed, 5))
		var b JitterBuffer
		var w twin
		seq := int64(r.Uint32())
		if seed%3 == 0 {
			seq = 1<<32 - 200
		}
		var now time.Duration
		var held []int64
		loss, hold := r.IntN(4)*10, r.IntN(50)
		for range 3000 {
			now += time.Duration(r.IntN(10)) * time.Millisecond
			switch k := r.IntN(100); {
			case k < 45:
				seq++
				if r.IntN(100) < loss {
					break
				}
				held = append(held, seq)
				if r.IntN(100) < hold {
					break
				}
				for len(held) > 0 { // everything held back comes, in any order
					i := r.IntN(len(held))
					b.Put(uint32(held[i]), now, packetOf(held[i]))
					w.put(held[i], now, packetOf(held[i]))
					if r.IntN(10) > 0 { // else a duplicate is still to come
						held = append(held[:i], held[i+1:]...)
					}
				}
			case k < 95:
				got, ok := b.Next()
				want := w.get()
				if ok != (want != nil) || !bytes.Equal(got, want) {
					t.Fatalf("seed %d: Next = %x, %v; the twin has %x", seed, got, ok, want)
				}
			case k == 99 && r.IntN(10) == 0: // silence
				for range 20 {
					now += PacketTime
					got, ok := b.Next()
					if want := w.get(); ok != (want != nil) || !bytes.Equal(got, want) {
						t.Fatalf("seed %d: Next = %x, %v; the twin has %x", seed, got, ok, want)
					}
				}
			}
			if n := b.count; n < 0 || n > maxPackets || b.span(b.next) > maxPackets {
				t.Fatalf("seed %d: %d packets wait over a span of %d", seed, n, b.span(b.next))
			}
		}
	}
}

// FuzzJitterBuffer gives any numbers at any time: what comes out rises, and
// what waits is bounded.
func FuzzJitterBuffer(f *testing.F) {
	f.Add([]byte{0, 1, 2, 255, 3, 3, 255, 255, 128, 129, 255})
	f.Add(bytes.Repeat([]byte{0, 64, 128, 192, 255}, 20))
	f.Fuzz(func(t *testing.T, script []byte) {
		var b JitterBuffer
		var seq uint32
		var now time.Duration
		last, some := uint32(0), false
		for _, c := range script {
			switch {
			case c == 255:
				p, ok := b.Next()
				if !ok {
					break
				}
				got := uint32(numberOf(p))
				if restarts := b.stats.Restarts; some && int32(got-last) <= 0 && restarts == 0 {
					t.Fatalf("%d is played after %d", got, last)
				}
				last, some = got, true
			case c >= 250:
				seq += uint32(c-249) * 0x2fffffff
			default:
				seq += uint32(int32(c) - 100)
				now += time.Duration(int64(c)-60) * 7 * time.Millisecond
				b.Put(seq, now, packetOf(int64(seq)))
			}
			if b.count < 0 || b.count > maxPackets || b.span(b.next) > maxPackets {
				t.Fatalf("%d packets wait over a span of %d", b.count, b.span(b.next))
			}
			if tg := b.transit.target(); tg < minTarget || tg >= maxPackets {
				t.Fatalf("target is %d packets", tg)
			}
		}
	})
}

func TestJitterBufferRefuses(t *testing.T) {
	for _, tt := range []struct {
		name   string
		packet []byte
		ok     bool
	}{
		{"nothing", nil, false},
		{"empty", []byte{}, false},
		{"one byte", []byte{1}, true},
		{"largest", make([]byte, MaxPacket), true},
		{"too large", make([]byte, MaxPacket+1), false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var b JitterBuffer
			b.Put(1, 0, tt.packet)
			b.Put(2, 0, tt.packet)
			p, ok := b.Next()
			if ok != tt.ok || len(p) != len(tt.packet)*int(min(b.Stats().Played, 1)) {
				t.Errorf("Next = %d bytes, %v, want %v", len(p), ok, tt.ok)
			}
		})
	}
}

// TestNumberingChanges: one stray packet changes nothing, two in a row begin a
// new stream.
func TestNumberingChanges(t *testing.T) {
	var b JitterBuffer
	play := func() int64 {
		if p, ok := b.Next(); ok {
			return numberOf(p)
		}
		return -1
	}
	for i := range int64(3) {
		b.Put(uint32(i), 0, packetOf(i))
	}
	b.Put(5_000_000, 0, packetOf(5_000_000))
	if got := play(); got != 1 && got != 0 {
		t.Errorf("after a stray packet %d is played", got)
	}
	b.Put(3, 0, packetOf(3))
	b.Put(70_000, 0, packetOf(70_000))
	b.Put(70_001, 0, packetOf(70_001))
	b.Put(70_002, 0, packetOf(70_002))
	if got := play(); got != 70_001 {
		t.Errorf("after a new numbering %d is played, want 70001", got)
	}
	if b.Stats().Restarts != 1 {
		t.Errorf("%d restarts counted, want 1", b.Stats().Restarts)
	}
}

func TestJitterBufferAllocatesNothing(t *testing.T) {
	var b JitterBuffer
	p := make([]byte, 256)
	var seq uint32
	if n := testing.AllocsPerRun(1000, func() {
		seq++
		b.Put(seq, time.Duration(seq)*PacketTime, p)
		b.Next()
	}); n != 0 {
		t.Errorf("%v allocations a packet", n)
	}
}

func BenchmarkJitterBuffer(b *testing.B) {
	var j JitterBuffer
	p := make([]byte, 256)
	b.SetBytes(256)
	b.ReportAllocs()
	var seq uint32
	for b.Loop() {
		seq++
		j.Put(seq, time.Duration(seq)*PacketTime, p)
		j.Next()
	}
}
