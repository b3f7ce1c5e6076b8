// SPDX-License-Identifier: Apache-2.0

package sim

import (
	"context"
	"errors"
	"time"

	"incamera/media/frame"
)

// errClosed means that the device was closed while somebody waited for it.
var errClosed = errors.New("sim: the device is closed")

// A pacer ticks by CLOCK_MONOTONIC without drift: tick n is n periods after the
// first, however late one was waited for. One goroutine owns it.
type pacer struct {
	anchor time.Time     // instant of tick 0
	base   time.Duration // the same instant as frame.Now tells it
	rate   int           // ticks in unit
	unit   time.Duration
	next   int64 // number of the next tick
	timer  *time.Timer
}

// newPacer returns a pacer of rate ticks in each unit, the first of them now.
func newPacer(rate int, unit time.Duration) *pacer {
	return &pacer{anchor: time.Now(), base: frame.Now(), rate: rate, unit: unit}
}

// at is how long after the first tick n comes.
func (p *pacer) at(n int64) time.Duration {
	whole, part := n/int64(p.rate), n%int64(p.rate)
	return time.Duration(whole)*p.unit + time.Duration(part)*p.unit/time.Duration(p.rate)
}

// tick is the instant of the next tick, as frame.Now tells it.
func (p *pacer) tick() time.Duration { return p.base + p.at(p.next) }

// late is how long ago the next tick was due; negative if it is to come.
func (p *pacer) late() time.Duration { return time.Since(p.anchor) - p.at(p.next) }

// skip leaves out ticks that are over, but for the last.
func (p *pacer) skip() (skipped int64) {
	for p.late() >= p.at(p.next+1)-p.at(p.next) {
		p.next++
		skipped++
	}
	return skipped
}

// wait waits for the next tick, and counts it. Its error is the cause of ctx,
// or errClosed.
func (p *pacer) wait(ctx context.Context, closed <-chan struct{}) error {
	if d := -p.late(); d > 0 {
		if p.timer == nil {
			p.timer = time.NewTimer(d)
		} else {
			p.timer.Reset(d)
		}
		select {
		case <-p.timer.C:
		case <-ctx.Done():
			p.timer.Stop()
			return context.Cause(ctx)
		case <-closed:
			p.timer.Stop()
			return errClosed
		}
	}
	select {
	case <-closed:
		return errClosed
	default:
	}
	p.next++
	return nil
}
