// SPDX-License-Identifier: Apache-2.0

package sim

import (
	"math"
	"math/rand/v2"

	"incamera/media/frame"
)

// voiceLoop is the length of what a voice says before it begins again, in
// samples: 8.192 s, which at the recogniser's rate is a power of two.
const voiceLoop = 1 << 16 * decimation

// Formants of vowels in hertz, of an average adult.
var vowels = [][3]float64{
	{730, 1090, 2440}, {270, 2290, 3010}, {300, 870, 2240}, {530, 1840, 2480}, {570, 840, 2410}, {660, 1720, 2410},
}

// newVoice returns what the person in a room says: words of an invented
// language, with pauses, in a voice of their own. Pitch, vowels, hisses and
// rhythm are drawn from the room's name, so no two rooms say the same.
func newVoice(room string) []float32 {
	r := script("voice", room)
	v := voice{rand: r, pitch: uniform(r, 95, 210), tract: uniform(r, 0.92, 1.14), out: make([]float64, voiceLoop)}
	for at := int(0.1 * frame.SampleRate); ; {
		for range 2 + r.IntN(3) { // a word
			if at > voiceLoop-frame.SampleRate*6/10 {
				return v.level()
			}
			at = v.syllable(at) + int(uniform(r, 0.015, 0.05)*frame.SampleRate)
		}
		at += int(uniform(r, 0.16, 0.36) * frame.SampleRate)
	}
}

type voice struct {
	rand         *rand.Rand
	pitch, tract float64
	out          []float64
}

// syllable adds a hiss and a vowel from sample at, and returns where it ends.
func (v *voice) syllable(at int) int {
	r := v.rand
	hiss := int(uniform(r, 0.04, 0.09) * frame.SampleRate)
	band := resonator(uniform(r, 1200, 3400), 700)
	for i := range hiss {
		v.out[at+i] += 0.5 * band.next(r.NormFloat64()) * swell(i, hiss, 0.3, 0.4)
	}
	at += hiss * 3 / 4

	n := int(uniform(r, 0.12, 0.24) * frame.SampleRate)
	vowel := vowels[r.IntN(len(vowels))]
	glide := vowels[r.IntN(len(vowels))]
	pitch, rise, loud := v.pitch*uniform(r, 0.84, 1.22), uniform(r, -0.22, 0.16), uniform(r, 0.6, 1)
	var tract [3]filter
	phase := r.Float64()
	for i := range n {
		t := float64(i) / float64(n)
		if i%240 == 0 { // the mouth moves
			for f := range tract {
				tract[f].tune((vowel[f]*(1-0.4*t)+glide[f]*0.4*t)*v.tract, 60+float64(f)*40)
			}
		}
		x := 0.03 * r.NormFloat64() // breath
		if phase += pitch * (1 + rise*t) / frame.SampleRate; phase >= 1 {
			phase--
			x += 12 // the vocal folds close
		}
		y := tract[0].next(x) + 0.55*tract[1].next(x) + 0.3*tract[2].next(x)
		v.out[at+i] += loud * y * swell(i, n, 0.12, 0.3)
	}
	return at + n
}

// swell rises over the first part of n samples and falls over the last.
func swell(i, n int, rise, fall float64) float64 {
	t := float64(i) / float64(n)
	e := min(t/rise, (1-t)/fall, 1)
	return 0.5 - 0.5*math.Cos(math.Pi*e)
}

// level scales the voice to a usual level: 0.09 in the mean where it speaks,
// which is 21 dB below full scale, and at most 0.7.
func (v *voice) level() []float32 {
	var sum, peak float64
	n := 0
	for _, x := range v.out {
		if x != 0 {
			sum, n = sum+x*x, n+1
		}
		peak = max(peak, math.Abs(x))
	}
	gain := min(0.09/math.Sqrt(sum/float64(n)), 0.7/peak)
	loop := make([]float32, len(v.out))
	for i, x := range v.out {
		loop[i] = float32(x * gain)
	}
	return loop
}

// A filter is a resonance of two poles with unity gain at its peak.
type filter struct{ gain, b1, b2, y1, y2 float64 }

func resonator(hertz, bandwidth float64) *filter {
	f := new(filter)
	f.tune(hertz, bandwidth)
	return f
}

func (f *filter) tune(hertz, bandwidth float64) {
	radius := math.Exp(-math.Pi * bandwidth / frame.SampleRate)
	angle := 2 * math.Pi * hertz / frame.SampleRate
	f.b1, f.b2 = 2*radius*math.Cos(angle), -radius*radius
	f.gain = (1 - radius) * math.Sqrt(1-2*radius*math.Cos(2*angle)+radius*radius)
}

func (f *filter) next(x float64) float64 {
	y := f.gain*x + f.b1*f.y1 + f.b2*f.y2
	f.y1, f.y2 = y, f.y1
	return y
}
