// SPDX-License-Identifier: Apache-2.0

package call_test

import (
	"errors"
	"testing"
	"time"

	"incamera/media/call"
	"incamera/media/call/calltest"
	"incamera/media/relay"
)

// pair starts two rooms of one site.
func pair(t *testing.T) (a, b *calltest.Room) {
	t.Helper()
	rooms := start(t, "Vauban", "Curie")
	return rooms[0], rooms[1]
}

func start(t *testing.T, names ...string) []*calltest.Room {
	t.Helper()
	site := calltest.NewSite(t)
	var rooms []*calltest.Room
	for i, ln := range site.Prepare(names...) {
		rooms = append(rooms, site.Start(names[i], ln, calltest.Options{}))
	}
	return rooms
}

// flows waits until a has opened n more frames of b.
func flows(t *testing.T, a, b *calltest.Room, n int) {
	t.Helper()
	want := a.Media.OpenedOf(b.Media) + n
	for began := time.Now(); a.Media.OpenedOf(b.Media) < want; time.Sleep(20 * time.Millisecond) {
		if time.Since(began) > 20*time.Second {
			t.Fatalf("%s opened %d frames of %s; want %d", a.Name, a.Media.OpenedOf(b.Media), b.Name, want)
		}
	}
}

func TestCall(t *testing.T) {
	a, b := pair(t)
	a.Call(b)
	flows(t, a, b, 20)
	flows(t, b, a, 20)
	if got := a.Status(); got.Peer != "Curie" || got.Epoch != b.Status().Epoch || got.Suite == "" {
		t.Errorf("status %+v", got)
	}
	if err := b.Leave(t.Context(), b.Status().CallID); err != nil {
		t.Fatal(err)
	}
	b.AwaitState(call.Idle)
	a.AwaitState(call.Idle)
	if err := a.Status().Ended; !errors.Is(err, call.ErrEnded) {
		t.Errorf("ended for %v; want %v", err, call.ErrEnded)
	}
	// And again: nothing of the first call is in the way.
	b.Call(a)
	flows(t, a, b, 5)
}

// TestNothingBeforeTheKey counts what the caller's camera made while it rang:
// all of it was dropped, and none of it reaches the other room later.
func TestNothingBeforeTheKey(t *testing.T) {
	a, b := pair(t)
	if _, err := a.Start(t.Context(), "Curie"); err != nil {
		t.Fatal(err)
	}
	b.AwaitState(call.Ringing)
	time.Sleep(200 * time.Millisecond)
	early := map[string]bool{}
	for _, data := range a.Media.Made() {
		early[string(data)] = true
	}
	if len(early) == 0 {
		t.Fatal("the camera made nothing: the test shows nothing")
	}
	if err := b.Answer(t.Context(), b.Status().CallID); err != nil {
		t.Fatal(err)
	}
	calltest.Meet(a, b)
	flows(t, b, a, 10)
	if n := b.Media.OpenedAmong(early); n != 0 {
		t.Errorf("%d frames from before the call were opened", n)
	}
}

func TestRefusals(t *testing.T) {
	rooms := start(t, "Vauban", "Curie", "Pascal")
	a, b, c := rooms[0], rooms[1], rooms[2]
	ctx := t.Context()
	if _, err := a.Start(ctx, "Nowhere"); !errors.Is(err, call.ErrUnknownRoom) {
		t.Errorf("call of an unknown room: %v", err)
	}
	if err := a.Answer(ctx, "c-1"); !errors.Is(err, call.ErrNoCall) {
		t.Errorf("answer without a ring: %v", err)
	}
	if err := a.Leave(ctx, ""); !errors.Is(err, call.ErrNoCall) {
		t.Errorf("leave without a call: %v", err)
	}
	a.Call(b)
	if err := a.Leave(ctx, "c-other"); !errors.Is(err, call.ErrNoCall) {
		t.Errorf("leave of another call: %v", err)
	}
	if err := a.Remove(ctx, "nobody", [32]byte{}); !errors.Is(err, call.ErrNoMember) {
		t.Errorf("remove of nobody: %v", err)
	}
	if err := a.Admit(ctx, "1", [32]byte{}); !errors.Is(err, call.ErrNoKnock) {
		t.Errorf("admit of nobody: %v", err)
	}
	// A room in a call is busy.
	if _, err := c.Start(ctx, "Curie"); err != nil {
		t.Fatal(err)
	}
	c.Await("the busy signal", func(s call.Status) bool { return s.State == call.Idle && s.Ended != nil })
	if err := c.Status().Ended; !errors.Is(err, call.ErrOtherBusy) {
		t.Errorf("ended for %v; want %v", err, call.ErrOtherBusy)
	}
}

// TestSetRooms: the directory changes while the engine runs, also in a call.
func TestSetRooms(t *testing.T) {
	a, b := pair(t)
	ctx := t.Context()
	a.Call(b)
	if err := a.SetRooms(ctx, []call.Room{{ID: "moved", Name: b.Name, Address: b.Address}}); err != nil {
		t.Fatal(err)
	}
	flows(t, a, b, 5)
	if err := a.Leave(ctx, a.Status().CallID); err != nil {
		t.Fatal(err)
	}
	a.AwaitState(call.Idle)
	b.AwaitState(call.Idle)
	if _, err := a.Start(ctx, b.Name); !errors.Is(err, call.ErrUnknownRoom) {
		t.Errorf("call of a room that left the directory: %v", err)
	}
	if _, err := a.Start(ctx, "moved"); err != nil {
		t.Fatal(err)
	}
	b.AwaitState(call.Ringing)
}

