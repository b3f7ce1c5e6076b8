// SPDX-License-Identifier: Apache-2.0

package relay_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"testing"

	"incamera/media/relay"
	"incamera/media/signal"
)

// knocking attaches name and lets it knock; the result arrives later.
func (h *house) knocking(ctx context.Context, t *testing.T, name string) (*relay.Conn, <-chan error) {
	t.Helper()
	c := h.dial(t, name)
	if _, err := c.Attach(t.Context(), meetingID); err != nil {
		t.Fatal(err)
	}
	return c, knock(ctx, c, name)
}

func knock(ctx context.Context, c *relay.Conn, name string) <-chan error {
	done := make(chan error, 1)
	go func() {
		_, err := c.Knock(ctx, keyPackage(name))
		done <- err
	}()
	return done
}

// TestKeyPackageOnce: each member hears of a knock once, and of several
// answers only the first counts: no KeyPackage is welcomed twice.
func TestKeyPackageOnce(t *testing.T) {
	h := newHouse(t)
	vauban := h.open(t)
	curie := h.join(t, vauban, "curie", 0)
	_, ampere := h.knocking(t.Context(), t, "ampere")
	k := await[relay.Knocked](t, vauban)
	if other := await[relay.Knocked](t, curie); !same(k, other) {
		t.Errorf("one member heard %+v, another %+v", k, other)
	}
	w := []relay.Welcome{{To: k.ID, Message: welcome("a")}}
	if err := curie.Commit(t.Context(), 1, commit(1, "add ampere"), w); err != nil {
		t.Fatal(err)
	}
	if err := <-ampere; err != nil {
		t.Fatal(err)
	}
	if err := vauban.Commit(t.Context(), 2, commit(2, "again"), w); !errors.Is(err, relay.ErrNotFound) {
		t.Errorf("a second commit for the knock: %v", err)
	}
	if err := vauban.Refuse(t.Context(), k.ID, signal.Busy); !errors.Is(err, relay.ErrNotFound) {
		t.Errorf("refused after it was welcomed: %v", err)
	}
	// What comes until the next message is all there is to come of the knock.
	if err := vauban.Send(t.Context(), application(2, "end")); err != nil {
		t.Fatal(err)
	}
	for _, c := range []*relay.Conn{vauban, curie} {
		ended := 0
		for e := range c.Events() {
			switch e := e.(type) {
			case relay.Knocked:
				t.Errorf("knocked again: %+v", e)
			case relay.KnockEnded:
				if ended++; e.ID != k.ID || e.Reason != signal.WasWelcomed {
					t.Errorf("ended: %+v", e)
				}
			case relay.Ordered:
				if bytes.Equal(e.Message, application(2, "end")) {
					goto done
				}
			}
		}
	done:
		if ended != 1 {
			t.Errorf("a member heard %d times that the knock ended", ended)
		}
	}
}

func same(a, b relay.Knocked) bool {
	return a.ID == b.ID && a.Room == b.Room && bytes.Equal(a.KeyPackage, b.KeyPackage)
}

// TestWelcomeOnlyOnceWon: the loser's Welcome goes nowhere.
func TestWelcomeOnlyOnceWon(t *testing.T) {
	h := newHouse(t)
	vauban := h.open(t)
	curie := h.join(t, vauban, "curie", 0)
	c := h.dial(t, "ampere")
	if _, err := c.Attach(t.Context(), meetingID); err != nil {
		t.Fatal(err)
	}
	got := make(chan relay.Admission, 1)
	go func() {
		a, _ := c.Knock(t.Context(), keyPackage("ampere")) // the zero value fails below
		got <- a
	}()
	k := await[relay.Knocked](t, vauban)
	if err := vauban.Commit(t.Context(), 1, commit(1, "rotate"), nil); err != nil {
		t.Fatal(err)
	}
	lost := []relay.Welcome{{To: k.ID, Message: welcome("of epoch 1")}}
	if err := curie.Commit(t.Context(), 1, commit(1, "add"), lost); !errors.Is(err, relay.ErrStale) {
		t.Fatal(err)
	}
	won := []relay.Welcome{{To: k.ID, Message: welcome("of epoch 2")}}
	if err := curie.Commit(t.Context(), 2, commit(2, "add"), won); err != nil {
		t.Fatal(err)
	}
	if a := <-got; !bytes.Equal(a.Welcome, won[0].Message) || a.Seq != 4 {
		t.Errorf("welcomed with %q from %d", a.Welcome, a.Seq)
	}
}

