// SPDX-License-Identifier: Apache-2.0

package mls

import (
	"bytes"
	"fmt"
	"testing"
)

// TestModel drives a group through a random schedule of additions, removals,
// updates and concurrent commits, beside the plain model of who is in. After
// each epoch all members agree on its secrets and its members; who is out can
// neither follow nor open what is said.
func TestModel(t *testing.T) {
	r := modelSeed(t)
	s := suiteOf(t, X25519AES128GCMSHA256Ed25519)
	groups := newGroup(t, s, 2) // who is in, in no order
	outside := []*Group{}
	names := 2
	for range 120 {
		by := r.IntN(len(groups))
		committer := groups[by]
		var p []Proposal
		var joiner *KeyPackageBundle
		var config Config
		victim := -1
		switch n := r.IntN(10); {
		case n < 4 && len(groups) < 50:
			config = testConfig(t, s, fmt.Sprint("m", names))
			names++
			joiner = newBundle(t, config)
			p = append(p, Add(parsed(t, joiner, s)))
		case n < 7 && len(groups) > 2:
			for victim = by; victim == by; {
				victim = r.IntN(len(groups))
			}
			p = append(p, Remove(groups[victim].Self()))
		}
		if r.IntN(3) == 0 { // another member commits at the same time, and loses
			rival := groups[r.IntN(len(groups))]
			if rival != committer {
				if _, err := rival.Commit(t.Context(), nil); err != nil {
					t.Fatal(err)
				}
			}
		}
		pending, err := committer.Commit(t.Context(), p)
		if err != nil {
			t.Fatal(err)
		}
		stay := []*Group{}
		for i, g := range groups {
			if i != victim {
				stay = append(stay, g)
			}
			if i != by {
				applyCommit(t, g, pending.Message)
			}
		}
		if err := pending.Apply(); err != nil {
			t.Fatal(err)
		}
		if victim >= 0 {
			if !groups[victim].Removed() {
				t.Fatal("the removed member does not know it")
			}
			outside = append(outside, groups[victim])
		}
		groups = stay
		if joiner != nil {
			g, err := Join(t.Context(), config, pending.Welcome, joiner)
			if err != nil {
				t.Fatal(err)
			}
			groups = append(groups, g)
		}
		same(t, groups...)
		for _, g := range groups {
			if len(g.Members()) != len(groups) {
				t.Fatalf("%v has %d members, want %d", g, len(g.Members()), len(groups))
			}
		}
		said := []byte(fmt.Sprint("epoch ", committer.Epoch()))
		msg, err := committer.Protect(t.Context(), nil, said)
		if err != nil {
			t.Fatal(err)
		}
		for _, g := range groups {
			if g == committer {
				continue
			}
			if got, err := g.Unprotect(t.Context(), msg); err != nil || !bytes.Equal(got.Data, said) {
				t.Fatalf("%v opened %q, %v", g, got.Data, err)
			}
		}
		for _, g := range outside {
			if got, err := g.Unprotect(t.Context(), msg); err == nil {
				t.Fatalf("a removed member opened %q", got.Data)
			}
		}
	}
	t.Logf("%d members at the end, %d were removed", len(groups), len(outside))
}
