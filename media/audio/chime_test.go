// SPDX-License-Identifier: Apache-2.0

package audio

import (
	"math"
	"testing"
)

// play gives d periods of c.
func play(c *Chime, periods int) (sound []float32, audible int) {
	var pcm samples
	for range periods {
		if !c.Period(&pcm) {
			clear(pcm[:])
		} else {
			audible++
		}
		sound = append(sound, pcm[:]...)
	}
	return sound, audible
}

func TestChimes(t *testing.T) {
	var c Chime
	if _, n := play(&c, 10); n != 0 {
		t.Error("a chime sounds that nobody set")
	}
	for _, tune := range []Tune{Join, Leave} {
		c.Play(tune)
		sound, n := play(&c, 1000)
		if n < 100 || n > 200 {
			t.Errorf("tune %d sounds for %d periods, want one to two seconds, once", tune, n)
		}
		clean(t, sound)
	}
	c.Play(Ring)
	sound, n := play(&c, 1000)
	if n != 1000 {
		t.Errorf("the ring sounds for %d of 1000 periods", n)
	}
	clean(t, sound)
	if second := sound[3*48000 : 3*48000+24000]; energy(second) < 10 {
		t.Error("the ring does not repeat after 3 s")
	}
	c.Play(NoTune)
	sound, n = play(&c, 100)
	if n != 1 {
		t.Errorf("after its end the ring sounds for %d periods, want the one that fades out", n)
	}
	clean(t, sound)
	c.Play(Tune(1 << 20))
	if _, n := play(&c, 10); n != 0 {
		t.Error("an unknown tune sounds")
	}
}

// clean checks that a tune is neither silent nor loud and has no steps. The
// highest partial is 1760 Hz: 0.16 * 2 pi 1760 / 48000 for each of two notes.
func clean(t *testing.T, sound []float32) {
	t.Helper()
	var peak, step, last float64
	for _, v := range sound {
		peak = max(peak, math.Abs(float64(v)))
		step = max(step, math.Abs(float64(v)-last))
		last = float64(v)
	}
	if peak < 0.02 || peak > 0.5 || step > 0.06 {
		t.Errorf("peak %.3f, largest step %.3f", peak, step)
	}
}

func TestChimeAllocatesNothing(t *testing.T) {
	var c Chime
	c.Play(Ring)
	pcm := new(samples)
	if n := testing.AllocsPerRun(100, func() { c.Period(pcm) }); n != 0 {
		t.Errorf("%v allocations a period", n)
	}
}

func BenchmarkChime(b *testing.B) {
	var c Chime
	c.Play(Ring)
	pcm := new(samples)
	b.ReportAllocs()
	for b.Loop() {
		c.Period(pcm)
	}
}
