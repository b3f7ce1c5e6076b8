// SPDX-License-Identifier: Apache-2.0

package mls

import (
	"maps"
	"slices"
)

// The secret tree (Section 9): from the encryption secret of an epoch to two
// ratchets a leaf, each of which gives a key and a nonce for every message.
//
// Nothing is spent by looking: find returns a key together with a function
// that spends it, and the caller calls that once the message has verified.

// A ratchetKind tells the two ratchets of a leaf apart.
type ratchetKind uint8

const (
	handshakeRatchet ratchetKind = iota
	applicationRatchet
)

// A messageKey seals one message.
type messageKey struct{ key, nonce secret }

func (k messageKey) wipe() {
	k.key.wipe()
	k.nonce.wipe()
}

type skippedKey struct {
	generation uint32
	messageKey
}

// A ratchet is one of Section 9.1.
type ratchet struct {
	secret  secret // of generation next
	next    uint32
	skipped []skippedKey // keys that messages overtook, ascending, at most maxSkipped
}

// A seedTree is a binary tree of secrets of which each is derived from the one
// above it (Section 9). It keeps what the leaves that were not taken yet can be
// derived from, and nothing from which one that was taken could (Section 9.2).
type seedTree struct {
	suite *Suite
	root  nodeIndex
	nodes map[nodeIndex]secret // what has not been divided yet
}

// newSeedTree takes over the secret of the root.
func newSeedTree(s *Suite, leaves uint32, seed secret) seedTree {
	root := rootOf(leaves)
	return seedTree{suite: s, root: root, nodes: map[nodeIndex]secret{root: seed}}
}

// leaf derives the secret of a leaf, nil for one that was taken, and returns it
// with a function that takes it.
func (t *seedTree) leaf(i LeafIndex) (secret, func()) {
	if !t.root.above(i) {
		return nil, nil
	}
	x := i.node()
	for t.nodes[x] == nil { // ends: an undivided node is above every leaf not taken
		if x == t.root {
			return nil, nil
		}
		x = x.parent()
	}
	from, s := x, t.nodes[x]
	side := map[nodeIndex]secret{}
	for !x.isLeaf() {
		e := t.suite.expander(s)
		left, right := e.expand("tree", []byte("left"), t.suite.nh), e.expand("tree", []byte("right"), t.suite.nh)
		if x != from {
			s.wipe()
		}
		if x.left().above(i) {
			side[x.right()], s, x = right, left, x.left()
		} else {
			side[x.left()], s, x = left, right, x.right()
		}
	}
	if x == from {
		s = slices.Clone(s) // the caller's, like one that was derived
	}
	return s, func() {
		t.nodes[from].wipe()
		delete(t.nodes, from)
		maps.Copy(t.nodes, side)
	}
}

func (t *seedTree) wipe() {
	for _, s := range t.nodes {
		s.wipe()
	}
	clear(t.nodes)
}

type secretTree struct {
	seedTree
	ratchets map[LeafIndex]*[2]ratchet
}

// newSecretTree takes over the encryption secret.
func newSecretTree(s *Suite, slots uint32, encryption secret) *secretTree {
	return &secretTree{seedTree: newSeedTree(s, slots, encryption), ratchets: map[LeafIndex]*[2]ratchet{}}
}

// at returns the ratchets of a leaf and a function that keeps them, for ones
// that were only derived for now.
func (t *secretTree) at(i LeafIndex) (*[2]ratchet, func()) {
	if r := t.ratchets[i]; r != nil {
		return r, func() {}
	}
	s, take := t.leaf(i)
	if s == nil {
		return nil, nil // beyond the tree, or the tree was wiped
	}
	defer s.wipe()
	e := t.suite.expander(s)
	r := &[2]ratchet{
		handshakeRatchet:   {secret: e.deriveSecret("handshake")},
		applicationRatchet: {secret: e.deriveSecret("application")},
	}
	return r, func() {
		take()
		t.ratchets[i] = r
	}
}

// treeSecret is DeriveTreeSecret of Section 9.
func (x *expander) treeSecret(label string, generation uint32, length int) secret {
	return x.expand(label, appendU32(nil, generation), length)
}

// step returns the key of a generation and the secret of the next.
func (s *Suite) step(from secret, generation uint32) (messageKey, secret) {
	x := s.expander(from)
	k := messageKey{key: x.treeSecret("key", generation, s.nk), nonce: x.treeSecret("nonce", generation, nn)}
	return k, x.treeSecret("secret", generation, s.nh)
}

// find returns the key of a generation and a function that spends it. A
// generation is the sender's choice: how far it may jump is bounded.
func (t *secretTree) find(i LeafIndex, kind ratchetKind, generation uint32) (messageKey, func(), error) {
	pair, keep := t.at(i)
	if pair == nil {
		return messageKey{}, nil, ErrRefused
	}
	r := &pair[kind]
	if generation < r.next {
		at, ok := slices.BinarySearchFunc(r.skipped, generation, func(k skippedKey, g uint32) int { return int(k.generation) - int(g) })
		if !ok {
			return messageKey{}, nil, ErrReplayed
		}
		return r.skipped[at].messageKey, func() {
			r.skipped[at].wipe()
			r.skipped = slices.Delete(r.skipped, at, at+1)
		}, nil
	}
	if generation-r.next > maxGenerationJump || generation == 1<<32-1 {
		return messageKey{}, nil, errLimit("generation")
	}
	var skipped []skippedKey
	s := r.secret
	for g := r.next; ; g++ {
		k, next := t.suite.step(s, g)
		if g > r.next {
			s.wipe() // an intermediate one: r.secret stays until the key is spent
		}
		s = next
		if g < generation {
			skipped = append(skipped, skippedKey{generation: g, messageKey: k})
			continue
		}
		return k, func() {
			keep()
			r.secret.wipe()
			r.secret, r.next = s, generation+1
			r.skipped = append(r.skipped, skipped...)
			if over := len(r.skipped) - maxSkipped; over > 0 {
				for _, k := range r.skipped[:over] {
					k.wipe()
				}
				r.skipped = slices.Clone(r.skipped[over:])
			}
			k.wipe()
		}, nil
	}
}

// take returns the next key of this member's own ratchet and spends it at
// once: what is sealed with it may never be sealed twice.
func (t *secretTree) take(i LeafIndex, kind ratchetKind) (messageKey, uint32, error) {
	pair, keep := t.at(i)
	if pair == nil {
		return messageKey{}, 0, ErrRemoved
	}
	r := &pair[kind]
	if r.next == 1<<32-1 {
		return messageKey{}, 0, errLimit("generation")
	}
	keep()
	g := r.next
	k, next := t.suite.step(r.secret, g)
	r.secret.wipe()
	r.secret, r.next = next, g+1
	return k, g, nil
}

// wipeHandshakes ends the handshake ratchets: an epoch that is over takes no
// more commits. Ratchets that were never derived stay, for late messages.
func (t *secretTree) wipeHandshakes() {
	for _, r := range t.ratchets {
		r[handshakeRatchet].wipe()
	}
}

func (r *ratchet) wipe() {
	r.secret.wipe()
	for _, k := range r.skipped {
		k.wipe()
	}
	r.skipped = nil
}

func (t *secretTree) wipe() {
	t.seedTree.wipe()
	for _, r := range t.ratchets {
		r[handshakeRatchet].wipe()
		r[applicationRatchet].wipe()
	}
	clear(t.ratchets)
}
