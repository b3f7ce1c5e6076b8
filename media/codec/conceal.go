// SPDX-License-Identifier: Apache-2.0

package codec

import "math"

const (
	historySamples = 2 * OpusSamples     // 40 ms: the longest period, and what it is compared with
	minLag         = 48000 / 400         // 400 Hz, the highest voice
	maxLag         = OpusSamples * 3 / 4 // 15 ms, 67 Hz, the lowest
	matchSamples   = 480                 // 10 ms are compared
	fadeSamples    = 3 * OpusSamples     // 60 ms
	joinSamples    = 120                 // 2.5 ms
	floorRise      = 1.02                // of the noise floor, a packet: 3 dB in 350 ms
	floorMin       = 1e-5                // -100 dBFS: what digital silence counts as
	floorMax       = 0.01                // -40 dBFS: louder than this is no noise floor
)

// A concealer hides missing packets. It keeps what was played last, repeats
// its last period of pitch, and fades it into noise as loud as the quietest
// packets of late: dead silence would sound like a broken line.
type concealer struct {
	history [historySamples]float32 // what was played, the newest last
	lag     int                     // samples of the period repeated, 0: nothing is missing
	gone    int                     // samples concealed in a row
	floor   float32                 // root mean square of the noise floor, 0: nothing was heard
	seed    uint32
}

// heard takes a decoded packet. After a gap it joins its beginning to the
// concealed sound without a click.
func (c *concealer) heard(pcm *[OpusSamples]float32) {
	level := min(max(rms(pcm[:]), floorMin), floorMax)
	if c.floor == 0 {
		c.floor = level
	}
	c.floor = min(level, c.floor*floorRise)
	if c.gone > 0 {
		var tail [OpusSamples]float32
		c.extend(tail[:joinSamples])
		for i := range joinSamples {
			w := float32(i) / joinSamples
			pcm[i] = w*pcm[i] + (1-w)*tail[i]
		}
		c.gone = 0
	}
	c.push(pcm)
}

// missed makes the next 20 ms of a gap.
func (c *concealer) missed(pcm *[OpusSamples]float32) {
	if c.gone == 0 {
		c.lag = pitch(&c.history)
	}
	c.extend(pcm[:])
	c.gone = min(c.gone+OpusSamples, fadeSamples)
	c.push(pcm)
}

func (c *concealer) push(pcm *[OpusSamples]float32) {
	copy(c.history[:], c.history[OpusSamples:])
	copy(c.history[historySamples-OpusSamples:], pcm[:])
}

// extend continues the history by its last period, faded by how long the gap
// has lasted already. Each period repeats the faded one before it, so the fade
// of a sample is only the step since then.
func (c *concealer) extend(pcm []float32) {
	for i := range pcm {
		var v float32
		if j := i - c.lag; j >= 0 {
			v = pcm[j]
		} else {
			v = c.history[historySamples+j]
		}
		if was, is := fade(c.gone+i-c.lag), fade(c.gone+i); was > 0 {
			v *= is / was
		} else {
			v = 0
		}
		pcm[i] = v
	}
	// Noise comes as the repeated sound goes, and is added after it, so that it
	// does not repeat.
	c.noise(pcm)
}

// fade is the gain of the repeated sound n samples into a gap.
func fade(n int) float32 {
	return float32(min(max(fadeSamples-n, 0), fadeSamples)) / fadeSamples
}

// noise adds white noise at the noise floor, uniform, whose root mean square
// is its peak divided by the square root of 3.
func (c *concealer) noise(pcm []float32) {
	peak := c.floor * math.Sqrt2 * 1.2247449
	for i := range pcm {
		c.seed = c.seed*1664525 + 1013904223 // Numerical Recipes; sound, not secrecy
		pcm[i] += peak * (1 - fade(c.gone+i)) * (float32(c.seed>>8)/(1<<23) - 1)
	}
}

// pitch finds the lag at which the newest 10 ms resemble what came before
// them most, in steps of two samples.
func pitch(h *[historySamples]float32) int {
	newest := h[historySamples-matchSamples:]
	best, lag := float32(0), maxLag
	for l := minLag; l <= maxLag; l += 2 {
		older := h[historySamples-matchSamples-l:]
		var dot, energy float32
		for i := 0; i < matchSamples; i += 2 {
			dot += newest[i] * older[i]
			energy += older[i] * older[i]
		}
		if dot > 0 && energy > 0 && dot*dot/energy > best {
			best, lag = dot*dot/energy, l
		}
	}
	return lag
}

func rms(pcm []float32) float32 {
	var sum float64
	for _, v := range pcm {
		sum += float64(v) * float64(v)
	}
	return float32(math.Sqrt(sum / float64(len(pcm))))
}
