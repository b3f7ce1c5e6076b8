// SPDX-License-Identifier: Apache-2.0

package relay_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"incamera/media/relay"
	"incamera/media/relay/relaytest"
	"incamera/media/signal"
)

// TestSlotRace has all members commit at once, again and again: exactly one
// wins each slot, the others learn who, and all see one log.
func TestSlotRace(t *testing.T) {
	const members, rounds = 8, 20
	h := newHouse(t)
	conns := []*relay.Conn{h.open(t)}
	for i := 1; i < members; i++ {
		conns = append(conns, h.join(t, conns[0], fmt.Sprint("room ", i), uint64(i-1)))
	}
	for _, c := range conns[:members-1] { // the last one begins after the last Add
		for await[relay.Ordered](t, c).Seq < members-1 {
		}
	}
	for round := range rounds {
		epoch := uint64(members - 1 + round)
		errs := make([]error, members)
		var wg sync.WaitGroup
		for i, c := range conns {
			wg.Go(func() { errs[i] = c.Commit(t.Context(), epoch, commit(epoch, fmt.Sprint(i)), nil) })
		}
		wg.Wait()
		won := slices.Index(errs, nil)
		if won < 0 {
			t.Fatalf("epoch %d: nobody won: %v", epoch, errs)
		}
		seq := uint64(members + round)
		for i, err := range errs {
			stale, ok := errors.AsType[*relay.StaleError](err)
			if i != won && (!ok || !errors.Is(err, relay.ErrStale) || stale.Epoch != epoch+1 || stale.Seq != seq) {
				t.Errorf("epoch %d, room %d: %v; won by %d", epoch, i, err, won)
			}
		}
		for _, c := range conns {
			ordered(t, c, seq, commit(epoch, fmt.Sprint(won)))
		}
	}
}

// TestEpochNeverGoesBack tries everything that names an epoch.
func TestEpochNeverGoesBack(t *testing.T) {
	h := newHouse(t)
	vauban := h.dial(t, "vauban")
	if _, err := vauban.Open(t.Context(), meetingID, 5, nil); err != nil {
		t.Fatal(err)
	}
	if err := vauban.Commit(t.Context(), 5, commit(5, "a"), nil); err != nil {
		t.Fatal(err)
	}
	ordered(t, vauban, 1, commit(5, "a"))
	for _, epoch := range []uint64{0, 4, 5, 7, 1<<64 - 1} {
		err := vauban.Commit(t.Context(), epoch, commit(epoch, "b"), nil)
		if stale, ok := errors.AsType[*relay.StaleError](err); !ok || *stale != (relay.StaleError{Epoch: 6, Seq: 1}) {
			t.Errorf("a commit of epoch %d in epoch 6: %v", epoch, err)
		}
	}
	second := h.dial(t, "vauban")
	for _, epoch := range []uint64{0, 5} {
		if _, err := second.Open(t.Context(), meetingID, epoch, nil); !errors.Is(err, relay.ErrStale) {
			t.Errorf("opened again at epoch %d: %v", epoch, err)
		}
	}
	if err := vauban.Commit(t.Context(), 6, commit(6, "c"), nil); err != nil {
		t.Error(err)
	}
	ordered(t, vauban, 2, commit(6, "c"))
	// At the same epoch the log goes on, and the older connection gives way.
	if p, err := second.Open(t.Context(), meetingID, 7, nil); err != nil || p != (relay.Position{Epoch: 7, Seq: 3}) {
		t.Errorf("opened again at epoch 7: %v, %v", p, err)
	}
	closedBy(t, vauban, signal.Replaced)
	// At a higher one a new log begins; nobody else is left in it.
	third := h.dial(t, "vauban")
	if p, err := third.Open(t.Context(), meetingID, 9, nil); err != nil || p != (relay.Position{Epoch: 9, Seq: 1}) {
		t.Errorf("opened again at epoch 9: %v, %v", p, err)
	}
	closedBy(t, second, signal.Reopened)
	if err := third.Commit(t.Context(), 9, commit(9, "d"), nil); err != nil {
		t.Error(err)
	}
}

