// SPDX-License-Identifier: Apache-2.0

package peer

import (
	"context"
	"errors"
	"math/rand/v2"
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	"incamera/media/e2ee"
	"incamera/media/frame"
)

// pair connects two rooms over one API.
func pair(t testing.TB, o Options) (a, b *room) {
	t.Helper()
	o.Loopback = true
	api := newAPI(t, o)
	a, b = newRoom(t, api, 0), newRoom(t, api, 1)
	connect(t, a, b)
	return a, b
}

// film sends n camera frames and as many packets of sound every interval.
func film(ctx context.Context, t testing.TB, r *room, n int, interval time.Duration) {
	t.Helper()
	tick := time.NewTicker(interval)
	defer tick.Stop()
	key := true
	for i := range n {
		size := 2_000 + i%7*300
		if key {
			size = 12_000
		}
		if err := r.Send(r.sealed(t, frame.Camera, i, size, key)); err != nil {
			t.Errorf("camera frame %d: %v", i, err)
		}
		key = false
		for r.Stats().Sent[frame.Camera].Queued > 3 && ctx.Err() == nil {
			<-tick.C // this computer is slow today, which is not what we test
		}
		if err := r.Send(r.sealed(t, frame.Audio, i, 256, true)); err != nil {
			t.Errorf("audio frame %d: %v", i, err)
		}
		select {
		case <-tick.C:
		case k := <-r.wanted:
			key = key || k == frame.Camera && i > 0
			<-tick.C
		case <-ctx.Done():
			return
		}
	}
}

// watchFilm opens n frames of one kind sent by leaf from, in any order for
// sound, in order without gaps for pictures, and returns when they have come.
func watchFilm(t *testing.T, r *room, from e2ee.Leaf, n int, limit time.Duration) {
	t.Helper()
	timeout := time.After(limit)
	pictures, sounds := 0, 0
	var lastTime [kinds]time.Duration
	for pictures < n || sounds < n {
		select {
		case f := <-r.frames:
			plain, err := r.keys.Open(nil, f.Kind, from, f.Wire)
			if err != nil {
				t.Fatalf("%v frame %d does not open: %v", f.Kind, f.Seq, err)
			}
			number := int(plain[1])<<8 | int(plain[2])
			if f.Time < lastTime[f.Kind] && f.Kind == frame.Camera {
				t.Errorf("frame %d goes back in time from %v to %v", number, lastTime[f.Kind], f.Time)
			}
			lastTime[f.Kind] = f.Time
			if f.Kind == frame.Audio {
				sounds++
				continue
			}
			if number != pictures || f.Gap {
				t.Fatalf("frame %d (gap %v) came; want frame %d", number, f.Gap, pictures)
			}
			pictures++
		case <-timeout:
			t.Fatalf("leaf %d has %d pictures and %d sounds of %d after %v\nsent %+v\nreceived %+v",
				r.leaf, pictures, sounds, n, limit, r.Stats().Sent, r.Stats().Received)
		}
	}
	if d := (lastTime[frame.Audio] - lastTime[frame.Camera]).Abs(); d > 100*time.Millisecond {
		t.Errorf("the last picture and the last sound, captured together, are %v apart", d)
	}
}

// TestFilm sends 300 pictures and sounds both ways at once.
func TestFilm(t *testing.T) {
	a, b := pair(t, Options{})
	go film(t.Context(), t, a, 300, 20*time.Millisecond)
	go film(t.Context(), t, b, 300, 20*time.Millisecond)
	watchFilm(t, b, 0, 300, 30*time.Second)
	watchFilm(t, a, 1, 300, 30*time.Second)
	s := a.Stats()
	t.Logf("target %d, rtt %v, camera sent %+v, received %+v", s.Target, s.RTT, s.Sent[frame.Camera], s.Received[frame.Camera])
}

