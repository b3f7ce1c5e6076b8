// SPDX-License-Identifier: Apache-2.0

package mls

import (
	"bytes"
	"context"
	"fmt"
	"slices"
)

// A builder makes a commit (Section 12.4.1), of a member or of somebody who
// joins by it.
type builder struct {
	cfg        *Config
	from       *epoch // of an external commit: what GroupInfo tells of it
	sender     sender
	init       secret // init_secret, or what ExternalInit led to
	resumption []resumptionPSK
	proposals  []*Proposal
}

func (b *builder) propose(p Proposal) {
	if p.ref == nil {
		if p.kind == ProposalPSK {
			p.psk.nonce = newPSKNonce(b.cfg.Suite)
		}
		p = p.encoded()
	}
	b.proposals = append(b.proposals, &p)
}

// A built commit is signed and not yet framed.
type built struct {
	auth    *authContent
	welcome []byte
	next    *epoch
	diff    Diff
}

func (b *built) discard() {
	b.next.own.leaf.Destroy()
	b.next.wipe()
}

// build makes the commit whose head is in a.
func (b *builder) build(ctx context.Context, a *authContent) (_ *built, err error) {
	e, s := b.from, b.cfg.Suite
	c := &commit{proposals: b.proposals}
	list, err := e.resolve(c, b.sender)
	if err != nil {
		return nil, err
	}
	if err := e.checkList(list, b.sender); err != nil {
		return nil, err
	}
	t, err := e.apply(list, b.sender)
	if err != nil {
		return nil, err
	}
	now := b.cfg.Now()
	for _, k := range t.packages {
		if expired(k, now) {
			return nil, invalid("10.1", "KeyPackage outside its lifetime")
		}
	}
	psk, err := b.cfg.psks(ctx, e.context.groupID, b.resumption, t.psks)
	if err != nil {
		return nil, err
	}
	defer psk.wipe()

	key, err := b.cfg.newKey(ctx)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			key.Destroy()
		}
	}()
	path, leaf, err := b.renew(ctx, t, key)
	if err != nil {
		return nil, err
	}
	defer path.wipe()
	self := t.committer
	if err := leaf.check(s, sourceCommit); err != nil {
		return nil, err
	}
	if err := t.checkLeaves(b.cfg.Authenticator); err != nil {
		return nil, err
	}
	gc := e.context.next(t.extensions)
	gc.treeHash = t.tree.hash(t.tree.root())
	nodes, err := t.tree.sealPath(ctx, path, t.added, gc.encoded())
	if err != nil {
		return nil, err
	}
	c.path = &updatePath{leaf: leaf, nodes: nodes}

	a.content.commit, a.content.body = c, c.append(nil)
	if len(a.content.body) > maxHandshake-maxGroupID-2*maxSignature {
		return nil, errLimit("commit")
	}
	if err := a.sign(ctx, b.cfg.Signer, e.contextRaw); err != nil {
		return nil, err
	}
	gc.confirmed = s.confirmedHash(e.interim, a)
	raw := gc.encoded()
	joiner := s.joinerSecret(b.init, path.commit, raw)
	defer joiner.wipe()
	welcomeSecret, secrets := s.epoch(joiner, psk, raw)
	defer welcomeSecret.wipe()
	a.confirmationTag = s.mac(secrets.confirmation, gc.confirmed)

	var own *ownKeys
	if e.own != nil {
		own = e.own.with(t.tree, self, key, path)
	} else {
		own = (&ownKeys{}).with(t.tree, self, key, path)
	}
	t.complete(b.cfg)
	made := &built{auth: a, diff: t.diff, next: newEpoch(s, gc, raw, t.tree, self, secrets, a.confirmationTag, own)}
	if len(t.added) > 0 {
		if made.welcome, err = b.welcome(ctx, t, made.next, path, joiner, welcomeSecret); err != nil {
			made.next.wipe()
			return nil, err
		}
	}
	return made, nil
}

// renew gives the committer a new leaf and new keys above it.
func (b *builder) renew(ctx context.Context, t *transition, key HPKEKey) (*newPath, *LeafNode, error) {
	leaf, err := newLeaf(ctx, b.cfg, sourceCommit, key.Public())
	if err != nil {
		return nil, nil, err
	}
	if k, ok := key.(*memoryKey); ok {
		leaf.key = k.priv.PublicKey() // no need to parse what was just made
	}
	self := t.committer
	if t.diff.External {
		leaf.encode(nil)
		if self, err = t.tree.place(leaf); err != nil {
			return nil, nil, err
		}
		t.committer = self
	} else {
		old := t.tree.leaf(self)
		if old == nil {
			return nil, nil, fmt.Errorf("mls: the committer has no leaf")
		}
		if bytes.Equal(old.encryptionKey, leaf.encryptionKey) {
			return nil, nil, invalid("7.3", "a commit keeps its encryption key")
		}
		t.diff.replaced(self, old, leaf)
	}
	steps := t.tree.filteredPath(self)
	path, err := b.cfg.Suite.samplePath(steps)
	if err != nil {
		return nil, nil, err
	}
	leaf.parentHash = t.tree.merge(self, steps, path.keys)
	if err := leaf.sign(ctx, b.cfg.Signer, b.from.context.groupID, self); err != nil {
		path.wipe()
		return nil, nil, err
	}
	if err := leaf.check(b.cfg.Suite, sourceCommit); err != nil {
		path.wipe()
		return nil, nil, err
	}
	t.tree.set(self.node(), &node{leaf: leaf})
	if t.diff.External {
		t.diff.Added = append(t.diff.Added, leaf.member(self))
	}
	t.changed = append(t.changed, self)
	return path, leaf, nil
}

// welcome makes the Welcome for the members that a commit adds (Section
// 12.4.3.1).
func (b *builder) welcome(ctx context.Context, t *transition, next *epoch, path *newPath, joiner, welcomeSecret secret) ([]byte, error) {
	s := b.cfg.Suite
	info, err := next.groupInfo(ctx, b.cfg, true, false)
	if err != nil {
		return nil, err
	}
	w := &welcome{suite: s.id}
	if w.info, err = s.sealGroupInfo(welcomeSecret, info.append(nil)); err != nil {
		return nil, err
	}
	context := encryptInfo("Welcome", w.info)
	for k, i := range t.added {
		secrets := groupSecrets{joiner: joiner, psks: t.psks}
		if path != nil {
			secrets.path = path.secretAt(commonAncestor(t.committer, i))
		}
		plain := secret(secrets.append(nil))
		sealed, err := s.seal(t.packages[k].init, context, plain)
		plain.wipe()
		if err != nil {
			return nil, err
		}
		w.secrets = append(w.secrets, encryptedSecrets{to: slices.Clone(t.packages[k].ref), sealed: sealed})
	}
	return w.append(messageHead(wireWelcome)), nil
}
