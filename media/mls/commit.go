// SPDX-License-Identifier: Apache-2.0

package mls

import (
	"bytes"
	"context"
	"fmt"
)

// A commit is Commit of Section 12.4. Proposals by reference have only ref.
type commit struct {
	proposals []*Proposal
	path      *updatePath
}

func decodeCommit(r *reader) *commit {
	c := &commit{proposals: list(r, maxHandshake, maxProposals, func(r *reader) *Proposal {
		switch r.u8() {
		case 1:
			return decodeProposal(r)
		case 2:
			return &Proposal{ref: r.vec(64)}
		}
		r.fail("neither a proposal nor a reference")
		return nil
	})}
	if r.optional() {
		c.path = decodeUpdatePath(r)
	}
	return c
}

func (c *commit) append(b []byte) []byte { //nolint:unparam // the form of all encoders here
	b = appendList(b, c.proposals, func(b []byte, p *Proposal) []byte {
		if p.ref != nil {
			return appendVec(append(b, 2), p.ref)
		}
		return append(append(b, 1), p.raw...)
	})
	b = appendOptional(b, c.path != nil)
	if c.path != nil {
		b = c.path.append(b)
	}
	return b
}

// A Staged commit is the next epoch, verified and not yet the group's.
type Staged struct {
	g    *Group
	base *epoch
	next *epoch // nil if this member was removed
	diff Diff
	done bool
}

// Diff returns what the commit changes.
func (s *Staged) Diff() Diff { return s.diff }

// Apply moves the group to the new epoch. It cannot fail but with [ErrMoved],
// if the group has left the epoch of the commit in the meantime. After a commit
// that removes this member, the group has ended.
func (s *Staged) Apply() error {
	if s.done || s.g.cur != s.base {
		return ErrMoved
	}
	s.done = true
	s.g.install(s.next)
	return nil
}

// Discard wipes the new epoch. After Apply it does nothing.
func (s *Staged) Discard() {
	if !s.done && s.next != nil {
		s.next.wipe()
	}
	s.done = true
}

// Export derives from the new epoch what [Group.Export] will derive after
// Apply, so that a caller can check evidence bound to it.
func (s *Staged) Export(label string, context []byte, length int) ([]byte, error) {
	if s.done || s.next == nil {
		return nil, ErrRemoved
	}
	return s.next.suite.export(s.next.secrets.exporter, label, context, length)
}

// Stage verifies a commit of another member, or an external one, and computes
// the epoch it leads to, up to the confirmation tag. The group stays as it is,
// whatever the outcome; Stage may be called again with the same message.
func (g *Group) Stage(ctx context.Context, msg []byte) (*Staged, error) {
	if err := context.Cause(ctx); err != nil {
		return nil, err
	}
	a, _, err := g.openHandshake(msg) // the generation is spent with the epoch
	if err != nil {
		return nil, err
	}
	if a.content.kind != contentCommit {
		return nil, malformed("not a commit")
	}
	return g.process(ctx, a)
}

// openHandshake decodes a proposal or commit and verifies who sent it. It
// returns a function that spends the message key.
func (g *Group) openHandshake(msg []byte) (*authContent, func(), error) {
	e := g.cur
	if e == nil {
		return nil, nil, ErrRemoved
	}
	if len(msg) < 4 || WireFormat(msg[3]) != wirePrivate { // of that one, only what was decrypted is kept
		msg = bytes.Clone(msg)
	}
	m, err := decodeMessage(msg)
	if err != nil {
		return nil, nil, err
	}
	var a *authContent
	spend := func() {}
	switch {
	case m.public != nil:
		c := &m.public.auth.content
		if err := e.context.checkEpoch(c.groupID, c.epoch); err != nil {
			return nil, nil, err
		}
		if c.sender == memberSender(e.self) {
			return nil, nil, ErrOwn
		}
		a, err = e.openPublic(m.public)
	case m.private != nil:
		if err := e.context.checkEpoch(m.private.groupID, m.private.epoch); err != nil {
			return nil, nil, err
		}
		if m.private.kind == contentApplication {
			return nil, nil, malformed("not a handshake message")
		}
		a, spend, err = e.openPrivate(m.private, e.self)
	default:
		return nil, nil, malformed("not a message within a group")
	}
	if err != nil {
		return nil, nil, err
	}
	key, err := e.senderKey(a)
	if err != nil {
		return nil, nil, err
	}
	if err := a.verify(e.suite, key, e.contextRaw); err != nil {
		return nil, nil, err
	}
	return a, spend, nil
}

