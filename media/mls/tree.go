// SPDX-License-Identifier: Apache-2.0

package mls

import (
	"crypto/hpke"
	"maps"
	"slices"
)

// A parentNode is ParentNode of Section 7.1. It is immutable.
type parentNode struct {
	encryptionKey []byte
	parentHash    []byte
	unmerged      []LeafIndex // ascending

	key hpke.PublicKey // encryptionKey, parsed
}

func decodeParentNode(r *reader) *parentNode {
	n := &parentNode{encryptionKey: r.vec(maxKey), parentHash: r.vec(64)}
	n.unmerged = list(r, 4*maxLeaves, maxLeaves, func(r *reader) LeafIndex { return LeafIndex(r.u32()) })
	for i := 1; i < len(n.unmerged); i++ {
		if n.unmerged[i-1] >= n.unmerged[i] {
			r.fail("unmerged leaves are not in ascending order")
		}
	}
	return n
}

func (n *parentNode) append(b []byte) []byte {
	b = appendVec(b, n.encryptionKey)
	b = appendVec(b, n.parentHash)
	b = appendSize(b, 4*len(n.unmerged))
	for _, i := range n.unmerged {
		b = appendU32(b, uint32(i))
	}
	return b
}

// A node is a leaf or a parent. It is immutable; a blank one is nil.
type node struct {
	leaf   *LeafNode
	parent *parentNode
}

func (n *node) encryptionKey() []byte {
	if n.leaf != nil {
		return n.leaf.encryptionKey
	}
	return n.parent.encryptionKey
}

// public returns the parsed encryption key; it is set on every node of a tree.
func (n *node) public() hpke.PublicKey {
	if n.leaf != nil {
		return n.leaf.key
	}
	return n.parent.key
}

// A tree is a ratchet tree (Section 4). Nodes are shared between its versions:
// clone costs two slices of pointers, and what changes is replaced.
type tree struct {
	suite  *Suite
	nodes  []*node  // 2^(k+1)-1 of them, array representation
	hashes [][]byte // tree hashes, nil where a node below has changed
	census *census
	hashed int // tree hashes computed, for tests of the growth
}

// newTree returns a tree of one leaf slot.
func newTree(s *Suite) *tree {
	return &tree{suite: s, nodes: make([]*node, 1), hashes: make([][]byte, 1), census: &census{base: map[string]int{}}}
}

// clone returns a tree that can be changed while t stays as it is.
func (t *tree) clone() *tree {
	return &tree{suite: t.suite, nodes: slices.Clone(t.nodes), hashes: slices.Clone(t.hashes), census: t.census.fork()}
}

// slots returns the number of leaves, blank ones included.
func (t *tree) slots() uint32   { return uint32(len(t.nodes)+1) / 2 }
func (t *tree) root() nodeIndex { return rootOf(t.slots()) }
func (t *tree) members() int    { return t.census.count(censusMembers) }

// leaf returns the leaf at i, or nil for one that is blank or outside the tree.
func (t *tree) leaf(i LeafIndex) *LeafNode {
	if uint32(i) >= t.slots() || t.nodes[i.node()] == nil {
		return nil
	}
	return t.nodes[i.node()].leaf
}

// set replaces a node, nil to blank it.
func (t *tree) set(x nodeIndex, n *node) {
	t.census.drop(t.nodes[x])
	t.census.add(n)
	t.nodes[x] = n
	for root := t.root(); ; x = x.parent() {
		t.hashes[x] = nil
		if x == root {
			return
		}
	}
}

// directPath returns the nodes above leaf i, the root last (Section 4.1.1).
func (t *tree) directPath(i LeafIndex) []nodeIndex {
	var path []nodeIndex
	root := t.root()
	for x := i.node(); x != root; {
		x = x.parent()
		path = append(path, x)
	}
	return path
}

// blankPath blanks the nodes above leaf i.
func (t *tree) blankPath(i LeafIndex) {
	for _, x := range t.directPath(i) {
		if t.nodes[x] != nil {
			t.set(x, nil)
		}
	}
}

