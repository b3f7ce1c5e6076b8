// SPDX-License-Identifier: Apache-2.0

//go:build cgo

package audio

import (
	"math"
	"testing"
	"time"

	"incamera/media/frame"
)

// A trial runs a canceller in a room, one period at a time.
type trial struct {
	t    testing.TB
	c    *Canceller
	room *room
	told time.Duration
	far  *talker
	near *talker // nil: nobody speaks in the room

	play, heard frame.PCM
	echo, voice []float32 // what was heard of the far end, and of the near
	out         []float32
}

func newTrial(t testing.TB) *trial {
	t.Helper()
	c, err := NewCanceller()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return &trial{t: t, c: c, told: 60 * time.Millisecond, room: newRoom(frame.SampleRate * 60 / 1000), far: newTalker(1, 118)}
}

func (x *trial) run(d time.Duration) {
	x.t.Helper()
	for range int(d / frame.Period) {
		clear(x.play.Samples[:])
		if x.far != nil {
			x.far.period(&x.play.Samples)
		}
		if err := x.c.Render(&x.play); err != nil {
			x.t.Fatal(err)
		}
		x.room.echo(&x.heard.Samples, &x.play.Samples)
		x.echo = append(x.echo, x.heard.Samples[:]...)
		for i := range x.heard.Samples {
			var v float32
			if x.near != nil {
				v = x.near.next()
			}
			x.voice = append(x.voice, v)
			x.heard.Samples[i] += v
		}
		if err := x.c.Capture(&x.heard, x.told); err != nil {
			x.t.Fatal(err)
		}
		x.out = append(x.out, x.heard.Samples[:]...)
	}
}

// between cuts a part out of s, by seconds.
func between(s []float32, from, to float64) []float32 {
	return s[int(from*frame.SampleRate):int(to*frame.SampleRate)]
}

// reduction is by how many decibels the echo is less in the output (ERLE).
func (x *trial) reduction(from, to float64) float64 {
	return 10 * math.Log10(energy(between(x.echo, from, to))/(energy(between(x.out, from, to))+1e-12))
}

// likeness correlates the output with the near voice, at the best delay up to
// 20 ms, which is what the filters of the library take.
func (x *trial) likeness(from, to float64) (best float64, lag int) {
	a, b := between(x.voice, from, to-0.03), x.out[int(from*frame.SampleRate):]
	correlation := func(d, stride int) float64 {
		var ab, aa, bb float64
		for i := 0; i < len(a); i += stride {
			v, w := float64(a[i]), float64(b[i+d])
			ab, aa, bb = ab+v*w, aa+v*v, bb+w*w
		}
		return ab / math.Sqrt(aa*bb+1e-12)
	}
	for d := range frame.SampleRate / 50 {
		if c := correlation(d, 11); c > best {
			best, lag = c, d
		}
	}
	return correlation(lag, 1), lag
}

func TestEchoIsCancelled(t *testing.T) {
	x := newTrial(t)
	x.run(10 * time.Second)
	first, later := x.reduction(0, 3), x.reduction(3, 10)
	t.Logf("echo down %.1f dB in the first 3 s, %.1f dB after", first, later)
	if first < 20 || later < 30 {
		t.Errorf("echo down %.1f and %.1f dB, want 20 and 30", first, later)
	}
}

// TestDoubleTalk: both speak. The room's own voice must get through.
func TestDoubleTalk(t *testing.T) {
	x := newTrial(t)
	x.run(6 * time.Second)
	x.near = newTalker(2, 190)
	x.run(6 * time.Second)
	like, lag := x.likeness(6.5, 11.5)
	kept := 10 * math.Log10(energy(between(x.out, 6.5, 11.5))/energy(between(x.voice, 6.5, 11.5)))
	before := 10 * math.Log10(energy(between(x.voice, 6.5, 11.5))/energy(between(x.echo, 6.5, 11.5)))
	t.Logf("voice %.1f dB above the echo; output has %+.1f dB of its power and correlates %.2f, %.1f ms later",
		before, kept, like, float64(lag)/48)
	if like < 0.7 || kept < -6 {
		t.Errorf("the near voice does not get through: correlation %.2f, power %+.1f dB", like, kept)
	}
}

