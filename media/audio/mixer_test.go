// SPDX-License-Identifier: Apache-2.0

package audio

import (
	"math"
	"math/rand/v2"
	"sync"
	"testing"

	"incamera/media/frame"
)

type samples = [frame.PeriodSamples]float32

// A sine is a source of one tone.
type sine struct {
	hertz, amplitude float64
	n                int
	off              bool
}

func (s *sine) Period(dst *samples) bool {
	for i := range dst {
		dst[i] = float32(s.amplitude * math.Sin(2*math.Pi*s.hertz*float64(s.n)/frame.SampleRate))
		s.n++
	}
	return !s.off
}

// TestMixAgainstTwin mixes random sources that stay below the limiter and
// compares with the plain sum.
func TestMixAgainstTwin(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 1))
	m := NewMixer(100)
	type pair struct{ mixed, alone *sine }
	var pairs []pair
	var got, part samples
	for step := range 500 {
		switch k := r.IntN(10); {
		case k == 0 && len(pairs) < 8:
			s := sine{hertz: 100 + 1000*r.Float64(), amplitude: 0.1 * r.Float64(), off: r.IntN(4) == 0}
			twin := s
			pairs = append(pairs, pair{&s, &twin})
			m.Add(&s)
			m.Add(&s) // twice is once
		case k == 1 && len(pairs) > 0:
			i := r.IntN(len(pairs))
			m.Remove(pairs[i].mixed)
			m.Remove(pairs[i].mixed)
			pairs = append(pairs[:i], pairs[i+1:]...)
		}
		m.Mix(&got)
		var want samples
		for _, p := range pairs {
			if !p.alone.Period(&part) {
				continue
			}
			for i, v := range part {
				want[i] += v
			}
		}
		for i := range got {
			if d := got[i] - want[i]; d > 1e-5 || d < -1e-5 {
				t.Fatalf("step %d, sample %d: %g, want %g", step, i, got[i], want[i])
			}
		}
	}
}

func TestVolume(t *testing.T) {
	for _, tt := range []struct {
		set, is int
		level   float64 // dB against 100
	}{
		{100, 100, 0},
		{50, 50, -12.04},
		{10, 10, -40},
		{1000, 100, 0},
	} {
		m := NewMixer(tt.set)
		if m.Volume() != tt.is {
			t.Errorf("volume %d is %d, want %d", tt.set, m.Volume(), tt.is)
		}
		m.Add(&sine{hertz: 1000, amplitude: 0.5})
		var pcm samples
		m.Mix(&pcm)
		if got := 10 * math.Log10(energy(pcm[:])/(0.125*frame.PeriodSamples)); math.Abs(got-tt.level) > 0.1 {
			t.Errorf("volume %d is %.2f dB, want %.2f", tt.set, got, tt.level)
		}
	}
	m := NewMixer(-5)
	m.Add(&sine{hertz: 1000, amplitude: 0.5})
	var pcm samples
	if m.Mix(&pcm); m.Volume() != 0 || energy(pcm[:]) != 0 {
		t.Errorf("volume %d has energy %g", m.Volume(), energy(pcm[:]))
	}
}

// TestVolumeDoesNotClick turns a steady sound off.
func TestVolumeDoesNotClick(t *testing.T) {
	m := NewMixer(100)
	m.Add(level(0.5))
	var pcm samples
	m.Mix(&pcm)
	last := pcm[len(pcm)-1]
	m.SetVolume(0)
	for range 2 {
		m.Mix(&pcm)
		for i, v := range pcm {
			if d := last - v; d > 0.002 || d < -1e-4 {
				t.Fatalf("sample %d steps by %g", i, d)
			}
			last = v
		}
	}
	if last != 0 {
		t.Errorf("after two periods the sound is %g, want 0", last)
	}
}

// A level is a source of one value.
type level float32

func (l level) Period(dst *samples) bool {
	for i := range dst {
		dst[i] = float32(l)
	}
	return true
}