// senderKey returns the key that must have signed a message (Section 6.1).
func (e *epoch) senderKey(a *authContent) ([]byte, error) {
	c := &a.content
	switch c.sender.kind {
	case senderMember:
		if n := e.tree.leaf(c.sender.leaf()); n != nil {
			return n.signatureKey, nil
		}
	case senderExternal:
		if c.kind != contentProposal {
			break
		}
		data, _ := extension(e.context.extensions, ExtExternalSenders)
		senders, err := decodeAll(data, decodeExternalSenders)
		if err == nil && int(c.sender.index) < len(senders) {
			return senders[c.sender.index].SignatureKey, nil
		}
	case senderNewMemberProposal:
		if c.kind == contentProposal && c.proposal.kind == ProposalAdd {
			return c.proposal.add.leaf.signatureKey, nil
		}
	case senderNewMemberCommit:
		if c.kind == contentCommit && c.commit.path != nil {
			return c.commit.path.leaf.signatureKey, nil
		}
	}
	return nil, ErrRefused
}

// process computes the epoch that an authentic commit leads to (Section
// 12.4.2).
func (g *Group) process(ctx context.Context, a *authContent) (*Staged, error) {
	e, c, from := g.cur, a.content.commit, a.content.sender
	list, err := e.resolve(c, from)
	if err != nil {
		return nil, err
	}
	if err := e.checkList(list, from); err != nil {
		return nil, err
	}
	t, err := e.apply(list, from)
	if err != nil {
		return nil, err
	}
	var steps []pathStep
	if c.path != nil {
		if steps, err = t.mergePath(c.path, from); err != nil {
			return nil, err
		}
	} else if needsPath(list) || t.diff.External {
		return nil, invalid("12.4", "a commit without the path it must have")
	}
	if err := t.checkLeaves(g.cfg.Authenticator); err != nil {
		return nil, err
	}
	gc := e.context.next(t.extensions)
	gc.treeHash = t.tree.hash(t.tree.root())
	t.complete(&g.cfg)
	staged := &Staged{g: g, base: e, diff: t.diff}
	if t.diff.SelfRemoved {
		return staged, nil
	}

	leafKey, path, commitSecret := e.own.leaf, (*newPath)(nil), e.suite.zero()
	if t.ownKey != nil {
		leafKey = t.ownKey
	}
	own := &ownKeys{leaf: leafKey, path: e.own.path}
	if c.path != nil {
		if path, err = own.openPath(ctx, t.tree, e.self, steps, c.path, t.added, gc.encoded()); err != nil {
			return nil, err
		}
		commitSecret = path.commit
		defer path.wipe()
	}
	own = own.with(t.tree, e.self, leafKey, path)
	init := e.secrets.init
	if t.kemOutput != nil {
		if init, err = e.suite.externalInitReceive(e.secrets, t.kemOutput); err != nil {
			return nil, err
		}
		defer init.wipe()
	}
	psk, err := g.cfg.psks(ctx, gc.groupID, g.resumption, t.psks)
	if err != nil {
		return nil, err
	}
	defer psk.wipe()

	gc.confirmed = e.suite.confirmedHash(e.interim, a)
	raw := gc.encoded()
	joiner := e.suite.joinerSecret(init, commitSecret, raw)
	defer joiner.wipe()
	welcome, secrets := e.suite.epoch(joiner, psk, raw)
	welcome.wipe()
	if err := e.suite.confirm(secrets, gc.confirmed, a.confirmationTag); err != nil {
		secrets.wipe()
		return nil, err
	}
	if err := context.Cause(ctx); err != nil {
		secrets.wipe()
		return nil, err
	}
	staged.next = newEpoch(e.suite, gc, raw, t.tree, e.self, secrets, a.confirmationTag, own)
	return staged, nil
}

