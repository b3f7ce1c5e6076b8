// SPDX-License-Identifier: Apache-2.0

package mls

// Transcript hashes (Section 8.2). Sections 8.2 and 11 disagree on epoch 0:
// with 11, its confirmed hash is empty, and its interim hash already covers the
// creator's confirmation tag.

// confirmedHash covers a commit, up to its signature.
func (s *Suite) confirmedHash(interim []byte, a *authContent) []byte {
	head := a.content.appendHead(appendU16(nil, uint16(a.wire)))
	return s.digest(interim, head, a.content.body, appendVec(nil, a.signature))
}

// interimHash covers the confirmation tag, too.
func (s *Suite) interimHash(confirmed, tag []byte) []byte {
	return s.digest(confirmed, appendVec(nil, tag))
}
