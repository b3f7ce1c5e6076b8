// SPDX-License-Identifier: Apache-2.0

package audio

import (
	"encoding/binary"
	"errors"
	"math"
	"math/rand/v2"
	"sort"
	"testing"
	"time"

	"incamera/media/frame"
)

// A ramp decodes packet n into samples that count on from 960 n, quietly or
// not, so that every step between two samples tells what happened.
type ramp struct {
	loud bool
	bad  bool
}

const unit = 1e-9

func (d *ramp) Decode(dst *[packetSamples]float32, packet []byte) error {
	if d.bad {
		return errors.New("not Opus")
	}
	n := binary.BigEndian.Uint64(packet)
	for i := range dst {
		dst[i] = float32(n) * unit
		if d.loud {
			dst[i] += 0.3
		}
	}
	return nil
}

func (d *ramp) Conceal(dst *[packetSamples]float32) {
	for i := range dst {
		dst[i] = -1
	}
}

// A journey is one sender, a network and a player on their own clocks.
type journey struct {
	for_   time.Duration
	drift  float64 // the sender's clock against ours, in parts of one
	delay  func(k int) time.Duration
	lost   func(k int) bool
	silent func(k int) bool // the sender is muted; its numbers do not go on
	loud   bool
}

type arrival struct {
	at  time.Duration
	seq uint32
}

// run plays the journey and gives, for each played packet, how long it took
// from sending to the mix.
func (j journey) run(t *testing.T) (*Player, []time.Duration) {
	t.Helper()
	p := NewPlayer(&ramp{loud: j.loud})
	var way []arrival
	var sent []time.Duration
	seq := uint32(1<<32 - 100)
	first := seq
	for k := 0; ; k++ {
		at := time.Duration(float64(k) * float64(PacketTime) * (1 + j.drift))
		if at > j.for_ {
			break
		}
		if j.silent != nil && j.silent(k) {
			continue
		}
		sent = append(sent, at)
		if j.lost == nil || !j.lost(k) {
			way = append(way, arrival{at + j.delay(k), seq})
		}
		seq++
	}
	sort.SliceStable(way, func(a, b int) bool { return way[a].at < way[b].at })
	var took []time.Duration
	var pcm [frame.PeriodSamples]float32
	last := int64(-1)
	for now := 3 * time.Millisecond; now < j.for_; now += frame.Period {
		for len(way) > 0 && way[0].at <= now {
			n := int64(way[0].seq - first)
			p.Put(way[0].seq, way[0].at, packetOf(n))
			way = way[1:]
		}
		if !p.Period(&pcm) {
			continue
		}
		v := float64(pcm[0])
		if j.loud {
			v -= 0.3
		}
		if j.loud || v < 0 {
			continue // concealed, or too coarse to count
		}
		n := int64(math.Round(v / unit))
		if n < last {
			t.Fatalf("at %v packet %d is played after %d", now, n, last)
		}
		if n > last {
			took = append(took, now-sent[n])
		}
		last = n
	}
	return p, took
}

func steady(d time.Duration) func(int) time.Duration { return func(int) time.Duration { return d } }

func most(d []time.Duration) time.Duration {
	var m time.Duration
	for _, v := range d {
		m = max(m, v)
	}
	return m
}

func TestQuietNetwork(t *testing.T) {
	p, took := journey{for_: time.Minute, delay: steady(2 * time.Millisecond)}.run(t)
	if s := p.Stats(); s.Concealed > 0 || s.Late > 0 || s.Dropped > 0 || most(took) > 45*time.Millisecond {
		t.Errorf("%+v, %d corrections, at most %v", s, p.Corrections(), most(took))
	}
}

