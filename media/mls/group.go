// SPDX-License-Identifier: Apache-2.0

package mls

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"time"
)

// A Config is how a client takes part in groups. It is passed by value; what
// it points to is shared.
type Config struct {
	// Required.
	Suite         *Suite
	Signer        Signer
	Credential    Credential
	Authenticator Authenticator
	Now           func() time.Time // the wall clock

	// Optional; the zero values work.
	PSKs           PSKStore        // external pre-shared keys; none without
	NewKey         KeyMaker        // of init and leaf keys; [NewSoftwareKey] without
	Lifetime       time.Duration   // of a KeyPackage; 24 hours without
	LastResort     bool            // marks new KeyPackages as such
	LeafExtensions []Extension     // in every leaf this client makes
	LeafData       LeafData        // components in every leaf this client makes; none without
	Extensions     []ExtensionType // supported beyond RFC 9420's and the app data dictionary
	Suites         []CipherSuite   // supported beyond Suite
	Padding        int             // messages are padded to a multiple of it, in bytes; 256 without
	Plain          bool            // handshakes are sent as PublicMessages
	NoGREASE       bool            // for reproducible tests
}

func (c *Config) check() error {
	switch {
	case c.Suite == nil, c.Signer == nil, c.Authenticator == nil, c.Now == nil:
		return errors.New("mls: Config lacks Suite, Signer, Authenticator or Now")
	case c.Signer.Scheme() != c.Suite.scheme:
		return fmt.Errorf("mls: a signer of scheme %#04x for suite %v", uint16(c.Signer.Scheme()), c.Suite)
	case c.Padding < 0 || c.Padding > maxApplication:
		return errLimit("padding")
	}
	if _, err := newVerifier(c.Suite.scheme, c.Signer.Public()); err != nil {
		return err
	}
	return c.Credential.check(c.Suite, c.Signer.Public())
}

func (c *Config) newKey(ctx context.Context) (HPKEKey, error) {
	if c.NewKey == nil {
		return NewSoftwareKey(ctx, c.Suite)
	}
	k, err := c.NewKey(ctx, c.Suite)
	if err != nil {
		return nil, fmt.Errorf("mls: new key: %w", err)
	}
	return k, nil
}

func (c *Config) padding() int {
	if c.Padding == 0 {
		return 256
	}
	return c.Padding
}

func (c *Config) lifetime() time.Duration {
	if c.Lifetime == 0 {
		return 24 * time.Hour
	}
	return c.Lifetime
}

// messageState is what of an epoch opens its messages. It outlives the epoch a
// little, for messages that come late.
type messageState struct {
	suite      *Suite
	context    *groupContext
	contextRaw []byte
	tree       *tree
	messages   *secretTree
	senderData secret
}

// An epoch is a group between two commits. All but the ratchets of its
// messages and the proposals that wait is immutable.
type epoch struct {
	messageState
	self            LeafIndex
	interim         []byte
	confirmationTag []byte
	secrets         *epochSecrets
	exports         seedTree // of the safe exporter
	own             *ownKeys
	proposals       map[string]*cachedProposal // by reference
}

// newEpoch puts an epoch together and moves the secrets of the two trees into
// them.
func newEpoch(s *Suite, c *groupContext, raw []byte, t *tree, self LeafIndex, secrets *epochSecrets, tag []byte, own *ownKeys) *epoch {
	e := &epoch{
		messageState: messageState{
			suite: s, context: c, contextRaw: raw, tree: t,
			messages:   newSecretTree(s, t.slots(), secrets.encryption),
			senderData: secrets.senderData,
		},
		self: self, interim: s.interimHash(c.confirmed, tag), confirmationTag: tag,
		secrets: secrets, exports: newExports(s, secrets.appExport), own: own, proposals: map[string]*cachedProposal{},
	}
	secrets.encryption = nil // the tree outlives the other secrets, for late messages
	secrets.appExport = nil
	return e
}

// wipe ends an epoch that never became the group's.
func (e *epoch) wipe() {
	e.messages.wipe()
	e.exports.wipe()
	e.secrets.wipe()
}

// content starts a message of this member.
func (e *epoch) content(kind contentType, body []byte) *authContent {
	return &authContent{wire: wirePrivate, content: framedContent{
		groupID: e.context.groupID, epoch: e.context.epoch, sender: memberSender(e.self), kind: kind, body: body,
	}}
}

