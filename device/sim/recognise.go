// SPDX-License-Identifier: Apache-2.0

package sim

import (
	"math"
	"math/bits"
	"math/cmplx"
	"slices"

	"incamera/media/frame"
)

const (
	decimation = 6                               // from 48 kHz to the 8 kHz that are compared
	blockLen   = frame.SampleRate / decimation   // one second
	loopLen    = voiceLoop / decimation          // a power of two
	maxHeard   = 30 * frame.SampleRate           // longer recordings are cut to their end
	minBlocks  = 2                               // seconds with sound in them, at least
	recognised = 0.3                             // between what voices score after a call and what others do
	tooQuiet   = 1e-3 * 1e-3 * float64(blockLen) // energy of a second 60 dB below full scale
)

// Recognise tells whether the voice of a room is in a recording of 48 kHz mono,
// alone or among others, after coding, noise suppression and lost packets. It
// wants two seconds of speech at least and looks at the last 30.
//
// score is the likeness in the better half of the recording's seconds, from 0
// to 1; ok is whether that is enough. Each second is compared with all of what
// the room says: where packets were lost, only one second suffers. Silence,
// noise, tones and voices of other rooms score low.
func Recognise(pcm []float32, room string) (score float64, ok bool) {
	if len(pcm) > maxHeard {
		pcm = pcm[len(pcm)-maxHeard:]
	}
	heard := narrow(pcm)
	var blocks []float64
	var search *template
	for ; len(heard) >= blockLen; heard = heard[blockLen:] {
		block := heard[:blockLen]
		if energy(block) < tooQuiet {
			continue
		}
		if search == nil {
			search = newTemplate(newVoice(room))
		}
		blocks = append(blocks, search.likeness(block))
	}
	if len(blocks) < minBlocks {
		return 0, false
	}
	slices.Sort(blocks)
	better := blocks[len(blocks)/2:]
	for _, b := range better {
		score += b / float64(len(better))
	}
	return score, score >= recognised
}

func energy(x []float64) (sum float64) {
	for _, v := range x {
		sum += v * v
	}
	return sum
}

// narrow reduces sound to 8 kHz and evens out the fall of speech towards high
// frequencies. Anything not finite counts as silence.
func narrow(pcm []float32) []float64 {
	const taps = 8 * decimation
	var kernel [2*taps + 1]float64
	for i := range kernel {
		x := float64(i-taps) / decimation
		kernel[i] = (0.5 + 0.5*math.Cos(math.Pi*float64(i-taps)/(taps+1))) * 0.9 / decimation
		if x != 0 {
			kernel[i] *= math.Sin(math.Pi*0.9*x) / (math.Pi * 0.9 * x)
		}
	}
	out := make([]float64, len(pcm)/decimation)
	for i := range out {
		var sum float64
		for k, c := range kernel {
			if at := i*decimation + k - taps; at >= 0 && at < len(pcm) {
				if v := float64(pcm[at]); v > -64 && v < 64 {
					sum += c * v
				}
			}
		}
		out[i] = sum
	}
	var last float64
	for i, v := range out {
		out[i], last = v-0.9*last, v
	}
	return out
}

// A template is what a room says, ready for comparison.
type template struct {
	spectrum []complex128
	energy   []float64 // of the second that begins at each sample
	work     []complex128
	roots    []complex128
}

func newTemplate(loop []float32) *template {
	// Once more around, so that the filter has its past.
	const lead = 64
	x := narrow(append(slices.Clone(loop[len(loop)-lead*decimation:]), loop...))[lead:]
	t := &template{spectrum: make([]complex128, loopLen), energy: make([]float64, loopLen), work: make([]complex128, loopLen)}
	sum := energy(x[:blockLen])
	for i, v := range x {
		t.spectrum[i] = complex(v, 0)
		t.energy[i] = sum
		in := x[(i+blockLen)%loopLen]
		sum += in*in - v*v
	}
	t.roots = roots(loopLen)
	transform(t.spectrum, t.roots)
	return t
}

// likeness is the largest correlation of a second of sound with any second of
// what the room says.
func (t *template) likeness(block []float64) float64 {
	clear(t.work)
	for i, v := range block {
		t.work[i] = complex(v, 0)
	}
	transform(t.work, t.roots)
	for i, v := range t.work { // conjugated, so that the same transform leads back
		t.work[i] = v * cmplx.Conj(t.spectrum[i])
	}
	transform(t.work, t.roots)
	own := energy(block)
	var best float64
	for i, v := range t.work {
		if t.energy[i] > tooQuiet {
			best = max(best, math.Abs(real(v))/loopLen/math.Sqrt(own*t.energy[i]))
		}
	}
	return min(best, 1)
}

// roots returns the first half of the n roots of unity, clockwise.
func roots(n int) []complex128 {
	r := make([]complex128, n/2)
	for i := range r {
		r[i] = cmplx.Rect(1, -2*math.Pi*float64(i)/float64(n))
	}
	return r
}

// transform is the discrete Fourier transform in place; the length is a power
// of two, and roots belongs to it.
func transform(x, roots []complex128) {
	n := len(x)
	shift := 64 - bits.Len(uint(n-1))
	for i := range x {
		if j := int(bits.Reverse64(uint64(i)) >> shift); i < j {
			x[i], x[j] = x[j], x[i]
		}
	}
	for half := 1; half < n; half *= 2 {
		step := n / (2 * half)
		for from := 0; from < n; from += 2 * half {
			for k := range half {
				a, b := x[from+k], x[from+k+half]*roots[k*step]
				x[from+k], x[from+k+half] = a+b, a-b
			}
		}
	}
}