// freeLeaf returns the leftmost blank leaf, which may be one past the tree.
func (t *tree) freeLeaf() LeafIndex {
	if t.members() == int(t.slots()) {
		return LeafIndex(t.slots())
	}
	for i := range LeafIndex(t.slots()) {
		if t.nodes[i.node()] == nil {
			return i
		}
	}
	return LeafIndex(t.slots())
}

// place puts a leaf into the leftmost blank slot and extends the tree if there
// is none (Section 7.7).
func (t *tree) place(n *LeafNode) (LeafIndex, error) {
	i := t.freeLeaf()
	if uint32(i) == t.slots() {
		if 2*t.slots() > maxLeaves {
			return 0, errLimit("leaves")
		}
		old := t.nodes
		t.nodes = make([]*node, 2*len(old)+1)
		copy(t.nodes, old)
		hashes := t.hashes
		t.hashes = make([][]byte, len(t.nodes))
		copy(t.hashes, hashes)
	}
	if t.members() >= maxMembers {
		return 0, errLimit("members")
	}
	t.set(i.node(), &node{leaf: n})
	return i, nil
}

// add places a leaf and marks it unmerged above (Section 7.7).
func (t *tree) add(n *LeafNode) (LeafIndex, error) {
	i, err := t.place(n)
	if err != nil {
		return 0, err
	}
	for _, x := range t.directPath(i) {
		if t.nodes[x] == nil {
			continue
		}
		p := *t.nodes[x].parent
		at, _ := slices.BinarySearch(p.unmerged, i)
		p.unmerged = slices.Insert(slices.Clone(p.unmerged), at, i)
		t.set(x, &node{parent: &p})
	}
	return i, nil
}

// update replaces a leaf and blanks the nodes above it (Section 12.1.2).
func (t *tree) update(i LeafIndex, n *LeafNode) {
	t.set(i.node(), &node{leaf: n})
	t.blankPath(i)
}

// remove blanks a leaf and what is above it, and truncates the tree while its
// right half is without a leaf (Section 7.7).
func (t *tree) remove(i LeafIndex) {
	t.set(i.node(), nil)
	t.blankPath(i)
	for len(t.nodes) > 1 {
		half := len(t.nodes) / 2
		for x := half + 1; x < len(t.nodes); x += 2 {
			if t.nodes[x] != nil {
				return
			}
		}
		t.nodes = slices.Clone(t.nodes[:half]) // the right half and the root are blank
		t.hashes = slices.Clone(t.hashes[:half])
	}
}

// resolution returns the non-blank nodes that cover the leaves under x, from
// the left (Section 4.1.2).
func (t *tree) resolution(x nodeIndex) []nodeIndex {
	var out []nodeIndex
	for todo := []nodeIndex{x}; len(todo) > 0; {
		x := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		switch n := t.nodes[x]; {
		case n != nil:
			out = append(out, x)
			if n.parent != nil {
				for _, i := range n.parent.unmerged {
					out = append(out, i.node())
				}
			}
		case !x.isLeaf():
			todo = append(todo, x.right(), x.left())
		}
	}
	return out
}

// empty reports whether no leaf is under x.
func (t *tree) empty(x nodeIndex) bool {
	from, to := x.span()
	for i := from; i < to; i++ {
		if t.nodes[i.node()] != nil {
			return false
		}
	}
	return true
}

// decodeTree reads the ratchet_tree extension: optional<Node> nodes<V>, without
// blanks at its end (Section 12.4.3.3). Keys are not parsed yet.
func decodeTree(r *reader) []*node {
	nodes := list(r, maxWelcome, 2*maxLeaves, func(r *reader) *node {
		if !r.optional() {
			return nil
		}
		switch r.u8() {
		case 1:
			return &node{leaf: decodeLeafNode(r)}
		case 2:
			return &node{parent: decodeParentNode(r)}
		}
		r.fail("unknown type of node")
		return nil
	})
	for i, n := range nodes {
		if n != nil && (n.leaf != nil) != nodeIndex(i).isLeaf() {
			r.fail("leaf and parent nodes out of place")
		}
	}
	if len(nodes) == 0 || nodes[len(nodes)-1] == nil {
		r.fail("ratchet tree ends with a blank node")
	}
	return nodes
}

