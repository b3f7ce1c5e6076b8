// SPDX-License-Identifier: Apache-2.0

package relay_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"testing"
	"time"

	"incamera/media/relay"
	"incamera/media/relay/relaytest"
	"incamera/media/signal"
)

// patience bounds what a test on real sockets waits for; what works takes
// milliseconds.
const patience = 10 * time.Second

// A house is a site with a relay that the room "vauban" owns.
type house struct {
	site  *relaytest.Site
	owner relay.Credentials
	addr  string
	rooms map[string]relay.Credentials
}

func newHouse(t testing.TB, options ...func(*relay.Options)) *house {
	t.Helper()
	h := &house{site: relaytest.NewSite(t, "Example"), rooms: make(map[string]relay.Credentials)}
	h.owner = h.room(t, "vauban")
	h.addr = relaytest.Serve(t, h.server(t, options...))
	return h
}

func (h *house) server(t testing.TB, options ...func(*relay.Options)) *relay.Server {
	t.Helper()
	o := relay.Options{Credentials: h.owner, Owner: "vauban"}
	for _, f := range options {
		f(&o)
	}
	s, err := relay.New(o)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func (h *house) room(t testing.TB, name string) relay.Credentials {
	t.Helper()
	if _, ok := h.rooms[name]; !ok {
		h.rooms[name] = h.site.Room(t, name)
	}
	return h.rooms[name]
}

func (h *house) dial(t testing.TB, name string) *relay.Conn {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	c, err := relay.Dial(ctx, h.addr, relay.DialOptions{Credentials: h.room(t, name), Expect: relay.Expect{Name: "vauban"}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// open dials as the owner and opens the meeting at epoch 0.
func (h *house) open(t testing.TB) *relay.Conn {
	t.Helper()
	c := h.dial(t, "vauban")
	if p, err := c.Open(t.Context(), meetingID, 0, nil); err != nil || p != (relay.Position{Seq: 1}) {
		t.Fatalf("Open = %v, %v", p, err)
	}
	return c
}

// join has name knock and by admit it, at epoch.
func (h *house) join(t testing.TB, by *relay.Conn, name string, epoch uint64) *relay.Conn {
	t.Helper()
	c := h.dial(t, name)
	if _, err := c.Attach(t.Context(), meetingID); err != nil {
		t.Fatal(err)
	}
	type result struct {
		relay.Admission
		error
	}
	done := make(chan result, 1)
	go func() {
		a, err := c.Knock(t.Context(), keyPackage(name))
		done <- result{a, err}
	}()
	k := await[relay.Knocked](t, by)
	if k.Room != (relay.Room{Name: name, Site: "Example"}) || !bytes.Equal(k.KeyPackage, keyPackage(name)) {
		t.Fatalf("knocked: %+v", k)
	}
	w := []relay.Welcome{{To: k.ID, Message: welcome("for " + name)}}
	if err := by.Commit(t.Context(), epoch, commit(epoch, "add "+name), w); err != nil {
		t.Fatal(err)
	}
	r := <-done
	if r.error != nil || !bytes.Equal(r.Welcome, welcome("for "+name)) {
		t.Fatalf("Knock = %q, %v", r.Welcome, r.error)
	}
	return c
}

// await takes events until one of type E comes.
func await[E relay.Event](t testing.TB, c *relay.Conn) E {
	t.Helper()
	timeout := time.After(patience)
	for {
		select {
		case e, ok := <-c.Events():
			if !ok {
				t.Fatalf("waiting for %T: %v", *new(E), c.Err())
			}
			if e, ok := e.(E); ok {
				return e
			}
		case <-timeout:
			t.Fatalf("no %T came", *new(E))
		}
	}
}

// ordered awaits the next message of the log and checks it.
func ordered(t testing.TB, c *relay.Conn, seq uint64, msg []byte) {
	t.Helper()
	if o := await[relay.Ordered](t, c); o.Seq != seq || !bytes.Equal(o.Message, msg) {
		t.Fatalf("message %d %q; want %d %q", o.Seq, o.Message, seq, msg)
	}
}

func TestMeeting(t *testing.T) {
	h := newHouse(t)
	vauban := h.open(t)
	curie := h.join(t, vauban, "curie", 0)
	ordered(t, vauban, 1, commit(0, "add curie"))
	ampere := h.join(t, vauban, "ampere", 1)

	hello := application(2, "hello")
	if err := curie.Send(t.Context(), hello); err != nil {
		t.Fatal(err)
	}
	ordered(t, vauban, 2, commit(1, "add ampere"))
	ordered(t, curie, 2, commit(1, "add ampere"))
	for _, c := range []*relay.Conn{vauban, curie, ampere} {
		ordered(t, c, 3, hello)
	}
	if err := ampere.Leave(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, c := range []*relay.Conn{vauban, curie} {
		if g := await[relay.Gone](t, c); g.Room.Name != "ampere" || g.Reason != signal.Left {
			t.Errorf("gone: %+v", g)
		}
	}
	if err := ampere.Send(t.Context(), hello); err == nil {
		t.Error("a room that left sends")
	}
}

// stoppable runs a relay that the test may end before it ends itself; stop
// returns when it has.
func stoppable(t testing.TB, s *relay.Server, addr string) (stop func(), at string) {
	t.Helper()
	ln, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Serve(ctx, ln) }()
	stop = sync.OnceFunc(func() {
		cancel()
		select {
		case err := <-done:
			if !errors.Is(err, context.Canceled) {
				t.Errorf("Serve: %v", err)
			}
		case <-time.After(patience):
			t.Error("the relay does not end")
		}
	})
	t.Cleanup(stop)
	return stop, ln.Addr().String()
}

type recorder struct {
	mu   sync.Mutex
	seen [][]byte
}

func (r *recorder) Write(p []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.seen = append(r.seen, bytes.Clone(p))
	return len(p), nil
}

// TestRecorder: whoever looks for what must not pass sees all that passes.
func TestRecorder(t *testing.T) {
	r := new(recorder)
	h := newHouse(t, func(o *relay.Options) { o.Recorder = r })
	vauban := h.open(t)
	h.join(t, vauban, "curie", 0)
	count := make(map[string]int)
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, data := range r.seen {
		m, err := signal.Decode(data)
		if err != nil {
			t.Errorf("%x: %v", data, err)
			continue
		}
		count[fmt.Sprintf("%T", m.Body)]++
	}
	for _, kind := range []string{"Open", "Opened", "Attach", "Attached", "Knock", "Knocked", "Commit", "Accepted", "Ordered", "Welcomed"} {
		if count["signal."+kind] != 1 {
			t.Errorf("%d of %s recorded: %v", count["signal."+kind], kind, count)
		}
	}
}