func TestLimiter(t *testing.T) {
	var l Limiter
	r := rand.New(rand.NewPCG(2, 2))
	s := &sine{hertz: 440, amplitude: 1}
	for n := range 2000 {
		s.amplitude = math.Pow(10, 2*r.Float64()-1) // 0.1 to 10
		var pcm samples
		s.Period(&pcm)
		l.Process(&pcm)
		for i, v := range pcm {
			if !(v > -1 && v < 1) {
				t.Fatalf("period %d, sample %d: %g", n, i, v)
			}
		}
	}
}

// TestLimiterLeavesQuietSoundAlone, and comes back to that after a loud one.
func TestLimiterLeavesQuietSoundAlone(t *testing.T) {
	var l Limiter
	quiet := &sine{hertz: 440, amplitude: 0.8}
	var pcm, want samples
	quiet.Period(&pcm)
	want = pcm
	if l.Process(&pcm); pcm != want {
		t.Error("sound below the ceiling is changed")
	}
	loud := &sine{hertz: 440, amplitude: 8}
	loud.Period(&pcm)
	l.Process(&pcm)
	loud.Period(&pcm)
	l.Process(&pcm)
	if p := math.Sqrt(2 * energy(pcm[:]) / frame.PeriodSamples); p < 0.85 || p > 0.95 {
		t.Errorf("sound of 8 comes out with %.2f, want it just below 1", p)
	}
	for range 400 {
		quiet.Period(&pcm)
		want = pcm
		l.Process(&pcm)
	}
	if pcm != want {
		t.Error("4 s after a loud sound a quiet one is still changed")
	}
}

func TestLimiterSwallowsNonsense(t *testing.T) {
	var l Limiter
	var pcm samples
	nan, inf := float32(math.NaN()), float32(math.Inf(1))
	pcm[3], pcm[5], pcm[7], pcm[9] = nan, inf, -inf, 1e30
	l.Process(&pcm)
	for i, v := range pcm {
		if v != 0 {
			t.Errorf("sample %d is %g, want 0", i, v)
		}
	}
}

func FuzzLimiter(f *testing.F) {
	f.Add(uint64(1), float32(3), float32(-1e20), float32(0.5))
	f.Fuzz(func(t *testing.T, seed uint64, a, b, c float32) {
		r := rand.New(rand.NewPCG(seed, 3))
		var l Limiter
		for range 20 {
			var pcm samples
			for i := range pcm {
				pcm[i] = [...]float32{a, b, c, a * b}[r.IntN(4)]
			}
			l.Process(&pcm)
			for i, v := range pcm {
				if !(v > -1 && v < 1) {
					t.Fatalf("sample %d is %g", i, v)
				}
			}
		}
	})
}

// TestMixerIsShared is for the race detector.
func TestMixerIsShared(t *testing.T) {
	m := NewMixer(50)
	var wg sync.WaitGroup
	for i := range 3 {
		wg.Go(func() {
			s := level(i)
			for n := range 200 {
				m.Add(s)
				m.SetVolume(n)
				m.Remove(s)
			}
		})
	}
	var pcm samples
	for range 300 {
		m.Mix(&pcm)
	}
	wg.Wait()
	if m.Mix(&pcm); len(*m.sources.Load()) != 0 {
		t.Error("sources are left")
	}
}

func TestMixerAllocatesNothing(t *testing.T) {
	m := NewMixer(80)
	for i := range 9 {
		m.Add(&sine{hertz: float64(100 * i), amplitude: 0.4})
	}
	var pcm samples
	if n := testing.AllocsPerRun(200, func() { m.Mix(&pcm) }); n != 0 {
		t.Errorf("%v allocations a period", n)
	}
}

func BenchmarkMixer(b *testing.B) {
	m := NewMixer(80)
	for i := range 9 {
		m.Add(level(float32(i) / 30))
	}
	var pcm samples
	b.SetBytes(9 * 4 * frame.PeriodSamples)
	b.ReportAllocs()
	for b.Loop() {
		m.Mix(&pcm)
	}
}
