// SPDX-License-Identifier: Apache-2.0

package audio

import (
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"incamera/media/frame"
)

func near(a float32, b float64) bool { return math.Abs(float64(a)-b) < 0.3 }

func TestMeter(t *testing.T) {
	var m Meter
	if l := m.Level(); l != (Level{Silence, Silence, false}) {
		t.Errorf("a new meter shows %+v", l)
	}
	s := &sine{hertz: 1000, amplitude: 0.1}
	var pcm samples
	for range 100 {
		s.Period(&pcm)
		m.Add(&pcm)
	}
	if l := m.Level(); !near(l.RMS, -23) || !near(l.Peak, -20) {
		t.Errorf("a tone of -20 dB shows %+v, want RMS -23 and peak -20", l)
	}
	clear(pcm[:])
	for range 50 {
		m.Add(&pcm)
	}
	if l := m.Level(); !near(l.Peak, -30) || l.RMS > -45 {
		t.Errorf("half a second later %+v, want a peak of -30", l)
	}
	for range 1000 {
		m.Add(&pcm)
	}
	if l := m.Level(); l.RMS != Silence || l.Peak != Silence || l.Voice {
		t.Errorf("after 10 s of silence %+v", l)
	}
}

func TestMeterTakesNonsense(t *testing.T) {
	var m Meter
	var pcm samples
	pcm[0] = float32(math.NaN())
	m.Add(&pcm)
	pcm[0] = float32(math.Inf(1))
	m.Add(&pcm)
	pcm[0] = 0.5
	m.Add(&pcm)
	if l := m.Level(); !near(l.Peak, -6) {
		t.Errorf("after nonsense %+v, want a peak of -6", l)
	}
}

// TestVoiceActivity: speech is heard, the air conditioner is not, and a knock
// is not.
func TestVoiceActivity(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	noise := func(amplitude float64) float32 { return float32(amplitude * r.NormFloat64()) }
	var m Meter
	var pcm samples
	share := func(d time.Duration, f func() float32) float64 {
		var heard, n float64
		for range int(d / frame.Period) {
			for i := range pcm {
				pcm[i] = f()
			}
			m.Add(&pcm)
			if n++; m.Level().Voice {
				heard++
			}
		}
		return heard / n
	}
	share(20*time.Second, func() float32 { return noise(0.003) })
	if s := share(10*time.Second, func() float32 { return noise(0.003) }); s > 0 {
		t.Errorf("steady noise is a voice for %.0f %% of the time", 100*s)
	}
	talker := newTalker(5, 130)
	if s := share(10*time.Second, func() float32 { return talker.next() + noise(0.003) }); s < 0.7 {
		t.Errorf("somebody who speaks is a voice for %.0f %% of the time", 100*s)
	}
	share(time.Second, func() float32 { return noise(0.003) })
	n := 0
	if s := share(2*time.Second, func() float32 {
		if n++; n%frame.SampleRate < 700 {
			return noise(0.5)
		}
		return noise(0.003)
	}); s > 0 {
		t.Errorf("a knock is a voice for %.0f %% of the time", 100*s)
	}
}

func TestLevelsPack(t *testing.T) {
	for _, l := range []Level{{Silence, Silence, false}, {0, 0, true}, {-12.34, -0.5, true}, {-95.99, -3, false}} {
		got := unpack(pack(l))
		if math.Abs(float64(got.RMS-l.RMS)) > 0.011 || math.Abs(float64(got.Peak-l.Peak)) > 0.011 || got.Voice != l.Voice {
			t.Errorf("unpack(pack(%+v)) = %+v", l, got)
		}
	}
}

func TestMeterAllocatesNothing(t *testing.T) {
	var m Meter
	pcm := &samples{1, 2, 3}
	if n := testing.AllocsPerRun(100, func() { m.Add(pcm) }); n != 0 {
		t.Errorf("%v allocations a period", n)
	}
}
