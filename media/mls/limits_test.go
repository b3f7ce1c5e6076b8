// SPDX-License-Identifier: Apache-2.0

package mls

import (
	"errors"
	"fmt"
	"runtime"
	"testing"
)

func TestLimits(t *testing.T) {
	many := func(n int, item []byte) []byte {
		var b []byte
		for range n {
			b = append(b, item...)
		}
		return appendVec(nil, b)
	}
	vec := func(n int) []byte { return appendVec(nil, make([]byte, n)) }
	for _, row := range []struct {
		what   string
		decode func([]byte) error
		bytes  []byte
	}{
		{"group id", decoder(decodeGroupContext), append([]byte{0, 1, 0, 1}, vec(maxGroupID+1)...)},
		{"identity", decoder(decodeCredential), append([]byte{0, 1}, vec(maxIdentity+1)...)},
		{"certificate", decoder(decodeCredential), append([]byte{0, 2}, appendVec(nil, vec(maxCertificate+1))...)},
		{"certificates", decoder(decodeCredential), append([]byte{0, 2}, many(maxCertificates+1, vec(1))...)},
		{"extensions", decoder(decodeExtensions), many(maxExtensions+1, []byte{1, 1, 0})},
		{"capabilities", decoder(u16s[ExtensionType]), many(maxCapabilities+1, []byte{1, 1})},
		{"proposals", decoder(decodeCommit), many(maxProposals+1, []byte{1, 0, 3, 0, 0, 0, 0})},
		{"PSKs", decoder(decodeGroupSecrets), append(append(vec(32), 0), many(maxPSKs+1, []byte{1, 0, 0})...)},
		{"unmerged leaves", decoder(decodeParentNode), append(append(vec(1), vec(0)...), many(maxLeaves+1, []byte{0, 0, 0, 1})...)},
		{"nodes", decoder(decodeTree), many(2*maxLeaves+1, []byte{0})},
		{"external senders", decoder(decodeExternalSenders), many(maxExternalSenders+1, append(vec(1), 0, 1, 0))},
		{"component", decoder(decodeAppDataDictionary), appendVec(nil, append([]byte{0, 1}, vec(maxComponentData+1)...))},
		{"message", func(b []byte) error { _, err := decodeMessage(b); return err }, make([]byte, maxWelcome+1)},
		{"handshake", func(b []byte) error { _, err := decodeMessage(b); return err }, append([]byte{0, 1, 0, 2}, make([]byte, maxHandshake)...)},
	} {
		t.Run(row.what, func(t *testing.T) {
			if err := row.decode(row.bytes); !errors.Is(err, ErrLimit) {
				t.Errorf("decode: %v", err)
			}
		})
	}
	g := newGroup(t, suiteOf(t, 1), 2)
	if _, err := g[0].Protect(t.Context(), nil, make([]byte, maxApplication+1)); !errors.Is(err, ErrLimit) {
		t.Errorf("Protect: %v", err)
	}
	m, err := g[0].Protect(t.Context(), nil, make([]byte, maxApplication))
	if err != nil {
		t.Fatal(err)
	}
	if got, err := g[1].Unprotect(t.Context(), m); err != nil || len(got.Data) != maxApplication {
		t.Errorf("Unprotect of the largest message: %v", err)
	}
	if _, err := g[0].Export("x", nil, 255*32+1); err == nil {
		t.Error("an export too long")
	}
}

// decoder is a decoder without its result.
func decoder[T any](decode func(*reader) T) func([]byte) error {
	return func(b []byte) error { _, err := decodeAll(b, decode); return err }
}