// closedBy waits for the end of a connection and checks the relay's reason.
func closedBy(t testing.TB, c *relay.Conn, why relay.Reason) {
	t.Helper()
	for range c.Events() { // until the end
	}
	closed, ok := errors.AsType[*relay.ClosedError](c.Err())
	if !ok || closed.Reason != why || !errors.Is(c.Err(), relay.ErrClosed) {
		t.Errorf("closed: %v; want %s", c.Err(), why)
	}
}

// TestWindow checks which epochs of application messages and proposals pass.
func TestWindow(t *testing.T) {
	h := newHouse(t)
	c := h.dial(t, "vauban")
	if _, err := c.Open(t.Context(), meetingID, 10, nil); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		epoch   uint64
		content signal.ContentType
		passes  bool
	}{
		{7, signal.ContentApplication, false},
		{8, signal.ContentApplication, true},
		{9, signal.ContentApplication, true},
		{10, signal.ContentApplication, true},
		{11, signal.ContentApplication, false},
		{9, signal.ContentProposal, false},
		{10, signal.ContentProposal, true},
		{11, signal.ContentProposal, false},
	} {
		err := c.Send(t.Context(), private(test.epoch, test.content, "x"))
		if test.passes && err != nil || !test.passes && !errors.Is(err, relay.ErrStale) {
			t.Errorf("content %d of epoch %d in epoch 10: %v", test.content, test.epoch, err)
		}
	}
	if err := c.Send(t.Context(), framed(signal.WirePublic, meetingID, 10, signal.ContentProposal, "")); err != nil {
		t.Errorf("a public proposal: %v", err)
	}
	if err := c.Commit(t.Context(), 10, framed(signal.WirePublic, meetingID, 10, signal.ContentCommit, ""), nil); err != nil {
		t.Errorf("a public commit: %v", err)
	}
}

