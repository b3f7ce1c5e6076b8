// SPDX-License-Identifier: Apache-2.0

package e2ee_test

import (
	"bytes"
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"incamera/media/e2ee"
	"incamera/media/mls"
)

func now() time.Time { return time.Now() }

// snapshot is what must not change when a message is refused.
type snapshot struct {
	epoch   uint64
	members []string
	epochs  []uint64
	code    string
}

func (r *room) snapshot() snapshot {
	e := r.session.Epoch()
	return snapshot{e.Number, names(e.Members), r.session.Keyring().Epochs(), r.observer.code(e.Number)}
}

func (s snapshot) equal(o snapshot) bool {
	return s.epoch == o.epoch && s.code == o.code && slices.Equal(s.members, o.members) && slices.Equal(s.epochs, o.epochs)
}

// TestGhost tries every way in which somebody outside, the relay included,
// could come into the meeting or bring somebody in.
func TestGhost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMeeting(t)
		rooms := m.gather("Vauban", "Curie")
		settle()
		// The ghost even has a certificate of the site; it was never let in.
		ghost := raw(t, m.newRoom("Ghost").config, e2ee.DefaultSuite)
		b := bundle(t, ghost)
		kp, err := mls.ParseKeyPackage(b.Message())
		if err != nil {
			t.Fatal(err)
		}
		epoch := rooms[0].session.Epoch().Number
		message := func(b []byte, err error) []byte {
			t.Helper()
			if err != nil {
				t.Fatal(err)
			}
			return b
		}
		external := func() []byte {
			info := message(e2ee.GroupInfo(t.Context(), rooms[0].session)) // a member gave it away
			x, err := mls.JoinExternal(t.Context(), ghost, info, nil, nil)
			if err != nil {
				t.Fatal(err)
			}
			return x.Message
		}
		if err := rooms[1].session.Broadcast(t.Context(), []byte("hello")); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		genuine := m.log[len(m.log)-1]
		for _, tt := range []struct {
			name    string
			message []byte
		}{
			{"external Add", message(mls.ProposeFromOutside(t.Context(), ghost.Signer, 0, []byte("meeting"), epoch, mls.Add(kp)))},
			{"external Remove", message(mls.ProposeFromOutside(t.Context(), ghost.Signer, 0, []byte("meeting"), epoch, mls.Remove(1)))},
			{"new-member proposal", message(mls.ProposeSelf(t.Context(), ghost.Signer, []byte("meeting"), epoch, b))},
			{"external join", external()},
			{"KeyPackage", b.Message()},
			{"nothing", nil},
			{"noise", bytes.Repeat([]byte{0xA5}, 300)},
			{"message with a bit changed", flip(genuine)},
			{"message with a tail", append(slices.Clone(genuine), 0)},
		} {
			for _, r := range rooms {
				before := r.snapshot()
				// A room knows its own message by the encrypted sender, and drops it.
				own := r == rooms[1] && strings.HasPrefix(tt.name, "message")
				if err := r.session.Deliver(t.Context(), tt.message); err == nil && !own {
					t.Errorf("%s took %s", r.name, tt.name)
				}
				if after := r.snapshot(); !before.equal(after) {
					t.Errorf("%s: %s changed %v to %v", r.name, tt.name, before, after)
				}
				if err := r.sealing(); err != nil {
					t.Errorf("%s stopped sending after %s: %v", r.name, tt.name, err)
				}
			}
		}
		agree(t, rooms...)
		hearEachOther(t, rooms...)

		// A commit that the relay forged: the log goes on where the group cannot,
		// so nothing is sent until a commit fits again.
		if err := rooms[0].session.Rotate(t.Context()); err != nil {
			t.Fatal(err)
		}
		settle()
		for _, r := range rooms {
			before := r.snapshot()
			if err := r.session.Deliver(t.Context(), atEpoch(m.slots[epoch], epoch+1)); !errors.Is(err, e2ee.ErrFork) {
				t.Errorf("%s: forged commit: %v, want %v", r.name, err, e2ee.ErrFork)
			}
			if after := r.snapshot(); !before.equal(after) {
				t.Errorf("%s: forged commit changed %v to %v", r.name, before, after)
			}
			if err := r.sealing(); !errors.Is(err, e2ee.ErrNoKey) {
				t.Errorf("%s: sealing on a forked log: %v, want %v", r.name, err, e2ee.ErrNoKey)
			}
		}
		if err := rooms[1].session.Rotate(t.Context()); err != nil {
			t.Fatal(err)
		}
		settle()
		agree(t, rooms...)
		hearEachOther(t, rooms...)
	})
}

func flip(message []byte) []byte {
	out := slices.Clone(message)
	out[len(out)-1] ^= 1
	return out
}

// atEpoch rewrites the epoch in the clear head of a PrivateMessage of the group
// "meeting".
func atEpoch(message []byte, epoch uint64) []byte {
	out := slices.Clone(message)
	out[4+1+len("meeting")+7] = byte(epoch)
	return out
}

