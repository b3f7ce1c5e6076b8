// SPDX-License-Identifier: Apache-2.0

package mls

import (
	"bytes"
	"context"
	"fmt"
)

// A groupInfo is GroupInfo of Section 12.4.3.
type groupInfo struct {
	context         *groupContext
	extensions      []Extension
	confirmationTag []byte
	signer          LeafIndex
	signature       []byte

	tbs []byte // the encoding up to the signature
}

func decodeGroupInfo(r *reader) *groupInfo {
	start := r.b
	c := decodeGroupContext(r)
	g := &groupInfo{context: &c, extensions: decodeExtensions(r), confirmationTag: r.vec(64), signer: LeafIndex(r.u32())}
	if r.err != nil {
		return nil
	}
	g.tbs = start[:len(start)-len(r.b)]
	g.signature = r.vec(maxSignature)
	return g
}

func (g *groupInfo) encode() {
	b := g.context.encoded()
	b = appendExtensions(b, g.extensions)
	b = appendVec(b, g.confirmationTag)
	g.tbs = appendU32(b, uint32(g.signer))
}

func (g *groupInfo) append(b []byte) []byte {
	return appendVec(append(b, g.tbs...), g.signature)
}

// groupInfo describes the epoch to those who are about to join it.
func (e *epoch) groupInfo(ctx context.Context, c *Config, withTree, withPub bool) (*groupInfo, error) {
	g := &groupInfo{context: e.context, confirmationTag: e.confirmationTag, signer: e.self}
	if withTree {
		g.extensions = append(g.extensions, Extension{Type: ExtRatchetTree, Data: e.tree.encoded()})
	}
	if withPub {
		k, err := e.suite.externalKey(e.secrets)
		if err != nil {
			return nil, err
		}
		g.extensions = append(g.extensions, Extension{Type: ExtExternalPub, Data: appendVec(nil, k.PublicKey().Bytes())})
	}
	if !c.NoGREASE {
		g.extensions = append(g.extensions, greaseExtension())
	}
	g.encode()
	sig, err := signWithLabel(ctx, c.Signer, "GroupInfoTBS", g.tbs)
	if err != nil {
		return nil, err
	}
	g.signature = sig
	return g, nil
}

// A groupSecrets is GroupSecrets of Section 12.4.3.1.
type groupSecrets struct {
	joiner secret
	path   secret // nil without
	psks   []preSharedKeyID
}

func decodeGroupSecrets(r *reader) *groupSecrets {
	g := &groupSecrets{joiner: r.vec(64)}
	if r.optional() {
		g.path = r.vec(64)
	}
	g.psks = list(r, maxHandshake, maxPSKs, decodePreSharedKeyID)
	return g
}

func (g *groupSecrets) append(b []byte) []byte {
	b = appendVec(b, g.joiner)
	b = appendOptional(b, g.path != nil)
	if g.path != nil {
		b = appendVec(b, g.path)
	}
	return appendList(b, g.psks, func(b []byte, p preSharedKeyID) []byte { return p.append(b) })
}

// A welcome is Welcome of Section 12.4.3.1.
type welcome struct {
	suite   CipherSuite
	secrets []encryptedSecrets
	info    []byte // encrypted_group_info
}

type encryptedSecrets struct {
	to     []byte // KeyPackageRef
	sealed hpkeCiphertext
}

func decodeWelcome(r *reader) *welcome {
	return &welcome{
		suite: CipherSuite(r.u16()),
		secrets: list(r, maxWelcome, maxMembers, func(r *reader) encryptedSecrets {
			return encryptedSecrets{to: r.vec(64), sealed: decodeHPKECiphertext(r)}
		}),
		info: r.vec(maxWelcome),
	}
}

func (w *welcome) append(b []byte) []byte {
	b = appendU16(b, uint16(w.suite))
	b = appendList(b, w.secrets, func(b []byte, e encryptedSecrets) []byte { return e.sealed.append(appendVec(b, e.to)) })
	return appendVec(b, w.info)
}

