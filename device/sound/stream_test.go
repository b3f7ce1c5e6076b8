// SPDX-License-Identifier: Apache-2.0

package sound

import (
	"context"
	"encoding/binary"
	"errors"
	"math"
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"

	"incamera/media/frame"
)

// period returns the bytes of a period whose samples count from first.
func period(first int) []byte {
	b := make([]byte, 4*frame.PeriodSamples)
	for i := range frame.PeriodSamples {
		binary.LittleEndian.PutUint32(b[4*i:], math.Float32bits(float32(first+i)))
	}
	return b
}

func sample(b []byte, i int) float32 {
	return math.Float32frombits(binary.LittleEndian.Uint32(b[4*i:]))
}

func TestExchangeKeepsSamplesInOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStream()
		stop := make(chan struct{})
		var played []float32
		go func() { // the sound card: every 10 ms, whatever we do
			tick := time.NewTicker(frame.Period)
			defer tick.Stop()
			out := make([]byte, 4*frame.PeriodSamples)
			for n := 0; ; n++ {
				select {
				case <-tick.C:
				case <-stop:
					close(s.closed)
					return
				}
				s.data(out, period(n*frame.PeriodSamples))
				for i := range frame.PeriodSamples {
					played = append(played, sample(out, i))
				}
			}
		}()
		var play, heard frame.PCM
		var next float32
		for n := range 50 {
			for i := range play.Samples {
				play.Samples[i] = float32(1 + n*frame.PeriodSamples + i)
			}
			if err := s.Exchange(t.Context(), &play, &heard); err != nil {
				t.Fatal(err)
			}
			for i, v := range heard.Samples {
				if v != next {
					t.Fatalf("period %d, sample %d is %v; want %v", n, i, v, next)
				}
				next++
			}
		}
		close(stop)
		synctest.Wait()
		want := float32(1)
		for i, v := range played {
			if v == 0 && want == 1 {
				continue // the silence in front
			}
			if v != want {
				t.Fatalf("played sample %d is %v; want %v", i, v, want)
			}
			want++
		}
		if want < 40*frame.PeriodSamples {
			t.Errorf("only %v samples were played", want)
		}
		if c := s.Counts(); c != (Counts{}) {
			t.Errorf("counts = %+v; want none", c)
		}
	})
}

func TestExchangeEnds(t *testing.T) {
	cause := errors.New("the meeting is over")
	for _, tt := range []struct {
		name string
		do   func(s *stream, cancel context.CancelCauseFunc)
		want error
	}{
		{"device gone", func(s *stream, _ context.CancelCauseFunc) { s.lose(); s.lose() }, ErrLost},
		{"device gone with sound left", func(s *stream, _ context.CancelCauseFunc) { s.data(nil, period(0)); s.lose() }, nil},
		{"device silent", func(*stream, context.CancelCauseFunc) {}, ErrLost},
		{"cancelled", func(_ *stream, cancel context.CancelCauseFunc) { cancel(cause) }, cause},
		{"closed", func(s *stream, _ context.CancelCauseFunc) { close(s.closed) }, errClosed},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newStream()
				ctx, cancel := context.WithCancelCause(t.Context())
				defer cancel(nil)
				go func() {
					time.Sleep(15 * time.Millisecond)
					tt.do(s, cancel)
				}()
				var play, heard frame.PCM
				began := time.Now()
				err := s.Exchange(ctx, &play, &heard)
				if tt.want == nil { // sound first, then the end
					err, tt.want = s.Exchange(ctx, &play, &heard), ErrLost
				}
				if !errors.Is(err, tt.want) {
					t.Errorf("Exchange = %v; want %v", err, tt.want)
				}
				if took := time.Since(began); took > silent {
					t.Errorf("it took %v", took)
				}
			})
		})
	}
}

