// SPDX-License-Identifier: Apache-2.0

package e2ee_test

import (
	"bytes"
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"incamera/media/e2ee"
	"incamera/media/e2ee/e2eetest"
	"incamera/media/mls"
)

// attested gives a room a box with a firmware.
func (r *room) attested(mode e2ee.Mode, firmware string) {
	r.box, r.appraiser = e2eetest.Attested(&r.config, r.name, mode, firmware)
}

// createAttested opens a meeting with a room that runs a released firmware.
func (m *meeting) createAttested(name string, mode e2ee.Mode) *room {
	m.tb.Helper()
	r := m.newRoom(name)
	r.attested(mode, e2eetest.Released)
	s, err := e2ee.Create(m.ctx, r.config, []byte("meeting"))
	if err != nil {
		m.tb.Fatal(err)
	}
	m.enter(r, s)
	return r
}

// newAttested makes a room with a firmware.
func (m *meeting) newAttested(name string, mode e2ee.Mode, firmware string) *room {
	m.tb.Helper()
	r := m.newRoom(name)
	r.attested(mode, firmware)
	return r
}

func verdicts(r *room) map[string]e2ee.Tier {
	got := map[string]e2ee.Tier{}
	for _, m := range r.session.Epoch().Members {
		got[m.Name] = m.Verdict.Tier
	}
	return got
}

// TestAttestedMeeting has three rooms prove themselves to one another: each
// shows all, itself included, and sends only once it has seen that.
func TestAttestedMeeting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMeeting(t)
		vauban := m.createAttested("Vauban", e2ee.AttestedOnly)
		curie := m.newAttested("Curie", e2ee.AttestedOnly, e2eetest.Released)
		monge := m.newAttested("Monge", e2ee.Flagged, e2eetest.Old) // a warning is let in
		m.admit(vauban, curie)
		settle()
		m.admit(curie, monge)
		settle()
		rooms := []*room{vauban, curie, monge}
		for _, r := range rooms {
			for name, tier := range verdicts(r) {
				want := e2ee.Affirming
				if name == "Monge" {
					want = e2ee.Warning
				}
				if tier != want {
					t.Errorf("%s makes %v of %s, want %v", r.name, tier, name, want)
				}
			}
			if held := r.session.Keyring().Held(); held != 0 {
				t.Errorf("%s is held for %q", r.name, held)
			}
		}
		hearEachOther(t, rooms...)
		agree(t, rooms...)
	})
}

// TestNewcomerWaitsForEvidence withholds a member's evidence from a newcomer:
// it sends nothing until it has appraised everybody.
func TestNewcomerWaitsForEvidence(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMeeting(t)
		vauban := m.createAttested("Vauban", e2ee.AttestedOnly)
		curie := m.newAttested("Curie", e2ee.AttestedOnly, e2eetest.Released)
		m.setFilter(func(to string, message []byte) bool {
			h, err := mls.Peek(message)
			return err != nil || to != "Curie" || !h.Application
		})
		m.admit(vauban, curie)
		settle()
		if got := verdicts(curie)["Vauban"]; got != e2ee.Awaited {
			t.Errorf("without Vauban's evidence Curie makes %v of it", got)
		}
		if err := curie.sealing(); !errors.Is(err, e2ee.ErrNoKey) {
			t.Errorf("Curie seals: %v", err)
		}
		if err := vauban.sealing(); err != nil {
			t.Errorf("Vauban has appraised Curie and does not seal: %v", err)
		}
		m.setFilter(nil)
		if err := vauban.session.Rotate(t.Context()); err != nil {
			t.Fatal(err)
		}
		settle()
		if err := curie.sealing(); err != nil {
			t.Errorf("with the evidence of Vauban's commit: %v, %v", err, verdicts(curie))
		}
	})
}

