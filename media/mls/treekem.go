// SPDX-License-Identifier: Apache-2.0

package mls

import (
	"bytes"
	"context"
	"crypto/rand"
	"slices"
)

// An updatePath is UpdatePath of Section 7.6: the committer's new leaf and the
// new keys above it.
type updatePath struct {
	leaf  *LeafNode
	nodes []updatePathNode
}

type updatePathNode struct {
	encryptionKey []byte
	sealed        []hpkeCiphertext // of the path secret, to each node of the copath's resolution
}

func decodeUpdatePath(r *reader) *updatePath {
	p := &updatePath{leaf: decodeLeafNode(r)}
	p.nodes = list(r, maxHandshake, 32, func(r *reader) updatePathNode {
		return updatePathNode{encryptionKey: r.vec(maxKey), sealed: list(r, maxHandshake, maxLeaves, decodeHPKECiphertext)}
	})
	return p
}

func (p *updatePath) append(b []byte) []byte {
	return appendList(p.leaf.append(b), p.nodes, func(b []byte, n updatePathNode) []byte {
		b = appendVec(b, n.encryptionKey)
		return appendList(b, n.sealed, func(b []byte, c hpkeCiphertext) []byte { return c.append(b) })
	})
}

// A pathStep is a node of a filtered direct path with the child that is not on
// the path.
type pathStep struct{ node, copath nodeIndex }

// filteredPath returns the nodes above leaf i whose other child covers someone
// (Section 4.1.2), the lowest first.
func (t *tree) filteredPath(i LeafIndex) []pathStep {
	var out []pathStep
	root := t.root()
	for x := i.node(); x != root; x = x.parent() {
		if c := x.sibling(); !t.empty(c) {
			out = append(out, pathStep{node: x.parent(), copath: c})
		}
	}
	return out
}

// recipients returns to which nodes the path secret of a step is sealed: the
// resolution of the copath without the leaves added in the same commit, who get
// it in their Welcome (Section 7.5).
func (t *tree) recipients(p pathStep, added []LeafIndex) []nodeIndex {
	return slices.DeleteFunc(t.resolution(p.copath), func(x nodeIndex) bool {
		return x.isLeaf() && slices.Contains(added, x.leaf())
	})
}

// merge puts the new keys of a path into the tree and blanks the nodes of the
// direct path that are not in the filtered one. It returns the parent hash that
// the committer's leaf must hold (Section 7.9). Keys without pub are for
// openPath to derive.
func (t *tree) merge(i LeafIndex, steps []pathStep, keys []nodeKey) (leafParentHash []byte) {
	t.blankPath(i)
	var above []byte
	for k := len(steps) - 1; k >= 0; k-- {
		p := &parentNode{encryptionKey: keys[k].raw, parentHash: above, key: keys[k].pub}
		above = t.suite.parentHash(p, t.hash(steps[k].copath))
		t.set(steps[k].node, &node{parent: p})
	}
	return above
}

// A newPath is what a committer makes for its path.
type newPath struct {
	steps   []pathStep
	secrets []secret  // a path secret for each step
	keys    []nodeKey // and the key it leads to
	commit  secret    // commit_secret
}

// derivePath derives the secrets of a path from the one at its first step
// (Section 7.4): commit_secret comes after that of the last.
func (s *Suite) derivePath(steps []pathStep, first secret) (*newPath, error) {
	p := &newPath{steps: steps}
	for range steps {
		p.secrets = append(p.secrets, first)
		x := s.expander(first)
		node := x.deriveSecret("node")
		key, err := s.deriveKey(node)
		node.wipe()
		if err != nil {
			p.wipe()
			return nil, err
		}
		p.keys = append(p.keys, newNodeKey(key))
		first = x.deriveSecret("path")
	}
	p.commit = first
	return p, nil
}

// samplePath starts a path from a random secret.
func (s *Suite) samplePath(steps []pathStep) (*newPath, error) {
	first := s.zero()
	_, _ = rand.Read(first) // never fails: package crypto/rand
	return s.derivePath(steps, first)
}

// secretAt returns the path secret of a node, nil if it is not on the path.
func (p *newPath) secretAt(x nodeIndex) secret {
	for i, s := range p.steps {
		if s.node == x {
			return p.secrets[i]
		}
	}
	return nil
}