// TestLateExchange loses sound, and only sound that is old.
func TestLateExchange(t *testing.T) {
	s := newStream()
	var play, heard frame.PCM
	out := make([]byte, 4*frame.PeriodSamples)
	s.data(out, period(0))
	s.running.Store(true)
	for n := 1; n < 40; n++ {
		s.data(out, period(n*frame.PeriodSamples))
	}
	if err := s.Exchange(t.Context(), &play, &heard); err != nil {
		t.Fatal(err)
	}
	c := s.Counts()
	if c.Overruns == 0 || c.Underruns != 39 {
		t.Errorf("counts = %+v after 40 periods without an Exchange", c)
	}
	if held := s.captured.held(); held > frame.PeriodSamples {
		t.Errorf("%d samples of old sound are kept", held)
	}
	for range 40 { // nobody plays: what waits stays bounded
		s.data(nil, period(0))
		if err := s.Exchange(t.Context(), &play, &heard); err != nil {
			t.Fatal(err)
		}
	}
	if held := s.toPlay.held(); held > (tooMany+1)*frame.PeriodSamples {
		t.Errorf("%d samples wait to be played", held)
	}
}

func TestInstantIsSteady(t *testing.T) {
	s := newStream()
	var play, heard frame.PCM
	out := make([]byte, 4*frame.PeriodSamples)
	s.running.Store(true)
	r := rand.New(rand.NewPCG(1, 2))
	var last time.Duration
	for n := range 500 {
		s.data(out, period(0))
		at := time.Hour + time.Duration(n)*frame.Period
		s.beat.Store(int64(at + time.Duration(r.IntN(4_000_000)))) // up to 4 ms late
		if err := s.Exchange(t.Context(), &play, &heard); err != nil {
			t.Fatal(err)
		}
		if step := heard.PTS - last; n > 0 && (step < 9900*time.Microsecond || step > 10100*time.Microsecond) {
			t.Fatalf("period %d came %v after the one before", n, step)
		}
		last = heard.PTS
		if off := heard.PTS - (at - frame.Period); off < -5*time.Millisecond || off > 5*time.Millisecond {
			t.Fatalf("period %d is off by %v", n, off)
		}
	}
}

// TestRingModel compares a ring with a plain slice.
func TestRingModel(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	ring := newRing(64)
	var model []float32
	next := float32(0)
	for range 20000 {
		n := r.IntN(40)
		if r.IntN(2) == 0 {
			b := make([]byte, 4*n)
			for i := range n {
				binary.LittleEndian.PutUint32(b[4*i:], math.Float32bits(next+float32(i)))
			}
			left := ring.pushBytes(b)
			if want := max(0, n-(64-len(model))); left != want {
				t.Fatalf("%d samples left out; want %d", left, want)
			}
			for i := range n - left {
				model = append(model, next+float32(i))
			}
			next += float32(n)
		} else {
			b := make([]byte, 4*n)
			missing := ring.popBytes(b)
			if want := max(0, n-len(model)); missing != want {
				t.Fatalf("%d samples missing; want %d", missing, want)
			}
			for i := range n {
				want := float32(0)
				if len(model) > 0 {
					want, model = model[0], model[1:]
				}
				if got := sample(b, i); got != want {
					t.Fatalf("sample %v; want %v", got, want)
				}
			}
		}
		if ring.held() != len(model) {
			t.Fatalf("%d held; want %d", ring.held(), len(model))
		}
		if next > 1<<20 {
			next = 0
		}
	}
}

func TestStreamAllocatesNothing(t *testing.T) {
	s := newStream()
	var play, heard frame.PCM
	out, in := make([]byte, 4*frame.PeriodSamples), period(0)
	ctx := t.Context()
	s.running.Store(true)
	if got := testing.AllocsPerRun(100, func() {
		s.data(out, in)
		s.data(out, in)
		if err := s.Exchange(ctx, &play, &heard); err != nil {
			t.Fatal(err)
		}
	}); got != 0 {
		t.Errorf("a period allocates %v times", got)
	}
}

func BenchmarkPeriod(b *testing.B) {
	s := newStream()
	var play, heard frame.PCM
	out, in := make([]byte, 4*frame.PeriodSamples), period(0)
	ctx := b.Context()
	s.running.Store(true)
	b.ReportAllocs()
	b.SetBytes(8 * frame.PeriodSamples)
	for b.Loop() {
		s.data(out, in)
		if err := s.Exchange(ctx, &play, &heard); err != nil {
			b.Fatal(err)
		}
	}
}