// TestKnockerSeesNothing has a meeting go on around rooms in the lobby, one of
// which knocks, and looks at what they are sent.
func TestKnockerSeesNothing(t *testing.T) {
	h := newHouse(t)
	vauban := h.open(t)
	h.join(t, vauban, "curie", 0)
	ctx, cancel := context.WithCancel(t.Context())
	waiting, done := h.knocking(ctx, t, "ampere")
	k := await[relay.Knocked](t, vauban)
	idle := h.dial(t, "pascal")
	if _, err := idle.Attach(t.Context(), meetingID); err != nil {
		t.Fatal(err)
	}
	if err := idle.Refuse(t.Context(), k.ID, signal.Busy); err == nil || errors.Is(err, relay.ErrNotFound) {
		t.Errorf("a room in the lobby refused another: %v", err)
	}
	for i := range 10 {
		if err := vauban.Send(t.Context(), application(1, fmt.Sprint(i))); err != nil {
			t.Fatal(err)
		}
	}
	h.join(t, vauban, "fermat", 1)
	for _, c := range []*relay.Conn{waiting, idle} { // an answer comes after all that was sent before
		if _, err := c.Attach(t.Context(), meetingID); err == nil {
			t.Error("attached twice")
		}
		select {
		case e := <-c.Events():
			t.Errorf("no member, and sent %+v", e)
		default:
		}
	}
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("Knock = %v", err)
	}
	if e := await[relay.KnockEnded](t, vauban); e.Reason != signal.WasWelcomed { // fermat's
		t.Errorf("ended: %+v", e)
	}
	if e := await[relay.KnockEnded](t, vauban); e.Reason != signal.Left {
		t.Errorf("ended: %+v", e)
	}
}

func TestRefuse(t *testing.T) {
	h := newHouse(t)
	vauban := h.open(t)
	c, done := h.knocking(t.Context(), t, "curie")
	k := await[relay.Knocked](t, vauban)
	if err := vauban.Refuse(t.Context(), k.ID, signal.NotAllowed); err != nil {
		t.Fatal(err)
	}
	if refused, ok := errors.AsType[*relay.RefusedError](<-done); !ok || refused.Reason != signal.NotAllowed {
		t.Errorf("refused: %v", refused)
	}
	if e := await[relay.KnockEnded](t, vauban); e.ID != k.ID || e.Reason != signal.WasRefused {
		t.Errorf("ended: %+v", e)
	}
	// It may knock again, under another number, but not without end.
	for i := 1; i < relay.KnocksWindow; i++ {
		done := knock(t.Context(), c, "curie")
		again := await[relay.Knocked](t, vauban)
		if again.ID == k.ID {
			t.Error("a knock's number was used twice")
		}
		if err := vauban.Refuse(t.Context(), again.ID, signal.NotAllowed); err != nil {
			t.Fatal(err)
		}
		<-done
	}
	if err := <-knock(t.Context(), c, "curie"); !errors.Is(err, relay.ErrFull) {
		t.Errorf("knock number %d: %v", relay.KnocksWindow+1, err)
	}
}

// TestOneKnockPerRoom: a room that knocks again, on a new connection, takes
// its older knock back; and a member that joins hears of those that wait.
func TestOneKnockPerRoom(t *testing.T) {
	h := newHouse(t)
	vauban := h.open(t)
	_, first := h.knocking(t.Context(), t, "curie")
	old := await[relay.Knocked](t, vauban)
	h.knocking(t.Context(), t, "curie")
	if refused, ok := errors.AsType[*relay.RefusedError](<-first); !ok || refused.Reason != signal.Replaced {
		t.Errorf("the older knock: %v", refused)
	}
	k := await[relay.Knocked](t, vauban)
	if k.ID == old.ID {
		t.Error("a knock's number was used twice")
	}
	ampere := h.join(t, vauban, "ampere", 0)
	if got := await[relay.Knocked](t, ampere); !same(got, k) {
		t.Errorf("a new member heard %+v; want %+v", got, k)
	}
}

