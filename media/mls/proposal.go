// SPDX-License-Identifier: Apache-2.0

package mls

import (
	"bytes"
	"context"
	"fmt"
	"time"
)

// A ProposalType is the number of a kind of proposal (Section 17.4).
type ProposalType uint16

// The proposals of RFC 9420.
const (
	ProposalAdd                    ProposalType = 1
	ProposalUpdate                 ProposalType = 2
	ProposalRemove                 ProposalType = 3
	ProposalPSK                    ProposalType = 4
	ProposalReInit                 ProposalType = 5
	ProposalExternalInit           ProposalType = 6
	ProposalGroupContextExtensions ProposalType = 7
)

// knownToAll reports whether a type need not be in capabilities (Section 7.2).
func (t ProposalType) knownToAll() bool {
	return t >= ProposalAdd && t <= ProposalGroupContextExtensions
}

// A Proposal is one change of a group (Section 12.1). It is made by the
// functions of this package: [Add], [Remove], [Update], [SelfRemove],
// [ExternalPSK], [ResumptionPSK], [SetExtensions], or [ByReference].
type Proposal struct {
	kind       ProposalType
	add        *KeyPackage
	update     *LeafNode
	remove     LeafIndex
	psk        preSharedKeyID
	reInit     *reInit
	kemOutput  []byte // of ExternalInit
	extensions []Extension

	ref []byte // of a proposal that was sent before
	raw []byte // the encoding
}

// reInit is ReInit of Section 12.1.5. It is decoded, and refused.
type reInit struct {
	groupID    []byte
	version    ProtocolVersion
	suite      CipherSuite
	extensions []Extension
}

// Add proposes a new member.
func Add(k *KeyPackage) Proposal { return Proposal{kind: ProposalAdd, add: k}.encoded() }

// Remove proposes that a member leaves.
func Remove(i LeafIndex) Proposal { return Proposal{kind: ProposalRemove, remove: i}.encoded() }

// Update proposes new keys for the proposer's leaf. It is sent by
// [Group.Propose], which makes the leaf, and committed by somebody else.
func Update() Proposal { return Proposal{kind: ProposalUpdate} }

// ExternalPSK proposes to mix in a key that all members have by other means
// (Section 8.4). Every member's Config.PSKs must know the id.
func ExternalPSK(id []byte) Proposal {
	return Proposal{kind: ProposalPSK, psk: preSharedKeyID{kind: pskExternal, id: id}}
}

// ResumptionPSK proposes to mix in the resumption PSK of an epoch of this
// group, which proves that the committer was in it. Those who have joined since
// cannot follow.
func ResumptionPSK(groupID []byte, epoch uint64) Proposal {
	return Proposal{kind: ProposalPSK, psk: preSharedKeyID{kind: pskResumption, usage: usageApplication, groupID: groupID, epoch: epoch}}
}

// SetExtensions proposes to replace the extensions of the GroupContext, all of
// them (Section 12.1.7).
func SetExtensions(l []Extension) Proposal {
	return Proposal{kind: ProposalGroupContextExtensions, extensions: l}.encoded()
}

// ByReference commits a proposal that was sent before and has the reference.
func ByReference(ref []byte) Proposal { return Proposal{ref: bytes.Clone(ref)} }

// Type returns the kind of the proposal, 0 for one by reference.
func (p Proposal) Type() ProposalType { return p.kind }

// KeyPackage returns what an Add adds, nil otherwise.
func (p Proposal) KeyPackage() *KeyPackage { return p.add }

// Removed returns whom a Remove removes; ok is false otherwise.
func (p Proposal) Removed() (i LeafIndex, ok bool) { return p.remove, p.kind == ProposalRemove }

// Extensions returns what a GroupContextExtensions sets, nil otherwise.
func (p Proposal) Extensions() []Extension { return p.extensions }

func (p Proposal) encoded() Proposal {
	b := appendU16(nil, uint16(p.kind))
	switch p.kind {
	case ProposalAdd:
		b = p.add.append(b)
	case ProposalUpdate:
		b = p.update.append(b)
	case ProposalRemove:
		b = appendU32(b, uint32(p.remove))
	case ProposalPSK:
		b = p.psk.append(b)
	case ProposalReInit:
		b = appendVec(b, p.reInit.groupID)
		b = appendU16(appendU16(b, uint16(p.reInit.version)), uint16(p.reInit.suite))
		b = appendExtensions(b, p.reInit.extensions)
	case ProposalExternalInit:
		b = appendVec(b, p.kemOutput)
	case ProposalGroupContextExtensions:
		b = appendExtensions(b, p.extensions)
	case ProposalSelfRemove: // is empty
	}
	p.raw = b
	return p
}

