// SPDX-License-Identifier: Apache-2.0

package sound

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"incamera/media/frame"
)

const (
	ringPeriods = 16   // more than the 80 ms that a busy system may be late
	ringSamples = 8192 // a power of two that holds them
	ahead       = 2    // periods of silence played first, so that a late Exchange is not heard
	tooMany     = 8    // periods waiting: from there on old sound is given up

	// silent is how long a device may say nothing: over ten times the longest
	// period of any hardware.
	silent = time.Second
)

// A stream joins the callback of the sound system with Exchange. The callback
// takes no lock and allocates nothing.
type stream struct {
	captured, toPlay *ring
	wake             chan struct{} // holds one: there may be something captured
	lost             chan struct{} // closed once the device has gone
	closed           chan struct{} // closed by Close
	once, loseOnce   sync.Once
	running          atomic.Bool // Exchange was called: silence is our fault from now on
	beat             atomic.Int64
	underruns        atomic.Uint64
	overruns         atomic.Uint64

	// owned by the goroutine that calls Exchange
	pts   time.Duration
	timer *time.Timer
}

func newStream() *stream {
	return &stream{
		captured: newRing(ringSamples), toPlay: newRing(ringSamples),
		wake: make(chan struct{}, 1), lost: make(chan struct{}), closed: make(chan struct{}),
	}
}

// data is the callback: it fills play and takes heard, mono float32 each.
func (s *stream) data(play, heard []byte) {
	s.beat.Store(int64(frame.Now()))
	if s.toPlay.popBytes(play) > 0 && s.running.Load() {
		s.underruns.Add(1)
	}
	if s.captured.pushBytes(heard) > 0 && s.running.Load() {
		s.overruns.Add(1)
	}
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// lose ends the stream because its device has gone.
func (s *stream) lose() { s.loseOnce.Do(func() { close(s.lost) }) }

var errClosed = errors.New("sound: closed")

// Exchange waits for the next 10 ms of the device's clock, takes what will be
// played and fills heard, whose PTS is the instant at which its first sample
// was captured. Both count the same samples.
//
// The error is the cause of ctx, or wraps [ErrLost] if the device has gone or
// has said nothing for a second, or tells that the Duplex was closed. One
// goroutine calls Exchange. It allocates nothing.
func (s *stream) Exchange(ctx context.Context, play, heard *frame.PCM) error {
	if !s.running.Load() {
		// What was captured before anybody listened is old, and the loudspeaker
		// gets some silence in hand.
		s.captured.skip(s.captured.held())
		var quiet [ahead * frame.PeriodSamples]float32
		s.toPlay.push(quiet[:])
		s.running.Store(true)
	}
	if err := s.await(ctx); err != nil {
		return err
	}
	if extra := s.captured.held()/frame.PeriodSamples - 1; extra >= tooMany {
		s.captured.skip(extra * frame.PeriodSamples)
		s.overruns.Add(uint64(extra))
	}
	s.captured.pop(heard.Samples[:])
	heard.PTS = s.instant()
	if s.toPlay.held() < tooMany*frame.PeriodSamples {
		s.toPlay.push(play.Samples[:])
	}
	return nil
}

// await waits until a period has been captured.
func (s *stream) await(ctx context.Context) error {
	for {
		// A device that is gone may have left sound behind: the end comes first.
		select {
		case <-s.lost:
			return ErrLost
		case <-s.closed:
			return errClosed
		case <-ctx.Done():
			return context.Cause(ctx)
		default:
		}
		if s.captured.held() >= frame.PeriodSamples {
			return nil
		}
		if s.timer == nil {
			s.timer = time.NewTimer(silent)
		} else {
			s.timer.Reset(silent)
		}
		select {
		case <-s.wake:
		case <-s.timer.C:
			return ErrLost
		case <-s.lost:
		case <-s.closed:
		case <-ctx.Done():
		}
		s.timer.Stop()
	}
}

// instant estimates when the period that was just taken began. The callback's
// moment jitters, the device's clock does not: so time advances by 10 ms each
// period and leans slowly towards what was measured.
func (s *stream) instant() time.Duration {
	waiting := time.Duration(s.captured.held()+frame.PeriodSamples) * time.Second / frame.SampleRate
	measured := time.Duration(s.beat.Load()) - waiting
	s.pts += frame.Period
	if off := measured - s.pts; off > 100*time.Millisecond || off < -100*time.Millisecond {
		s.pts = measured
	} else {
		s.pts += off / 64
	}
	return s.pts
}

// Counts tells what went wrong since the device was opened. It may be called
// at any time.
func (s *stream) Counts() Counts {
	return Counts{Underruns: s.underruns.Load(), Overruns: s.overruns.Load()}
}
