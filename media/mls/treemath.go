// SPDX-License-Identifier: Apache-2.0

package mls

import "math/bits"

// Arithmetic of the array representation (Appendix C). Leaves are the even
// nodes, a parent stands between its two subtrees, and a tree of 2^k leaves has
// 2^(k+1)-1 nodes:
//
//	      3            level 2
//	  1       5        level 1
//	0   2   4   6      level 0

// A nodeIndex numbers the nodes of a tree.
type nodeIndex uint32

func (i LeafIndex) node() nodeIndex   { return nodeIndex(2 * i) }
func (x nodeIndex) isLeaf() bool      { return x&1 == 0 }
func (x nodeIndex) leaf() LeafIndex   { return LeafIndex(x / 2) }
func (x nodeIndex) level() int        { return bits.TrailingZeros32(^uint32(x)) }
func (x nodeIndex) left() nodeIndex   { return x ^ 1<<(x.level()-1) } // of a parent
func (x nodeIndex) right() nodeIndex  { return x ^ 3<<(x.level()-1) } // of a parent
func (x nodeIndex) parent() nodeIndex { k := x.level(); return (x | 1<<k) &^ (2 << k) }

func (x nodeIndex) sibling() nodeIndex {
	if p := x.parent(); x < p {
		return p.right()
	} else {
		return p.left()
	}
}

// span returns the first leaf under x and the one after the last.
func (x nodeIndex) span() (from, to LeafIndex) {
	half := nodeIndex(1)<<x.level() - 1
	return (x - half).leaf(), (x + half).leaf() + 1
}

// above reports whether leaf i is under x.
func (x nodeIndex) above(i LeafIndex) bool {
	from, to := x.span()
	return from <= i && i < to
}

// rootOf returns the root of a tree with that many leaves, a power of two.
func rootOf(leaves uint32) nodeIndex { return nodeIndex(leaves - 1) }

// commonAncestor returns the lowest node above both leaves.
func commonAncestor(a, b LeafIndex) nodeIndex {
	x, y := a.node(), b.node()
	if x == y {
		return x
	}
	k := bits.Len32(uint32(x^y)) - 1 // they differ in bit k, and agree above it
	return x>>(k+1)<<(k+1) | (1<<k - 1)
}