func decodeProposal(r *reader) *Proposal {
	start := r.b
	p := &Proposal{kind: ProposalType(r.u16())}
	switch p.kind {
	case ProposalAdd:
		p.add = decodeKeyPackage(r)
	case ProposalUpdate:
		p.update = decodeLeafNode(r)
	case ProposalRemove:
		p.remove = LeafIndex(r.u32())
	case ProposalPSK:
		p.psk = decodePreSharedKeyID(r)
	case ProposalReInit:
		p.reInit = &reInit{groupID: r.vec(maxGroupID), version: ProtocolVersion(r.u16()), suite: CipherSuite(r.u16()), extensions: decodeExtensions(r)}
	case ProposalExternalInit:
		p.kemOutput = r.vec(maxKey)
	case ProposalGroupContextExtensions:
		p.extensions = decodeExtensions(r)
	case ProposalSelfRemove: // is empty
	default:
		r.unsupported("type of proposal")
	}
	n := len(start) - len(r.b)
	if r.err == nil {
		p.raw = start[:n:n]
	}
	return p
}

// check validates a proposal by itself (Section 12.1): what does not depend on
// the others in its list. from is its sender.
func (p *Proposal) check(e *epoch, from sender) error {
	switch p.kind {
	case ProposalAdd:
		return p.add.check(e.suite)
	case ProposalUpdate:
		return e.checkUpdate(p.update, sourceUpdate, from)
	case ProposalRemove:
		if e.tree.leaf(p.remove) == nil {
			return invalid("12.1.3", "Remove of leaf %d, which is blank", p.remove)
		}
	case ProposalPSK:
		return p.psk.check(e.suite)
	case ProposalGroupContextExtensions:
		return checkContextExtensions(e.suite, p.extensions)
	case ProposalReInit:
		return wrap(ErrUnsupported, "ReInit")
	case ProposalSelfRemove:
		return e.checkSelfRemove(from)
	case ProposalExternalInit:
		if from.kind != senderNewMemberCommit {
			return invalid("12.1.6", "ExternalInit outside an external commit")
		}
	}
	return nil
}

// checkUpdate validates a leaf that replaces its sender's (Section 12.1.2).
func (e *epoch) checkUpdate(n *LeafNode, source leafSource, from sender) error {
	if err := n.check(e.suite, source); err != nil {
		return err
	}
	if err := n.verify(e.suite, e.context.groupID, from.leaf()); err != nil {
		return err
	}
	if old := e.tree.leaf(from.leaf()); old != nil && bytes.Equal(old.encryptionKey, n.encryptionKey) {
		return invalid("7.3", "an update keeps its encryption key")
	}
	return nil
}

// allowed says which proposals a kind of sender may make (Section 12.1.8).
func allowed(k ProposalType, from senderType) bool {
	switch from {
	case senderMember:
		return k != ProposalExternalInit
	case senderExternal:
		return k == ProposalAdd || k == ProposalRemove || k == ProposalPSK || k == ProposalReInit || k == ProposalGroupContextExtensions
	case senderNewMemberProposal:
		return k == ProposalAdd
	case senderNewMemberCommit:
		return k == ProposalExternalInit || k == ProposalRemove || k == ProposalPSK
	}
	return false
}

// A cachedProposal waits for a commit that refers to it.
type cachedProposal struct {
	proposal *Proposal
	sender   sender
	key      HPKEKey // of an own Update
}

// A Proposed is a proposal as it was received.
type Proposed struct {
	Ref      []byte
	Proposal Proposal
	Sender   LeafIndex
	External bool // from outside the group: Sender numbers external senders, or nobody
	Epoch    uint64
}