// TestEvidence offers KeyPackages whose evidence is not about them.
func TestEvidence(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMeeting(t)
		vauban := m.createAttested("Vauban", e2ee.AttestedOnly)
		old := vauban.session.Epoch().Handle()
		for range 5 {
			if err := vauban.session.Rotate(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		handle := m.handle()
		other := newMeeting(t).createAttested("Ampère", e2ee.AttestedOnly).session.Epoch().Handle()
		curie := m.newAttested("Curie", e2ee.AttestedOnly, e2eetest.Released)
		quote := func(encryptionKey, handle []byte) []byte {
			return e2eetest.Statement("Curie", e2eetest.Released, e2ee.Nonce(curie.config, encryptionKey, nil, handle))
		}
		for _, tt := range []struct {
			name   string
			leaf   func(encryptionKey []byte) []mls.AppData
			reason string // of the verdict; "" lets the room in
		}{
			{"none", func([]byte) []mls.AppData { return nil }, ""},
			{"foreign key", func([]byte) []mls.AppData {
				return []mls.AppData{e2ee.EvidenceComponent(handle, quote([]byte("another leaf's key"), handle))}
			}, "nonce_unknown"},
			{"other group", func(key []byte) []mls.AppData {
				return []mls.AppData{e2ee.EvidenceComponent(other, quote(key, other))}
			}, "nonce_unknown"},
			{"old epoch", func(key []byte) []mls.AppData {
				return []mls.AppData{e2ee.EvidenceComponent(old, quote(key, old))}
			}, "nonce_unknown"},
			{"old quote", func(key []byte) []mls.AppData {
				return []mls.AppData{e2ee.EvidenceComponent(handle, quote(key, old))}
			}, "nonce_unknown"},
			{"another room's quote", func(key []byte) []mls.AppData {
				return []mls.AppData{e2ee.EvidenceComponent(handle, e2eetest.Statement("Vauban", e2eetest.Released, e2ee.Nonce(curie.config, key, nil, handle)))}
			}, "ak_unknown"},
			{"other software", func(key []byte) []mls.AppData {
				return []mls.AppData{e2ee.EvidenceComponent(handle, e2eetest.Statement("Curie", "patched", e2ee.Nonce(curie.config, key, nil, handle)))}
			}, "refval_mismatch"},
		} {
			c := raw(t, curie.config, e2ee.DefaultSuite)
			c.LeafData = func(_ context.Context, key []byte) ([]mls.AppData, error) { return tt.leaf(key), nil }
			kp := bundle(t, c).Message()
			who, err := vauban.session.Candidate(kp)
			if err != nil || who.Verdict.Tier.Accepted() || who.Verdict.Reason != tt.reason {
				t.Errorf("%s: %+v, %v; want %q", tt.name, who.Verdict, err, tt.reason)
			}
			if err := vauban.session.Add(t.Context(), "Curie", kp); !errors.Is(err, e2ee.ErrNotAttested) {
				t.Errorf("%s: %v, want %v", tt.name, err, e2ee.ErrNotAttested)
			}
		}
		m.admit(vauban, curie) // the same room with evidence about its leaf
		settle()
		agree(t, vauban, curie)
	})
}

// TestFlaggedShows lets rooms in that prove nothing or the wrong thing, and
// shows them as they are.
func TestFlaggedShows(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMeeting(t)
		vauban := m.createAttested("Vauban", e2ee.Flagged)
		curie := m.newAttested("Curie", e2ee.Flagged, "patched")
		monge := m.newRoom("Monge") // has no TPM
		m.admit(vauban, curie)
		m.admit(vauban, monge)
		settle()
		for _, r := range []*room{vauban, curie} {
			got := verdicts(r)
			if got["Vauban"] != e2ee.Affirming || got["Curie"] != e2ee.Contraindicated || got["Monge"] != e2ee.None {
				t.Errorf("%s shows %v", r.name, got)
			}
		}
		if got := verdicts(monge); got["Vauban"] != e2ee.None || got["Curie"] != e2ee.None {
			t.Errorf("Monge can judge nobody and shows %v", got)
		}
		hearEachOther(t, vauban, curie, monge)
	})
}

