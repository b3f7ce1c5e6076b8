// SPDX-License-Identifier: Apache-2.0

package e2ee_test

import (
	"errors"
	"testing"
	"testing/synctest"

	"incamera/media/e2ee"
)

// leafOf returns where a room sees another one.
func leafOf(t *testing.T, r *room, name string) e2ee.Member {
	t.Helper()
	for _, m := range r.session.Epoch().Members {
		if m.Name == name {
			return m
		}
	}
	t.Fatalf("no member is called %s", name)
	return e2ee.Member{}
}

// TestPins: a room whose person has compared codes with Curie sends nothing to
// somebody else of that name, whoever let that one in, until it is out or the
// person has unpinned the name. Curie itself may restart.
func TestPins(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMeeting(t)
		rooms := m.gather("Vauban", "Monge", "Curie")
		vauban, monge, curie := rooms[0], rooms[1], rooms[2]
		settle()
		if known, same := vauban.session.Pinned(leafOf(t, vauban, "Curie")); known || same {
			t.Error("pinned before anybody compared a code")
		}
		pin, err := vauban.session.Pin(leafOf(t, vauban, "Curie").Leaf)
		if err != nil || pin.Name != "Curie" {
			t.Fatalf("Pin = %+v, %v", pin, err)
		}
		if _, err := vauban.session.Pin(vauban.session.Epoch().Self); !errors.Is(err, e2ee.ErrPolicy) {
			t.Errorf("pinning oneself: %v", err)
		}
		if _, err := vauban.session.Pin(31); !errors.Is(err, e2ee.ErrPolicy) {
			t.Errorf("pinning nobody: %v", err)
		}

		curie.stop()
		<-curie.ran
		again := m.roomWith("Curie", curie.key)
		m.admit(monge, again) // restarted, with its key
		settle()
		if held := vauban.session.Keyring().Held(); held != 0 {
			t.Errorf("the same key again is held for %q", held)
		}
		if known, same := vauban.session.Pinned(leafOf(t, vauban, "Curie")); !known || !same {
			t.Errorf("Pinned = %v, %v", known, same)
		}
		if err := monge.session.Remove(t.Context(), leafOf(t, monge, "Curie").Leaf); err != nil {
			t.Fatal(err)
		}
		settle()

		other := m.newRoom("CURIE") // with a certificate of the site, and as people read it the same name
		if err := vauban.session.Add(t.Context(), "CURIE", m.knock(other)); !errors.Is(err, e2ee.ErrPinned) {
			t.Errorf("letting it in: %v, want %v", err, e2ee.ErrPinned)
		}
		m.admit(monge, other)
		settle()
		agree(t, vauban, monge, other)
		if err := vauban.sealing(); !errors.Is(err, e2ee.ErrNoKey) || vauban.session.Keyring().Held() != e2ee.HoldPin {
			t.Errorf("sealing for another key: %v, held for %q", err, vauban.session.Keyring().Held())
		}
		hearEachOther(t, monge, other) // who has pinned nothing minds nothing
		if known, same := vauban.session.Pinned(leafOf(t, vauban, "CURIE")); !known || same {
			t.Errorf("Pinned = %v, %v", known, same)
		}
		if _, err := vauban.session.Pin(leafOf(t, vauban, "CURIE").Leaf); !errors.Is(err, e2ee.ErrPinned) {
			t.Errorf("pinning over another pin: %v", err)
		}
		if err := monge.session.Remove(t.Context(), leafOf(t, monge, "CURIE").Leaf); err != nil {
			t.Fatal(err)
		}
		settle()
		if err := vauban.sealing(); err != nil {
			t.Errorf("once it is out: %v", err)
		}

		// A pin of the past holds a newcomer from its first epoch on.
		m.admit(monge, m.newRoom("Curie"))
		late := m.newRoom("Noether")
		late.config.Pins = []e2ee.Pin{pin}
		m.admit(monge, late)
		settle()
		if err := late.sealing(); !errors.Is(err, e2ee.ErrNoKey) || late.session.Keyring().Held() != e2ee.HoldPin {
			t.Errorf("a newcomer that knows another key: %v, held for %q", err, late.session.Keyring().Held())
		}
		late.session.Unpin("curie")
		if err := late.sealing(); err != nil {
			t.Errorf("after Unpin: %v", err)
		}
		if _, err := late.session.Pin(leafOf(t, late, "Curie").Leaf); err != nil {
			t.Errorf("pinning the new key: %v", err)
		}
	})
}