func TestMembersAreBounded(t *testing.T) {
	s := suiteOf(t, 1)
	tr := newTree(s)
	leaf := func(i int) *LeafNode {
		return &LeafNode{encryptionKey: fmt.Append(nil, "e", i), signatureKey: fmt.Append(nil, "s", i)}
	}
	for i := range maxMembers {
		if _, err := tr.add(leaf(i)); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := tr.add(leaf(maxMembers)); !errors.Is(err, ErrLimit) {
		t.Errorf("member %d: %v", maxMembers+1, err)
	}
}

// TestMemoryBound: what a hostile message makes a decoder allocate is below 8
// times its size and 128 KiB, which is more than the tables of as many members,
// nodes and proposals as there may be. A length that lies costs nothing.
func TestMemoryBound(t *testing.T) {
	tree := make([]byte, 0, 4096)
	for range 2*maxLeaves - 1 {
		tree = append(tree, 0)
	}
	tree = append(tree, 1, 1)
	for what, msg := range map[string][]byte{
		"a length that lies": {0, 1, 0, 3, 0, 1, 0xbf, 0xff, 0xff, 0xff},
		"blank nodes":        appendVec(nil, tree),
		"a large GroupInfo":  append([]byte{0, 1, 0, 4, 0, 1, 0, 1, 0}, make([]byte, maxWelcome/2)...),
		"large ciphertexts":  append(append([]byte{0, 1, 0, 3, 0, 1}, sealedTo(maxMembers)...), 0),
		"Welcome to many":    append(append([]byte{0, 1, 0, 3, 0, 1}, manyEmpty(maxMembers, 3)...), 0),
		"commit of removes":  append(commitHead(), removes()...),
	} {
		t.Run(what, func(t *testing.T) {
			grown := allocated(func() {
				_, _ = decodeMessage(msg)
				_, _ = decodeAll(msg, decodeTree)
			})
			if limit := uint64(8*len(msg) + 128<<10); grown > limit {
				t.Errorf("%d bytes for a message of %d", grown, len(msg))
			}
		})
	}
}

// sealedTo is a list of secrets for n members, as large as they may be.
func sealedTo(n int) []byte {
	one := encryptedSecrets{to: make([]byte, 32), sealed: hpkeCiphertext{make([]byte, maxKey), make([]byte, maxKey)}}
	return appendList(nil, make([]struct{}, n), func(b []byte, _ struct{}) []byte { return one.sealed.append(appendVec(b, one.to)) })
}

func manyEmpty(n, size int) []byte { return appendVec(nil, make([]byte, n*size)) }

func commitHead() []byte {
	c := framedContent{groupID: []byte("g"), sender: memberSender(0), kind: contentCommit}
	return c.appendHead(appendU16(appendU16(nil, 1), uint16(wirePublic)))
}

// removes is the shortest commit with as many proposals as there may be.
func removes() []byte {
	var list []Proposal
	for i := range maxProposals {
		list = append(list, Remove(LeafIndex(i)))
	}
	return append(byValue(list...).append(nil), make([]byte, 100)...)
}

// allocated returns the bytes that f allocates, freed ones included.
func allocated(f func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}

// TestWarmCommitGrowsWithTheLogarithm counts tree hashes: a commit in a tree of
// four times the leaves computes at most two levels more.
func TestWarmCommitGrowsWithTheLogarithm(t *testing.T) {
	s := suiteOf(t, 1)
	for _, n := range []int{8, 32, 64} {
		g := warmGroup(t, s, n)
		p, err := g[0].Commit(t.Context(), nil)
		if err != nil {
			t.Fatal(err)
		}
		levels := g[0].cur.tree.root().level() + 1
		if got := p.staged.next.tree.hashed; got != levels {
			t.Errorf("%d members: %d tree hashes for a path of %d nodes", n, got, levels)
		}
		staged, err := g[1].Stage(t.Context(), p.Message)
		if err != nil {
			t.Fatal(err)
		}
		if got := staged.next.tree.hashed; got != levels {
			t.Errorf("%d members: %d tree hashes to process a path of %d nodes", n, got, levels)
		}
		t.Logf("%d members: %d bytes", n, len(p.Message))
	}
}