// TestStrippedEvidence has a member renew its leaf without evidence, with that
// of another epoch or of another leaf, or add a room so: nobody applies it.
func TestStrippedEvidence(t *testing.T) {
	for _, tt := range []struct {
		name string
		leaf func(c e2ee.Config, key, handle []byte) []mls.AppData
	}{
		{"none", func(e2ee.Config, []byte, []byte) []mls.AppData { return nil }},
		{"of another leaf", func(c e2ee.Config, _, handle []byte) []mls.AppData {
			nonce := e2ee.Nonce(c, []byte("another"), []byte("meeting"), handle)
			return []mls.AppData{e2ee.EvidenceComponent(handle, e2eetest.Statement("Monge", e2eetest.Released, nonce))}
		}},
		{"of a KeyPackage", func(c e2ee.Config, key, handle []byte) []mls.AppData {
			return []mls.AppData{e2ee.EvidenceComponent(handle, e2eetest.Statement("Monge", e2eetest.Released, e2ee.Nonce(c, key, nil, handle)))}
		}},
		{"of an unknown epoch", func(c e2ee.Config, key, _ []byte) []mls.AppData {
			made := bytes.Repeat([]byte{7}, 40)
			return []mls.AppData{e2ee.EvidenceComponent(made, e2eetest.Statement("Monge", e2eetest.Released, e2ee.Nonce(c, key, []byte("meeting"), made)))}
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m := newMeeting(t)
				vauban := m.createAttested("Vauban", e2ee.AttestedOnly)
				curie := m.newAttested("Curie", e2ee.AttestedOnly, e2eetest.Released)
				m.admit(vauban, curie)
				monge := m.rogueWithEvidence(vauban, "Monge")
				settle()
				handle := vauban.session.Epoch().Handle()
				monge.data = func(key []byte) []mls.AppData { return tt.leaf(monge.config, key, handle) }
				p, err := monge.g.Commit(t.Context(), nil)
				if err != nil {
					t.Fatal(err)
				}
				refusedByAll(t, []*room{vauban, curie}, p.Message)
				p.Discard()

				monge.data = func(key []byte) []mls.AppData {
					nonce := e2ee.Nonce(monge.config, key, []byte("meeting"), handle)
					return []mls.AppData{e2ee.EvidenceComponent(handle, e2eetest.Statement("Monge", e2eetest.Released, nonce))}
				}
				stranger := raw(t, m.newRoom("Stranger").config, e2ee.DefaultSuite)
				stranger.LeafData = func(_ context.Context, key []byte) ([]mls.AppData, error) {
					return tt.leaf(monge.config, key, handle), nil
				}
				kp, err := mls.ParseKeyPackage(bundle(t, stranger).Message())
				if err != nil {
					t.Fatal(err)
				}
				refusedByAll(t, []*room{vauban, curie}, monge.commits(t, mls.Add(kp)))
			})
		})
	}
}

// An attestedRogue is a rogue whose leaves say what a test wants.
type attestedRogue struct {
	*rogue
	data func(encryptionKey []byte) []mls.AppData
}

func (m *meeting) rogueWithEvidence(by *room, name string) *attestedRogue {
	m.tb.Helper()
	r := &attestedRogue{rogue: &rogue{room: m.roomWith(name, newKey(m.tb))}}
	handle := by.session.Epoch().Handle()
	r.data = func(key []byte) []mls.AppData {
		return []mls.AppData{e2ee.EvidenceComponent(handle, e2eetest.Statement(name, e2eetest.Released, e2ee.Nonce(r.config, key, nil, handle)))}
	}
	c := raw(m.tb, r.config, e2ee.DefaultSuite)
	c.LeafData = func(_ context.Context, key []byte) ([]mls.AppData, error) { return r.data(key), nil }
	b := bundle(m.tb, c)
	m.letIn(by, r.rogue, c, b)
	return r
}

// TestEachCommitQuotesAgain counts quotes: one for a KeyPackage, one for each
// own commit, one for each epoch in which somebody came; no two alike.
func TestEachCommitQuotesAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMeeting(t)
		vauban := m.createAttested("Vauban", e2ee.AttestedOnly)
		quotes := vauban.box.Quotes
		if n := len(quotes()); n != 0 {
			t.Errorf("alone, %d quotes", n)
		}
		m.admit(vauban, m.newAttested("Curie", e2ee.AttestedOnly, e2eetest.Released))
		settle()
		if n := len(quotes()); n != 2 {
			t.Errorf("%d quotes after letting a room in, want 2: in the commit, for the newcomer", n)
		}
		before := vauban.session.Epoch().Members[0].Verdict.At
		for range 2 { // the second is bound to an epoch that began later
			if err := vauban.session.Rotate(t.Context()); err != nil {
				t.Fatal(err)
			}
			settle()
		}
		if n := len(quotes()); n != 4 {
			t.Errorf("%d quotes after two rotations, want 4", n)
		}
		if after := vauban.session.Epoch().Members[0].Verdict.At; !after.After(before) {
			t.Errorf("the evidence is as old as before: %v, %v", before, after)
		}
		seen := map[[32]byte]bool{}
		for _, q := range quotes() {
			if seen[q] {
				t.Error("two quotes with one nonce")
			}
			seen[q] = true
		}
	})
}

