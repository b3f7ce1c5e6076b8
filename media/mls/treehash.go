// SPDX-License-Identifier: Apache-2.0

package mls

// Tree hashes (Section 7.8). A tree keeps them, and forgets those above a node
// that changes, so a commit computes as many as its path is long.

// hash returns the tree hash of the subtree of x.
func (t *tree) hash(x nodeIndex) []byte {
	for todo := []nodeIndex{x}; len(todo) > 0; {
		x := todo[len(todo)-1]
		switch {
		case t.hashes[x] != nil:
			todo = todo[:len(todo)-1]
		case x.isLeaf():
			t.hashes[x] = t.leafHash(x.leaf(), t.nodes[x])
		case t.hashes[x.left()] == nil:
			todo = append(todo, x.left())
		case t.hashes[x.right()] == nil:
			todo = append(todo, x.right())
		default:
			t.hashes[x] = t.parentNodeHash(t.nodes[x], nil, t.hashes[x.left()], t.hashes[x.right()])
		}
	}
	return t.hashes[x]
}

// leafHash hashes TreeHashInput of a leaf, nil for a blank one.
func (t *tree) leafHash(i LeafIndex, n *node) []byte {
	t.hashed++
	head := appendOptional(appendU32([]byte{1}, uint32(i)), n != nil)
	if n == nil {
		return t.suite.digest(head)
	}
	return t.suite.digest(head, n.leaf.raw)
}

// parentNodeHash hashes TreeHashInput of a parent, nil for a blank one, with
// the leaves of without taken out of its unmerged ones.
func (t *tree) parentNodeHash(n *node, without map[LeafIndex]bool, left, right []byte) []byte {
	t.hashed++
	b := appendOptional([]byte{2}, n != nil)
	if n != nil {
		p := n.parent
		if len(without) > 0 && len(p.unmerged) > 0 {
			p = &parentNode{encryptionKey: p.encryptionKey, parentHash: p.parentHash}
			for _, i := range n.parent.unmerged {
				if !without[i] {
					p.unmerged = append(p.unmerged, i)
				}
			}
		}
		b = p.append(b)
	}
	return t.suite.digest(appendVec(appendVec(b, left), right))
}

// originalHash returns the tree hash that the subtree of x had before the
// leaves of unmerged came: they are blank in it, and missing from every list of
// unmerged leaves, below blank nodes too (Section 7.9).
func (t *tree) originalHash(x nodeIndex, unmerged []LeafIndex) []byte {
	without := map[LeafIndex]bool{}
	for _, i := range unmerged {
		if x.above(i) {
			without[i] = true
		}
	}
	if len(without) == 0 {
		return t.hash(x)
	}
	touched := map[nodeIndex]bool{} // nodes above a leaf that is taken out
	for i := range without {
		for y := i.node(); ; y = y.parent() {
			touched[y] = true
			if y == x {
				break
			}
		}
	}
	done := map[nodeIndex][]byte{}
	get := func(y nodeIndex) []byte {
		if !touched[y] {
			return t.hash(y)
		}
		return done[y]
	}
	for todo := []nodeIndex{x}; len(todo) > 0; {
		y := todo[len(todo)-1]
		switch {
		case get(y) != nil:
			todo = todo[:len(todo)-1]
		case y.isLeaf():
			done[y] = t.leafHash(y.leaf(), nil)
		case get(y.left()) == nil:
			todo = append(todo, y.left())
		case get(y.right()) == nil:
			todo = append(todo, y.right())
		default:
			done[y] = t.parentNodeHash(t.nodes[y], without, get(y.left()), get(y.right()))
		}
	}
	return done[x]
}