func TestJitterIsEvenedOut(t *testing.T) {
	for _, jitter := range []int{10, 30, 60, 100} {
		r := rand.New(rand.NewPCG(9, uint64(jitter)))
		p, took := journey{for_: time.Minute, delay: func(int) time.Duration {
			return time.Duration(5+r.IntN(jitter)) * time.Millisecond
		}}.run(t)
		s := p.Stats()
		sort.Slice(took, func(a, b int) bool { return took[a] < took[b] })
		t.Logf("jitter %d ms: %d concealed of %d, %d corrections, half within %v, all within %v",
			jitter, s.Concealed, s.Played+s.Concealed, p.Corrections(), took[len(took)/2], most(took))
		if s.Concealed > 30 || most(took) > time.Duration(jitter+75)*time.Millisecond {
			t.Errorf("jitter %d ms: %+v, at most %v", jitter, s, most(took))
		}
	}
}

// TestDrift lets two clocks differ by more than any crystal, for 10 minutes.
func TestDrift(t *testing.T) {
	for _, ppm := range []float64{-300, 300} {
		for _, loud := range []bool{false, true} {
			p, took := journey{for_: 10 * time.Minute, drift: ppm / 1e6, delay: steady(2 * time.Millisecond), loud: loud}.run(t)
			s := p.Stats()
			t.Logf("%+.0f ppm, loud %v: %d corrections, %d concealed, at most %v", ppm, loud, p.Corrections(), s.Concealed, most(took))
			// 300 ppm are 180 ms in 10 minutes: 18 corrections.
			if s.Dropped > 0 || s.Restarts > 0 || s.Concealed > 18 || p.Corrections() > 30 || most(took) > 75*time.Millisecond {
				t.Errorf("%+.0f ppm: %+v, %d corrections, at most %v", ppm, s, p.Corrections(), most(took))
			}
		}
	}
}

func TestLossIsConcealed(t *testing.T) {
	p, took := journey{for_: time.Minute, delay: steady(2 * time.Millisecond), lost: func(k int) bool { return k%20 == 7 }}.run(t)
	if s := p.Stats(); s.Concealed < 140 || s.Concealed > 160 || s.Restarts > 0 || most(took) > 70*time.Millisecond {
		t.Errorf("150 packets lost: %+v, at most %v", s, most(took))
	}
}

func TestReordering(t *testing.T) {
	p, _ := journey{for_: time.Minute, delay: func(k int) time.Duration {
		if k%5 == 0 { // behind the next one
			return 27 * time.Millisecond
		}
		return 2 * time.Millisecond
	}}.run(t)
	if s := p.Stats(); s.Concealed > 3 {
		t.Errorf("%+v", s)
	}
}

// TestStall holds everything back for a while; afterwards the delay is what it
// was before within 5 s.
func TestStall(t *testing.T) {
	for _, stall := range []time.Duration{100 * time.Millisecond, 180 * time.Millisecond, 500 * time.Millisecond, 3 * time.Second} {
		p, took := journey{for_: 30 * time.Second, delay: func(k int) time.Duration {
			at := time.Duration(k) * PacketTime
			if end := 10*time.Second + stall; at >= 10*time.Second && at < end {
				return end - at
			}
			return 2 * time.Millisecond
		}}.run(t)
		n := len(took)
		t.Logf("%v: at most %v, in the last 5 s %v; %+v", stall, most(took), most(took[n-250:]), p.Stats())
		if got := most(took[:n-250]); got > 245*time.Millisecond {
			t.Errorf("%v: a packet was played after %v", stall, got)
		}
		if got := most(took[n-250:]); got > 85*time.Millisecond {
			t.Errorf("%v: after 15 s packets are still played after %v", stall, got)
		}
	}
}