func (p *newPath) wipe() {
	for _, s := range p.secrets {
		s.wipe()
	}
	p.commit.wipe()
	p.keys = nil
}

// sealPath seals each path secret to its recipients, under the context of the
// epoch to come (Section 7.5).
func (t *tree) sealPath(ctx context.Context, p *newPath, added []LeafIndex, groupContext []byte) ([]updatePathNode, error) {
	info := encryptInfo("UpdatePathNode", groupContext)
	nodes := make([]updatePathNode, len(p.steps))
	for k, step := range p.steps {
		nodes[k].encryptionKey = p.keys[k].raw
		to := t.recipients(step, added)
		nodes[k].sealed = make([]hpkeCiphertext, 0, len(to))
		for _, x := range to {
			if err := context.Cause(ctx); err != nil {
				return nil, err
			}
			c, err := t.suite.seal(t.nodes[x].public(), info, p.secrets[k])
			if err != nil {
				return nil, err
			}
			nodes[k].sealed = append(nodes[k].sealed, c)
		}
	}
	return nodes, nil
}

// ownKeys is the private part of a member's leaf and of what is above it.
type ownKeys struct {
	leaf HPKEKey
	path map[nodeIndex]nodeKey
}

func (o *ownKeys) at(t *tree, self LeafIndex, x nodeIndex) HPKEKey {
	if x == self.node() {
		return o.leaf
	}
	k, n := o.path[x], t.nodes[x]
	if k.priv == nil || n == nil || !bytes.Equal(k.raw, n.encryptionKey()) {
		return nil
	}
	return KeyFrom(k.priv)
}

// openPath opens the path secret that is sealed to this member and derives the
// rest of the path, each key compared with the one announced (Section 7.5).
// t is the tree with the path merged; it gets the derived keys.
func (o *ownKeys) openPath(ctx context.Context, t *tree, self LeafIndex, steps []pathStep, path *updatePath, added []LeafIndex, groupContext []byte) (*newPath, error) {
	for k, step := range steps {
		if !step.copath.above(self) {
			continue
		}
		for j, x := range t.recipients(step, added) {
			key := o.at(t, self, x)
			if key == nil {
				continue
			}
			first, err := unseal(ctx, t.suite, key, "UpdatePathNode", groupContext, path.nodes[k].sealed[j])
			if err != nil {
				return nil, err
			}
			if len(first) != t.suite.nh {
				return nil, invalid("7.4", "path secret of %d bytes", len(first))
			}
			p, err := t.suite.derivePath(steps[k:], first)
			if err != nil {
				return nil, err
			}
			for i, got := range p.keys {
				if !bytes.Equal(got.raw, path.nodes[k+i].encryptionKey) {
					p.wipe()
					return nil, invalid("7.5", "path secret does not lead to the announced key")
				}
				t.nodes[steps[k+i].node].parent.key = got.pub
			}
			return p, nil
		}
		break
	}
	return nil, invalid("7.5", "no path secret for this member")
}

// checkPathShape verifies that a path has a node for each step, and in it a
// ciphertext for each recipient.
func (t *tree) checkPathShape(steps []pathStep, path *updatePath, added []LeafIndex) error {
	if len(path.nodes) != len(steps) {
		return invalid("7.5", "path of %d nodes, want %d", len(path.nodes), len(steps))
	}
	for k, step := range steps {
		if want := len(t.recipients(step, added)); len(path.nodes[k].sealed) != want {
			return invalid("7.5", "%d path secrets for %d nodes", len(path.nodes[k].sealed), want)
		}
	}
	return nil
}

// with returns the keys after a path: those of p where it has some, and of the
// old ones those whose node is still in the tree.
func (o *ownKeys) with(t *tree, self LeafIndex, leaf HPKEKey, p *newPath) *ownKeys {
	next := &ownKeys{leaf: leaf, path: map[nodeIndex]nodeKey{}}
	for x, k := range o.path {
		if int(x) < len(t.nodes) && o.at(t, self, x) != nil {
			next.path[x] = k
		}
	}
	if p != nil {
		for i, s := range p.steps {
			next.path[s.node] = p.keys[i]
		}
	}
	return next
}
