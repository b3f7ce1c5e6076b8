// SPDX-License-Identifier: Apache-2.0

package audio

import (
	"math"
	"sync/atomic"

	"incamera/media/frame"
)

// A Tune is a short sound by which the room tells something.
type Tune uint32

// The tunes.
const (
	NoTune Tune = iota
	Ring        // somebody calls; repeats until another tune is set
	Join        // a room came
	Leave       // a room went
)

// A note is a soft bell.
type note struct {
	at, hertz float64 // start in seconds
}

// tunes are the notes, and after how many seconds they repeat, 0 for never.
// Rising is coming, falling is going; the ring is a sixth, unlike both.
var tunes = [...]struct {
	notes  []note
	repeat float64
	length float64 // seconds until all is quiet
}{
	Ring:  {[]note{{0, 523.25}, {0.22, 659.26}, {0.44, 880}}, 3, 2.4},
	Join:  {[]note{{0, 587.33}, {0.13, 880}}, 0, 1.4},
	Leave: {[]note{{0, 880}, {0.13, 587.33}}, 0, 1.4},
}

const (
	bellGain  = 0.16 // -16 dB each: below a voice
	bellDecay = 0.28 // seconds to a third
	bellRise  = 0.004
)

// A Chime is a [Source] that plays tunes. They pass the mix like every voice,
// so the echo canceller knows them. The zero value is silent.
type Chime struct {
	set    atomic.Uint64 // tune and how often one was set
	last   uint64
	tune   Tune
	sample int
}

// Play begins a tune, or with [NoTune] ends what plays. Anyone may call it.
func (c *Chime) Play(t Tune) {
	if int(t) >= len(tunes) {
		t = NoTune
	}
	for {
		old := c.set.Load()
		if c.set.CompareAndSwap(old, (old>>32+1)<<32|uint64(t)) {
			return
		}
	}
}

// Period implements [Source].
func (c *Chime) Period(dst *[frame.PeriodSamples]float32) bool {
	if set := c.set.Load(); set != c.last {
		fading := c.tune != NoTune
		if fading {
			c.fill(dst)
			for i := range dst { // no click where one tune cuts off another
				dst[i] *= 1 - float32(i)/frame.PeriodSamples
			}
		}
		c.last, c.tune, c.sample = set, Tune(uint32(set)), 0
		if fading {
			return true
		}
	}
	if c.tune == NoTune {
		return false
	}
	c.fill(dst)
	return true
}

// fill plays the next 10 ms of the tune and goes on.
func (c *Chime) fill(dst *[frame.PeriodSamples]float32) {
	tune := &tunes[c.tune]
	clear(dst[:])
	start := float64(c.sample) / frame.SampleRate
	for _, n := range tune.notes {
		for i := range dst {
			t := start + float64(i)/frame.SampleRate - n.at
			if t < 0 {
				continue
			}
			a := bellGain * math.Exp(-t/bellDecay) * min(t/bellRise, 1)
			w := 2 * math.Pi * n.hertz * t
			// An octave above, fading faster, makes a bell of a whistle.
			dst[i] += float32(a * (math.Sin(w) + 0.25*math.Exp(-t/0.1)*math.Sin(2*w)))
		}
	}
	c.sample += frame.PeriodSamples
	played := float64(c.sample) / frame.SampleRate
	switch {
	case tune.repeat > 0 && played >= tune.repeat:
		c.sample = 0
	case tune.repeat == 0 && played >= tune.length:
		c.tune = NoTune
	}
}