// Propose sends a proposal to the group, to be committed by reference, and
// keeps it. It returns the message and the reference.
func (g *Group) Propose(ctx context.Context, p Proposal) (msg, ref []byte, err error) {
	e := g.cur
	if e == nil {
		return nil, nil, ErrRemoved
	}
	var key HPKEKey
	switch {
	case p.ref != nil:
		return nil, nil, fmt.Errorf("mls: a proposal by reference was sent before")
	case p.kind == ProposalUpdate:
		if key, err = g.cfg.newKey(ctx); err != nil {
			return nil, nil, err
		}
		defer func() {
			if err != nil {
				key.Destroy()
			}
		}()
		if p.update, err = newLeaf(ctx, &g.cfg, sourceUpdate, key.Public()); err != nil {
			return nil, nil, err
		}
		if err = p.update.sign(ctx, g.cfg.Signer, e.context.groupID, e.self); err != nil {
			return nil, nil, err
		}
	case p.kind == ProposalPSK:
		p.psk.nonce = newPSKNonce(e.suite)
	}
	p = p.encoded()
	from := memberSender(e.self)
	if err = p.check(e, from); err != nil {
		return nil, nil, err
	}
	if err = e.roomForProposal(&p, from); err != nil {
		return nil, nil, err
	}
	a := g.handshake(contentProposal, p.raw)
	if p.kind == ProposalSelfRemove {
		a.wire = wirePublic // for those who join by an external commit
	}
	if err = a.sign(ctx, g.cfg.Signer, e.contextRaw); err != nil {
		return nil, nil, err
	}
	if msg, err = g.sealHandshake(e, a); err != nil {
		return nil, nil, err
	}
	ref = e.suite.proposalRef(a.encoded())
	e.proposals[string(ref)] = &cachedProposal{proposal: &p, sender: from, key: key}
	return msg, ref, nil
}

// handshake starts a proposal or commit of this member. How it will be framed
// is part of what is signed.
func (g *Group) handshake(kind contentType, body []byte) *authContent {
	a := g.cur.content(kind, body)
	if g.cfg.Plain {
		a.wire = wirePublic
	}
	return a
}

// sealHandshake frames what handshake started.
func (g *Group) sealHandshake(e *epoch, a *authContent) ([]byte, error) {
	if a.wire == wirePublic {
		return e.sealPublic(a), nil
	}
	return e.sealPrivate(a, g.cfg.padding())
}

// ReceiveProposal verifies a proposal of somebody else and keeps it until the
// epoch ends. A commit may refer to it from then on.
func (g *Group) ReceiveProposal(ctx context.Context, msg []byte) (*Proposed, error) {
	if err := context.Cause(ctx); err != nil {
		return nil, err
	}
	a, spend, err := g.openHandshake(msg)
	if err != nil {
		return nil, err
	}
	c := &a.content
	if c.kind != contentProposal {
		return nil, malformed("not a proposal")
	}
	e := g.cur
	if !allowed(c.proposal.kind, c.sender.kind) {
		return nil, invalid("12.1.8", "proposal %d from a sender of type %d", c.proposal.kind, c.sender.kind)
	}
	if c.proposal.kind == ProposalSelfRemove && a.wire != wirePublic {
		return nil, invalidSelfRemove("SelfRemove in a PrivateMessage")
	}
	if err := c.proposal.check(e, c.sender); err != nil {
		return nil, err
	}
	ref := e.suite.proposalRef(a.encoded())
	if e.proposals[string(ref)] == nil {
		if err := e.roomForProposal(c.proposal, c.sender); err != nil {
			return nil, err
		}
		e.proposals[string(ref)] = &cachedProposal{proposal: c.proposal, sender: c.sender}
	}
	spend()
	return &Proposed{Ref: ref, Proposal: *c.proposal, Sender: c.sender.leaf(), External: c.sender.kind != senderMember, Epoch: c.epoch}, nil
}

// roomForProposal bounds how many proposals wait.
func (e *epoch) roomForProposal(p *Proposal, from sender) error {
	if p.kind == ProposalSelfRemove {
		if err := e.checkSelfRemoveAlone(from); err != nil {
			return err
		}
	}
	same := 0
	for _, c := range e.proposals {
		if c.sender == from {
			same++
		}
	}
	if len(e.proposals) >= maxCached || same >= maxCachedPerSender {
		return errLimit("waiting proposals")
	}
	return nil
}

// expired reports whether an added KeyPackage is outside its lifetime. Only
// the committer minds: a receiver with a wrong clock must not fork the group.
func expired(k *KeyPackage, now time.Time) bool {
	return !k.leaf.lifetime.covers(now, lifetimeTolerance)
}