// A Group is one member's view of one group. It is not safe for concurrent
// use: one goroutine owns it.
type Group struct {
	cfg        Config
	cur        *epoch          // nil once this member was removed or the group destroyed
	past       []*messageState // for late messages, the newest last
	resumption []resumptionPSK // the newest last
}

// Create starts a group of one member (Section 11). extensions are those of
// its GroupContext.
func Create(ctx context.Context, c Config, groupID []byte, extensions ...Extension) (*Group, error) {
	if err := c.check(); err != nil {
		return nil, err
	}
	if len(groupID) > maxGroupID {
		return nil, errLimit("group id")
	}
	if err := checkContextExtensions(c.Suite, extensions); err != nil {
		return nil, err
	}
	key, err := c.newKey(ctx)
	if err != nil {
		return nil, err
	}
	done := false
	defer func() {
		if !done {
			key.Destroy()
		}
	}()
	leaf, err := newLeaf(ctx, &c, sourceKeyPackage, key.Public())
	if err != nil {
		return nil, err
	}
	now := c.Now()
	leaf.lifetime = lifetime{notBefore: uint64(max(now.Unix(), 0)), notAfter: uint64(max(now.Add(c.lifetime()).Unix(), 0))}
	if err := leaf.sign(ctx, c.Signer, nil, 0); err != nil {
		return nil, err
	}
	s := c.Suite
	t := newTree(s)
	t.set(0, &node{leaf: leaf})
	gc := &groupContext{version: MLS10, suite: s.id, groupID: slices.Clone(groupID), extensions: slices.Clone(extensions)}
	if err := checkOwnLeaf(&c, t, leaf, gc.extensions); err != nil {
		return nil, err
	}
	gc.treeHash = t.hash(t.root())
	raw := gc.encoded()
	first := s.zero()
	_, _ = rand.Read(first) // never fails: package crypto/rand
	secrets := s.epochFrom(first)
	t.census.settle()
	g := &Group{cfg: c, cur: newEpoch(s, gc, raw, t, 0, secrets, s.mac(secrets.confirmation, nil), &ownKeys{leaf: key})}
	g.remember()
	done = true
	return g, nil
}

// checkOwnLeaf finds out before others do that a configuration makes leaves
// nobody takes.
func checkOwnLeaf(c *Config, t *tree, leaf *LeafNode, extensions []Extension) error {
	if err := leaf.check(c.Suite, leaf.source); err != nil {
		return err
	}
	if err := t.checkLeaf(leaf); err != nil {
		return err
	}
	if err := leaf.checkIn(extensions); err != nil {
		return err
	}
	if err := c.Authenticator.Authenticate(leaf.credential, leaf.signatureKey); err != nil {
		return fmt.Errorf("%w: own leaf: %w", ErrInvalid, err)
	}
	return nil
}

// remember keeps the resumption PSK of the epoch, and forgets the oldest.
func (g *Group) remember() {
	g.resumption = append(g.resumption, resumptionPSK{epoch: g.cur.context.epoch, key: slices.Clone(g.cur.secrets.resumption)})
	for len(g.resumption) > keepResumption {
		g.resumption[0].key.wipe()
		g.resumption = slices.Delete(g.resumption, 0, 1)
	}
}

// install makes next the group's epoch, nil if this member was removed.
func (g *Group) install(next *epoch) {
	old := g.cur
	old.messages.wipeHandshakes()
	for _, p := range old.proposals {
		if p.key != nil && (next == nil || next.own.leaf != p.key) {
			p.key.Destroy()
		}
	}
	if next == nil || next.own.leaf != old.own.leaf {
		old.own.leaf.Destroy()
	}
	old.own = nil
	kept := old.messageState
	kept.senderData = slices.Clone(old.senderData)
	old.exports.wipe()
	old.secrets.wipe()
	if next == nil {
		kept.messages.wipe()
		kept.senderData.wipe()
		g.end()
		return
	}
	g.past = append(g.past, &kept)
	for len(g.past) > keepEpochs {
		g.forgetOldest()
	}
	next.tree.census.settle()
	g.cur = next
	g.remember()
}

func (g *Group) forgetOldest() {
	g.past[0].wipe()
	g.past = slices.Delete(g.past, 0, 1)
}

