// SPDX-License-Identifier: Apache-2.0

package mls

import "context"

// A WireFormat is how a message is framed (Section 6).
type WireFormat uint16

// The wire formats of RFC 9420.
const (
	wirePublic     WireFormat = 1
	wirePrivate    WireFormat = 2
	wireWelcome    WireFormat = 3
	wireGroupInfo  WireFormat = 4
	wireKeyPackage WireFormat = 5
)

type contentType uint8

const (
	contentApplication contentType = 1
	contentProposal    contentType = 2
	contentCommit      contentType = 3
)

type senderType uint8

const (
	senderMember            senderType = 1
	senderExternal          senderType = 2
	senderNewMemberProposal senderType = 3
	senderNewMemberCommit   senderType = 4
)

// A sender is Sender of Section 6.
type sender struct {
	kind  senderType
	index uint32 // a leaf, or an external sender
}

func memberSender(i LeafIndex) sender { return sender{kind: senderMember, index: uint32(i)} }

func (s sender) leaf() LeafIndex { return LeafIndex(s.index) }

func decodeSender(r *reader) sender {
	s := sender{kind: senderType(r.u8())}
	switch s.kind {
	case senderMember, senderExternal:
		s.index = r.u32()
	case senderNewMemberProposal, senderNewMemberCommit:
	default:
		r.fail("type of sender %d", s.kind)
	}
	return s
}

func (s sender) append(b []byte) []byte {
	b = append(b, byte(s.kind))
	if s.kind == senderMember || s.kind == senderExternal {
		b = appendU32(b, s.index)
	}
	return b
}

// A framedContent is FramedContent of Section 6.
type framedContent struct {
	groupID []byte
	epoch   uint64
	sender  sender
	aad     []byte
	kind    contentType
	body    []byte // the encoding of what of the three below is there

	application []byte
	proposal    *Proposal
	commit      *commit
}

func decodeFramedContent(r *reader) framedContent {
	c := framedContent{groupID: r.vec(maxGroupID), epoch: r.u64(), sender: decodeSender(r), aad: r.vec(maxHandshake), kind: contentType(r.u8())}
	c.decodeBody(r)
	return c
}

func (c *framedContent) decodeBody(r *reader) {
	start := r.b
	switch c.kind {
	case contentApplication:
		c.application = r.vec(maxApplication)
	case contentProposal:
		c.proposal = decodeProposal(r)
	case contentCommit:
		c.commit = decodeCommit(r)
	default:
		r.fail("type of content %d", c.kind)
	}
	if r.err == nil {
		n := len(start) - len(r.b)
		c.body = start[:n:n]
	}
}

// appendHead appends all but the body.
func (c *framedContent) appendHead(b []byte) []byte {
	b = appendVec(b, c.groupID)
	b = appendU64(b, c.epoch)
	b = c.sender.append(b)
	b = appendVec(b, c.aad)
	return append(b, byte(c.kind))
}

func (c *framedContent) append(b []byte) []byte { return append(c.appendHead(b), c.body...) }

// An authContent is AuthenticatedContent of Section 6: content with what
// FramedContentAuthData holds.
type authContent struct {
	wire            WireFormat
	content         framedContent
	signature       []byte
	confirmationTag []byte // of a commit
}

func (a *authContent) decodeAuth(r *reader) {
	a.signature = r.vec(maxSignature)
	if a.content.kind == contentCommit {
		a.confirmationTag = r.vec(64)
	}
}

func (a *authContent) appendAuth(b []byte) []byte {
	b = appendVec(b, a.signature)
	if a.content.kind == contentCommit {
		b = appendVec(b, a.confirmationTag)
	}
	return b
}

func decodeAuthContent(r *reader) *authContent {
	a := &authContent{wire: WireFormat(r.u16())}
	a.content = decodeFramedContent(r)
	a.decodeAuth(r)
	return a
}

// encoded returns AuthenticatedContent, of which a proposal's reference is the
// hash (Section 5.2).
func (a *authContent) encoded() []byte {
	b := appendU16(nil, uint16(a.wire))
	return a.appendAuth(a.content.append(b))
}

// signed is FramedContentTBS (Section 6.1) in parts. Those who know the group
// sign its context, too.
func (a *authContent) signed(groupContext []byte) [][]byte {
	head := appendU16(appendU16(make([]byte, 0, 64+len(a.content.aad)), uint16(MLS10)), uint16(a.wire))
	parts := [][]byte{a.content.appendHead(head), a.content.body}
	if k := a.content.sender.kind; k == senderMember || k == senderNewMemberCommit {
		parts = append(parts, groupContext)
	}
	return parts
}

const labelContent = "FramedContentTBS"

// sign signs the content under the context of the epoch it is sent in.
func (a *authContent) sign(ctx context.Context, k Signer, groupContext []byte) error {
	sig, err := signWithLabel(ctx, k, labelContent, a.signed(groupContext)...)
	if err != nil {
		return err
	}
	a.signature = sig
	return nil
}

// verify checks the content's signature.
func (a *authContent) verify(s *Suite, public, groupContext []byte) error {
	v, err := newVerifier(s.scheme, public)
	if err != nil {
		return err
	}
	return v.verify(labelContent, a.signature, a.signed(groupContext)...)
}

// A message is MLSMessage of Section 6, of which one pointer is set.
type message struct {
	wire       WireFormat
	public     *publicMessage
	private    *privateMessage
	welcome    *welcome
	groupInfo  *groupInfo
	keyPackage *KeyPackage
}

// messageHead returns the beginning of an MLSMessage.
func messageHead(w WireFormat) []byte {
	return appendU16(appendU16(make([]byte, 0, 512), uint16(MLS10)), uint16(w))
}

func decodeMessage(b []byte) (*message, error) {
	if len(b) > maxWelcome {
		return nil, errLimit("message")
	}
	r := &reader{b: b}
	if v := r.u16(); r.err == nil && v != uint16(MLS10) {
		return nil, wrap(ErrUnsupported, "protocol version")
	}
	m := &message{wire: WireFormat(r.u16())}
	if (m.wire == wirePublic || m.wire == wirePrivate) && len(b) > maxHandshake {
		return nil, errLimit("message")
	}
	switch m.wire {
	case wirePublic:
		m.public = decodePublicMessage(r)
	case wirePrivate:
		m.private = decodePrivateMessage(r)
	case wireWelcome:
		m.welcome = decodeWelcome(r)
	case wireGroupInfo:
		m.groupInfo = decodeGroupInfo(r)
	case wireKeyPackage:
		m.keyPackage = decodeKeyPackage(r)
	default:
		r.fail("wire format %d", m.wire)
	}
	if err := r.end(); err != nil {
		return nil, err
	}
	return m, nil
}