// TestRogueMember has a member make commits that RFC 9420 allows and a meeting
// does not: nobody applies them, and honest commits go on.
func TestRogueMember(t *testing.T) {
	for _, tt := range []struct {
		name    string
		message func(t *testing.T, m *meeting, r *rogue) []byte
	}{
		{"commits what the relay proposed", func(t *testing.T, m *meeting, r *rogue) []byte {
			ghost := raw(t, m.newRoom("Ghost").config, e2ee.DefaultSuite)
			message, err := mls.ProposeSelf(t.Context(), ghost.Signer, []byte("meeting"), r.g.Epoch(), bundle(t, ghost))
			if err != nil {
				t.Fatal(err)
			}
			p, err := r.g.ReceiveProposal(t.Context(), message)
			if err != nil {
				t.Fatal(err)
			}
			return r.commits(t, mls.ByReference(p.Ref))
		}},
		{"changes the group context", func(t *testing.T, _ *meeting, r *rogue) []byte {
			return r.commits(t, mls.SetExtensions(nil))
		}},
		{"mixes in a pre-shared key", func(t *testing.T, _ *meeting, r *rogue) []byte {
			return r.commits(t, mls.ResumptionPSK([]byte("meeting"), r.g.Epoch()))
		}},
		{"adds a room of an unknown site", func(t *testing.T, _ *meeting, r *rogue) []byte {
			other := newSite(t, "Elsewhere")
			c := raw(t, other.config(t, other.template("Ghost"), newKey(t)), e2ee.DefaultSuite)
			return r.commits(t, add(t, c))
		}},
		{"adds a room with a member's name", func(t *testing.T, m *meeting, r *rogue) []byte {
			return r.commits(t, add(t, raw(t, m.newRoom("curie").config, e2ee.DefaultSuite)))
		}},
		{"adds a basic credential", func(t *testing.T, m *meeting, r *rogue) []byte {
			c := raw(t, m.newRoom("Ghost").config, e2ee.DefaultSuite)
			c.Credential = mls.Credential{Type: mls.BasicCredential, Identity: []byte("Ghost")}
			return r.commits(t, add(t, c))
		}},
		{"adds a room without a name", func(t *testing.T, m *meeting, r *rogue) []byte {
			return r.commits(t, add(t, raw(t, m.newRoom("").config, e2ee.DefaultSuite)))
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m := newMeeting(t)
				rooms := m.gather("Vauban", "Curie")
				r := m.admitRogue(rooms[0], "Rogue", nil)
				settle()
				refusedByAll(t, rooms, tt.message(t, m, r))
				if err := rooms[1].session.Remove(t.Context(), e2ee.Leaf(r.g.Self())); err != nil {
					t.Fatal(err)
				}
				settle()
				agree(t, rooms...)
				hearEachOther(t, rooms...)
			})
		})
	}
}

func add(tb testing.TB, c mls.Config) mls.Proposal {
	tb.Helper()
	kp, err := mls.ParseKeyPackage(bundle(tb, c).Message())
	if err != nil {
		tb.Fatal(err)
	}
	return mls.Add(kp)
}

// refusedByAll delivers a commit that every room must refuse.
func refusedByAll(t *testing.T, rooms []*room, message []byte) {
	t.Helper()
	for _, r := range rooms {
		before := r.snapshot()
		if err := r.session.Deliver(t.Context(), message); !errors.Is(err, e2ee.ErrFork) {
			t.Errorf("%s: %v, want %v", r.name, err, e2ee.ErrFork)
		}
		if after := r.snapshot(); !before.equal(after) {
			t.Errorf("%s: refused commit changed %v to %v", r.name, before, after)
		}
	}
}

// TestCredentialChangeRefused has a member take another name, site or key in
// its own commit. A renewed certificate with the same of each is taken.
func TestCredentialChangeRefused(t *testing.T) {
	for _, tt := range []struct {
		name   string
		change func(t *testing.T, m *meeting, r *room, c *mls.Config)
		ok     bool
	}{
		{"renewed certificate", func(t *testing.T, m *meeting, r *room, c *mls.Config) {
			c.Credential.Certificates = m.site.config(t, m.site.template("Monge"), r.key).Chain
		}, true},
		{"another name", func(t *testing.T, m *meeting, r *room, c *mls.Config) {
			c.Credential.Certificates = m.site.config(t, m.site.template("Curie's guest"), r.key).Chain
		}, false},
		{"another site", func(t *testing.T, m *meeting, r *room, c *mls.Config) {
			template := m.site.template("Monge")
			template.Subject.Organization = []string{"London"}
			c.Credential.Certificates = m.site.config(t, template, r.key).Chain
		}, false},
		{"another key", func(t *testing.T, m *meeting, _ *room, c *mls.Config) {
			config := m.site.config(t, m.site.template("Monge"), newKey(t))
			c.Signer, c.Credential.Certificates = config.Signer, config.Chain
		}, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m := newMeeting(t)
				rooms := m.gather("Vauban", "Curie")
				key := newKey(t)
				r := m.admitRogueWith(rooms[0], "Monge", key, func(c *mls.Config) {
					tt.change(t, m, m.roomWith("Monge", key), c)
				})
				settle()
				p, err := r.g.Commit(t.Context(), nil)
				if err != nil {
					t.Fatalf("package mls does not make it, so nothing was refused: %v", err)
				}
				if !tt.ok {
					refusedByAll(t, rooms, p.Message)
					return
				}
				for _, r := range rooms {
					if err := r.session.Deliver(t.Context(), p.Message); err != nil {
						t.Errorf("%s: %v", r.name, err)
					}
				}
			})
		})
	}
}
