// SPDX-License-Identifier: Apache-2.0

package e2ee_test

import (
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"incamera/media/e2ee"
	"incamera/media/frame"
	"incamera/media/mls"
)

// TestRemovedHearsNothing removes a room that does not let go: the relay keeps
// the commit from it, so it stays in the old epoch with all its keys.
func TestRemovedHearsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMeeting(t)
		rooms := m.gather("Vauban", "Curie", "Monge")
		settle()
		vauban, curie, monge := rooms[0], rooms[1], rooms[2]
		leaf := monge.session.Epoch().Self
		m.setFilter(func(to string, message []byte) bool {
			h, err := mls.Peek(message)
			return to != "Monge" && err == nil && h.Commit // nor does anybody hear that others are ready
		})
		late := monge.seal(t)
		if err := vauban.session.Remove(t.Context(), leaf); err != nil {
			t.Fatal(err)
		}
		// No time has passed but for the commit itself: no half second of grace.
		synctest.Wait()
		for _, r := range []*room{vauban, curie} {
			if err := monge.open(r, r.seal(t)); err == nil {
				t.Errorf("the removed room hears %s", r.name)
			}
			for _, wire := range [][]byte{late, monge.seal(t)} {
				if _, err := r.session.Keyring().Open(nil, frame.Camera, leaf, wire); !errors.Is(err, e2ee.ErrRefused) {
					t.Errorf("%s hears the removed room: %v", r.name, err)
				}
			}
			e := r.observer.last()
			if got := names(e.Removed); !slices.Equal(got, []string{"Monge"}) || e.SelfRemoved {
				t.Errorf("%s was told that %v were removed", r.name, got)
			}
		}
		hearEachOther(t, vauban, curie)

		// Once it learns of its removal, the session is over.
		m.setFilter(nil)
		monge.inbox <- m.slots[2]
		if err := <-monge.ran; !errors.Is(err, e2ee.ErrRemoved) {
			t.Errorf("Run = %v, want %v", err, e2ee.ErrRemoved)
		}
		monge.ran <- nil
		if e := monge.observer.last(); !e.SelfRemoved || !slices.Equal(names(e.Removed), []string{"Monge"}) {
			t.Errorf("the removed room was told %+v", e)
		}
		if err := monge.sealing(); !errors.Is(err, e2ee.ErrNoKey) {
			t.Errorf("the removed room seals: %v", err)
		}
		if err := monge.session.Deliver(t.Context(), nil); !errors.Is(err, e2ee.ErrEnded) {
			t.Errorf("Deliver after the end = %v, want %v", err, e2ee.ErrEnded)
		}
	})
}

// TestRemoveWithheld has the relay take the commit of a removal and show it to
// nobody: who asked sends nothing until the room is out.
func TestRemoveWithheld(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMeeting(t)
		rooms := m.gather("Vauban", "Curie", "Monge")
		settle()
		var withheld [][]byte
		m.setFilter(func(to string, message []byte) bool {
			if h, err := mls.Peek(message); err == nil && h.Commit {
				if to == "Vauban" {
					withheld = append(withheld, message)
				}
				return false
			}
			return true
		})
		done := make(chan error)
		go func() { done <- rooms[0].session.Remove(t.Context(), rooms[2].session.Epoch().Self) }()
		for range 20 {
			synctest.Wait()
			if err := rooms[0].sealing(); !errors.Is(err, e2ee.ErrNoKey) {
				t.Fatalf("sealing while the removal is withheld: %v, want %v", err, e2ee.ErrNoKey)
			}
			if held := rooms[0].session.Keyring().Held(); held != e2ee.HoldRemoval {
				t.Fatalf("held for %q", held)
			}
			time.Sleep(time.Second)
		}
		m.setFilter(nil)
		m.inject(withheld[0])
		if err := <-done; err != nil {
			t.Error(err)
		}
		settle()
		if err := rooms[0].sealing(); err != nil {
			t.Errorf("sealing after the removal: %v", err)
		}
		agree(t, rooms[0], rooms[1])

		// A removal that fails holds as well, until the caller releases it.
		rooms[0].commit = func(uint64, []byte, []e2ee.Welcome) error { return errors.New("relay is gone") }
		if err := rooms[0].session.Remove(t.Context(), rooms[1].session.Epoch().Self); err == nil {
			t.Error("Remove without a relay succeeded")
		}
		if err := rooms[0].sealing(); !errors.Is(err, e2ee.ErrNoKey) {
			t.Errorf("sealing after a removal that failed: %v, want %v", err, e2ee.ErrNoKey)
		}
		rooms[0].session.Keyring().Release(e2ee.HoldRemoval)
		if err := rooms[0].sealing(); err != nil {
			t.Errorf("sealing after the caller gave up: %v", err)
		}
	})
}