// TestRepair loses one packet of pictures in twenty, in both directions: NACK
// brings all of them back.
func TestRepair(t *testing.T) {
	w := newWire(t)
	a, b := pair(t, Options{Net: w})
	var seen, lost atomic.Int64
	w.rule(func(b []byte) bool {
		if !isMedia(b) {
			return true
		}
		seen.Add(1)
		if rand.N(20) == 0 {
			lost.Add(1)
			return false
		}
		return true
	})
	go film(t.Context(), t, a, 300, 15*time.Millisecond)
	// The last packets of a stream are missed only once others follow.
	opened, gaps := 0, 0
	next := 0
	timeout := time.After(30 * time.Second)
	for next < 299 {
		select {
		case f := <-b.frames:
			plain, err := b.keys.Open(nil, f.Kind, 0, f.Wire)
			if err != nil {
				t.Fatal(err)
			}
			if f.Kind == frame.Audio {
				continue
			}
			opened++
			next = int(plain[1])<<8 | int(plain[2])
			if f.Gap {
				gaps++
			}
		case <-timeout:
			t.Fatalf("frame %d after 30 s", next)
		}
	}
	s := b.Stats().Received[frame.Camera]
	t.Logf("%d of %d datagrams lost; %d frames opened, %d gaps, %d packets repaired, %d lost; NACK entries %d",
		lost.Load(), seen.Load(), opened, gaps, s.Repaired, s.Lost, a.Stats().Sent[frame.Camera].NACKs)
	if lost.Load() == 0 || s.Repaired == 0 {
		t.Error("nothing was lost or nothing repaired")
	}
	if opened < 295 {
		t.Errorf("%d of 300 frames opened; want nearly all", opened)
	}
}

// TestSoundOvertakesPictures sends sound after a key frame that takes the pacer
// a second: the sound comes first.
func TestSoundOvertakesPictures(t *testing.T) {
	a, b := pair(t, Options{})
	if err := a.Send(a.sealed(t, frame.Camera, 0, 250_000, true)); err != nil {
		t.Fatal(err)
	}
	const sounds = 10
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for i := range sounds {
		if err := a.Send(a.sealed(t, frame.Audio, i, 256, true)); err != nil {
			t.Fatal(err)
		}
		<-tick.C
	}
	timeout := time.After(10 * time.Second)
	for heard := 0; ; {
		select {
		case f := <-b.frames:
			if f.Kind == frame.Audio {
				heard++
				continue
			}
			if heard != sounds {
				t.Errorf("%d of %d sounds came before the picture that was sent before them", heard, sounds)
			}
			if _, err := b.keys.Open(nil, f.Kind, 0, f.Wire); err != nil || f.Gap {
				t.Errorf("the picture did not come whole (gap %v): %v", f.Gap, err)
			}
			return
		case <-timeout:
			t.Fatal("no picture came")
		}
	}
}

// TestNoAddress: a room without a network says so at once.
func TestNoAddress(t *testing.T) {
	r := newRoom(t, newAPI(t, Options{Interface: func(string) bool { return false }}), 0)
	if offer, err := r.Offer(t.Context()); err == nil {
		t.Errorf("Offer without an interface: %q", offer)
	}
}

// TestVanish cuts the wire: the connection is Lost within 3 s, comes back when
// the wire does, and wants a key frame then.
func TestVanish(t *testing.T) {
	w := newWire(t)
	a, b := pair(t, Options{Net: w})
	w.rule(func([]byte) bool { return false })
	start := time.Now()
	a.reach(t, Lost, 5*time.Second)
	took := time.Since(start)
	t.Logf("lost after %v", took)
	if took > 3*time.Second {
		t.Errorf("Lost after %v; want 3 s at most", took)
	}
	if err := a.Send(a.sealed(t, frame.Camera, 0, 100, true)); !errors.Is(err, ErrNotConnected) {
		t.Errorf("Send while lost: %v; want ErrNotConnected", err)
	}
	for len(a.wanted) > 0 {
		<-a.wanted
	}
	w.rule(func([]byte) bool { return true })
	start = time.Now()
	a.reach(t, Connected, 5*time.Second)
	t.Logf("back after %v", time.Since(start))
	select {
	case k := <-a.wanted:
		if k != frame.Camera {
			t.Errorf("a key frame of %v is wanted; want camera", k)
		}
	case <-time.After(time.Second):
		t.Error("no key frame is wanted after the break")
	}
	if b.Peer.State() == Closed {
		t.Error("the other end closed")
	}
}

