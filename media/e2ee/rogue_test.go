// SPDX-License-Identifier: Apache-2.0

package e2ee_test

import (
	"crypto/ecdsa"
	"testing"

	"incamera/media/e2ee"
	"incamera/media/mls"
)

// A rogue is an admitted room that does not keep to the rules: it drives its
// group by hand.
type rogue struct {
	*room
	g *mls.Group
}

// trusting is an mls.Authenticator that takes everybody.
type trusting struct{}

func (trusting) Authenticate(mls.Credential, []byte) error { return nil }

// raw is the configuration of a room for package mls itself.
func raw(tb testing.TB, c e2ee.Config, suite mls.CipherSuite) mls.Config {
	tb.Helper()
	s, err := mls.SuiteByID(suite)
	if err != nil {
		tb.Fatal(err)
	}
	return mls.Config{
		Suite: s, Signer: c.Signer, Authenticator: trusting{}, Now: now,
		Credential: mls.Credential{Type: mls.X509Credential, Certificates: c.Chain},
	}
}

// bundle is a KeyPackage with its keys.
func bundle(tb testing.TB, c mls.Config) *mls.KeyPackageBundle {
	tb.Helper()
	b, err := mls.NewKeyPackage(tb.Context(), c)
	if err != nil {
		tb.Fatal(err)
	}
	return b
}

// admitRogue lets a room in that will make commits with the given changes to
// its configuration.
func (m *meeting) admitRogue(by *room, name string, change func(*mls.Config)) *rogue {
	m.tb.Helper()
	return m.admitRogueWith(by, name, newKey(m.tb), change)
}

func (m *meeting) admitRogueWith(by *room, name string, key *ecdsa.PrivateKey, change func(*mls.Config)) *rogue {
	m.tb.Helper()
	r := &rogue{room: m.roomWith(name, key)}
	c := raw(m.tb, r.config, e2ee.DefaultSuite)
	b := bundle(m.tb, c)
	if change != nil {
		change(&c)
	}
	m.letIn(by, r, c, b)
	return r
}

// letIn has a member add a rogue, which joins with its bundle.
func (m *meeting) letIn(by *room, r *rogue, c mls.Config, b *mls.KeyPackageBundle) {
	m.tb.Helper()
	r.welcomed = func(welcome []byte) {
		var err error
		if r.g, err = mls.Join(m.ctx, c, welcome, b); err != nil {
			m.tb.Errorf("%s cannot join: %v", r.name, err)
		}
	}
	m.mu.Lock()
	m.rooms[r.name] = r.room
	m.mu.Unlock()
	if err := by.session.Add(m.ctx, r.name, b.Message()); err != nil {
		m.tb.Fatal(err)
	}
}

// commit makes a commit; its judge is package mls alone.
func (r *rogue) commits(tb testing.TB, proposals ...mls.Proposal) []byte {
	tb.Helper()
	p, err := r.g.Commit(tb.Context(), proposals)
	if err != nil {
		tb.Fatal(err)
	}
	return p.Message
}