// TestJoinerCannotOpenPast records frames before a room comes in, and lets it
// try each, as it is and under the number of the joiner's own epoch.
func TestJoinerCannotOpenPast(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMeeting(t)
		rooms := m.gather("Vauban", "Curie")
		settle()
		past := [][]byte{rooms[0].seal(t), rooms[0].seal(t)}
		monge := m.newRoom("Monge")
		m.admit(rooms[0], monge)
		settle()
		for _, wire := range past {
			if err := monge.open(rooms[0], wire); err == nil {
				t.Error("the newcomer opens a frame of the past")
			}
			present := slices.Clone(wire)
			present[2] = present[2]&0xF0 | byte(monge.session.Epoch().Number)
			if err := monge.open(rooms[0], present); err == nil {
				t.Error("the newcomer opens a frame of the past under a new number")
			}
		}
		hearEachOther(t, append(rooms, monge)...)
	})
}

// TestForkFailsClosed has the relay show one commit to one room and another to
// the other: from then on they hear nothing of one another, show different
// codes, and take no commit of the other side.
func TestForkFailsClosed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMeeting(t)
		rooms := m.gather("Vauban", "Curie")
		settle()
		for _, r := range rooms {
			r.commit = func(_ uint64, commit []byte, _ []e2ee.Welcome) error {
				r.inbox <- commit
				return nil
			}
			if err := r.session.Rotate(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		settle()
		a, b := rooms[0], rooms[1]
		e := a.session.Epoch().Number
		if e != b.session.Epoch().Number || a.observer.code(e) == b.observer.code(e) || a.observer.code(e) == "" {
			t.Errorf("codes of the two sides: %q, %q", a.observer.code(e), b.observer.code(e))
		}
		for _, pair := range [][2]*room{{a, b}, {b, a}} {
			if err := pair[0].open(pair[1], pair[1].seal(t)); err == nil {
				t.Errorf("%s hears %s across the fork", pair[0].name, pair[1].name)
			}
		}
		var next []byte
		b.commit = func(_ uint64, commit []byte, _ []e2ee.Welcome) error {
			next = commit
			b.inbox <- commit
			return nil
		}
		if err := b.session.Rotate(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := a.session.Deliver(t.Context(), next); !errors.Is(err, e2ee.ErrFork) {
			t.Errorf("a commit of the other side: %v, want %v", err, e2ee.ErrFork)
		}
		if err := a.sealing(); !errors.Is(err, e2ee.ErrNoKey) {
			t.Errorf("sealing on a forked log: %v, want %v", err, e2ee.ErrNoKey)
		}
		if got := a.session.Keyring().Held(); got != e2ee.HoldFork {
			t.Errorf("held for %q", got)
		}
	})
}

// TestGap lets a room miss a commit: it sends nothing until the log is whole.
func TestGap(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMeeting(t)
		rooms := m.gather("Vauban", "Curie")
		settle()
		m.setFilter(func(to string, _ []byte) bool { return to != "Curie" })
		for range 2 {
			if err := rooms[0].session.Rotate(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		m.setFilter(nil)
		if err := rooms[1].session.Deliver(t.Context(), m.slots[2]); !errors.Is(err, e2ee.ErrFork) {
			t.Errorf("the second commit before the first: %v, want %v", err, e2ee.ErrFork)
		}
		if err := rooms[1].sealing(); !errors.Is(err, e2ee.ErrNoKey) {
			t.Errorf("sealing behind the log: %v, want %v", err, e2ee.ErrNoKey)
		}
		for _, n := range []uint64{1, 2, 1} { // and one again
			if err := rooms[1].session.Deliver(t.Context(), m.slots[n]); err != nil {
				t.Errorf("commit of epoch %d: %v", n, err)
			}
		}
		settle()
		agree(t, rooms...)
		hearEachOther(t, rooms...)
	})
}