// mergePath validates the path of a commit and puts it into the tree (Sections
// 7.5, 12.4.2): the leaf is its sender's and signed for its place, the keys are
// new, the parent hash holds.
func (t *transition) mergePath(p *updatePath, from sender) ([]pathStep, error) {
	s, leaf := t.tree.suite, p.leaf.clone()
	i := from.leaf()
	if t.diff.External {
		if err := leaf.check(s, sourceCommit); err != nil {
			return nil, err
		}
		var err error
		if i, err = t.tree.place(leaf); err != nil { // leftmost blank, after the Removes (12.4.3.2)
			return nil, err
		}
		t.committer = i
		t.diff.Added = append(t.diff.Added, leaf.member(i))
		if err := leaf.verify(s, t.from.context.groupID, i); err != nil {
			return nil, err
		}
	} else {
		if err := t.from.checkUpdate(leaf, sourceCommit, from); err != nil {
			return nil, err
		}
		t.diff.replaced(i, t.from.tree.leaf(i), leaf)
		t.tree.set(i.node(), &node{leaf: leaf})
	}
	t.changed = append(t.changed, i)
	steps := t.tree.filteredPath(i)
	if err := t.tree.checkPathShape(steps, p, t.added); err != nil {
		return nil, err
	}
	keys := make([]nodeKey, len(steps))
	for k, n := range p.nodes {
		keys[k].raw = n.encryptionKey
		if !steps[k].node.above(t.from.self) { // what this member can derive it will compare
			var err error
			if keys[k].pub, err = s.publicKey(n.encryptionKey); err != nil {
				return nil, err
			}
		}
		if t.tree.census.count(encryptionKeyOf(n.encryptionKey)) != 0 {
			return nil, invalid("12.4.2", "a key of the path is in the tree already")
		}
	}
	want := t.tree.merge(i, steps, keys)
	for _, n := range p.nodes {
		if t.tree.census.count(encryptionKeyOf(n.encryptionKey)) != 1 {
			return nil, invalid("12.4.2", "one key twice in the path")
		}
	}
	if !bytes.Equal(leaf.parentHash, want) {
		return nil, invalid("7.9", "parent hash of the committer's leaf")
	}
	return steps, nil
}

// A Pending commit is one of this member, made and not yet applied. Its caller
// submits Message, and once that has won the epoch, sends Welcome and calls
// Apply; if another commit wins, it calls Discard.
type Pending struct {
	Message []byte // the commit, to all members
	Welcome []byte // to those it adds, all of them the same; nil without any

	staged Staged
	key    HPKEKey // of the new leaf
}

// Diff returns what the commit changes.
func (p *Pending) Diff() Diff { return p.staged.diff }

// Apply moves the group to the new epoch. It cannot fail but with [ErrMoved].
func (p *Pending) Apply() error { return p.staged.Apply() }

// Discard wipes the new epoch and gives up its leaf key. After Apply it does
// nothing.
func (p *Pending) Discard() {
	if !p.staged.done {
		p.key.Destroy()
	}
	p.staged.Discard()
}

// Export derives from the new epoch what [Group.Export] will derive after
// Apply.
func (p *Pending) Export(label string, context []byte, length int) ([]byte, error) {
	return p.staged.Export(label, context, length)
}

// Commit makes a commit of proposals, always with new keys for this member's
// path; an empty list only renews those. The epoch stays as it is (Section
// 14). What a PrivateMessage spends is a generation of this member's own
// ratchet, so that no key seals two commits. ctx ends the calls of the Signer.
func (g *Group) Commit(ctx context.Context, proposals []Proposal) (*Pending, error) {
	e := g.cur
	if e == nil {
		return nil, ErrRemoved
	}
	b := &builder{cfg: &g.cfg, from: e, sender: memberSender(e.self), init: e.secrets.init, resumption: g.resumption}
	for i := range proposals {
		p := proposals[i]
		if p.kind == ProposalUpdate {
			return nil, fmt.Errorf("mls: an Update is committed by somebody else; a commit renews this member's keys anyway")
		}
		b.propose(p)
	}
	made, err := b.build(ctx, g.handshake(contentCommit, nil))
	if err != nil {
		return nil, err
	}
	msg, err := g.sealHandshake(e, made.auth)
	if err != nil {
		made.discard()
		return nil, err
	}
	return &Pending{
		Message: msg, Welcome: made.welcome, key: made.next.own.leaf,
		staged: Staged{g: g, base: e, next: made.next, diff: made.diff},
	}, nil
}
