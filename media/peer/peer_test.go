// SPDX-License-Identifier: Apache-2.0

package peer

import (
	"context"
	"log/slog"
	"sync/atomic"
	"testing"
	"time"

	"incamera/media/e2ee"
	"incamera/media/frame"
)

// A room is one end of a call in tests: a handler, a keyring and a peer.
type room struct {
	*Peer
	keys   *e2ee.Keyring
	leaf   e2ee.Leaf
	frames chan Received
	states chan State
	wanted chan frame.Kind
	stuck  atomic.Pointer[chan struct{}] // if set, Frame waits for it to be closed
}

func (r *room) Frame(f Received) {
	if c := r.stuck.Load(); c != nil {
		<-*c
	}
	select {
	case r.frames <- f:
	default:
	}
}

func (r *room) KeyFrameWanted(k frame.Kind) {
	select {
	case r.wanted <- k:
	default:
	}
}

func (r *room) State(s State) {
	select {
	case r.states <- s:
	default:
	}
}

var quiet = slog.New(slog.DiscardHandler)

// newRoom makes a room whose keyring holds the keys of one epoch of two leaves.
func newRoom(t testing.TB, api *API, leaf e2ee.Leaf) *room {
	t.Helper()
	r := &room{
		keys: e2ee.NewKeyring(), leaf: leaf,
		frames: make(chan Received, 4096), states: make(chan State, 64), wanted: make(chan frame.Kind, 1024),
	}
	err := r.keys.Install(e2ee.EpochKeys{
		Epoch: 1, Self: leaf, Slots: 2, Leaves: []e2ee.Leaf{0, 1}, BaseKey: make([]byte, 32),
	})
	if err == nil {
		err = r.keys.SendWith(1)
	}
	if err == nil {
		r.Peer, err = New(api, r, quiet)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close() })
	return r
}

func newAPI(t testing.TB, o Options) *API {
	t.Helper()
	api, err := NewAPI(o)
	if err != nil {
		t.Fatal(err)
	}
	return api
}

// reach waits until the room's connection is in a state.
func (r *room) reach(t testing.TB, want State, limit time.Duration) {
	t.Helper()
	timeout := time.After(limit)
	for {
		select {
		case s := <-r.states:
			if s == want {
				return
			}
		case <-timeout:
			t.Fatalf("leaf %d is %v after %v, want %v", r.leaf, r.Peer.State(), limit, want)
		}
	}
}

// connect signals between two rooms and waits until both are connected.
func connect(t testing.TB, a, b *room) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	offer, err := a.Offer(ctx)
	if err != nil {
		t.Fatal(err)
	}
	answer, err := b.Answer(ctx, offer)
	if err != nil {
		t.Fatal(err)
	}
	if err := a.Accept(ctx, answer); err != nil {
		t.Fatal(err)
	}
	a.reach(t, Connected, 10*time.Second)
	b.reach(t, Connected, 10*time.Second)
}

// sealed seals a frame whose plaintext begins with a VP8 frame tag byte and
// says which frame it is.
func (r *room) sealed(t testing.TB, kind frame.Kind, number, size int, key bool) e2ee.Sealed {
	t.Helper()
	data := make([]byte, size)
	for i := range data {
		data[i] = byte(number + i)
	}
	data[0] = 1
	if key {
		data[0] = 0
	}
	data[1], data[2] = byte(number>>8), byte(number)
	s, err := r.keys.Seal(nil, &frame.Encoded{Data: data, Kind: kind, Key: key, PTS: frame.Now()})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestConnect(t *testing.T) {
	api := newAPI(t, Options{Loopback: true})
	a, b := newRoom(t, api, 0), newRoom(t, api, 1)
	start := time.Now()
	connect(t, a, b)
	t.Logf("offer to connected at both ends: %v", time.Since(start))
	if err := a.Send(a.sealed(t, frame.Camera, 7, 12_000, true)); err != nil {
		t.Fatal(err)
	}
	select {
	case f := <-b.frames:
		plain, err := b.keys.Open(nil, frame.Camera, 0, f.Wire)
		if err != nil || len(plain) != 12_000 {
			t.Fatalf("frame of %d bytes: %v", len(plain), err)
		}
	case <-time.After(5 * time.Second):
		t.Fatalf("no frame: sent %+v received %+v", a.Stats().Sent, b.Stats().Received)
	}
}