// welcomeKey is the key of the encrypted GroupInfo.
func (s *Suite) welcomeKey(from secret) messageKey {
	x := s.expander(from)
	return messageKey{key: x.expand("key", nil, s.nk), nonce: x.expand("nonce", nil, nn)}
}

func (s *Suite) sealGroupInfo(welcome secret, info []byte) ([]byte, error) {
	k := s.welcomeKey(welcome)
	defer k.wipe()
	aead, err := s.open(k.key)
	if err != nil {
		return nil, err
	}
	return aead.Seal(nil, k.nonce, info, nil), nil
}

func (s *Suite) openGroupInfo(welcome secret, sealed []byte) ([]byte, error) {
	k := s.welcomeKey(welcome)
	defer k.wipe()
	aead, err := s.open(k.key)
	if err != nil {
		return nil, err
	}
	b, err := aead.Open(nil, k.nonce, sealed, nil)
	if err != nil {
		return nil, ErrRefused
	}
	return b, nil
}

// WelcomeFor returns the KeyPackageRefs to which a Welcome is addressed.
func WelcomeFor(msg []byte) ([][]byte, error) {
	m, err := decodeMessage(bytes.Clone(msg))
	if err != nil {
		return nil, err
	}
	if m.welcome == nil {
		return nil, malformed("not a Welcome")
	}
	out := make([][]byte, len(m.welcome.secrets))
	for i, s := range m.welcome.secrets {
		out[i] = s.to
	}
	return out, nil
}

// Join enters the group of a Welcome that was made for the bundle (Section
// 12.4.3.1). On success the group owns the bundle's keys, unless it is of last
// resort; after an error it is as before, and Join may be tried again.
func Join(ctx context.Context, c Config, msg []byte, b *KeyPackageBundle) (*Group, error) {
	return JoinWithTree(ctx, c, msg, nil, b)
}

// JoinWithTree is [Join] with a ratchet tree that came beside the Welcome,
// encoded as in the ratchet_tree extension.
func JoinWithTree(ctx context.Context, c Config, msg, ratchetTree []byte, b *KeyPackageBundle) (*Group, error) {
	if err := c.check(); err != nil {
		return nil, err
	}
	m, err := decodeMessage(bytes.Clone(msg))
	if err != nil {
		return nil, err
	}
	switch {
	case m.welcome == nil:
		return nil, malformed("not a Welcome")
	case b.initKey == nil:
		return nil, errDestroyed
	case m.welcome.suite != c.Suite.id, b.pkg.suite != c.Suite.id:
		return nil, ErrWrongGroup
	}
	return c.join(ctx, m.welcome, bytes.Clone(ratchetTree), b)
}

func (c *Config) join(ctx context.Context, w *welcome, ratchetTree []byte, b *KeyPackageBundle) (*Group, error) {
	s := c.Suite
	gs, err := c.openSecrets(ctx, w, b)
	if err != nil {
		return nil, err
	}
	defer gs.wipe()
	if err := checkPSKs(s, gs.psks); err != nil {
		return nil, err
	}
	psk, err := c.psks(ctx, nil, nil, gs.psks)
	if err != nil {
		return nil, err
	}
	defer psk.wipe()
	member := s.extract(gs.joiner, psk)
	welcomeSecret := s.deriveSecret(member, "welcome")
	member.wipe()
	defer welcomeSecret.wipe()
	plain, err := s.openGroupInfo(welcomeSecret, w.info)
	if err != nil {
		return nil, err
	}
	info, err := decodeAll(plain, decodeGroupInfo)
	if err != nil {
		return nil, err
	}
	t, err := c.verifyGroupInfo(info, ratchetTree)
	if err != nil {
		return nil, err
	}
	self, ok := t.find(b.pkg.leaf)
	if !ok {
		return nil, invalid("12.4.3.1", "the KeyPackage's leaf is not in the tree")
	}
	own := &ownKeys{leaf: b.leafKey, path: map[nodeIndex]nodeKey{}}
	if gs.path != nil {
		if err := own.deriveAbove(t, self, info.signer, gs.path); err != nil {
			return nil, err
		}
	}
	raw := info.context.encoded()
	again, secrets := s.epoch(gs.joiner, psk, raw)
	again.wipe()
	if err := s.confirm(secrets, info.context.confirmed, info.confirmationTag); err != nil {
		secrets.wipe()
		return nil, err
	}
	if err := context.Cause(ctx); err != nil {
		secrets.wipe()
		return nil, err
	}
	t.census.settle()
	if b.pkg.LastResort() {
		own.leaf = lentKey{b.leafKey}
	} else {
		b.initKey.Destroy()
		b.initKey, b.leafKey = nil, nil
	}
	g := &Group{cfg: *c, cur: newEpoch(s, info.context, raw, t, self, secrets, info.confirmationTag, own)}
	g.remember()
	return g, nil
}

