// SPDX-License-Identifier: Apache-2.0

package mls

import (
	"bytes"
	"crypto/hkdf"
	"crypto/sha512"
	"errors"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
)

// expandNaively is ExpandWithLabel (RFC 9420, Section 8) for SHA-384, written
// down once more: the length, the label and the context, each behind its size.
func expandNaively(t *testing.T, from []byte, label, context string) []byte {
	t.Helper()
	info := []byte{0, sha512.Size384, byte(len("MLS 1.0 " + label))}
	info = append(info, "MLS 1.0 "+label...)
	info = append(append(info, byte(len(context))), context...)
	out, err := hkdf.Expand(sha512.New384, from, string(info), sha512.Size384)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// TestSafeExport follows the 16 bits of a ComponentID from the top of the tree,
// left for 0 and right for 1, and finds what SafeExport gives, in whatever
// order components ask.
func TestSafeExport(t *testing.T) { // draft-ietf-mls-extensions-10, Section 4.4
	g := newGroup(t, suiteOf(t, MLKEM768P256AES256GCMSHA384P256), 2)
	epoch := bytes.Repeat([]byte{7}, sha512.Size384)
	secrets := g[0].Suite().epochFrom(secret(bytes.Clone(epoch)))
	g[0].cur.exports = newExports(g[0].Suite(), secrets.appExport)
	naive := func(id ComponentID) []byte {
		s := expandNaively(t, epoch, "application_export", "")
		for bit := 15; bit >= 0; bit-- {
			s = expandNaively(t, s, "tree", []string{"left", "right"}[id>>bit&1])
		}
		return s
	}
	ids := []ComponentID{0, 1, 2, 0x7FFF, 0x8000, 0x8001, 0xFFFE, 0xFFFF}
	for range 200 {
		if id := ComponentID(rand.N(1 << 16)); !slices.Contains(ids, id) {
			ids = append(ids, id)
		}
	}
	rand.Shuffle(len(ids), func(i, j int) { ids[i], ids[j] = ids[j], ids[i] })
	for _, id := range ids {
		got, err := g[0].SafeExport(id)
		if err != nil || !bytes.Equal(got, naive(id)) {
			t.Fatalf("component %#x: %x, %v; want %x", id, got, err, naive(id))
		}
	}
	for _, id := range ids {
		if _, err := g[0].SafeExport(id); !errors.Is(err, ErrExported) {
			t.Errorf("component %#x again: %v", id, err)
		}
	}
	if n := len(g[0].cur.exports.nodes); n > 16*len(ids) {
		t.Errorf("%d secrets are kept for %d components", n, len(ids))
	}
}

// TestSafeExportInAGroup: all members get the same, in each epoch another, and
// no component what another has or what MLS-Exporter gives.
func TestSafeExportInAGroup(t *testing.T) {
	for _, s := range Suites() {
		g := newGroup(t, s, 3)
		seen := map[string]bool{}
		for range 2 {
			for _, id := range []ComponentID{0x8000, 0x8001} {
				var all [][]byte
				for _, m := range g {
					b, err := m.SafeExport(id)
					if err != nil {
						t.Fatal(err)
					}
					all = append(all, b)
				}
				if !bytes.Equal(all[0], all[1]) || !bytes.Equal(all[0], all[2]) || len(all[0]) != s.nh {
					t.Errorf("%v: members have %x", s, all)
				}
				if seen[string(all[0])] {
					t.Errorf("%v: one secret twice", s)
				}
				seen[string(all[0])] = true
			}
			exported, err := g[0].Export(appExportLabel, nil, s.nh)
			if err != nil {
				t.Fatal(err)
			}
			if seen[string(exported)] {
				t.Errorf("%v: the exporter gives a component's secret", s)
			}
			commitAll(t, g[0], g[1:])
		}
	}
}

// TestSafeExportForgets: of what a secret came from nothing is left, neither
// after it was taken nor after the epoch.
func TestSafeExportForgets(t *testing.T) {
	s := suiteOf(t, 1)
	g := newGroup(t, s, 2)
	zero := func(what string, b []byte) {
		t.Helper()
		if len(b) == 0 || slices.ContainsFunc(b, func(c byte) bool { return c != 0 }) {
			t.Errorf("%s was not wiped", what)
		}
	}
	root := g[0].cur.exports.nodes[g[0].cur.exports.root]
	if g[0].cur.secrets.appExport != nil {
		t.Error("the key schedule keeps the root, too")
	}
	mine, err := g[0].SafeExport(0x8000)
	if err != nil {
		t.Fatal(err)
	}
	zero("the root", root)
	beside := g[0].cur.exports.nodes[LeafIndex(0x8001).node()]
	kept := bytes.Clone(beside)
	other, err := g[0].SafeExport(0x8001) // the sibling's leaf stood in the tree as it is
	if err != nil || !bytes.Equal(other, kept) {
		t.Fatalf("sibling: %x, %v; want %x", other, err, kept)
	}
	zero("the sibling's leaf", beside)
	for x, b := range g[0].cur.exports.nodes {
		if x.above(0x8000) || x.above(0x8001) || bytes.Equal(b, mine) || bytes.Equal(b, other) {
			t.Errorf("node %d leads to a secret that was taken", x)
		}
	}
	left := slices.Collect(maps.Values(g[0].cur.exports.nodes))
	commitAll(t, g[0], g[1:])
	for _, b := range left {
		zero("a node of the last epoch", b)
	}
	if got, err := g[0].SafeExport(0x8000); err != nil || bytes.Equal(got, mine) {
		t.Errorf("next epoch: %x, %v", got, err)
	}
	pending, err := g[0].Commit(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	next := pending.staged.next.exports
	top := next.nodes[next.root]
	pending.Discard()
	zero("a discarded epoch's root", top)
	top = g[1].cur.exports.nodes[g[1].cur.exports.root]
	g[1].Destroy()
	zero("a destroyed group's root", top)
	if _, err := g[1].SafeExport(1); !errors.Is(err, ErrRemoved) {
		t.Errorf("a destroyed group: %v", err)
	}
}
