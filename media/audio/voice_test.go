// SPDX-License-Identifier: Apache-2.0

package audio

import (
	"math"
	"math/rand/v2"

	"incamera/media/frame"
)

// A talker sounds like somebody who speaks: pulses of a voice and some breath
// through three resonances that change with each syllable, with pauses.
type talker struct {
	r        *rand.Rand
	pitch    float64
	phase    float64
	left     int // samples of this syllable
	length   int
	loud     float64
	formants [3]resonance
}

type resonance struct{ a, b, y1, y2, gain float64 }

func newTalker(seed uint64, pitch float64) *talker {
	return &talker{r: rand.New(rand.NewPCG(seed, 7)), pitch: pitch}
}

func (t *talker) next() float32 {
	if t.left == 0 {
		t.length = 6000 + t.r.IntN(9000)
		t.left = t.length
		t.loud = 0.5 + 0.5*t.r.Float64()
		if t.r.IntN(6) == 0 {
			t.loud = 0 // between words
		}
		for i, centre := range [3]float64{500, 1500, 2700} {
			f := centre * (0.7 + 0.6*t.r.Float64())
			const q = 0.985
			t.formants[i].a = 2 * q * math.Cos(2*math.Pi*f/frame.SampleRate)
			t.formants[i].b = -q * q
			t.formants[i].gain = (1 - q) / float64(1+i)
		}
	}
	t.left--
	t.phase += t.pitch / frame.SampleRate
	x := 0.15 * t.r.NormFloat64()
	if t.phase >= 1 {
		t.phase--
		x += 12
	}
	var sum float64
	for i := range t.formants {
		f := &t.formants[i]
		y := f.gain*x + f.a*f.y1 + f.b*f.y2
		f.y1, f.y2 = y, f.y1
		sum += y
	}
	shape := math.Sin(math.Pi * float64(t.left) / float64(t.length))
	return float32(0.35 * sum * shape * t.loud)
}

func (t *talker) period(dst *[frame.PeriodSamples]float32) {
	for i := range dst {
		dst[i] = t.next()
	}
}

// A room carries sound from its loudspeaker to its microphone: after delay,
// by 120 reflections that die away within 80 ms.
type room struct {
	delay int // samples, of the devices and of the way
	taps  []tap
	past  []float32 // ring
	at    int
	noise *rand.Rand
}

type tap struct {
	after int
	gain  float32
}

func newRoom(delay int) *room {
	r := rand.New(rand.NewPCG(11, 13))
	m := &room{delay: delay, past: make([]float32, 1<<16), noise: r}
	m.taps = append(m.taps, tap{0, 0.4})
	for range 120 {
		after := r.IntN(frame.SampleRate * 80 / 1000)
		fade := math.Exp(-6.9 * float64(after) / (frame.SampleRate * 0.08)) // 60 dB in 80 ms
		m.taps = append(m.taps, tap{after, float32(0.09 * r.NormFloat64() * fade)})
	}
	return m
}

// echo is what the microphone hears of what was played, with the noise of a
// quiet room.
func (m *room) echo(dst, played *[frame.PeriodSamples]float32) {
	mask := len(m.past) - 1
	for i, v := range played {
		m.past[m.at&mask] = v
		sum := float32(1e-4 * m.noise.NormFloat64())
		past, from := m.past, m.at-m.delay
		for _, t := range m.taps {
			sum += t.gain * past[(from-t.after)&mask]
		}
		dst[i] = sum
		m.at++
	}
}

func energy(s []float32) float64 {
	var sum float64
	for _, v := range s {
		sum += float64(v) * float64(v)
	}
	return sum
}
