// SPDX-License-Identifier: Apache-2.0

package mls

import (
	"bytes"
	"context"
)

// An Application is what a member sent (Section 15).
type Application struct {
	Sender LeafIndex
	Epoch  uint64
	AAD    []byte // authenticated, and on the wire in clear
	Data   []byte
}

// Protect seals data for the members of the epoch. aad is authenticated and
// stays in clear. Data is at most 64 KiB.
func (g *Group) Protect(ctx context.Context, aad, data []byte) ([]byte, error) {
	e := g.cur
	if e == nil {
		return nil, ErrRemoved
	}
	if len(data) > maxApplication || len(aad) > maxApplication {
		return nil, errLimit("application data")
	}
	a := e.content(contentApplication, appendVec(nil, data))
	a.content.aad = aad
	if err := a.sign(ctx, g.cfg.Signer, e.contextRaw); err != nil {
		return nil, err
	}
	return e.sealPrivate(a, g.cfg.padding())
}

// Unprotect opens what another member protected in this epoch or one of the
// two before. What it returns is the caller's. A message that does not verify
// changes nothing; one that does is never opened again.
func (g *Group) Unprotect(ctx context.Context, msg []byte) (Application, error) {
	if err := context.Cause(ctx); err != nil {
		return Application{}, err
	}
	if g.cur == nil {
		return Application{}, ErrRemoved
	}
	m, err := decodeMessage(msg)
	if err != nil {
		return Application{}, err
	}
	if m.private == nil || m.private.kind != contentApplication {
		return Application{}, malformed("not an application message")
	}
	state, own, err := g.stateOf(m.private.groupID, m.private.epoch)
	if err != nil {
		return Application{}, err
	}
	a, spend, err := state.openPrivate(m.private, own)
	if err != nil {
		return Application{}, err
	}
	from := a.content.sender.leaf()
	if err := a.verify(state.suite, state.tree.leaf(from).signatureKey, state.contextRaw); err != nil {
		return Application{}, err
	}
	spend()
	return Application{
		Sender: from, Epoch: a.content.epoch, AAD: bytes.Clone(a.content.aad), Data: bytes.Clone(a.content.application),
	}, nil
}

// stateOf returns what opens messages of an epoch.
func (g *Group) stateOf(groupID []byte, epoch uint64) (*messageState, LeafIndex, error) {
	if err := g.cur.context.checkEpoch(groupID, epoch); err == nil {
		return &g.cur.messageState, g.cur.self, nil
	} else if !bytes.Equal(groupID, g.cur.context.groupID) || epoch > g.cur.context.epoch {
		return nil, 0, err
	}
	for _, p := range g.past {
		if p.context.epoch == epoch {
			return p, g.cur.self, nil
		}
	}
	return nil, 0, ErrPastEpoch
}

// checkEpoch verifies that a message is for the group of the context, as it is
// then.
func (c *groupContext) checkEpoch(groupID []byte, epoch uint64) error {
	switch {
	case !bytes.Equal(groupID, c.groupID):
		return ErrWrongGroup
	case epoch < c.epoch:
		return ErrPastEpoch
	case epoch > c.epoch:
		return ErrFutureEpoch
	}
	return nil
}

// A Head is what of a message everyone can read.
type Head struct {
	GroupID     []byte
	Epoch       uint64
	Commit      bool
	Proposal    bool
	Application bool
	Public      bool // not encrypted
}

// Peek reads the head of a PublicMessage or PrivateMessage without any key. It
// verifies nothing.
func Peek(msg []byte) (Head, error) {
	m, err := decodeMessage(msg)
	if err != nil {
		return Head{}, err
	}
	var h Head
	var kind contentType
	switch {
	case m.public != nil:
		c := &m.public.auth.content
		h, kind = Head{GroupID: c.groupID, Epoch: c.epoch, Public: true}, c.kind
	case m.private != nil:
		h, kind = Head{GroupID: m.private.groupID, Epoch: m.private.epoch}, m.private.kind
	default:
		return Head{}, malformed("not a message within a group")
	}
	h.Commit, h.Proposal, h.Application = kind == contentCommit, kind == contentProposal, kind == contentApplication
	return h, nil
}
