// SPDX-License-Identifier: Apache-2.0

package audio

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"incamera/media/frame"
)

// A wire is a duplex on the bubble's clock that hears what f says.
type wire struct {
	next   time.Time
	played [3]frame.PCM // the last ones
	n      int
	hear   func(n int, pcm *frame.PCM)
	failAt int // the period in which the device fails
}

var errDevice = errors.New("unplugged")

func (w *wire) Exchange(ctx context.Context, play, heard *frame.PCM) error {
	if w.n++; w.n == w.failAt {
		return errDevice
	}
	if w.next.IsZero() {
		w.next = time.Now()
	}
	w.next = w.next.Add(frame.Period)
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-time.After(time.Until(w.next)):
	}
	w.played[w.n%3] = *play
	clear(heard.Samples[:])
	heard.PTS = time.Duration(w.n) * frame.Period
	if w.hear != nil {
		w.hear(w.n, heard)
	}
	return nil
}

func (w *wire) Delay() time.Duration { return 42 * time.Millisecond }

// A witness is a processor that notes what it was given, in which order.
type witness struct {
	rendered frame.PCM
	renders  int
	captures int
	delay    time.Duration
	fail     bool
	order    bool
}

func (p *witness) Render(far *frame.PCM) error {
	p.rendered, p.order = *far, p.renders == p.captures
	p.renders++
	return nil
}

func (p *witness) Capture(near *frame.PCM, delay time.Duration) error {
	p.captures++
	p.delay = delay
	for i := range near.Samples {
		near.Samples[i] += 1
	}
	if p.fail {
		return errors.New("no")
	}
	return nil
}

func TestLoopOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := NewMixer(100)
		m.Add(level(0.25))
		p, w := &witness{}, &wire{}
		var got []frame.PCM
		l := NewLoop(m, p, func(pcm *frame.PCM) { got = append(got, *pcm) }, nil)
		l.SetMuted(false)
		ctx, cancel := context.WithTimeout(t.Context(), 105*time.Millisecond)
		defer cancel()
		if err := l.Run(ctx, w); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Run = %v", err)
		}
		if len(got) != 10 || p.renders != 11 || p.captures != 10 || !p.order {
			t.Fatalf("%d periods heard, %d rendered, %d captured in 105 ms", len(got), p.renders, p.captures)
		}
		if p.rendered.Samples != w.played[0].Samples || p.rendered.Samples[400] != 0.25 {
			t.Error("the far end of the canceller is not what is played")
		}
		if p.delay != 42*time.Millisecond || got[5].Samples[7] != 1 || got[5].PTS != 60*time.Millisecond {
			t.Errorf("delay %v, heard %g at %v", p.delay, got[5].Samples[7], got[5].PTS)
		}
		if got[0].Samples[0] != 0 || got[0].Samples[240] > 0.6 {
			t.Error("the gate opens with a click")
		}
	})
}

// TestNothingPassesTheGate: a loop is muted until told otherwise, and from the
// call of SetMuted on at most the period that is under way goes out.
func TestNothingPassesTheGate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var heard atomic.Int64
		p := &witness{}
		l := NewLoop(NewMixer(100), p, func(*frame.PCM) { heard.Add(1) }, nil)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- l.Run(ctx, &wire{}) }()
		time.Sleep(time.Second)
		synctest.Wait()
		if heard.Load() != 0 || !l.Silent() {
			t.Errorf("%d periods left a room that nobody opened", heard.Load())
		}
		l.SetMuted(false)
		time.Sleep(time.Second)
		synctest.Wait()
		if n := heard.Load(); n < 99 || n > 101 || l.Silent() {
			t.Errorf("%d periods in a second, silent %v", n, l.Silent())
		}
		l.SetMuted(true)
		n := heard.Load()
		time.Sleep(time.Second)
		synctest.Wait()
		if heard.Load() > n || !l.Silent() {
			t.Errorf("%d periods after the room was muted", heard.Load()-n)
		}
		l.SetMuted(false)
		time.Sleep(50 * time.Millisecond)
		cancel()
		if <-done; !l.Silent() {
			t.Error("a loop that ended is not silent")
		}
		if p.captures < 299 {
			t.Errorf("the canceller heard %d of 300 periods: it must run while muted", p.captures)
		}
	})
}

