// SPDX-License-Identifier: Apache-2.0

package mls

// refHash is RefHash of Section 5.2.
func (s *Suite) refHash(label string, value []byte) []byte {
	b := make([]byte, 0, 16+len(label)+len(value))
	b = appendVec(b, label)
	return s.digest(appendVec(b, value))
}

// keyPackageRef is MakeKeyPackageRef.
func (s *Suite) keyPackageRef(keyPackage []byte) []byte {
	return s.refHash("MLS 1.0 KeyPackage Reference", keyPackage)
}

// proposalRef is MakeProposalRef; its argument is an AuthenticatedContent.
func (s *Suite) proposalRef(content []byte) []byte {
	return s.refHash("MLS 1.0 Proposal Reference", content)
}
