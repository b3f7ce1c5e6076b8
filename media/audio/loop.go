// SPDX-License-Identifier: Apache-2.0

package audio

import (
	"context"
	"fmt"
	"sync/atomic"

	"incamera/media/frame"
)

// reportPeriods is how often a [Loop] reports: every 100 ms.
const reportPeriods = 10

// A Report tells the panel what the room hears and plays.
type Report struct {
	Heard  Level // the microphone after the canceller, muted or not
	Played Level // the loudspeaker, after volume and limiter
	Muted  bool  // the gate as it was in the last period: the lamp follows it
	Errors uint64
}

// A Loop is the sound of a room: 100 times a second it mixes what is to be
// played, exchanges it for what was heard, takes the echo out and hands on the
// rest, unless the room is muted.
//
// A Loop outlives its device: Run returns when the device fails, and is called
// again with the device that was opened anew. Volume, mute and the canceller's
// knowledge of the room stay.
type Loop struct {
	mixer  *Mixer
	proc   Processor
	sink   func(*frame.PCM)
	report func(Report)

	muted  atomic.Bool
	closed atomic.Bool // the gate as the last period found it
	errs   atomic.Uint64
	heard  Meter
	played Meter

	play, near frame.PCM
	open       bool // the last period passed the gate
	n          int
}

// NewLoop makes a loop that is muted until SetMuted(false): no sound leaves a
// room that nobody has opened.
//
// sink takes what the room says, cleaned, 10 ms at a time, and borrows it until
// it returns; while muted it is not called at all. report, which may be nil, is
// called 10 times a second. Both are called by Run's goroutine and must not
// block.
func NewLoop(m *Mixer, p Processor, sink func(*frame.PCM), report func(Report)) *Loop {
	l := &Loop{mixer: m, proc: p, sink: sink, report: report}
	l.muted.Store(true)
	l.closed.Store(true)
	return l
}

// SetMuted closes or opens the gate, at the latest for the next period.
func (l *Loop) SetMuted(muted bool) { l.muted.Store(muted) }

// Silent reports whether the last period was kept from the sink. It is true
// while no loop runs.
func (l *Loop) Silent() bool { return l.closed.Load() }

// Run moves sound through d until ctx is done or d fails, and returns why. One
// Run at a time.
func (l *Loop) Run(ctx context.Context, d Duplex) error {
	defer func() {
		l.open = false
		l.closed.Store(true)
	}()
	for {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if err := l.period(ctx, d); err != nil {
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			return err
		}
	}
}

func (l *Loop) period(ctx context.Context, d Duplex) error {
	l.mixer.Mix(&l.play.Samples)
	l.played.Add(&l.play.Samples)
	rendered := l.proc.Render(&l.play)
	if err := d.Exchange(ctx, &l.play, &l.near); err != nil {
		return fmt.Errorf("audio: exchange with the device: %w", err)
	}
	err := l.proc.Capture(&l.near, d.Delay())
	if rendered != nil || err != nil {
		// Without the canceller a period would carry the others' own voices
		// back to them. It is left out and counted.
		l.errs.Add(1)
		clear(l.near.Samples[:])
	}
	l.heard.Add(&l.near.Samples)
	l.gate()
	if l.n++; l.n >= reportPeriods {
		l.n = 0
		if l.report != nil {
			l.report(Report{l.heard.Level(), l.played.Level(), l.closed.Load(), l.errs.Load()})
		}
	}
	return nil
}

// gate hands on the period, unless the room is muted.
func (l *Loop) gate() {
	if l.muted.Load() {
		l.open = false
		l.closed.Store(true)
		return
	}
	if !l.open { // begin softly, in the middle of a word
		for i := range l.near.Samples {
			l.near.Samples[i] *= float32(i) / frame.PeriodSamples
		}
	}
	l.open = true
	l.closed.Store(false)
	l.sink(&l.near)
}
