// SPDX-License-Identifier: Apache-2.0

package e2ee_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"incamera/media/e2ee"
	"incamera/media/frame"
	"incamera/media/mls"
)

// A stream carries frames from one room to another over a network with some
// latency, and keeps those of an epoch not known yet for 250 ms, as a peer does.
type stream struct {
	from, to        *room
	latency         time.Duration
	mu              sync.Mutex
	opened, refused int
	errs            []error
}

func (s *stream) run(ctx context.Context, wg *sync.WaitGroup) {
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for n := 0; ; n++ {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		kind := frame.Kind(n % 3)
		sealed, err := s.from.session.Keyring().Seal(nil, &frame.Encoded{Kind: kind, Data: []byte("frame")})
		s.note(err)
		if err == nil {
			wg.Go(func() { s.note(s.arrive(kind, sealed.Bytes())) })
		}
	}
}

func (s *stream) arrive(kind frame.Kind, wire []byte) error {
	time.Sleep(s.latency)
	deadline := time.Now().Add(250 * time.Millisecond)
	for {
		_, err := s.to.session.Keyring().Open(nil, kind, s.from.session.Epoch().Self, wire)
		if !errors.Is(err, e2ee.ErrUnknownEpoch) || time.Now().After(deadline) {
			return err
		}
		time.Sleep(5 * time.Millisecond)
	}
}

func (s *stream) note(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err == nil {
		s.opened++
	} else {
		s.refused++
		s.errs = append(s.errs, err)
	}
}

// TestNoFrameLost lets rooms in and renews keys while frames flow both ways
// every 10 ms, the log reaching each room at another time: not one frame is
// refused.
func TestNoFrameLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMeeting(t)
		rooms := m.gather("Vauban", "Curie")
		settle()
		rooms[0].delay, rooms[1].delay = 3*time.Millisecond, 140*time.Millisecond
		ctx, stop := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		streams := []*stream{
			{from: rooms[0], to: rooms[1], latency: 5 * time.Millisecond},
			{from: rooms[1], to: rooms[0], latency: 90 * time.Millisecond},
		}
		for _, s := range streams {
			wg.Go(func() { s.run(ctx, &wg) })
		}
		time.Sleep(time.Second)
		monge := m.newRoom("Monge")
		if err := rooms[0].session.Add(t.Context(), "Monge", m.knock(monge)); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		if err := rooms[1].session.Rotate(t.Context()); err != nil {
			t.Fatal(err)
		}
		time.Sleep(4 * time.Second)
		stop()
		wg.Wait()
		for _, s := range streams {
			if s.refused != 0 || s.opened < 600 {
				t.Errorf("%s to %s: %d steps went well, %d did not: %v", s.from.name, s.to.name, s.opened, s.refused, s.errs)
			}
		}
		agree(t, rooms[0], rooms[1], monge)
		hearEachOther(t, rooms[0], rooms[1], monge)
	})
}

// TestChangeover measures T2 and T3: sending moves once every continuing room
// is ready, after 500 ms without, and the old frames open for 2 s.
func TestChangeover(t *testing.T) {
	for _, tt := range []struct {
		name   string
		delay  time.Duration // of the log, at the other room
		silent bool          // ready never arrives
		moves  time.Duration // T2 - T1 at the committer
	}{
		{"all at once", 0, false, 0},
		{"a slow room", 200 * time.Millisecond, false, 200 * time.Millisecond},
		{"a silent room", 0, true, 500 * time.Millisecond},
		{"a room that is too slow", 700 * time.Millisecond, false, 500 * time.Millisecond},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m := newMeeting(t)
				rooms := m.gather("Vauban", "Curie")
				settle()
				a := rooms[0].session
				rooms[1].delay = tt.delay
				if tt.silent {
					m.setFilter(func(_ string, message []byte) bool {
						h, err := mls.Peek(message)
						return err != nil || !h.Application
					})
				}
				start := time.Now()
				if err := a.Rotate(t.Context()); err != nil {
					t.Fatal(err)
				}
				synctest.Wait()
				if got := time.Since(start); got != 0 {
					t.Fatalf("the commit took %v", got)
				}
				e := a.Epoch().Number
				at := func(name string, want time.Duration, reached func() bool) {
					t.Helper()
					const step = 10 * time.Millisecond
					for !reached() && time.Since(start) < 5*time.Second {
						time.Sleep(step)
						synctest.Wait()
					}
					if got := time.Since(start); got != want {
						t.Errorf("%s after %v, want %v", name, got, want)
					}
				}
				at("sending moved", tt.moves, func() bool { n, _ := a.Keyring().Sending(); return n == e })
				if got := a.Keyring().Epochs(); !slices.Equal(got, []uint64{e - 1, e}) {
					t.Errorf("keys of %v, want of %d and %d", got, e-1, e)
				}
				at("old keys gone", 2*time.Second, func() bool { return slices.Equal(a.Keyring().Epochs(), []uint64{e}) })
			})
		})
	}
}