func (m *messageState) wipe() {
	m.messages.wipe()
	m.senderData.wipe()
}

// Forget wipes the message keys of past epochs up to and including that one;
// late messages of theirs are refused from then on.
func (g *Group) Forget(epoch uint64) {
	for len(g.past) > 0 && g.past[0].context.epoch <= epoch {
		g.forgetOldest()
	}
}

func (g *Group) end() {
	for len(g.past) > 0 {
		g.forgetOldest()
	}
	for _, r := range g.resumption {
		r.key.wipe()
	}
	g.resumption, g.cur = nil, nil
}

// Destroy wipes what the group knows and gives up its leaf key. The group
// cannot be used after it; a second call does nothing.
func (g *Group) Destroy() {
	if g.cur == nil {
		return
	}
	e := g.cur
	for _, p := range e.proposals {
		if p.key != nil {
			p.key.Destroy()
		}
	}
	e.own.leaf.Destroy()
	e.wipe()
	g.end()
}

// Removed reports whether this member is in the group no longer.
func (g *Group) Removed() bool { return g.cur == nil }

// ID returns the group's identifier. The caller must not change it.
func (g *Group) ID() []byte {
	if g.cur == nil {
		return nil
	}
	return g.cur.context.groupID
}

// Epoch returns the number of the epoch, which counts commits.
func (g *Group) Epoch() uint64 {
	if g.cur == nil {
		return 0
	}
	return g.cur.context.epoch
}

// Suite returns the group's cipher suite.
func (g *Group) Suite() *Suite { return g.cfg.Suite }

// Self returns this member's leaf.
func (g *Group) Self() LeafIndex {
	if g.cur == nil {
		return 0
	}
	return g.cur.self
}

// Slots returns the number of leaf slots of the tree, blank ones included: a
// power of two above every LeafIndex of the epoch.
func (g *Group) Slots() uint32 {
	if g.cur == nil {
		return 0
	}
	return g.cur.tree.slots()
}

// Members returns the members from the left.
func (g *Group) Members() []Member {
	if g.cur == nil {
		return nil
	}
	var out []Member
	for i := range LeafIndex(g.cur.tree.slots()) {
		if n := g.cur.tree.leaf(i); n != nil {
			out = append(out, n.member(i))
		}
	}
	return out
}

// Member returns the member at a leaf; ok is false for a blank one.
func (g *Group) Member(i LeafIndex) (m Member, ok bool) {
	if g.cur == nil {
		return Member{}, false
	}
	n := g.cur.tree.leaf(i)
	if n == nil {
		return Member{}, false
	}
	return n.member(i), true
}

// Extensions returns the extensions of the GroupContext.
func (g *Group) Extensions() []Extension {
	if g.cur == nil {
		return nil
	}
	return slices.Clone(g.cur.context.extensions)
}

// EpochAuthenticator returns a value that is equal for two members exactly if
// they see the same group (Section 8.7). The caller owns it.
func (g *Group) EpochAuthenticator() []byte {
	if g.cur == nil {
		return nil
	}
	return slices.Clone(g.cur.secrets.authenticator)
}

// ConfirmationTag returns the tag of the commit that began the epoch. It is
// public, and orders the two sides of a split.
func (g *Group) ConfirmationTag() []byte {
	if g.cur == nil {
		return nil
	}
	return slices.Clone(g.cur.confirmationTag)
}

// Export derives a secret for another protocol (MLS-Exporter, Section 8.5).
// Until the epoch ends it can be derived again, also by whoever reads this
// room's memory: [Group.SafeExport] is for secrets that must not.
// The caller owns and wipes it. It returns an error for a length above 255
// times the size of the hash.
func (g *Group) Export(label string, context []byte, length int) ([]byte, error) {
	if g.cur == nil {
		return nil, ErrRemoved
	}
	return g.cur.suite.export(g.cur.secrets.exporter, label, context, length)
}

// String names the group without its secrets.
func (g *Group) String() string {
	if g.cur == nil {
		return "mls.Group(ended)"
	}
	return fmt.Sprintf("mls.Group(%x, epoch %d, leaf %d)", g.ID(), g.Epoch(), g.Self())
}

// GoString is String, for the verb %#v.
func (g *Group) GoString() string { return g.String() }
