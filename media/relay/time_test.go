// SPDX-License-Identifier: Apache-2.0

package relay_test

import (
	"context"
	"errors"
	"net"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"incamera/media/relay"
	"incamera/media/relay/relaytest"
	"incamera/media/signal"
)

// A bubble is a relay and its rooms on wires of memory, in fake time.
type bubble struct {
	house
	wires chan net.Conn
	stop  func()
}

// inBubble runs f with a relay of vauban's, without limits of rate if asked.
// What f opened must be closed when it returns, or the test fails: nothing may
// be left in a bubble.
func inBubble(t *testing.T, unlimited bool, f func(*testing.T, *bubble), options ...func(*relay.Options)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		b := &bubble{house: house{site: relaytest.NewSite(t, "Example"), rooms: make(map[string]relay.Credentials)}, wires: make(chan net.Conn)}
		b.owner = b.room(t, "vauban")
		ctx, cancel := context.WithCancel(t.Context())
		s := b.server(t, options...)
		if unlimited {
			s.Unlimited()
		}
		var wg sync.WaitGroup
		wg.Go(func() { _ = s.Serve(ctx, exchange{b.wires, ctx}) })
		b.stop = func() { cancel(); wg.Wait() }
		f(t, b)
		b.stop()
	})
}

// An exchange is a listener of wires.
type exchange struct {
	wires chan net.Conn
	ctx   context.Context
}

func (e exchange) Accept() (net.Conn, error) {
	select {
	case c := <-e.wires:
		return c, nil
	case <-e.ctx.Done():
		return nil, net.ErrClosed
	}
}

func (e exchange) Close() error   { return nil }
func (e exchange) Addr() net.Addr { return &net.TCPAddr{} }

