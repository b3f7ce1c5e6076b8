// SPDX-License-Identifier: Apache-2.0

// Package calltest gives tests whole rooms in one process: engines with real
// groups, relays and connections over loopback, and in place of camera and
// codec a source of frames whose every byte the test knows.
package calltest

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/rand"
	"io"
	"log/slog"
	"net"
	"sync"
	"testing"
	"time"

	"incamera/media/call"
	"incamera/media/e2ee"
	"incamera/media/mls"
	"incamera/media/peer"
	"incamera/media/relay"
	"incamera/media/relay/relaytest"
)

// patience bounds every wait of a test. It is no target.
const patience = 30 * time.Second

// A Site is an organisation whose rooms may meet.
type Site struct {
	t     testing.TB
	ca    *relaytest.Site
	rooms []call.Room
}

// NewSite makes a site that ends with the test.
func NewSite(t testing.TB) *Site { return &Site{t: t, ca: relaytest.NewSite(t, "Maison")} }

// Options says what is special about a room.
type Options struct {
	Record io.Writer    // gets what passes the room's relay
	Hop    peer.Options // but for Loopback, which is always set
	Memory call.Memory
	Group  func(*e2ee.Config) // adjusts what the room brings to groups
}

// A Room is a room that runs.
type Room struct {
	*call.Engine
	Name, Address string
	Media         *Media
	Credentials   relay.Credentials
	Group         e2ee.Config

	t      testing.TB
	mu     sync.Mutex
	status call.Status
	news   chan struct{} // closed and replaced when status changes
	stop   context.CancelFunc
	done   chan struct{}
}

// Prepare reserves addresses for rooms, so that each can call the others.
func (s *Site) Prepare(names ...string) []net.Listener {
	s.t.Helper()
	var all []net.Listener
	for _, name := range names {
		ln, err := new(net.ListenConfig).Listen(s.t.Context(), "tcp", "127.0.0.1:0")
		if err != nil {
			s.t.Fatal(err)
		}
		all = append(all, ln)
		s.rooms = append(s.rooms, call.Room{ID: name, Name: name, Address: ln.Addr().String()})
	}
	return all
}

// Start runs the room called name, whose relay answers on ln, until the test
// ends.
func (s *Site) Start(name string, ln net.Listener, o Options) *Room {
	s.t.Helper()
	key, chain := s.leaf(name)
	signer, err := mls.SignerFrom(key)
	if err != nil {
		s.t.Fatal(err)
	}
	r := &Room{
		Name: name, Address: ln.Addr().String(), Media: newMedia(), Credentials: s.ca.Room(s.t, name),
		Group: e2ee.Config{Signer: signer, Chain: chain, Sites: s.ca.Pool},
		t:     s.t, news: make(chan struct{}), done: make(chan struct{}),
	}
	if o.Group != nil {
		o.Group(&r.Group)
	}
	o.Hop.Loopback = true
	hop, err := peer.NewAPI(o.Hop)
	if err != nil {
		s.t.Fatal(err)
	}
	r.Engine, err = call.New(call.Config{
		Name: name, Address: r.Address, Rooms: s.rooms, Group: r.Group, Relay: r.Credentials, Hop: hop,
		Media: r.Media, Memory: o.Memory, Log: slog.New(slog.NewTextHandler(s.t.Output(), nil)).With("room", name),
		OnStatus: r.told,
	})
	if err != nil {
		s.t.Fatal(err)
	}
	server, err := relay.New(relay.Options{Credentials: r.Credentials, Owner: name, Rings: r.Engine, Recorder: o.Record})
	if err != nil {
		s.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	r.stop = cancel
	var work sync.WaitGroup
	work.Go(func() { _ = server.Serve(ctx, ln) }) // ends with ctx
	work.Go(func() { _ = r.Run(ctx) })            // likewise
	go func() { work.Wait(); close(r.done) }()
	s.t.Cleanup(r.Stop)
	return r
}

// leaf makes the room's key and certificate for groups.
func (s *Site) leaf(name string) (*ecdsa.PrivateKey, [][]byte) {
	s.t.Helper()
	c := s.ca.Room(s.t, name)
	key, ok := c.Certificate.PrivateKey.(*ecdsa.PrivateKey)
	if !ok {
		s.t.Fatal("the site makes other keys than P-256")
	}
	return key, c.Certificate.Certificate
}

// Stop ends the room. It may be called twice.
func (r *Room) Stop() {
	r.stop()
	select {
	case <-r.done:
	case <-time.After(patience):
		r.t.Errorf("%s does not end", r.Name)
	}
}

func (r *Room) told(s call.Status) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.status = s
	close(r.news)
	r.news = make(chan struct{})
}

// Status is the newest status of the room's call.
func (r *Room) Status() call.Status {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.status
}

// Await waits until the status is as wanted.
func (r *Room) Await(what string, ok func(call.Status) bool) {
	r.t.Helper()
	limit := time.After(patience)
	for {
		r.mu.Lock()
		s, news := r.status, r.news
		r.mu.Unlock()
		if ok(s) {
			return
		}
		select {
		case <-news:
		case <-limit:
			r.t.Fatalf("%s waited %v for %s; it is %+v", r.Name, patience, what, s)
		}
	}
}

// AwaitState waits for a state.
func (r *Room) AwaitState(want call.State) {
	r.t.Helper()
	r.Await(want.String(), func(s call.Status) bool { return s.State == want })
}

// Call has r call another room, which answers, and waits until both show the
// other's media and one security code.
func (r *Room) Call(other *Room) {
	r.t.Helper()
	if _, err := r.Start(r.t.Context(), other.Name); err != nil {
		r.t.Fatal(err)
	}
	other.AwaitState(call.Ringing)
	if err := other.Answer(r.t.Context(), other.Status().CallID); err != nil {
		r.t.Fatal(err)
	}
	Meet(r, other)
}

// Meet waits until the rooms are in one meeting, each with a good link to every
// other, and with one security code.
func Meet(rooms ...*Room) {
	for _, r := range rooms {
		r.t.Helper()
		r.Await("the meeting", func(s call.Status) bool {
			if s.State != call.Connected || len(s.Members) != len(rooms) || s.Code.Code == "" || s.Epoch < rooms[0].Status().Epoch {
				return false
			}
			for _, m := range s.Members {
				if m.Link != call.LinkGood {
					return false
				}
			}
			return true
		})
	}
	for _, r := range rooms[1:] {
		if a, b := rooms[0].Status().Code.Code, r.Status().Code.Code; a != b {
			r.t.Errorf("the security codes of %s and %s differ: %s, %s", rooms[0].Name, r.Name, a, b)
		}
	}
}

// A Recorder keeps everything that is written to it. Anyone may write.
type Recorder struct {
	mu  sync.Mutex
	all bytes.Buffer
}

// Write implements [io.Writer].
func (r *Recorder) Write(b []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.all.Write(b)
}

// Bytes is what was written so far.
func (r *Recorder) Bytes() []byte {
	r.mu.Lock()
	defer r.mu.Unlock()
	return bytes.Clone(r.all.Bytes())
}

// random fills b with what occurs nowhere else.
func random(b []byte) { _, _ = rand.Read(b) } // never fails