// TestMute: pauses of a sender are silence, not concealment for ever, and the
// first word after a pause is there.
func TestMute(t *testing.T) {
	var pcm [frame.PeriodSamples]float32
	p := NewPlayer(&ramp{})
	var now time.Duration
	n := int64(0)
	speak := func(packets int) (quiet int) {
		for range packets {
			p.Put(uint32(n), now, packetOf(n))
			n++
			for range 2 {
				if !p.Period(&pcm) {
					quiet++
				}
			}
			now += PacketTime
		}
		return quiet
	}
	if q := speak(100); q > 4 {
		t.Errorf("%d periods of silence at the start", q)
	}
	played := 0
	for range 500 {
		if p.Period(&pcm) {
			played++
		}
		now += frame.Period
	}
	if played > 24 {
		t.Errorf("%d periods sound after the sender was muted, want at most 240 ms", played)
	}
	before := p.Stats().Played
	if q := speak(100); q > 4 {
		t.Errorf("%d periods of silence after a pause", q)
	}
	if got := p.Stats().Played - before; got < 97 {
		t.Errorf("%d of 100 packets after a pause are played", got)
	}
}

func TestDecoderRefuses(t *testing.T) {
	d := &ramp{bad: true}
	p := NewPlayer(d)
	var pcm [frame.PeriodSamples]float32
	for i := range int64(50) {
		p.Put(uint32(i), time.Duration(i)*PacketTime, packetOf(i))
		for range 2 {
			if p.Period(&pcm) {
				t.Fatal("packets that do not decode are heard")
			}
		}
	}
	if p.Failed() < 40 {
		t.Errorf("%d packets counted as refused", p.Failed())
	}
	d.bad = false
	for i := int64(50); i < 60; i++ {
		p.Put(uint32(i), time.Duration(i)*PacketTime, packetOf(i))
		p.Period(&pcm)
		p.Period(&pcm)
	}
	if !p.Period(&pcm) {
		t.Error("nothing is heard after the decoder came round")
	}
}

// TestCorrectionsDoNotClick plays a low tone and leaves out and stretches: no
// step between samples is much larger than the tone's own.
func TestCorrectionsDoNotClick(t *testing.T) {
	d := &tone{}
	p := NewPlayer(d)
	var pcm [frame.PeriodSamples]float32
	last := float32(0.2) // where the tone begins
	var worst float64
	n, due := int64(0), 0.0
	for i := range 4000 { // the sender is 2 % too fast, then too slow
		for due <= float64(i) {
			p.Put(uint32(n), time.Duration(i)*frame.Period, packetOf(n))
			n++
			if due += 1.96; i > 2000 {
				due += 0.08
			}
		}
		if !p.Period(&pcm) {
			continue
		}
		for _, v := range pcm {
			worst = max(worst, math.Abs(float64(v-last)))
			last = v
		}
	}
	if p.Corrections() < 5 {
		t.Fatalf("%d corrections, the test proves nothing", p.Corrections())
	}
	// The tone itself has steps of 0.2 * 2 pi 150 / 48000 = 0.0039; a cut in
	// the wrong place one of 0.4.
	if worst > 0.008 {
		t.Errorf("largest step between samples %.4f after %d corrections", worst, p.Corrections())
	}
}

// A tone decodes every packet to the same 20 ms of 150 Hz and conceals with
// them. A packet is three waves, so that a packet more or less does no harm;
// 10 ms are one and a half, so that a correction meets the wave upside down.
type tone struct{}

func (*tone) Decode(dst *[packetSamples]float32, _ []byte) error {
	for i := range dst {
		dst[i] = float32(0.2 * math.Cos(2*math.Pi*150*float64(i)/frame.SampleRate))
	}
	return nil
}

func (d *tone) Conceal(dst *[packetSamples]float32) { _ = d.Decode(dst, nil) }

func TestPlayerAllocatesNothing(t *testing.T) {
	p := NewPlayer(&tone{})
	var pcm [frame.PeriodSamples]float32
	data := make([]byte, 256)
	n := uint32(0)
	if a := testing.AllocsPerRun(500, func() {
		n++
		p.Put(n, time.Duration(n)*PacketTime, data)
		p.Period(&pcm)
		p.Period(&pcm)
		p.Level()
	}); a != 0 {
		t.Errorf("%v allocations a packet", a)
	}
}