// dial returns a connection and the wire's end, which can be cut.
func (b *bubble) dial(t *testing.T, name string) (*relay.Conn, *wire) {
	t.Helper()
	var end *wire
	o := relay.DialOptions{Credentials: b.room(t, name), Expect: relay.Expect{Name: "vauban"}}
	c, err := relay.Dial(t.Context(), "192.0.2.1:1", o.Through(func(ctx context.Context) (net.Conn, error) {
		ours, theirs := net.Pipe()
		end = &wire{Conn: ours, dead: make(chan struct{}), closed: make(chan struct{})}
		select {
		case b.wires <- theirs:
			return end, nil
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c, end
}

// A wire is one end of a connection. Once dead it takes and gives nothing, as
// if the power had failed on the other side: no end is seen.
type wire struct {
	net.Conn
	dead   chan struct{}
	closed chan struct{}
	once   sync.Once
}

func (w *wire) Read(p []byte) (int, error) {
	n, err := w.Conn.Read(p)
	select {
	case <-w.dead:
		<-w.closed
		return 0, net.ErrClosed
	default:
		return n, err
	}
}

func (w *wire) Write(p []byte) (int, error) {
	select {
	case <-w.dead:
		return len(p), nil // the system takes it and hopes
	default:
		return w.Conn.Write(p)
	}
}

func (w *wire) Close() error {
	w.once.Do(func() { close(w.closed) })
	return w.Conn.Close()
}

// meet opens the meeting with curie in it.
func (b *bubble) meet(t *testing.T) (vauban, curie *relay.Conn, v, c *wire) {
	t.Helper()
	vauban, v = b.dial(t, "vauban")
	if _, err := vauban.Open(t.Context(), meetingID, 0, []relay.Room{{Name: "curie", Site: "Example"}}); err != nil {
		t.Fatal(err)
	}
	curie, c = b.dial(t, "curie")
	if _, err := curie.Rejoin(t.Context(), meetingID, 1); err != nil {
		t.Fatal(err)
	}
	for p := await[relay.Presence](t, vauban); !p.Connected; p = await[relay.Presence](t, vauban) {
	}
	return vauban, curie, v, c
}

// TestDeadRoom: a room without power shows within 4 seconds, and loses its
// seat RejoinTime later.
func TestDeadRoom(t *testing.T) {
	for offset := time.Duration(0); offset < time.Second; offset += 250 * time.Millisecond {
		inBubble(t, false, func(t *testing.T, b *bubble) {
			vauban, curie, _, wire := b.meet(t)
			time.Sleep(10*time.Second + offset)
			died := time.Now()
			close(wire.dead)
			if p := await[relay.Presence](t, vauban); p.Connected || time.Since(died) > 4*time.Second {
				t.Errorf("%+v after %v", p, time.Since(died))
			}
			seen := time.Now()
			time.Sleep(relay.RejoinTime - time.Second)
			g := await[relay.Gone](t, vauban)
			if d := time.Since(seen); g.Reason != signal.Lost || d < relay.RejoinTime || d > relay.RejoinTime+time.Second {
				t.Errorf("%+v after %v", g, d)
			}
			again, _ := b.dial(t, "curie")
			if _, err := again.Rejoin(t.Context(), meetingID, 1); !errors.Is(err, relay.ErrNotFound) {
				t.Errorf("rejoined too late: %v", err)
			}
			closeAll(vauban, curie, again)
		})
	}
}

func closeAll(conns ...*relay.Conn) {
	for _, c := range conns {
		c.Close()
	}
}

// TestDeadRelay: a client notices as soon.
func TestDeadRelay(t *testing.T) {
	inBubble(t, false, func(t *testing.T, b *bubble) {
		vauban, wire := b.dial(t, "vauban")
		time.Sleep(10 * time.Second)
		if err := vauban.Err(); err != nil {
			t.Fatalf("an idle connection ended: %v", err)
		}
		died := time.Now()
		close(wire.dead)
		<-vauban.Done()
		if d := time.Since(died); d > 4*time.Second || !errors.Is(vauban.Err(), relay.ErrClosed) {
			t.Errorf("%v after %v", vauban.Err(), d)
		}
	})
}

// TestSlowReader: a room that stops reading is disconnected when its queue is
// full or its pings fail, and delays nobody meanwhile.
func TestSlowReader(t *testing.T) {
	inBubble(t, false, func(t *testing.T, b *bubble) {
		vauban, curie, _, wire := b.meet(t)
		close(wire.dead)
		began := time.Now()
		msg := application(0, strings.Repeat("x", 60<<10))
		for i := range 200 { // half of what a queue holds
			if err := vauban.Send(t.Context(), msg); err != nil {
				t.Fatal(err)
			}
			ordered(t, vauban, uint64(i+1), msg)
		}
		if d := time.Since(began); d > 0 {
			t.Errorf("the others were delayed by %v", d)
		}
		if p := await[relay.Presence](t, vauban); p.Connected || time.Since(began) > 4*time.Second {
			t.Errorf("%+v after %v", p, time.Since(began))
		}
		closeAll(vauban, curie)
	})
	t.Run("queue", func(t *testing.T) {
		inBubble(t, true, func(t *testing.T, b *bubble) {
			vauban, curie, _, wire := b.meet(t)
			close(wire.dead)
			began := time.Now()
			for i := 0; ; i++ {
				if err := vauban.Send(t.Context(), application(0, "x")); err != nil {
					t.Fatal(err)
				}
				e := <-vauban.Events()
				if p, ok := e.(relay.Presence); ok && !p.Connected {
					if i < 1000 || i > 1100 || time.Since(began) > 0 {
						t.Errorf("disconnected after %d messages and %v", i, time.Since(began))
					}
					break
				}
			}
			closeAll(vauban, curie)
		})
	})
}

// TestStalledConsumer: a member that does not take its events loses its
// connection, not its memory.
func TestStalledConsumer(t *testing.T) {
	inBubble(t, true, func(t *testing.T, b *bubble) {
		vauban, curie, _, _ := b.meet(t)
		msg := application(0, strings.Repeat("x", 60<<10))
		for sent := 0; curie.Err() == nil && sent < 40<<20; sent += len(msg) {
			if err := vauban.Send(t.Context(), msg); err != nil {
				t.Fatal(err)
			}
			await[relay.Ordered](t, vauban)
			synctest.Wait()
		}
		if !errors.Is(curie.Err(), relay.ErrStalled) || !errors.Is(curie.Err(), relay.ErrClosed) {
			t.Errorf("ended with %v", curie.Err())
		}
		closeAll(vauban, curie)
	})
}

// TestThrottle: who sends too much is slowed down and loses nothing.
func TestThrottle(t *testing.T) {
	for name, test := range map[string]struct {
		messages, size int
		want           time.Duration
	}{
		"messages": {800, 10, 5 * time.Second},               // 300, then 100/s
		"bytes":    {640, 60 << 10, 5400 * time.Millisecond}, // 16 MiB, then 4 MiB/s
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, false, func(t *testing.T, b *bubble) {
				vauban, _ := b.dial(t, "vauban")
				if _, err := vauban.Open(t.Context(), meetingID, 0, nil); err != nil {
					t.Fatal(err)
				}
				began := time.Now()
				msg := application(0, strings.Repeat("x", test.size))
				for i := range test.messages {
					if err := vauban.Send(t.Context(), msg); err != nil {
						t.Fatal(err)
					}
					ordered(t, vauban, uint64(i+1), msg)
				}
				if d := time.Since(began); d < test.want*9/10 || d > test.want*11/10 {
					t.Errorf("took %v; want about %v", d, test.want)
				}
				closeAll(vauban)
			})
		})
	}
}

// TestRingEnds: nobody answers.
func TestRingEnds(t *testing.T) {
	p := newPhone()
	p.calls, p.ended = nil, nil
	inBubble(t, false, func(t *testing.T, b *bubble) {
		c, _ := b.dial(t, "curie")
		began := time.Now()
		a, err := c.Ring(t.Context(), relay.Invitation{Meeting: meetingID, Relay: "192.0.2.7:1"}, nil)
		if err != nil || a != (relay.Answer{Reason: signal.NoAnswer}) || time.Since(began) != relay.RingTime {
			t.Errorf("Ring = %+v, %v after %v", a, err, time.Since(began))
		}
		closeAll(c)
	}, func(o *relay.Options) { o.Rings = nobody{} })
}

// nobody is a room without a person.
type nobody struct{}

func (nobody) Ring(ctx context.Context, _ relay.Call) relay.Answer {
	<-ctx.Done()
	return relay.Answer{Accepted: true} // too late to count
}

// TestStop: a relay that stops takes all with it, a call in progress and a
// room that is dead included.
func TestStop(t *testing.T) {
	inBubble(t, false, func(t *testing.T, b *bubble) {
		vauban, curie, _, wire := b.meet(t)
		caller, _ := b.dial(t, "curie")
		rang := make(chan struct{})
		done := make(chan error, 1)
		go func() {
			_, err := caller.Ring(t.Context(), relay.Invitation{Meeting: meetingID, Relay: "192.0.2.7:1"}, func() { close(rang) })
			done <- err
		}()
		<-rang
		close(wire.dead)
		began := time.Now()
		b.stop()
		if d := time.Since(began); d > 10*time.Second {
			t.Errorf("stopping took %v", d)
		}
		closedBy(t, vauban, signal.Stopping)
		if err := <-done; !errors.Is(err, relay.ErrClosed) {
			t.Errorf("Ring = %v", err)
		}
		closeAll(curie, caller)
	}, func(o *relay.Options) { o.Rings = nobody{} })
}