// TestRefusals has what a relay must not do, for each request. Afterwards the
// meeting is as it was.
func TestRefusals(t *testing.T) {
	h := newHouse(t)
	vauban := h.open(t)
	curie := h.join(t, vauban, "curie", 0)
	lobby := h.dial(t, "ampere")
	if _, err := lobby.Attach(t.Context(), meetingID); err != nil {
		t.Fatal(err)
	}
	fresh, unknown := h.dial(t, "ampere"), bytes.Repeat([]byte{9}, 16)
	if err := vauban.Send(t.Context(), application(1, "before")); err != nil {
		t.Fatal(err)
	}
	ctx := t.Context()
	open := func(c *relay.Conn, id []byte) error { _, err := c.Open(ctx, id, 1, nil); return err }
	attach := func(c *relay.Conn, id []byte) error { _, err := c.Attach(ctx, id); return err }
	rejoin := func(c *relay.Conn, id []byte, seq uint64) error { _, err := c.Rejoin(ctx, id, seq); return err }
	knock := func(c *relay.Conn, kp []byte) error { _, err := c.Knock(ctx, kp); return err }
	sends := func(c *relay.Conn, m []byte) error { return c.Send(ctx, m) }
	commits := func(c *relay.Conn, epoch uint64, m []byte, w ...relay.Welcome) error {
		return c.Commit(ctx, epoch, m, w)
	}
	other := framed(signal.WirePrivate, unknown, 1, signal.ContentCommit, "")
	for name, test := range map[string]struct {
		got  error
		want error // nil: any
	}{
		"open as another room":         {open(fresh, unknown), relay.ErrForbidden},
		"open what another has":        {open(fresh, meetingID), relay.ErrForbidden},
		"open twice":                   {open(vauban, unknown), nil},
		"open from the lobby":          {open(lobby, unknown), nil},
		"open a short id":              {open(fresh, []byte("short")), signal.ErrMalformed},
		"rejoin an unknown meeting":    {rejoin(fresh, unknown, 1), relay.ErrNotFound},
		"rejoin as no member":          {rejoin(fresh, meetingID, 1), relay.ErrNotFound},
		"rejoin twice":                 {rejoin(curie, meetingID, 2), nil},
		"rejoin before joining":        {rejoin(h.dial(t, "curie"), meetingID, 1), relay.ErrNotFound},
		"rejoin in the future":         {rejoin(h.dial(t, "curie"), meetingID, 9), relay.ErrNotFound},
		"rejoin at 0":                  {rejoin(fresh, meetingID, 0), signal.ErrMalformed},
		"attach to an unknown meeting": {attach(fresh, unknown), relay.ErrNotFound},
		"attach twice":                 {attach(lobby, meetingID), nil},
		"attach as a member":           {attach(curie, meetingID), nil},
		"knock outside":                {knock(fresh, keyPackage("")), nil},
		"knock as a member":            {knock(curie, keyPackage("")), nil},
		"knock with a welcome":         {knock(lobby, welcome("")), nil},
		"knock with noise":             {knock(lobby, []byte("noise")), nil},
		"knock with too much":          {knock(lobby, keyPackage(strings.Repeat("x", 64<<10))), signal.ErrMalformed},
		"commit outside":               {commits(fresh, 1, commit(1, "")), nil},
		"commit from the lobby":        {commits(lobby, 1, commit(1, "")), nil},
		"commit of another meeting":    {commits(curie, 1, other), nil},
		"commit that is none":          {commits(curie, 1, application(1, "")), nil},
		"commit that says two epochs":  {commits(curie, 1, commit(2, "")), nil},
		"commit for no knock":          {commits(curie, 1, commit(1, ""), relay.Welcome{To: "77", Message: welcome("")}), relay.ErrNotFound},
		"commit for what is no number": {commits(curie, 1, commit(1, ""), relay.Welcome{To: "x", Message: welcome("")}), signal.ErrMalformed},
		"commit of the last epoch":     {commits(curie, 0, commit(0, "")), relay.ErrStale},
		"send outside":                 {sends(fresh, application(1, "")), nil},
		"send from the lobby":          {sends(lobby, application(1, "")), nil},
		"send a commit":                {sends(curie, commit(1, "")), nil},
		"send a welcome":               {sends(curie, welcome("")), nil},
		"send noise":                   {sends(curie, []byte("noise")), nil},
		"send to another meeting":      {sends(curie, framed(signal.WirePrivate, unknown, 1, signal.ContentApplication, "")), nil},
		"send in clear":                {sends(curie, framed(signal.WirePublic, meetingID, 1, signal.ContentApplication, "")), nil},
		"send too much":                {sends(curie, application(1, strings.Repeat("x", 64<<10))), nil},
		"send the next epoch":          {sends(curie, application(2, "")), relay.ErrStale},
		"refuse outside":               {fresh.Refuse(ctx, "1", signal.Busy), nil},
		"refuse no knock":              {curie.Refuse(ctx, "77", signal.Busy), relay.ErrNotFound},
		"refuse a knock that is over":  {curie.Refuse(ctx, "1", signal.Busy), relay.ErrNotFound},
		"refuse without a reason":      {curie.Refuse(ctx, "1", "because"), signal.ErrMalformed},
		"fresh outside":                {fresh.Fresh(ctx, unknown), nil},
		"fresh from the lobby":         {lobby.Fresh(ctx, unknown), nil},
		"fresh of too much":            {curie.Fresh(ctx, make([]byte, signal.MaxHandle+1)), signal.ErrMalformed},
		"evict outside":                {fresh.Evict(ctx, relay.Room{Name: "curie", Site: "Example"}), nil},
		"evict as a guest":             {curie.Evict(ctx, relay.Room{Name: "vauban", Site: "Example"}), relay.ErrForbidden},
		"evict nobody":                 {vauban.Evict(ctx, relay.Room{Name: "ampere", Site: "Example"}), relay.ErrNotFound},
		"evict oneself":                {vauban.Evict(ctx, relay.Room{Name: "vauban", Site: "Example"}), relay.ErrNotFound},
		"ring where nobody is":         {ring(ctx, fresh), relay.ErrNotFound},
	} {
		if test.got == nil || test.want != nil && !errors.Is(test.got, test.want) {
			t.Errorf("%s: %v; want %v", name, test.got, test.want)
		}
		if test.want == nil && (errors.Is(test.got, relay.ErrClosed) || errors.Is(test.got, relay.ErrStale)) {
			t.Errorf("%s: %v", name, test.got)
		}
	}
	if err := curie.Commit(ctx, 1, commit(1, "after"), nil); err != nil {
		t.Error(err)
	}
	ordered(t, curie, 2, application(1, "before"))
	ordered(t, curie, 3, commit(1, "after"))
	if err := knock(h.dial(t, "curie"), keyPackage("")); err == nil {
		t.Error("knocked without a lobby")
	}
}