// parseTree makes a tree of what decodeTree returned, extended to a full one.
// Its validity is verify's to judge, which parses the encryption keys, too.
func parseTree(s *Suite, nodes []*node) (*tree, error) {
	size := 1
	for size < len(nodes) {
		size = 2*size + 1
	}
	if size > 2*maxLeaves-1 {
		return nil, errLimit("leaves")
	}
	t := &tree{suite: s, nodes: make([]*node, size), hashes: make([][]byte, size), census: &census{base: map[string]int{}}}
	copy(t.nodes, nodes)
	for _, n := range nodes {
		t.census.add(n)
	}
	if t.members() > maxMembers {
		return nil, errLimit("members")
	}
	return t, nil
}

// encoded returns the tree as decodeTree reads it.
func (t *tree) encoded() []byte {
	end := len(t.nodes)
	for end > 0 && t.nodes[end-1] == nil {
		end--
	}
	return appendList(nil, t.nodes[:end], func(b []byte, n *node) []byte {
		switch {
		case n == nil:
			return append(b, 0)
		case n.leaf != nil:
			return n.leaf.append(append(b, 1, 1))
		}
		return n.parent.append(append(b, 1, 2))
	})
}

// A census counts what must be unique in a tree or known to all its leaves, so
// that a change is judged without a pass over the tree. A clone of the tree
// counts what it changes on top of a shared base.
type census struct {
	base  map[string]int
	delta map[string]int
}

const censusMembers = "members"

func (c *census) fork() *census {
	return &census{base: c.base, delta: maps.Clone(c.delta)}
}

// settle moves the changes into the base. It is called when a tree becomes the
// group's, after which no other version of it is used.
func (c *census) settle() {
	for k, d := range c.delta {
		if c.base[k] += d; c.base[k] == 0 {
			delete(c.base, k)
		}
	}
	c.delta = nil
}

func (c *census) count(k string) int { return c.base[k] + c.delta[k] }

func (c *census) bump(k string, d int) {
	if c.delta == nil {
		c.delta = map[string]int{}
	}
	c.delta[k] += d
}

func encryptionKeyOf(b []byte) string       { return "e" + string(b) }
func signatureKeyOf(b []byte) string        { return "s" + string(b) }
func credentialUse(t CredentialType) string { return "u" + string(appendU16(nil, uint16(t))) }
func credentialCap(t CredentialType) string { return "c" + string(appendU16(nil, uint16(t))) }

func (c *census) add(n *node)  { c.tally(n, 1) }
func (c *census) drop(n *node) { c.tally(n, -1) }

func (c *census) tally(n *node, d int) {
	if n == nil {
		return
	}
	c.bump(encryptionKeyOf(n.encryptionKey()), d)
	if n.leaf == nil {
		return
	}
	c.bump(censusMembers, d)
	c.bump(signatureKeyOf(n.leaf.signatureKey), d)
	c.bump(credentialUse(n.leaf.credential.Type), d)
	for _, t := range []CredentialType{BasicCredential, X509Credential} {
		if slices.Contains(n.leaf.capabilities.Credentials, t) {
			c.bump(credentialCap(t), d)
		}
	}
}

// checkLeaf validates what of Section 7.3 depends on the other leaves: keys
// are unique, and every leaf knows every credential type in use.
func (t *tree) checkLeaf(n *LeafNode) error {
	c := t.census
	if c.count(encryptionKeyOf(n.encryptionKey)) != 1 {
		return invalid("7.3", "encryption key twice in the tree")
	}
	if c.count(signatureKeyOf(n.signatureKey)) != 1 {
		return invalid("7.3", "signature key twice in the tree")
	}
	for _, k := range []CredentialType{BasicCredential, X509Credential} {
		if c.count(credentialUse(k)) > 0 && c.count(credentialCap(k)) != t.members() {
			return invalid("7.3", "a member does not support the credential type %d in use", k)
		}
	}
	return nil
}