// TestDeviceFails: Run says so and goes on with the next device, muted or not
// as before.
func TestDeviceFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		heard := 0
		l := NewLoop(NewMixer(100), Null{}, func(*frame.PCM) { heard++ }, nil)
		l.SetMuted(false)
		if err := l.Run(t.Context(), &wire{failAt: 11}); !errors.Is(err, errDevice) {
			t.Errorf("Run = %v, want what the device said", err)
		}
		if err := l.Run(t.Context(), &wire{failAt: 11}); !errors.Is(err, errDevice) || heard != 20 {
			t.Errorf("the second device: %v, %d periods in all, want 20", err, heard)
		}
		l.SetMuted(true)
		if err := l.Run(t.Context(), &wire{failAt: 11}); !errors.Is(err, errDevice) || heard != 20 {
			t.Errorf("the third device, muted: %v, %d periods in all, want 20", err, heard)
		}
		cause := errors.New("over")
		ctx, cancel := context.WithCancelCause(t.Context())
		cancel(cause)
		if err := l.Run(ctx, &wire{}); !errors.Is(err, cause) {
			t.Errorf("Run after the end = %v, want its cause", err)
		}
	})
}

// TestCancellerFails: rather silence than the others' echo.
func TestCancellerFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var loud bool
		var last Report
		l := NewLoop(NewMixer(100), &witness{fail: true},
			func(pcm *frame.PCM) { loud = loud || energy(pcm.Samples[:]) > 0 },
			func(r Report) { last = r })
		l.SetMuted(false)
		err := l.Run(t.Context(), &wire{failAt: 51, hear: func(_ int, pcm *frame.PCM) { pcm.Samples[1] = 1 }})
		if !errors.Is(err, errDevice) || loud || last.Errors != 50 {
			t.Errorf("Run = %v, sound passed %v, %d errors told, want 50", err, loud, last.Errors)
		}
	})
}

func TestReports(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var reports []Report
		m := NewMixer(100)
		m.Add(&sine{hertz: 500, amplitude: 0.1})
		tone := &sine{hertz: 500, amplitude: 0.01}
		l := NewLoop(m, Null{}, func(*frame.PCM) {}, func(r Report) { reports = append(reports, r) })
		_ = l.Run(t.Context(), &wire{failAt: 201, hear: func(_ int, pcm *frame.PCM) { tone.Period(&pcm.Samples) }})
		if len(reports) != 20 {
			t.Fatalf("%d reports in 2 s, want 20", len(reports))
		}
		if r := reports[19]; !near(r.Heard.RMS, -43) || !near(r.Played.Peak, -20) || !r.Muted {
			t.Errorf("report %+v", r)
		}
	})
}

// An instant duplex does not wait.
type instant struct{ n, until int }

func (d *instant) Exchange(context.Context, *frame.PCM, *frame.PCM) error {
	if d.n++; d.n > d.until {
		return errDevice
	}
	return nil
}

func (*instant) Delay() time.Duration { return 0 }

func TestLoopAllocatesNothing(t *testing.T) {
	m := NewMixer(70)
	m.Add(&sine{hertz: 500, amplitude: 0.9})
	m.Add(&sine{hertz: 700, amplitude: 0.9})
	l := NewLoop(m, Null{}, func(*frame.PCM) {}, func(Report) {})
	l.SetMuted(false)
	d := &instant{}
	ctx := t.Context()
	if n := testing.AllocsPerRun(50, func() {
		*d = instant{until: 100}
		_ = l.Run(ctx, d)
	}); n > 3 { // the error at the end of 100 periods
		t.Errorf("%v allocations in 100 periods", n)
	}
}

func BenchmarkLoop(b *testing.B) {
	m := NewMixer(70)
	for i := range 4 {
		m.Add(level(float32(i) / 10))
	}
	l := NewLoop(m, Null{}, func(*frame.PCM) {}, nil)
	l.SetMuted(false)
	d, ctx := &instant{until: 1 << 62}, b.Context()
	b.ReportAllocs()
	for b.Loop() {
		if err := l.period(ctx, d); err != nil {
			b.Fatal(err)
		}
	}
}