func ring(ctx context.Context, c *relay.Conn) error {
	_, err := c.Ring(ctx, relay.Invitation{Meeting: meetingID, Relay: "192.0.2.7:1"}, nil)
	return err
}

// TestRejoin breaks a connection and takes the seat again.
func TestRejoin(t *testing.T) {
	h := newHouse(t)
	vauban := h.open(t)
	curie := h.join(t, vauban, "curie", 0)
	if err := curie.Close(); err != nil {
		t.Fatal(err)
	}
	for p := await[relay.Presence](t, vauban); p.Connected; p = await[relay.Presence](t, vauban) {
	}
	missed := [][]byte{application(1, "a"), commit(1, "b"), application(2, "c")}
	for i, m := range missed {
		send := vauban.Send
		if i == 1 {
			if err := vauban.Commit(t.Context(), 1, m, nil); err != nil {
				t.Fatal(err)
			}
			continue
		}
		if err := send(t.Context(), m); err != nil {
			t.Fatal(err)
		}
	}
	again := h.dial(t, "curie")
	if p, err := again.Rejoin(t.Context(), meetingID, 2); err != nil || p != (relay.Position{Epoch: 2, Seq: 2}) {
		t.Fatalf("Rejoin = %v, %v", p, err)
	}
	for i, m := range missed {
		ordered(t, again, uint64(i+2), m)
	}
	if p := await[relay.Presence](t, vauban); p.Room.Name != "curie" || !p.Connected {
		t.Errorf("presence: %+v", p)
	}
	// The old connection need not be known to be broken.
	third := h.dial(t, "curie")
	if _, err := third.Rejoin(t.Context(), meetingID, 5); err != nil {
		t.Fatal(err)
	}
	closedBy(t, again, signal.Replaced)
	// Another key under the same name has no right to the seat.
	h.rooms["curie"] = h.site.Room(t, "curie")
	if _, err := h.dial(t, "curie").Rejoin(t.Context(), meetingID, 5); !errors.Is(err, relay.ErrForbidden) {
		t.Errorf("rejoined with another key: %v", err)
	}
}