// TestBurst makes commits faster than any room gets ready: no more than four
// epochs hold keys, and sending never stops.
func TestBurst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMeeting(t)
		rooms := m.gather("Vauban", "Curie")
		settle()
		m.setFilter(func(_ string, message []byte) bool {
			h, err := mls.Peek(message)
			return err != nil || !h.Application // nobody says ready
		})
		for range 7 {
			if err := rooms[0].session.Rotate(t.Context()); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
			for _, r := range rooms {
				if n := len(r.session.Keyring().Epochs()); n > 4 {
					t.Errorf("%s holds keys of %d epochs", r.name, n)
				}
			}
			hearEachOther(t, rooms...)
		}
		settle()
		for _, r := range rooms {
			if got, want := r.session.Keyring().Epochs(), []uint64{r.session.Epoch().Number}; !slices.Equal(got, want) {
				t.Errorf("%s holds keys of %v, want %v", r.name, got, want)
			}
		}
		agree(t, rooms...)
	})
}

// TestRotation counts the commits that nobody asked for.
func TestRotation(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMeeting(t)
		rooms := []*room{m.newRoom("Vauban"), m.newRoom("Curie")}
		for i, r := range rooms {
			r.config.Rotation = time.Duration(i+1) * 10 * time.Minute
		}
		s, err := e2ee.Create(m.ctx, rooms[0].config, []byte("meeting"))
		if err != nil {
			t.Fatal(err)
		}
		m.enter(rooms[0], s)
		time.Sleep(time.Hour)
		synctest.Wait()
		if got := s.Epoch().Number; got != 0 {
			t.Errorf("alone, and %d commits", got)
		}
		m.admit(rooms[0], rooms[1])
		time.Sleep(40 * time.Minute)
		synctest.Wait()
		// Every 7.5 to 12.5 minutes one room, every 15 to 25 the other.
		if got := s.Epoch().Number - 1; got < 3+1 || got > 5+2 {
			t.Errorf("%d rotations in 40 minutes, want 4 to 7", got)
		}
		settle()
		agree(t, rooms...)
	})
}

// TestConcurrentCommits has three members commit at one instant, again and
// again: each gets its turn, and all stay in one group.
func TestConcurrentCommits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMeeting(t)
		rooms := m.gather("Vauban", "Curie", "Monge")
		settle()
		for i, r := range rooms {
			r.delay = time.Duration(i*7) * time.Millisecond
		}
		newcomers := []*room{m.newRoom("Ampère"), m.newRoom("Lovelace"), m.newRoom("Noether")}
		before := rooms[0].session.Epoch().Number
		var wg sync.WaitGroup
		for i, r := range rooms {
			kp := m.knock(newcomers[i])
			wg.Go(func() {
				if err := r.session.Add(t.Context(), newcomers[i].name, kp); err != nil {
					t.Errorf("%s adds %s: %v", r.name, newcomers[i].name, err)
				}
			})
			wg.Go(func() {
				if err := r.session.Rotate(t.Context()); err != nil {
					t.Errorf("%s rotates: %v", r.name, err)
				}
			})
		}
		wg.Wait()
		settle()
		all := append(rooms, newcomers...)
		agree(t, all...)
		hearEachOther(t, all...)
		if got := rooms[0].session.Epoch().Number - before; got != 6 {
			t.Errorf("%d commits for six wishes", got)
		}

		// Two remove one room at the same time: one commit is enough.
		before += 6
		for _, r := range rooms[:2] {
			wg.Go(func() {
				if err := r.session.Remove(t.Context(), newcomers[0].session.Epoch().Self); err != nil {
					t.Errorf("%s removes: %v", r.name, err)
				}
			})
		}
		wg.Wait()
		settle()
		rest := append(slices.Clone(rooms), newcomers[1:]...)
		agree(t, rest...)
		hearEachOther(t, rest...)
		if got := rooms[0].session.Epoch().Number - before; got != 1 {
			t.Errorf("%d commits for one removal", got)
		}
		for _, r := range rest {
			for _, err := range r.refusals() {
				if !errors.Is(err, mls.ErrPastEpoch) { // a ready that many commits overtook
					t.Errorf("%s refused of an honest log: %v", r.name, err)
				}
			}
		}
	})
}