func TestKnocksAreBounded(t *testing.T) {
	h := newHouse(t)
	vauban := h.open(t)
	for i := range relay.MaxKnocks {
		h.knocking(t.Context(), t, fmt.Sprint("room ", i))
		await[relay.Knocked](t, vauban)
	}
	if _, done := h.knocking(t.Context(), t, "one more"); !errors.Is(<-done, relay.ErrFull) {
		t.Error("one knock more than the limit")
	}
}

func TestMeetingsAreBounded(t *testing.T) {
	h := newHouse(t, func(o *relay.Options) { o.Owner = "" }) // any room may open
	for i := range relay.MaxMeetings + 1 {
		id := bytes.Repeat([]byte{byte(i)}, signal.MinMeeting)
		_, err := h.dial(t, fmt.Sprint("room ", i%3)).Open(t.Context(), id, 0, nil)
		if full := i == relay.MaxMeetings; full != errors.Is(err, relay.ErrFull) || !full && err != nil {
			t.Errorf("meeting %d: %v", i+1, err)
		}
	}
	other := h.dial(t, "room 2")
	if _, err := other.Open(t.Context(), bytes.Repeat([]byte{0}, signal.MinMeeting), 1, nil); !errors.Is(err, relay.ErrForbidden) {
		t.Errorf("opened another room's meeting: %v", err)
	}
}

// TestEvict ends what a removed room gets, for good.
func TestEvict(t *testing.T) {
	h := newHouse(t)
	vauban := h.open(t)
	curie := h.join(t, vauban, "curie", 0)
	room := relay.Room{Name: "curie", Site: "Example"}
	if err := vauban.Evict(t.Context(), room); err != nil {
		t.Fatal(err)
	}
	closedBy(t, curie, signal.Removed)
	if g := await[relay.Gone](t, vauban); g.Room != room || g.Reason != signal.Removed {
		t.Errorf("gone: %+v", g)
	}
	if _, err := h.dial(t, "curie").Rejoin(t.Context(), meetingID, 2); !errors.Is(err, relay.ErrNotFound) {
		t.Errorf("rejoined after it was removed: %v", err)
	}
}

// TestLastLeaves: with the last member the meeting ends, for the lobby, too.
func TestLastLeaves(t *testing.T) {
	h := newHouse(t)
	vauban := h.open(t)
	waiting, done := h.knocking(t.Context(), t, "curie")
	await[relay.Knocked](t, vauban)
	if err := vauban.Leave(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := <-done; !errors.Is(err, relay.ErrClosed) {
		t.Errorf("Knock = %v", err)
	}
	closedBy(t, waiting, signal.Ended)
	if _, err := h.dial(t, "curie").Attach(t.Context(), meetingID); !errors.Is(err, relay.ErrNotFound) {
		t.Errorf("attached to a meeting that ended: %v", err)
	}
	if _, err := vauban.Open(t.Context(), meetingID, 0, nil); err != nil { // the connection is fresh again
		t.Errorf("opened anew: %v", err)
	}
}

// TestRestartedRoom: a room that lost all and knocks again takes the place of
// its old connection.
func TestRestartedRoom(t *testing.T) {
	h := newHouse(t)
	vauban := h.open(t)
	before := h.join(t, vauban, "curie", 0)
	after := h.join(t, vauban, "curie", 1)
	closedBy(t, before, signal.Replaced)
	if err := after.Send(t.Context(), application(2, "x")); err != nil {
		t.Error(err)
	}
}

// TestFreshHandle: who attaches gets what a member stated last, whoever it was.
func TestFreshHandle(t *testing.T) {
	h := newHouse(t)
	vauban := h.open(t)
	curie := h.join(t, vauban, "curie", 0)
	for i, step := range []struct {
		by   *relay.Conn
		want string
	}{{nil, ""}, {vauban, "epoch 1"}, {curie, "epoch 2"}} {
		if step.by != nil {
			if err := step.by.Fresh(t.Context(), []byte(step.want)); err != nil {
				t.Fatal(err)
			}
		}
		got, err := h.dial(t, fmt.Sprint("newcomer", i)).Attach(t.Context(), meetingID)
		if err != nil || string(got) != step.want {
			t.Errorf("attached with %q, %v; want %q", got, err, step.want)
		}
	}
}