// A lentKey belongs to a bundle that joins more than one group.
type lentKey struct{ HPKEKey }

// Destroy leaves the key to its bundle.
func (lentKey) Destroy() {}

func (g *groupSecrets) wipe() {
	g.joiner.wipe()
	g.path.wipe()
}

// openSecrets finds and opens the part of a Welcome for a bundle.
func (c *Config) openSecrets(ctx context.Context, w *welcome, b *KeyPackageBundle) (*groupSecrets, error) {
	for _, e := range w.secrets {
		if !bytes.Equal(e.to, b.pkg.ref) {
			continue
		}
		plain, err := unseal(ctx, c.Suite, b.initKey, "Welcome", w.info, e.sealed)
		if err != nil {
			return nil, err
		}
		gs, err := decodeAll(plain, decodeGroupSecrets)
		if err != nil {
			return nil, err
		}
		if len(gs.joiner) != c.Suite.nh || gs.path != nil && len(gs.path) != c.Suite.nh {
			return nil, invalid("12.4.3.1", "secret of the wrong size")
		}
		return gs, nil
	}
	return nil, ErrWrongGroup
}

// verifyGroupInfo checks what a GroupInfo says, its whole tree first, and
// returns the tree. ratchetTree is nil where the GroupInfo holds it.
func (c *Config) verifyGroupInfo(g *groupInfo, ratchetTree []byte) (*tree, error) {
	gc := g.context
	if gc.version != MLS10 || gc.suite != c.Suite.id {
		return nil, ErrWrongGroup
	}
	if data, ok := extension(g.extensions, ExtRatchetTree); ok {
		ratchetTree = data
	}
	if ratchetTree == nil {
		return nil, invalid("12.4.3.1", "no ratchet tree")
	}
	nodes, err := decodeAll(ratchetTree, decodeTree)
	if err != nil {
		return nil, err
	}
	t, err := parseTree(c.Suite, nodes)
	if err != nil {
		return nil, err
	}
	if !bytes.Equal(t.hash(t.root()), gc.treeHash) {
		return nil, invalid("12.4.3.1", "tree hash differs from the GroupInfo's")
	}
	if err := checkContextExtensions(c.Suite, gc.extensions); err != nil {
		return nil, err
	}
	if err := t.verify(gc, c.Authenticator); err != nil {
		return nil, err
	}
	signer := t.leaf(g.signer)
	if signer == nil {
		return nil, ErrRefused
	}
	if err := verifyWithLabel(c.Suite, signer.signatureKey, "GroupInfoTBS", g.tbs, g.signature); err != nil {
		return nil, err
	}
	return t, nil
}