func TestDeclineAndCancel(t *testing.T) {
	a, b := pair(t)
	ctx := t.Context()
	id, err := a.Start(ctx, "Curie")
	if err != nil {
		t.Fatal(err)
	}
	b.AwaitState(call.Ringing)
	if err := b.Leave(ctx, b.Status().CallID); err != nil {
		t.Fatal(err)
	}
	a.Await("the refusal", func(s call.Status) bool { return s.State == call.Idle })
	if err := a.Status().Ended; !errors.Is(err, call.ErrDeclined) {
		t.Errorf("ended for %v; want %v", err, call.ErrDeclined)
	}
	if err := a.Leave(ctx, id); !errors.Is(err, call.ErrNoCall) {
		t.Errorf("leave after the end: %v", err)
	}
	if id, err = a.Start(ctx, "Curie"); err != nil {
		t.Fatal(err)
	}
	b.AwaitState(call.Ringing)
	if err := a.Leave(ctx, id); err != nil {
		t.Fatal(err)
	}
	b.Await("the end of the ringing", func(s call.Status) bool { return s.State == call.Idle })
	if err := b.Status().Ended; !errors.Is(err, call.ErrCancelled) {
		t.Errorf("ended for %v; want %v", err, call.ErrCancelled)
	}
	a.AwaitState(call.Idle)
}

// TestThreeRooms invites a third room, removes it, and lets the host go.
func TestThreeRooms(t *testing.T) {
	rooms := start(t, "Vauban", "Curie", "Pascal")
	a, b, c := rooms[0], rooms[1], rooms[2]
	a.Call(b)
	// The room that was called invites the third, to the first one's relay.
	if _, err := b.Start(t.Context(), "Pascal"); err != nil {
		t.Fatal(err)
	}
	c.AwaitState(call.Ringing)
	if err := c.Answer(t.Context(), c.Status().CallID); err != nil {
		t.Fatal(err)
	}
	calltest.Meet(a, b, c)
	for _, to := range rooms {
		for _, from := range rooms {
			if to != from {
				flows(t, to, from, 5)
			}
		}
	}
	for _, m := range a.Status().Members {
		if m.Name == "Pascal" {
			if err := a.Remove(t.Context(), m.ID, m.Credential); err != nil {
				t.Fatal(err)
			}
		}
	}
	c.Await("the removal", func(s call.Status) bool { return s.State == call.Idle })
	if err := c.Status().Ended; !errors.Is(err, call.ErrRemoved) {
		t.Errorf("ended for %v; want %v", err, call.ErrRemoved)
	}
	calltest.Meet(a, b)
	flows(t, a, b, 5)
	flows(t, b, a, 5)
}

// TestHandOver stops the room whose relay carries a meeting of three. The other
// two go on, on the relay of one of them, and can still change the group.
func TestHandOver(t *testing.T) {
	rooms := start(t, "Vauban", "Curie", "Pascal")
	a, b, c := rooms[0], rooms[1], rooms[2]
	a.Call(b)
	if _, err := a.Start(t.Context(), "Pascal"); err != nil {
		t.Fatal(err)
	}
	c.AwaitState(call.Ringing)
	if err := c.Answer(t.Context(), c.Status().CallID); err != nil {
		t.Fatal(err)
	}
	calltest.Meet(a, b, c)
	a.Stop()
	for _, r := range []*calltest.Room{b, c} {
		r.Await("another relay", func(s call.Status) bool { return s.Relay && lost(s, "Vauban") })
	}
	flows(t, b, c, 20)
	flows(t, c, b, 20)
	for _, m := range b.Status().Members {
		if m.Name == "Vauban" {
			if err := b.Remove(t.Context(), m.ID, m.Credential); err != nil {
				t.Fatal(err)
			}
		}
	}
	calltest.Meet(b, c)
	flows(t, b, c, 5)
}

func lost(s call.Status, name string) bool {
	for _, m := range s.Members {
		if m.Name == name {
			return m.Link == call.LinkLost
		}
	}
	return false
}

// TestMutedSendsNothing mutes a room: the other hears of it, and no frame of
// its sound arrives until it is unmuted.
func TestMutedSendsNothing(t *testing.T) {
	a, b := pair(t)
	a.Call(b)
	flows(t, b, a, 10)
	if err := a.SetMuted(t.Context(), true); err != nil {
		t.Fatal(err)
	}
	if err := a.SetCameraOff(t.Context(), true); err != nil {
		t.Fatal(err)
	}
	b.Await("the claim", func(s call.Status) bool {
		for _, m := range s.Members {
			if m.Name == a.Name {
				return m.SaysMuted && m.SaysCameraOff
			}
		}
		return false
	})
	time.Sleep(100 * time.Millisecond) // what was on its way
	before := b.Media.OpenedOf(a.Media)
	time.Sleep(300 * time.Millisecond)
	if got := b.Media.OpenedOf(a.Media); got != before {
		t.Errorf("%d frames of a muted and dark room", got-before)
	}
	if err := a.SetMuted(t.Context(), false); err != nil {
		t.Fatal(err)
	}
	flows(t, b, a, 5)
}

// TestCallAfterCall calls more often than a relay holds meetings: whoever hangs
// up leaves the relay, so nothing of a call that is over is in the way.
func TestCallAfterCall(t *testing.T) {
	a, b := pair(t)
	for range relay.MaxMeetings + 2 {
		a.Call(b)
		if err := a.Leave(t.Context(), a.Status().CallID); err != nil {
			t.Fatal(err)
		}
		a.AwaitState(call.Idle)
		b.AwaitState(call.Idle)
	}
}
