// SPDX-License-Identifier: Apache-2.0

package sim

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"incamera/media/frame"
)

// An Echo is the path from the loudspeaker through the room to the microphone:
// what is played is heard after Delay, quieter by the factor Gain, then again
// at ever smaller shares until it has fallen by 60 dB after Decay.
type Echo struct {
	Delay time.Duration // at most a second
	Gain  float32       // from 0, no echo, to 1
	Decay time.Duration // at most a second
}

// Sound says what the microphone of a [Duplex] hears and where the loudspeaker
// plays to.
type Sound struct {
	Room   string // the voice of this room is heard, for ever; empty: silence
	File   string // instead of the voice: a WAV file, in a loop, see ReadWAV
	Record string // file that gets the first ten minutes of what is played; empty: none
	Echo   Echo
}

// A Duplex is a microphone and a loudspeaker on one clock. It has the methods
// of the audio device that the call engine wants: Exchange and Delay.
//
// One goroutine calls Exchange. The other methods may be called by any.
type Duplex struct {
	heard    []float32 // in a loop
	at       int
	record   *recorder
	echo     *echo
	delay    time.Duration
	pace     *pacer
	overruns atomic.Uint64

	mu        sync.Mutex
	listeners map[*Listener]struct{}
	closed    chan struct{}
	over      bool
}

// lag is how far a reader may stay behind and catch up, as the buffer of a
// sound card lets it. Sound that is older is lost.
const lag = 50 * time.Millisecond

// NewDuplex reads the file and creates the recording that s names.
func NewDuplex(s Sound) (*Duplex, error) {
	d := &Duplex{listeners: map[*Listener]struct{}{}, closed: make(chan struct{})}
	switch {
	case s.File != "":
		pcm, err := ReadWAV(s.File)
		if err != nil {
			return nil, err
		}
		if len(pcm) == 0 {
			return nil, errors.New("sim: " + s.File + ": holds no sound")
		}
		d.heard = pcm
	case s.Room != "":
		d.heard = newVoice(s.Room)
	}
	if s.Echo.Gain > 0 {
		if s.Echo.Gain > 1 || s.Echo.Delay < 0 || s.Echo.Delay > time.Second || s.Echo.Decay < 0 || s.Echo.Decay > time.Second {
			return nil, errors.New("sim: an echo has a gain up to 1, a delay and a decay up to one second")
		}
		d.echo = newEcho(s.Echo)
		d.delay = s.Echo.Delay
	}
	if s.Record != "" {
		r, err := newRecorder(s.Record)
		if err != nil {
			return nil, err
		}
		d.record = r
	}
	return d, nil
}

// Delay is the time from play to heard.
func (d *Duplex) Delay() time.Duration { return d.delay }

// Overruns counts the times that sound was lost because Exchange came late.
func (d *Duplex) Overruns() uint64 { return d.overruns.Load() }

// Exchange waits for the next 10 ms of the clock, plays play and fills heard,
// whose PTS is the instant of its first sample. Its error is the cause of ctx,
// a full disk under the recording, or that the device was closed.
func (d *Duplex) Exchange(ctx context.Context, play, heard *frame.PCM) error {
	if d.pace == nil {
		d.pace = newPacer(1, frame.Period)
	}
	if late := d.pace.late(); late > lag {
		d.overruns.Add(1)
		for n := d.pace.skip(); n > 0; n-- {
			d.advance()
		}
	}
	start := d.pace.tick() - frame.Period
	if err := d.pace.wait(ctx, d.closed); err != nil {
		return err
	}
	if len(d.heard) == 0 {
		clear(heard.Samples[:])
	} else {
		for i := range heard.Samples {
			heard.Samples[i] = d.heard[(d.at+i)%len(d.heard)]
		}
		d.advance()
	}
	heard.PTS = start
	if d.echo != nil {
		d.echo.through(play, heard)
	}
	return d.played(play)
}

func (d *Duplex) advance() {
	if len(d.heard) > 0 {
		d.at = (d.at + frame.PeriodSamples) % len(d.heard)
	}
}

func (d *Duplex) played(play *frame.PCM) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	for l := range d.listeners {
		l.offer(play)
	}
	if d.record == nil || d.over {
		return nil
	}
	return d.record.add(play)
}

// Close ends a waiting Exchange and completes the recording. It may be called
// twice.
func (d *Duplex) Close() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.over {
		return nil
	}
	d.over = true
	close(d.closed)
	if d.record == nil {
		return nil
	}
	return d.record.close()
}

// A Listener hears what the loudspeaker plays. One that does not keep up
// misses the oldest sound; the loudspeaker never waits.
type Listener struct {
	periods chan frame.PCM
	leave   func()
}

// heldPeriods is 250 ms: a web page that pauses longer wants the newest sound.
const heldPeriods = 25

// Listen begins to listen. The caller closes the listener.
func (d *Duplex) Listen() *Listener {
	l := &Listener{periods: make(chan frame.PCM, heldPeriods)}
	l.leave = func() {
		d.mu.Lock()
		delete(d.listeners, l)
		d.mu.Unlock()
	}
	d.mu.Lock()
	d.listeners[l] = struct{}{}
	d.mu.Unlock()
	return l
}

func (l *Listener) offer(p *frame.PCM) {
	for range 2 {
		select {
		case l.periods <- *p:
			return
		default:
		}
		select { // make room
		case <-l.periods:
		default:
		}
	}
}

// Next waits for the next period.
func (l *Listener) Next(ctx context.Context, p *frame.PCM) error {
	select {
	case *p = <-l.periods:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// Close ends listening. It may be called twice.
func (l *Listener) Close() { l.leave() }

// An echo is a line of delay with sparse reflections.
type echo struct {
	line []float32 // what was played, a ring
	at   int
	taps []echoTap
}

type echoTap struct {
	delay int // samples
	gain  float32
}

func newEcho(e Echo) *echo {
	samples := func(d time.Duration) int { return int(int64(d) * frame.SampleRate / int64(time.Second)) }
	first, tail := samples(e.Delay), samples(e.Decay)
	c := &echo{line: make([]float32, first+tail+frame.PeriodSamples+1), taps: []echoTap{{first, e.Gain}}}
	r := script("echo", "")
	const reflections = 24
	for i := range reflections {
		if tail == 0 {
			break
		}
		late := (float64(i) + r.Float64()) / reflections
		gain := e.Gain * 0.5 * float32(1/(1+late*999)) // 60 dB at the end
		if r.IntN(2) == 0 {
			gain = -gain
		}
		c.taps = append(c.taps, echoTap{first + 1 + int(late*float64(tail-1)), gain})
	}
	return c
}

// through adds to heard what is heard of play.
func (c *echo) through(play, heard *frame.PCM) {
	for i, v := range &play.Samples {
		c.line[c.at] = v
		for _, t := range c.taps {
			at := c.at - t.delay
			if at < 0 {
				at += len(c.line)
			}
			heard.Samples[i] += t.gain * c.line[at]
		}
		heard.Samples[i] = bounded(heard.Samples[i])
		if c.at++; c.at == len(c.line) {
			c.at = 0
		}
	}
}
