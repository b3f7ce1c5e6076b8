// SPDX-License-Identifier: Apache-2.0

package e2ee

import (
	"fmt"
	"slices"

	"incamera/media/mls"
)

// required is what every room of a meeting supports, so that nobody can drop
// it in silence (RFC 9420, Section 11.1).
func required() mls.Extension {
	return mls.RequiredCapabilities{
		Extensions:  []mls.ExtensionType{mls.ExtAppDataDictionary},
		Credentials: []mls.CredentialType{mls.X509Credential},
	}.Extension()
}

// judge applies the objective rules of admission to a commit that verified and
// is not yet in effect. They depend on the tree and the commit alone, so every
// room comes to the same answer and a commit that breaks one is applied by
// nobody:
//
//   - a room comes in by an Add in a member's commit, and goes by a Remove in
//     one; nothing is committed that was proposed before, so nobody outside the
//     group can have proposed it;
//   - no member replaces its own leaf but for the committer, whose name, site
//     and signature key stay: a renewed certificate keeps them;
//   - every credential is an X.509 certificate with a proper name, and no two
//     rooms have one name or one key.
//
// External commits are refused: a room without state knocks again.
func judge(before *Epoch, d mls.Diff) error {
	if d.External {
		return fmt.Errorf("%w: external commit", ErrPolicy)
	}
	if d.ByReference {
		return fmt.Errorf("%w: commit of a proposal sent before", ErrPolicy)
	}
	for _, p := range d.Proposals {
		if p != mls.ProposalAdd && p != mls.ProposalRemove {
			return fmt.Errorf("%w: proposal of type %d", ErrPolicy, p)
		}
	}
	if d.ContextChanged || d.PSKs != 0 {
		return fmt.Errorf("%w: group context or pre-shared keys changed", ErrPolicy)
	}
	members := slices.Clone(before.Members)
	for _, leaf := range d.Updated {
		if err := judgeUpdate(members, d.Committer, leaf); err != nil {
			return err
		}
	}
	for _, leaf := range d.Removed {
		members = slices.DeleteFunc(members, func(m Member) bool { return m.Leaf == Leaf(leaf.Index) })
	}
	for _, leaf := range d.Added {
		m, _, err := newMember(leaf)
		if err != nil {
			return err
		}
		members = append(members, m)
	}
	return unique(members)
}

// judge applies the rules for all meetings, and that for attested rooms only:
// every new leaf has evidence that is bound to it, and that of a committer is
// bound to the epoch which the commit ends.
func (s *Session) judge(d mls.Diff) error {
	before := s.snap.Load()
	if err := judge(before, d); err != nil {
		return err
	}
	return s.judgeEvidence(before, d)
}

// judgeEvidence looks at form and binding alone. What the evidence says, and how
// old a newcomer's handle is, each room judges for itself: clocks, reference
// values and the epochs that a room has seen differ.
func (s *Session) judgeEvidence(before *Epoch, d mls.Diff) error {
	if before.Mode != AttestedOnly {
		return nil
	}
	appraiser := s.set.Attestation.Appraiser
	for _, leaf := range d.Added {
		e, ok := evidenceOf(leaf)
		if !ok || !appraiser.Bound(e.evidence, s.set.binding(leaf, nil, e.fresh)) {
			return fmt.Errorf("%w: leaf %d without evidence about it", ErrPolicy, leaf.Index)
		}
	}
	now := before.fresh[len(before.fresh)-1].freshness
	for _, leaf := range d.Updated {
		e, ok := evidenceOf(leaf)
		if !ok || e.fresh != now || !appraiser.Bound(e.evidence, s.set.binding(leaf, s.group.ID(), e.fresh)) {
			return fmt.Errorf("%w: leaf %d renewed without evidence of this epoch", ErrPolicy, leaf.Index)
		}
	}
	return nil
}

// judgeUpdate judges the leaf with which a committer replaces its own.
func judgeUpdate(members []Member, committer mls.LeafIndex, leaf mls.Member) error {
	if leaf.Index != committer {
		return fmt.Errorf("%w: leaf %d changed by %d", ErrPolicy, leaf.Index, committer)
	}
	after, _, err := newMember(leaf)
	if err != nil {
		return err
	}
	i := slices.IndexFunc(members, func(m Member) bool { return m.Leaf == after.Leaf })
	if i < 0 || members[i].Name != after.Name || members[i].Site != after.Site || !sameRoom(members[i], after) {
		return fmt.Errorf("%w: leaf %d changed its name or its key", ErrPolicy, leaf.Index)
	}
	return nil
}