// TestNoEvidenceNoCommit breaks a room's TPM: in a meeting of attested rooms it
// cannot renew its keys without evidence, and goes on once the TPM does.
func TestNoEvidenceNoCommit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMeeting(t)
		vauban := m.createAttested("Vauban", e2ee.AttestedOnly)
		m.admit(vauban, m.newAttested("Curie", e2ee.AttestedOnly, e2eetest.Released))
		settle()
		vauban.box.Break(errors.New("TPM is busy"))
		if err := vauban.session.Rotate(t.Context()); !errors.Is(err, e2ee.ErrPolicy) {
			t.Errorf("committed without evidence: %v", err)
		}
		vauban.box.Break(nil)
		if err := vauban.session.Rotate(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

// TestReappraise withdraws a room in a running meeting: who is told judges it
// again and sends nothing while it is there.
func TestReappraise(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMeeting(t)
		vauban := m.createAttested("Vauban", e2ee.AttestedOnly)
		m.admit(vauban, m.newAttested("Curie", e2ee.AttestedOnly, e2eetest.Released))
		settle()
		vauban.appraiser.Revoke("Curie")
		if got := verdicts(vauban)["Curie"]; got != e2ee.Affirming {
			t.Fatalf("before: %v", got)
		}
		vauban.session.Reappraise()
		settle()
		vauban.observer.mu.Lock()
		told := vauban.observer.verdicts[len(vauban.observer.verdicts)-1]
		vauban.observer.mu.Unlock()
		curie := told.Members[1]
		if !curie.Verdict.Revoked || curie.Verdict.Reason != "ak_revoked" {
			t.Errorf("told %+v", curie.Verdict)
		}
		if err := vauban.sealing(); !errors.Is(err, e2ee.ErrNoKey) {
			t.Errorf("seals for a revoked room: %v", err)
		}
		if err := vauban.session.Remove(t.Context(), curie.Leaf); err != nil {
			t.Fatal(err)
		}
		if err := vauban.sealing(); err != nil {
			t.Errorf("alone again: %v", err)
		}
	})
}

// TestWeakerMeeting keeps a room that demands proof out of a meeting that does
// not, and one that can judge nobody out of one that does.
func TestWeakerMeeting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMeeting(t)
		vauban := m.createAttested("Vauban", e2ee.Flagged)
		strict := m.newAttested("Curie", e2ee.AttestedOnly, e2eetest.Released)
		var welcome []byte
		strict.welcomed = func(w []byte) { welcome = w }
		if err := vauban.session.Add(t.Context(), "Curie", m.knock(strict)); err != nil {
			t.Fatal(err)
		}
		if _, err := strict.joiner.Join(t.Context(), welcome); !errors.Is(err, e2ee.ErrPolicy) {
			t.Errorf("a room that demands proof joined: %v", err)
		}
	})
	c := newSite(t, "Paris").config(t, newSite(t, "Paris").template("Vauban"), newKey(t))
	c.Attestation.Mode = e2ee.AttestedOnly
	if _, err := e2ee.Create(t.Context(), c, []byte("meeting")); err == nil {
		t.Error("a room that proves nothing opened a meeting of attested rooms")
	}
}

// TestAged turns good evidence into a warning when it is too old.
func TestAged(t *testing.T) {
	at := time.Unix(1000, 0)
	v := e2ee.Verdict{Tier: e2ee.Affirming, At: at}
	if got := v.Aged(at.Add(time.Hour), time.Hour); got != v {
		t.Errorf("after an hour: %+v", got)
	}
	if got := v.Aged(at.Add(time.Hour+1), time.Hour); got.Tier != e2ee.Warning || got.Reason != "evidence_old" {
		t.Errorf("later: %+v", got)
	}
	v.Tier = e2ee.Contraindicated
	if got := v.Aged(at.Add(2*time.Hour), time.Hour); got != v {
		t.Errorf("a refusal became %+v", got)
	}
}

// FuzzLeafEvidence: what is read has one spelling, and is bounded.
func FuzzLeafEvidence(f *testing.F) {
	f.Add(e2ee.EvidenceComponent(make([]byte, 40), []byte("evidence")).Data)
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		again, ok := e2ee.ParseLeafEvidence(b)
		if ok && (!bytes.Equal(again, b) || len(b) > 40+e2ee.MaxEvidence) {
			t.Errorf("%x became %x", b, again)
		}
	})
}
