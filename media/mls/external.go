// SPDX-License-Identifier: Apache-2.0

package mls

import (
	"bytes"
	"context"
	"fmt"
)

// GroupInfo returns what somebody outside needs to join by an external commit
// (Section 12.4.3.2), as an MLSMessage with the ratchet tree. Whoever has it
// can make a commit that members then judge by its [Diff].
func (g *Group) GroupInfo(ctx context.Context) ([]byte, error) {
	if g.cur == nil {
		return nil, ErrRemoved
	}
	info, err := g.cur.groupInfo(ctx, &g.cfg, true, true)
	if err != nil {
		return nil, err
	}
	return info.append(messageHead(wireGroupInfo)), nil
}

// An ExternalCommit is a commit by which its maker joins. Its caller submits
// Message, and once that has won the epoch, calls Apply.
type ExternalCommit struct {
	Message []byte // a PublicMessage, to all members

	cfg  Config
	next *epoch
	diff Diff
}

// Diff returns what the commit changes.
func (x *ExternalCommit) Diff() Diff { return x.diff }

// Apply returns the group that was joined. It can be called once.
func (x *ExternalCommit) Apply() (*Group, error) {
	if x.next == nil {
		return nil, ErrMoved
	}
	x.next.tree.census.settle()
	g := &Group{cfg: x.cfg, cur: x.next}
	x.next = nil
	g.remember()
	return g, nil
}

// Discard wipes the new epoch. After Apply it does nothing.
func (x *ExternalCommit) Discard() {
	if x.next != nil {
		x.next.own.leaf.Destroy()
		x.next.wipe()
		x.next = nil
	}
}

// JoinExternal makes a commit that adds its maker to the group of a GroupInfo.
// Proposals may be one [Remove], of the maker's former leaf, and pre-shared
// keys; resumption ones are taken from former, the maker's former view of the
// group, which may be nil. former stays as it is.
//
// pending are the messages of [SelfRemove] proposals that wait in the epoch.
// Whoever hands out the GroupInfo hands them out, and all of them must be
// committed. One of the maker's own former leaf takes the place of its Remove.
func JoinExternal(ctx context.Context, c Config, groupInfo []byte, proposals []Proposal, former *Group, pending ...[]byte) (*ExternalCommit, error) {
	if err := c.check(); err != nil {
		return nil, err
	}
	m, err := decodeMessage(bytes.Clone(groupInfo))
	if err != nil {
		return nil, err
	}
	if m.groupInfo == nil {
		return nil, malformed("not a GroupInfo")
	}
	info := m.groupInfo
	t, err := c.verifyGroupInfo(info, nil)
	if err != nil {
		return nil, err
	}
	t.census.settle()
	data, ok := extension(info.extensions, ExtExternalPub)
	if !ok {
		return nil, invalid("12.4.3.2", "GroupInfo without external_pub")
	}
	pub, err := decodeAll(data, func(r *reader) []byte { return r.vec(maxKey) })
	if err != nil {
		return nil, err
	}
	to, err := c.Suite.publicKey(pub)
	if err != nil {
		return nil, err
	}
	kemOutput, init, err := c.Suite.externalInitSend(to)
	if err != nil {
		return nil, err
	}
	defer init.wipe()
	raw := info.context.encoded()
	from := &epoch{
		messageState: messageState{suite: c.Suite, context: info.context, contextRaw: raw, tree: t},
		self:         noLeaf, interim: c.Suite.interimHash(info.context.confirmed, info.confirmationTag),
		proposals: map[string]*cachedProposal{},
	}
	b := &builder{cfg: &c, from: from, sender: sender{kind: senderNewMemberCommit}, init: init}
	if former != nil && former.cur != nil && bytes.Equal(former.ID(), info.context.groupID) {
		b.resumption = former.resumption
	}
	b.propose(Proposal{kind: ProposalExternalInit, kemOutput: kemOutput})
	leaving, err := from.keepPending(pending)
	if err != nil {
		return nil, err
	}
	for _, p := range proposals {
		if p.ref != nil {
			return nil, fmt.Errorf("mls: an external commit refers to no proposal but those pending")
		}
		b.propose(p)
	}
	for _, p := range leaving {
		b.propose(p)
	}
	a := &authContent{wire: wirePublic, content: framedContent{
		groupID: info.context.groupID, epoch: info.context.epoch, sender: b.sender, kind: contentCommit,
	}}
	made, err := b.build(ctx, a)
	if err != nil {
		return nil, err
	}
	return &ExternalCommit{Message: from.sealPublic(made.auth), cfg: c, next: made.next, diff: made.diff}, nil
}

// noLeaf is the own leaf of somebody who has none yet.
const noLeaf LeafIndex = 1<<32 - 1

// ProposeFromOutside makes a proposal of external sender number index of the
// group (Section 12.1.8.1): an Add, a Remove, a pre-shared key or extensions.
// The caller learns group id and epoch by other means.
func ProposeFromOutside(ctx context.Context, k Signer, index uint32, groupID []byte, epoch uint64, p Proposal) ([]byte, error) {
	if !allowed(p.kind, senderExternal) || p.ref != nil {
		return nil, invalid("12.1.8", "proposal %d from outside", p.kind)
	}
	return outside(ctx, k, sender{kind: senderExternal, index: index}, groupID, epoch, p)
}

// ProposeSelf makes a proposal of somebody who wants to be added with the
// KeyPackage of the bundle (Section 12.1.8.2). k is the key of its leaf.
func ProposeSelf(ctx context.Context, k Signer, groupID []byte, epoch uint64, b *KeyPackageBundle) ([]byte, error) {
	return outside(ctx, k, sender{kind: senderNewMemberProposal}, groupID, epoch, Add(b.pkg))
}

func outside(ctx context.Context, k Signer, from sender, groupID []byte, epoch uint64, p Proposal) ([]byte, error) {
	p = p.encoded()
	a := &authContent{wire: wirePublic, content: framedContent{
		groupID: groupID, epoch: epoch, sender: from, kind: contentProposal, body: p.raw,
	}}
	if err := a.sign(ctx, k, nil); err != nil {
		return nil, err
	}
	m := publicMessage{auth: *a}
	return m.append(messageHead(wirePublic)), nil
}
