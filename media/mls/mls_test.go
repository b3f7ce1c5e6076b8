// SPDX-License-Identifier: Apache-2.0

package mls

import (
	"bytes"
	"fmt"
	"testing"
	"time"
)

// anyone is an Authenticator that takes every credential.
type anyone struct{}

func (anyone) Authenticate(Credential, []byte) error { return nil }

func fixedNow() time.Time { return time.Unix(1_800_000_000, 0) }

func testConfig(tb testing.TB, s *Suite, name string) Config {
	tb.Helper()
	k, err := NewSoftwareSigner(s.scheme)
	if err != nil {
		tb.Fatal(err)
	}
	return Config{
		Suite: s, Signer: k, Credential: Credential{Type: BasicCredential, Identity: []byte(name)},
		Authenticator: anyone{}, Now: fixedNow,
	}
}

func suiteOf(tb testing.TB, id CipherSuite) *Suite {
	tb.Helper()
	s, err := SuiteByID(id)
	if err != nil {
		tb.Fatal(err)
	}
	return s
}

func newBundle(tb testing.TB, c Config) *KeyPackageBundle {
	tb.Helper()
	b, err := NewKeyPackage(tb.Context(), c)
	if err != nil {
		tb.Fatal(err)
	}
	return b
}

func parsed(tb testing.TB, b *KeyPackageBundle, s *Suite) *KeyPackage {
	tb.Helper()
	k, err := ParseKeyPackage(b.Message(), s)
	if err != nil {
		tb.Fatal(err)
	}
	return k
}

// same fails the test unless all groups are in one epoch and agree on it.
func same(tb testing.TB, groups ...*Group) {
	tb.Helper()
	for _, g := range groups[1:] {
		if g.Epoch() != groups[0].Epoch() || !bytes.Equal(g.EpochAuthenticator(), groups[0].EpochAuthenticator()) {
			tb.Fatalf("%v and %v differ", groups[0], g)
		}
		a, _ := groups[0].Export("test", []byte("c"), 32)
		b, _ := g.Export("test", []byte("c"), 32)
		if !bytes.Equal(a, b) {
			tb.Fatal("exporters differ")
		}
	}
}

// commit lets by commit and the others stage and apply it.
func commitAll(tb testing.TB, by *Group, others []*Group, p ...Proposal) *Pending {
	tb.Helper()
	c, err := by.Commit(tb.Context(), p)
	if err != nil {
		tb.Fatalf("commit: %v", err)
	}
	for _, g := range others {
		applyCommit(tb, g, c.Message)
	}
	if err := c.Apply(); err != nil {
		tb.Fatal(err)
	}
	return c
}

func applyCommit(tb testing.TB, g *Group, msg []byte) Diff {
	tb.Helper()
	s, err := g.Stage(tb.Context(), msg)
	if err != nil {
		tb.Fatalf("%v: stage: %v", g, err)
	}
	if err := s.Apply(); err != nil {
		tb.Fatal(err)
	}
	return s.Diff()
}

// newGroup makes a group of n members, all added by the first in one commit.
func newGroup(tb testing.TB, s *Suite, n int) []*Group {
	tb.Helper()
	g, err := Create(tb.Context(), testConfig(tb, s, "0"), []byte("group"))
	if err != nil {
		tb.Fatal(err)
	}
	return grow(tb, []*Group{g}, n-1)
}

// grow lets the first member add n more.
func grow(tb testing.TB, groups []*Group, n int) []*Group {
	tb.Helper()
	s := groups[0].Suite()
	for n > 0 {
		var p []Proposal
		var bundles []*KeyPackageBundle
		var configs []Config
		for ; n > 0 && len(p) < maxProposals; n-- {
			c := testConfig(tb, s, fmt.Sprint(len(groups)+len(p)))
			b := newBundle(tb, c)
			p, bundles, configs = append(p, Add(parsed(tb, b, s))), append(bundles, b), append(configs, c)
		}
		made := commitAll(tb, groups[0], groups[1:], p...)
		for i, b := range bundles {
			g, err := Join(tb.Context(), configs[i], made.Welcome, b)
			if err != nil {
				tb.Fatalf("join: %v", err)
			}
			groups = append(groups, g)
		}
	}
	return groups
}

func TestTwoMembers(t *testing.T) {
	for _, s := range Suites() {
		t.Run(s.String(), func(t *testing.T) {
			g := newGroup(t, s, 2)
			same(t, g...)
			for i := range g {
				from, to := g[i], g[1-i]
				msg, err := from.Protect(t.Context(), []byte("aad"), []byte("hello"))
				if err != nil {
					t.Fatal(err)
				}
				got, err := to.Unprotect(t.Context(), msg)
				if err != nil {
					t.Fatal(err)
				}
				if got.Sender != from.Self() || string(got.Data) != "hello" || string(got.AAD) != "aad" {
					t.Fatalf("got %+v", got)
				}
				commitAll(t, from, []*Group{to})
				same(t, g...)
			}
		})
	}
}
