// SPDX-License-Identifier: Apache-2.0

package pipeline

import (
	"time"

	"incamera/media/codec"
)

// A Step is one way to send pictures: how large, how many, for how much.
type Step struct {
	Height  int // pixels, of a picture of 16:9
	FPS     int // pictures a second
	BitRate int // bits a second that it needs
}

// Steps is the ladder, from the best step to the least. Below it video stops
// and sound goes on.
var Steps = [...]Step{
	{1080, 30, 3_000_000},
	{720, 30, 1_500_000},
	{720, 15, 800_000},
	{360, 30, 500_000},
	{360, 15, 250_000},
}

// stopped is the step below the ladder.
const stopped = len(Steps)

// calmTime is how long the network must bear the next step before it is taken.
const calmTime = 5 * time.Second

// A ladder chooses the step: down at once, up one step after 5 calm seconds.
type ladder struct {
	step   int       // index of Steps, or stopped
	top    int       // the best step that the source and the processor allow
	target int       // bits a second that the network bears
	calm   time.Time // since when it bears more than the step
}

func newLadder(target int) ladder {
	l := ladder{target: target}
	l.step = l.wanted()
	return l
}

// wanted is the best step that the target pays for.
func (l *ladder) wanted() int {
	for i := l.top; i < stopped; i++ {
		if Steps[i].BitRate <= l.target {
			return i
		}
	}
	return stopped
}

// update follows the target and the passing of time.
func (l *ladder) update(now time.Time) {
	switch want := l.wanted(); {
	case want > l.step:
		l.step = want
		l.calm = time.Time{}
	case want == l.step:
		l.calm = time.Time{}
	case l.calm.IsZero():
		l.calm = now
	case now.Sub(l.calm) >= calmTime:
		l.step--
		l.calm = now
	}
}

// bitRate is what the encoder may spend. Between two steps it is the whole
// target: an estimate of the network grows only where something is sent.
func (l *ladder) bitRate() int {
	switch {
	case l.step == stopped:
		return 0
	case l.step <= l.top:
		return min(l.target, Steps[l.step].BitRate)
	}
	return min(l.target, Steps[l.step-1].BitRate)
}

// topFor is the best step for a source of this size: above it pictures would
// cost more and show no more.
func topFor(width, height int) int {
	height = max(height, width*9/16)
	top := 0
	for i, s := range Steps {
		if s.Height >= height && s.Height < Steps[top].Height {
			top = i
		}
	}
	return top
}

const (
	overloadTime = 2 * time.Second  // over 70 % of the time: something must give
	reliefTime   = 10 * time.Second // under 30 %: something may come back; doubles each time it was wrong
	maxRelief    = 10 * time.Minute
)

// An overload watches how long encoding takes. Over 70 % of the interval
// between pictures for 2 s: the encoder works less on each, and if that is not
// enough, pictures get smaller.
type overload struct {
	effort codec.Effort
	top    int // the best step that the processor allows

	mean   time.Duration
	over   time.Time // since when it takes too long
	under  time.Time // since when it takes little
	relief time.Duration
}

// encoded takes the time one picture took. step is the step it was encoded on.
func (o *overload) encoded(now time.Time, took time.Duration, step int) {
	if step >= stopped {
		return
	}
	interval := time.Second / time.Duration(Steps[step].FPS)
	o.mean += (took - o.mean) / 8
	if o.mean <= interval*7/10 {
		o.over = time.Time{}
	} else if o.over.IsZero() {
		o.over = now
	}
	if o.mean >= interval*3/10 {
		o.under = time.Time{}
	} else if o.under.IsZero() {
		o.under = now
	}
	switch {
	case !o.over.IsZero() && now.Sub(o.over) >= overloadTime:
		o.less(step)
		o.over = time.Time{}
	case !o.under.IsZero() && now.Sub(o.under) >= max(o.relief, reliefTime):
		o.more()
		o.under = time.Time{}
	}
}

func (o *overload) less(step int) {
	if o.relief = min(max(2*o.relief, reliefTime), maxRelief); o.effort < codec.Least {
		o.effort++
		return
	}
	for i := step + 1; i < stopped; i++ {
		if Steps[i].Height < Steps[step].Height {
			o.top, o.mean = i, 0
			return
		}
	}
}

func (o *overload) more() {
	switch {
	case o.top > 0:
		o.top--
	case o.effort > codec.Normal:
		o.effort--
	}
}
