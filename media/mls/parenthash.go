// SPDX-License-Identifier: Apache-2.0

package mls

import (
	"bytes"
	"slices"
)

// parentHash is the hash of ParentHashInput (Section 7.9): what a node commits
// to about its parent p, whose other child has the original tree hash sibling.
func (s *Suite) parentHash(p *parentNode, sibling []byte) []byte {
	b := appendVec(nil, p.encryptionKey)
	b = appendVec(b, p.parentHash)
	return s.digest(appendVec(b, sibling))
}

// verifyParentHashes checks that every parent node has exactly one valid chain
// to a leaf (Section 7.9.2): some node D in the resolution of one child C holds
// its parent hash, and the unmerged leaves of the parent under C are those of
// the resolution of C without D.
func (t *tree) verifyParentHashes() error {
	for x := nodeIndex(1); int(x) < len(t.nodes); x += 2 {
		if t.nodes[x] == nil {
			continue
		}
		p := t.nodes[x].parent
		chains := 0
		for _, c := range []nodeIndex{x.left(), x.right()} {
			var below []nodeIndex // the unmerged leaves of p under c
			for _, i := range p.unmerged {
				if c.above(i) {
					below = append(below, i.node())
				}
			}
			want := t.suite.parentHash(p, t.originalHash(c.sibling(), p.unmerged))
			res := t.resolution(c)
			if len(res) != len(below)+1 {
				continue // no D can be the only difference
			}
			for _, d := range res {
				if bytes.Equal(t.nodes[d].parentHash(), want) && onlyDifference(res, below, d) {
					chains++
				}
			}
		}
		if chains != 1 {
			return invalid("7.9.2", "parent node %d has %d valid parent hashes", x, chains)
		}
	}
	return nil
}

// parentHash returns the hash a node holds, nil if it holds none.
func (n *node) parentHash() []byte {
	if n.leaf != nil {
		return n.leaf.parentHash
	}
	return n.parent.parentHash
}

// onlyDifference reports whether res is below and d, in any order.
func onlyDifference(res, below []nodeIndex, d nodeIndex) bool {
	rest := slices.DeleteFunc(slices.Clone(res), func(x nodeIndex) bool { return x == d })
	slices.Sort(rest)
	return slices.Equal(rest, below)
}

// containsSorted reports whether an ascending list has i.
func containsSorted(l []LeafIndex, i LeafIndex) bool {
	_, ok := slices.BinarySearch(l, i)
	return ok
}
