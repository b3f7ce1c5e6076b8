// SPDX-License-Identifier: Apache-2.0

package mls

import (
	"crypto/rand"
	"encoding/binary"
)

// A privateMessage is PrivateMessage of Section 6.3: sender and content are
// encrypted.
type privateMessage struct {
	groupID    []byte
	epoch      uint64
	kind       contentType
	aad        []byte
	senderData []byte // encrypted
	ciphertext []byte
}

func decodePrivateMessage(r *reader) *privateMessage {
	m := &privateMessage{groupID: r.vec(maxGroupID), epoch: r.u64(), kind: contentType(r.u8())}
	if r.err == nil && (m.kind < contentApplication || m.kind > contentCommit) {
		r.fail("type of content %d", m.kind)
	}
	limit := maxHandshake
	if m.kind == contentApplication {
		limit = 2*maxApplication + 4*maxSignature // data, padding, signature, tag
	}
	m.aad, m.senderData, m.ciphertext = r.vec(limit), r.vec(256), r.vec(limit)
	return m
}

func (m *privateMessage) append(b []byte) []byte {
	b = appendVec(b, m.groupID)
	b = appendU64(b, m.epoch)
	b = append(b, byte(m.kind))
	b = appendVec(b, m.aad)
	b = appendVec(b, m.senderData)
	return appendVec(b, m.ciphertext)
}

// contentAAD is PrivateContentAAD (Section 6.3.1).
func (m *privateMessage) contentAAD() []byte { return appendVec(m.senderDataAAD(), m.aad) }

// senderDataAAD is SenderDataAAD (Section 6.3.2).
func (m *privateMessage) senderDataAAD() []byte {
	b := appendVec(make([]byte, 0, 16+len(m.groupID)+len(m.aad)), m.groupID)
	return append(appendU64(b, m.epoch), byte(m.kind))
}

// senderDataKey comes from the first Nh bytes of the ciphertext, or all of it
// where it is shorter (Section 6.3.2).
func (s *Suite) senderDataKey(from secret, ciphertext []byte) messageKey {
	sample := ciphertext[:min(s.nh, len(ciphertext))]
	x := s.expander(from)
	return messageKey{key: x.expand("key", sample, s.nk), nonce: x.expand("nonce", sample, nn)}
}

// senderDataLen is the size of SenderData: leaf, generation, reuse guard.
const senderDataLen = 12

// guarded returns a nonce with the reuse guard mixed in (Section 6.3.1).
func guarded(nonce secret, guard []byte) []byte {
	out := append([]byte(nil), nonce...)
	for i, g := range guard {
		out[i] ^= g
	}
	return out
}

func (t *secretTree) kindOf(c contentType) ratchetKind {
	if c == contentApplication {
		return applicationRatchet
	}
	return handshakeRatchet
}

// sealPrivate frames signed content of this member as an MLSMessage, padded to
// a multiple of step bytes. It spends a generation of the member's ratchet.
func (m *messageState) sealPrivate(a *authContent, step int) ([]byte, error) {
	s := m.suite
	c := &a.content
	p := &privateMessage{groupID: c.groupID, epoch: c.epoch, kind: c.kind, aad: c.aad}
	plain := a.appendAuth(append(make([]byte, 0, len(c.body)+256+step), c.body...))
	if over := len(plain) % max(step, 1); over > 0 {
		plain = append(plain, make([]byte, step-over)...)
	}
	k, generation, err := m.messages.take(c.sender.leaf(), m.messages.kindOf(c.kind))
	if err != nil {
		return nil, err
	}
	defer k.wipe()
	data := appendU32(appendU32(make([]byte, 0, senderDataLen), c.sender.index), generation)
	data = data[:senderDataLen]
	guard := data[8:]
	_, _ = rand.Read(guard) // never fails: package crypto/rand
	aead, err := s.open(k.key)
	if err != nil {
		return nil, err
	}
	p.ciphertext = aead.Seal(plain[:0], guarded(k.nonce, guard), plain, p.contentAAD())
	sd := s.senderDataKey(m.senderData, p.ciphertext)
	defer sd.wipe()
	if aead, err = s.open(sd.key); err != nil {
		return nil, err
	}
	p.senderData = aead.Seal(nil, sd.nonce, data, p.senderDataAAD())
	return p.append(messageHead(wirePrivate)), nil
}

// openPrivate decrypts a message and returns its content, whose signature is
// still to be checked, and a function that spends the message key.
func (m *messageState) openPrivate(p *privateMessage, own LeafIndex) (*authContent, func(), error) {
	s := m.suite
	sd := s.senderDataKey(m.senderData, p.ciphertext)
	defer sd.wipe()
	aead, err := s.open(sd.key)
	if err != nil {
		return nil, nil, err
	}
	data, err := aead.Open(nil, sd.nonce, p.senderData, p.senderDataAAD())
	if err != nil || len(data) != senderDataLen {
		return nil, nil, ErrRefused
	}
	from := LeafIndex(binary.BigEndian.Uint32(data))
	if from == own {
		return nil, nil, ErrOwn
	}
	if m.tree.leaf(from) == nil {
		return nil, nil, ErrRefused // a blank leaf sends nothing (Section 6.3.2)
	}
	k, spend, err := m.messages.find(from, m.messages.kindOf(p.kind), binary.BigEndian.Uint32(data[4:]))
	if err != nil {
		return nil, nil, err
	}
	if aead, err = s.open(k.key); err != nil {
		return nil, nil, err
	}
	plain, err := aead.Open(nil, guarded(k.nonce, data[8:]), p.ciphertext, p.contentAAD())
	if err != nil {
		return nil, nil, ErrRefused
	}
	a := &authContent{wire: wirePrivate, content: framedContent{
		groupID: p.groupID, epoch: p.epoch, sender: memberSender(from), aad: p.aad, kind: p.kind,
	}}
	r := &reader{b: plain}
	a.content.decodeBody(r)
	a.decodeAuth(r)
	if r.err != nil {
		return nil, nil, r.err
	}
	for _, b := range r.b { // all that is left is padding, and padding is zero
		if b != 0 {
			return nil, nil, malformed("padding is not zero")
		}
	}
	return a, spend, nil
}