// TestRestart brings a connection to new addresses; frames flow afterwards.
func TestRestart(t *testing.T) {
	a, b := pair(t, Options{})
	ctx := t.Context()
	offer, err := b.Restart(ctx) // by the room that answered
	if err != nil {
		t.Fatal(err)
	}
	answer, err := a.Answer(ctx, offer)
	if err != nil {
		t.Fatal(err)
	}
	if err := b.Accept(ctx, answer); err != nil {
		t.Fatal(err)
	}
	deadline := time.Now().Add(5 * time.Second)
	for i := 0; ; i++ {
		if time.Now().After(deadline) {
			t.Fatal("no frame after the restart")
		}
		_ = a.Send(a.sealed(t, frame.Camera, i, 3000, true)) // dropped until it is back
		select {
		case f := <-b.frames:
			if _, err := b.keys.Open(nil, f.Kind, 0, f.Wire); err != nil {
				t.Fatal(err)
			}
			return
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// TestRestartOfAnother refuses a description of other streams or keys.
func TestRestartOfAnother(t *testing.T) {
	a, _ := pair(t, Options{})
	if _, err := a.Answer(t.Context(), anOffer(t)); !errors.Is(err, ErrDescription) {
		t.Errorf("Answer to another room's offer: %v; want ErrDescription", err)
	}
}

// TestKeyFrameRequest reaches the encoder at the other end, for the right kind.
func TestKeyFrameRequest(t *testing.T) {
	a, b := pair(t, Options{})
	if err := b.RequestKeyFrame(frame.Audio); err == nil {
		t.Error("sound has no key frames")
	}
	deadline := time.After(5 * time.Second)
	for {
		if err := b.RequestKeyFrame(frame.Content); err != nil && !errors.Is(err, ErrNotConnected) {
			t.Fatal(err)
		}
		select {
		case k := <-a.wanted:
			if k == frame.Content {
				return
			}
		case <-time.After(50 * time.Millisecond):
		case <-deadline:
			t.Fatal("no request came")
		}
	}
}

// TestClose ends at both ends: here by Close, there by the alert of DTLS. It may
// be called twice, and later calls are refused.
func TestClose(t *testing.T) {
	a, b := pair(t, Options{})
	if err := a.Close(); err != nil {
		t.Error(err)
	}
	a.reach(t, Closed, time.Second)
	b.reach(t, Closed, 5*time.Second)
	if err := a.Close(); err != nil {
		t.Error(err)
	}
	if err := a.Send(a.sealed(t, frame.Camera, 0, 100, true)); !errors.Is(err, ErrNotConnected) {
		t.Errorf("Send after Close: %v", err)
	}
	if _, err := a.Offer(t.Context()); !errors.Is(err, ErrClosed) {
		t.Errorf("Offer after Close: %v; want ErrClosed", err)
	}
}

// TestSendRefusals: the zero Sealed and what is too large.
func TestSendRefusals(t *testing.T) {
	r := newRoom(t, newAPI(t, Options{Loopback: true}), 0)
	for name, s := range map[string]e2ee.Sealed{
		"zero":          {},
		"large picture": r.sealed(t, frame.Camera, 0, MaxVideoFrame, true),
		"large sound":   r.sealed(t, frame.Audio, 0, MaxAudioFrame, true),
	} {
		if err := r.Send(s); !errors.Is(err, ErrFrame) {
			t.Errorf("%s: %v; want ErrFrame", name, err)
		}
	}
	if err := r.Send(r.sealed(t, frame.Audio, 0, 100, true)); !errors.Is(err, ErrNotConnected) {
		t.Errorf("before a connection: %v; want ErrNotConnected", err)
	}
}

// TestNothingIsLeft counts goroutines before and after calls.
func TestNothingIsLeft(t *testing.T) {
	before := runtime.NumGoroutine()
	for range 3 {
		api := newAPI(t, Options{Loopback: true})
		a, b := newRoom(t, api, 0), newRoom(t, api, 1)
		connect(t, a, b)
		film(t.Context(), t, a, 5, time.Millisecond)
		a.Close()
		b.Close()
		c := newRoom(t, api, 0) // closed before anything happened
		c.Close()
	}
	deadline := time.Now().Add(5 * time.Second)
	for runtime.NumGoroutine() > before {
		if time.Now().After(deadline) {
			buf := make([]byte, 1<<20)
			t.Fatalf("%d goroutines before, %d after:\n%s", before, runtime.NumGoroutine(), buf[:runtime.Stack(buf, true)])
		}
		runtime.Gosched()
	}
}