// TestLogIsBounded rejoins where the log has and has not been cut.
func TestLogIsBounded(t *testing.T) {
	h := newHouse(t, func(o *relay.Options) { o.Owner = "" })
	for name, test := range map[string]struct{ messages, size, kept int }{
		"count": {relay.MaxLog + 10, 100, relay.MaxLog},
		"bytes": {relay.MaxLogBytes/(60<<10) + 10, 60 << 10, relay.MaxLogBytes / (60<<10 + 60)},
	} {
		t.Run(name, func(t *testing.T) {
			id := []byte("0123456789 " + name)
			c := h.dial(t, "vauban")
			if _, err := c.Open(t.Context(), id, 0, nil); err != nil {
				t.Fatal(err)
			}
			msg := framed(signal.WirePrivate, id, 0, signal.ContentApplication, strings.Repeat("x", test.size))
			for range test.messages {
				if err := c.Send(t.Context(), msg); err != nil {
					t.Fatal(err)
				}
				await[relay.Ordered](t, c)
			}
			again, first := h.dial(t, "vauban"), uint64(test.messages-test.kept+1)
			if _, err := again.Rejoin(t.Context(), id, first-1); !errors.Is(err, relay.ErrNotFound) {
				t.Errorf("the log reaches back to %d: %v", first-1, err)
			}
			if _, err := again.Rejoin(t.Context(), id, first); err != nil {
				t.Errorf("the log does not reach back to %d: %v", first, err)
			}
			for i := range test.kept {
				ordered(t, again, first+uint64(i), msg)
			}
		})
	}
}

// TestHandOver moves a meeting whose host died to another room's relay.
func TestHandOver(t *testing.T) {
	h := newHouse(t)
	s, err := relay.New(relay.Options{Credentials: h.room(t, "curie"), Owner: "curie"})
	if err != nil {
		t.Fatal(err)
	}
	addr := relaytest.Serve(t, s)
	dial := func(name string) *relay.Conn {
		o := relay.DialOptions{Credentials: h.room(t, name), Expect: relay.Expect{Key: s.Identity().Key}}
		c, err := relay.Dial(t.Context(), addr, o)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		return c
	}
	curie := dial("curie")
	members := []relay.Room{{Name: "curie", Site: "Example"}, {Name: "ampere", Site: "Example"}}
	if _, err := curie.Open(t.Context(), meetingID, 7, members); err != nil {
		t.Fatal(err)
	}
	if err := curie.Commit(t.Context(), 7, commit(7, "remove vauban"), nil); err != nil {
		t.Fatal(err)
	}
	if p := await[relay.Presence](t, curie); p != (relay.Presence{Room: members[1]}) {
		t.Errorf("presence: %+v", p)
	}
	ampere := dial("ampere")
	if p, err := ampere.Rejoin(t.Context(), meetingID, 1); err != nil || p != (relay.Position{Epoch: 8, Seq: 1}) {
		t.Fatalf("Rejoin = %v, %v", p, err)
	}
	ordered(t, ampere, 1, commit(7, "remove vauban"))
	if _, err := dial("vauban").Rejoin(t.Context(), meetingID, 1); !errors.Is(err, relay.ErrNotFound) {
		t.Errorf("the removed room rejoined: %v", err)
	}
}

// TestHostRestart: state is memory only. After a restart rooms cannot rejoin;
// the owner opens the meeting at its epoch and the others knock.
func TestHostRestart(t *testing.T) {
	h := newHouse(t)
	stop, addr := stoppable(t, h.server(t), "127.0.0.1:0")
	h.addr = addr
	vauban := h.open(t)
	curie := h.join(t, vauban, "curie", 0)
	stop()
	closedBy(t, vauban, signal.Stopping)
	closedBy(t, curie, signal.Stopping)
	if err := curie.Send(t.Context(), application(1, "x")); !errors.Is(err, relay.ErrClosed) {
		t.Errorf("sent on a closed connection: %v", err)
	}
	stoppable(t, h.server(t), addr)
	if _, err := h.dial(t, "curie").Rejoin(t.Context(), meetingID, 2); !errors.Is(err, relay.ErrNotFound) {
		t.Errorf("rejoined after a restart: %v", err)
	}
	vauban = h.dial(t, "vauban")
	if p, err := vauban.Open(t.Context(), meetingID, 1, nil); err != nil || p != (relay.Position{Epoch: 1, Seq: 1}) {
		t.Fatalf("Open = %v, %v", p, err)
	}
	curie = h.join(t, vauban, "curie", 1)
	if err := curie.Send(t.Context(), application(2, "back")); err != nil {
		t.Fatal(err)
	}
	ordered(t, curie, 2, application(2, "back"))
}