// verify validates a whole tree (Section 12.4.3.1): every leaf, the unmerged
// leaves of every parent, and the parent hashes. Lifetimes are not looked at:
// members differ in their clocks. Signatures and keys, which depend on one node
// alone, are judged on all cores before the rest.
func (t *tree) verify(gc *groupContext, auth Authenticator) error {
	alone := make([]error, len(t.nodes))
	onAllCores(len(t.nodes), func(x int) { alone[x] = t.verifyNode(nodeIndex(x), gc.groupID) })
	for x, n := range t.nodes {
		if alone[x] != nil {
			return alone[x]
		}
		switch {
		case n == nil:
		case n.leaf != nil:
			if err := t.checkLeaf(n.leaf); err != nil {
				return err
			}
			if err := n.leaf.checkIn(gc.extensions); err != nil {
				return err
			}
			if err := auth.Authenticate(n.leaf.credential, n.leaf.signatureKey); err != nil {
				return fmt.Errorf("%w: leaf %d: %w", ErrInvalid, nodeIndex(x).leaf(), err)
			}
		default:
			if err := t.checkParent(nodeIndex(x)); err != nil {
				return err
			}
		}
	}
	return t.verifyParentHashes()
}

// verifyNode validates what depends on one node and its place alone, and keeps
// its parsed encryption key.
func (t *tree) verifyNode(x nodeIndex, groupID []byte) error {
	switch n := t.nodes[x]; {
	case n == nil:
		return nil
	case n.leaf != nil:
		if err := n.leaf.check(t.suite, n.leaf.source); err != nil {
			return err
		}
		return n.leaf.verify(t.suite, groupID, x.leaf())
	default:
		key, err := t.suite.publicKey(n.parent.encryptionKey)
		n.parent.key = key
		return err
	}
}

// checkParent validates the unmerged leaves and the key of a parent node.
func (t *tree) checkParent(x nodeIndex) error {
	p := t.nodes[x].parent
	if t.census.count(encryptionKeyOf(p.encryptionKey)) != 1 {
		return invalid("12.4.3.1", "encryption key twice in the tree")
	}
	for _, i := range p.unmerged {
		if t.leaf(i) == nil || !x.above(i) {
			return invalid("12.4.3.1", "unmerged leaf %d is blank or elsewhere", i)
		}
		for y := i.node().parent(); y != x; y = y.parent() {
			if n := t.nodes[y]; n != nil && !containsSorted(n.parent.unmerged, i) {
				return invalid("12.4.3.1", "unmerged leaf %d is not so at every node below", i)
			}
		}
	}
	return nil
}

// find returns where a leaf stands in the tree, by its bytes.
func (t *tree) find(n *LeafNode) (LeafIndex, bool) {
	for i := range LeafIndex(t.slots()) {
		if l := t.leaf(i); l != nil && bytes.Equal(l.raw, n.raw) {
			return i, true
		}
	}
	return 0, false
}

// deriveAbove derives the keys from the lowest node that a new member shares
// with the committer up to the root, and compares them with the tree's.
func (o *ownKeys) deriveAbove(t *tree, self, signer LeafIndex, from secret) error {
	if self == signer {
		return invalid("12.4.3.1", "a path secret from oneself")
	}
	x := commonAncestor(self, signer)
	if int(x) >= len(t.nodes) || t.nodes[x] == nil {
		return invalid("12.4.3.1", "a path secret for a blank node")
	}
	var steps []pathStep
	for root := t.root(); ; x = x.parent() {
		if t.nodes[x] != nil {
			steps = append(steps, pathStep{node: x})
		}
		if x == root {
			break
		}
	}
	p, err := t.suite.derivePath(steps, bytes.Clone(from))
	if err != nil {
		return err
	}
	defer p.wipe()
	for i, st := range steps {
		if !bytes.Equal(p.keys[i].raw, t.nodes[st.node].encryptionKey()) {
			return invalid("12.4.3.1", "path secret does not lead to the tree's keys")
		}
		o.path[st.node] = p.keys[i]
	}
	return nil
}