// TestBadRelay has submissions fail in every way, and the wish come true.
func TestBadRelay(t *testing.T) {
	lost := errors.New("connection lost")
	for _, tt := range []struct {
		name   string
		fails  func(m *meeting, try int, epoch uint64, commit []byte, w []e2ee.Welcome) error
		failed bool // Rotate returns an error
	}{
		{"refused three times", func(m *meeting, try int, epoch uint64, commit []byte, w []e2ee.Welcome) error {
			if try <= 3 {
				return lost
			}
			return m.take(epoch, commit, w)
		}, false},
		{"taken, but the answer was lost", func(m *meeting, _ int, epoch uint64, commit []byte, w []e2ee.Welcome) error {
			_ = m.take(epoch, commit, w)
			return lost
		}, false},
		{"taken, but called stale", func(m *meeting, _ int, epoch uint64, commit []byte, w []e2ee.Welcome) error {
			_ = m.take(epoch, commit, w)
			return e2ee.ErrStale
		}, false},
		{"called stale, then taken", func(m *meeting, try int, epoch uint64, commit []byte, w []e2ee.Welcome) error {
			if try == 1 {
				return e2ee.ErrStale
			}
			return m.take(epoch, commit, w)
		}, false},
		{"never taken", func(*meeting, int, uint64, []byte, []e2ee.Welcome) error { return lost }, true},
		{"given up, then taken after all", func(m *meeting, try int, epoch uint64, commit []byte, w []e2ee.Welcome) error {
			if try == 8 {
				go func() {
					time.Sleep(time.Second)
					_ = m.take(epoch, commit, w)
				}()
			}
			return lost
		}, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m := newMeeting(t)
				rooms := m.gather("Vauban", "Curie")
				settle()
				try := 0
				rooms[0].commit = func(epoch uint64, commit []byte, w []e2ee.Welcome) error {
					try++
					return tt.fails(m, try, epoch, commit, w)
				}
				err := rooms[0].session.Rotate(t.Context())
				if (err != nil) != tt.failed || tt.failed && !errors.Is(err, lost) {
					t.Errorf("Rotate = %v after %d tries", err, try)
				}
				settle()
				rooms[0].commit = nil
				// Whatever happened, the next wish comes true.
				if err := rooms[0].session.Rotate(t.Context()); err != nil {
					t.Error(err)
				}
				settle()
				agree(t, rooms...)
				hearEachOther(t, rooms...)
			})
		})
	}
}

// TestAbandonedWish cancels a wish that waits behind another.
func TestAbandonedWish(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMeeting(t)
		rooms := m.gather("Vauban", "Curie")
		settle()
		release := make(chan struct{})
		rooms[0].commit = func(epoch uint64, commit []byte, w []e2ee.Welcome) error {
			<-release
			return m.take(epoch, commit, w)
		}
		first := make(chan error, 1)
		go func() { first <- rooms[0].session.Rotate(t.Context()) }()
		synctest.Wait()
		ctx, cancel := context.WithCancelCause(t.Context())
		second := make(chan error, 1)
		go func() { second <- rooms[0].session.Rotate(ctx) }()
		synctest.Wait()
		why := errors.New("the person changed their mind")
		cancel(why)
		if err := <-second; !errors.Is(err, why) {
			t.Errorf("abandoned wish: %v, want %v", err, why)
		}
		var many []chan error
		for range 70 {
			done := make(chan error, 1)
			many = append(many, done)
			go func() { done <- rooms[0].session.Rotate(ctx) }()
		}
		synctest.Wait()
		close(release)
		if err := <-first; err != nil {
			t.Error(err)
		}
		settle()
		if got := rooms[0].session.Epoch().Number; got != 2 {
			t.Errorf("epoch %d: an abandoned wish was committed", got)
		}
		for _, done := range many {
			if err := <-done; err == nil {
				t.Error("an abandoned wish came true")
			}
		}
		agree(t, rooms...)
	})
}

// TestBroadcast sends messages while epochs change. Nobody hears itself.
func TestBroadcast(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMeeting(t)
		rooms := m.gather("Vauban", "Curie", "Monge")
		var want []string
		for i := range 5 {
			text := fmt.Sprintf("message %d", i)
			if err := rooms[0].session.Broadcast(t.Context(), []byte(text)); err != nil {
				t.Fatal(err)
			}
			if err := rooms[i%3].session.Rotate(t.Context()); err != nil {
				t.Fatal(err)
			}
			want = append(want, "Vauban: "+text)
		}
		settle()
		for _, r := range rooms[1:] {
			if got := r.observer.heard(); !slices.Equal(got, want) {
				t.Errorf("%s heard %q, want %q", r.name, got, want)
			}
		}
		if got := rooms[0].observer.heard(); got != nil {
			t.Errorf("Vauban heard itself: %q", got)
		}
		if err := rooms[0].session.Broadcast(t.Context(), make([]byte, e2ee.MaxPayload+1)); err == nil {
			t.Error("a payload too long was sent")
		}
		if err := rooms[0].session.Broadcast(t.Context(), make([]byte, e2ee.MaxPayload)); err != nil {
			t.Error(err)
		}
	})
}