func TestNearVoiceAloneIsKept(t *testing.T) {
	x := newTrial(t)
	x.far, x.near = nil, newTalker(2, 190)
	x.run(6 * time.Second)
	like, lag := x.likeness(2, 6)
	kept := 10 * math.Log10(energy(between(x.out, 2, 6))/energy(between(x.voice, 2, 6)))
	t.Logf("output has %+.1f dB of the voice and correlates %.2f, %.1f ms later", kept, like, float64(lag)/48)
	if like < 0.8 || kept < -3 {
		t.Errorf("a voice alone is changed: correlation %.2f, power %+.1f dB", like, kept)
	}
}

// TestDelayJumpHeals moves the echo by 200 ms, as a device does that ran dry or
// was opened anew, and tells so.
func TestDelayJumpHeals(t *testing.T) {
	const jump = 200 * time.Millisecond
	x := newTrial(t)
	x.run(6 * time.Second)
	x.room.delay += int(jump * frame.SampleRate / time.Second)
	x.told += jump
	x.run(6 * time.Second)
	at, healed := x.reduction(6, 7), x.reduction(9, 12)
	t.Logf("echo down %.1f dB in the second after the jump, %.1f dB from 3 s after it", at, healed)
	if healed < 20 {
		t.Errorf("3 s after a jump the echo is down %.1f dB, want 20", healed)
	}
}

// TestSecretJumpHeals: nobody tells, the library finds out.
func TestSecretJumpHeals(t *testing.T) {
	x := newTrial(t)
	x.run(6 * time.Second)
	x.room.delay += frame.SampleRate / 5
	x.run(16 * time.Second)
	at, healed := x.reduction(6, 16), x.reduction(17, 22)
	t.Logf("echo down %.1f dB in the 10 s after the jump, %.1f dB from 11 s after it", at, healed)
	if healed < 20 {
		t.Errorf("11 s after a jump the echo is down %.1f dB, want 20", healed)
	}
}

func TestCancellerTakesAnyDelay(t *testing.T) {
	x := newTrial(t)
	var pcm frame.PCM
	for _, d := range []time.Duration{-time.Hour, 0, time.Millisecond, time.Second, 1<<63 - 1} {
		if err := x.c.Render(&pcm); err != nil {
			t.Fatal(err)
		}
		if err := x.c.Capture(&pcm, d); err != nil {
			t.Errorf("Capture with a delay of %v = %v", d, err)
		}
	}
}

func TestClosedCanceller(t *testing.T) {
	c, err := NewCanceller()
	if err != nil {
		t.Fatal(err)
	}
	c.Close()
	c.Close()
	var pcm frame.PCM
	if c.Render(&pcm) == nil || c.Capture(&pcm, 0) == nil {
		t.Error("a closed canceller takes sound")
	}
}

func TestCancellerAllocatesNothing(t *testing.T) {
	x := newTrial(t)
	far, near := &frame.PCM{}, &frame.PCM{}
	if n := testing.AllocsPerRun(200, func() {
		_ = x.c.Render(far)
		_ = x.c.Capture(near, 60*time.Millisecond)
	}); n != 0 {
		t.Errorf("%v allocations a period", n)
	}
}

func BenchmarkCanceller(b *testing.B) {
	x := newTrial(b)
	near := newTalker(2, 190)
	var far, heard [100]frame.PCM
	for i := range far {
		x.far.period(&far[i].Samples)
		x.room.echo(&heard[i].Samples, &far[i].Samples)
		for j := range heard[i].Samples {
			heard[i].Samples[j] += near.next()
		}
	}
	var pcm frame.PCM
	b.SetBytes(frame.PeriodSamples * 4)
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		_ = x.c.Render(&far[i%100])
		pcm = heard[i%100]
		_ = x.c.Capture(&pcm, 60*time.Millisecond)
	}
}
