// SPDX-License-Identifier: Apache-2.0

package mls

import (
	"crypto/hmac"
	"slices"
)

// A publicMessage is PublicMessage of Section 6.2: signed, and from a member
// with a tag that only members can make, but not encrypted.
type publicMessage struct {
	auth          authContent
	membershipTag []byte
}

func decodePublicMessage(r *reader) *publicMessage {
	m := &publicMessage{auth: authContent{wire: wirePublic, content: decodeFramedContent(r)}}
	m.auth.decodeAuth(r)
	if m.auth.content.sender.kind == senderMember {
		m.membershipTag = r.vec(64)
	}
	return m
}

func (m *publicMessage) append(b []byte) []byte {
	b = m.auth.appendAuth(m.auth.content.append(b))
	if m.auth.content.sender.kind == senderMember {
		b = appendVec(b, m.membershipTag)
	}
	return b
}

// membershipTag is the MAC over AuthenticatedContentTBM (Section 6.2).
func (s *Suite) membershipTag(e *epochSecrets, a *authContent, groupContext []byte) []byte {
	return s.mac(e.membership, a.appendAuth(slices.Concat(a.signed(groupContext)...)))
}

// sealPublic frames signed content as an MLSMessage.
func (e *epoch) sealPublic(a *authContent) []byte {
	m := publicMessage{auth: *a}
	if a.content.sender.kind == senderMember {
		m.membershipTag = e.suite.membershipTag(e.secrets, a, e.contextRaw)
	}
	return m.append(messageHead(wirePublic))
}

// openPublic checks the form and the membership tag of a message; its
// signature is checked after it. Application data is never public.
func (e *epoch) openPublic(m *publicMessage) (*authContent, error) {
	a := &m.auth
	if a.content.kind == contentApplication {
		return nil, invalid("6.2", "application data as a PublicMessage")
	}
	if a.content.sender.kind == senderMember &&
		!hmac.Equal(e.suite.membershipTag(e.secrets, a, e.contextRaw), m.membershipTag) {
		return nil, ErrRefused
	}
	return a, nil
}
