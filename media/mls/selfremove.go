// SPDX-License-Identifier: Apache-2.0

package mls

import (
	"bytes"
	"fmt"
	"slices"
)

// SelfRemove of draft-ietf-mls-extensions-10, Section 6.3: a member leaves by
// a proposal that is public, so that whoever joins by an external commit can
// commit it, too. A Remove of oneself is lost with every such commit.

// ProposalSelfRemove is the number that the draft suggests.
const ProposalSelfRemove ProposalType = 10

// SelfRemove proposes that its sender leaves. It is sent by [Group.Propose], as
// a PublicMessage whatever the Config says, once in an epoch, and only in a
// group all of whose members list it in their capabilities. Others commit it by
// reference: any member, and any [JoinExternal] that is given the message.
func SelfRemove() Proposal { return Proposal{kind: ProposalSelfRemove}.encoded() }

// checkSelfRemove validates a SelfRemove by itself: it is a member's, and the
// group is capable of it.
func (e *epoch) checkSelfRemove(from sender) error {
	if from.kind != senderMember {
		return invalidSelfRemove("SelfRemove from a sender of type %d", from.kind)
	}
	if e.tree.leaf(from.leaf()) == nil {
		return invalidSelfRemove("SelfRemove of leaf %d, which is blank", from.leaf())
	}
	for i := range LeafIndex(e.tree.slots()) {
		if n := e.tree.leaf(i); n != nil && !slices.Contains(n.capabilities.Proposals, ProposalSelfRemove) {
			return invalidSelfRemove("SelfRemove in a group whose leaf %d does not list it", i)
		}
	}
	return nil
}

// checkSelfRemoveAlone verifies that a sender's SelfRemove is the only one that
// waits: it makes one in an epoch.
func (e *epoch) checkSelfRemoveAlone(from sender) error {
	for _, c := range e.proposals {
		if c.sender == from && c.proposal.kind == ProposalSelfRemove {
			return invalidSelfRemove("a second SelfRemove of leaf %d", from.leaf())
		}
	}
	return nil
}

// applySelfRemove blanks the leaves of those who leave by themselves, after the
// Updates and before the Removes.
func (t *transition) applySelfRemove(p resolved) error {
	if p.kind != ProposalSelfRemove {
		return nil
	}
	return t.takeOut(p.sender.leaf())
}

// keepPending verifies the SelfRemoves that somebody who joins by an external
// commit was given with the GroupInfo, all but their membership tags, which
// only members can. It keeps them and returns the references.
func (e *epoch) keepPending(pending [][]byte) ([]Proposal, error) {
	if len(pending) >= maxProposals { // one is the ExternalInit
		return nil, errLimit("proposals")
	}
	var out []Proposal
	for _, msg := range pending {
		m, err := decodeMessage(bytes.Clone(msg))
		if err != nil {
			return nil, err
		}
		if m.public == nil || m.public.auth.content.kind != contentProposal || m.public.auth.content.proposal.kind != ProposalSelfRemove {
			return nil, invalidSelfRemove("not a SelfRemove in a PublicMessage")
		}
		a := &m.public.auth
		c := &a.content
		if err := e.context.checkEpoch(c.groupID, c.epoch); err != nil {
			return nil, err
		}
		if err := c.proposal.check(e, c.sender); err != nil {
			return nil, err
		}
		key, err := e.senderKey(a)
		if err != nil {
			return nil, err
		}
		if err := a.verify(e.suite, key, e.contextRaw); err != nil {
			return nil, err
		}
		if err := e.checkSelfRemoveAlone(c.sender); err != nil {
			return nil, err
		}
		ref := e.suite.proposalRef(a.encoded())
		e.proposals[string(ref)] = &cachedProposal{proposal: c.proposal, sender: c.sender}
		out = append(out, ByReference(ref))
	}
	return out, nil
}

// invalidSelfRemove cites the section of the draft.
func invalidSelfRemove(format string, a ...any) error {
	return fmt.Errorf("%w: %s (draft-ietf-mls-extensions-10, Section 6.3)", ErrInvalid, fmt.Sprintf(format, a...))
}
