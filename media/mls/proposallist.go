// SPDX-License-Identifier: Apache-2.0

package mls

import (
	"bytes"
	"fmt"
	"slices"
)

// A resolved proposal is one of a commit's list with its sender: the committer
// for one by value.
type resolved struct {
	*Proposal
	sender  sender
	byValue bool
	key     HPKEKey // of this member's own Update
}

// takesOut returns the leaf that a Remove or a SelfRemove blanks.
func (p *resolved) takesOut() LeafIndex {
	if p.kind == ProposalSelfRemove {
		return p.sender.leaf()
	}
	return p.remove
}

// resolve finds the proposals that a commit lists.
func (e *epoch) resolve(c *commit, committer sender) ([]resolved, error) {
	out := make([]resolved, 0, len(c.proposals))
	seen := map[string]bool{}
	for _, p := range c.proposals {
		if p.ref == nil {
			out = append(out, resolved{Proposal: p, sender: committer, byValue: true})
			continue
		}
		if seen[string(p.ref)] {
			return nil, invalid("12.2", "one proposal twice")
		}
		seen[string(p.ref)] = true
		cached := e.proposals[string(p.ref)]
		if cached == nil {
			return nil, ErrUnknownProposal
		}
		out = append(out, resolved{Proposal: cached.proposal, sender: cached.sender, key: cached.key})
	}
	return out, nil
}

// checkList validates a list as a whole (Section 12.2) and each proposal in it.
func (e *epoch) checkList(l []resolved, committer sender) error {
	if len(l) > maxProposals {
		return errLimit("proposals")
	}
	external := committer.kind == senderNewMemberCommit
	touched := map[LeafIndex]bool{}
	count := map[ProposalType]int{}
	var psks []preSharedKeyID
	for _, p := range l {
		if p.kind == ProposalSelfRemove && p.byValue {
			return invalidSelfRemove("SelfRemove by value")
		}
		if external && !p.byValue && p.kind != ProposalSelfRemove {
			return invalid("12.2", "an external commit refers to a proposal")
		}
		if !allowed(p.kind, p.sender.kind) {
			return invalid("12.2", "proposal %d from a sender of type %d", p.kind, p.sender.kind)
		}
		if err := p.check(e, p.sender); err != nil {
			return err
		}
		count[p.kind]++
		switch p.kind {
		case ProposalUpdate:
			if p.sender == committer {
				return invalid("12.2", "the committer's own Update")
			}
			if touched[p.sender.leaf()] {
				return invalid("12.2", "two proposals for leaf %d", p.sender.leaf())
			}
			touched[p.sender.leaf()] = true
		case ProposalRemove, ProposalSelfRemove:
			leaf := p.takesOut()
			if committer == memberSender(leaf) {
				return invalid("12.2", "the committer removes itself")
			}
			if touched[leaf] {
				return invalid("12.2", "two proposals for leaf %d", leaf)
			}
			touched[leaf] = true
		case ProposalPSK:
			psks = append(psks, p.psk)
		case ProposalAdd, ProposalReInit, ProposalExternalInit, ProposalGroupContextExtensions:
		}
	}
	if count[ProposalGroupContextExtensions] > 1 {
		return invalid("12.2", "two GroupContextExtensions")
	}
	if external && (count[ProposalExternalInit] != 1 || count[ProposalRemove] > 1) {
		return invalid("12.2", "an external commit has one ExternalInit and at most one Remove")
	}
	return checkPSKs(e.suite, psks)
}

// needsPath reports whether a list must come with a path (Section 12.4).
func needsPath(l []resolved) bool {
	for _, p := range l {
		switch p.kind {
		case ProposalUpdate, ProposalRemove, ProposalSelfRemove, ProposalExternalInit, ProposalGroupContextExtensions:
			return true
		case ProposalAdd, ProposalPSK, ProposalReInit:
		}
	}
	return len(l) == 0
}

// A transition is the way from one epoch to the next while it is computed. It
// works on a copy of the tree.
type transition struct {
	from       *epoch
	tree       *tree
	extensions []Extension
	list       []resolved
	committer  LeafIndex
	added      []LeafIndex
	packages   []*KeyPackage // of added
	changed    []LeafIndex   // leaves that are new or replaced
	psks       []preSharedKeyID
	kemOutput  []byte  // of ExternalInit
	ownKey     HPKEKey // of an Update of this member
	diff       Diff
}

// apply makes a new tree of a list that checkList took (Section 12.3):
// GroupContextExtensions, Updates, SelfRemoves, Removes, Adds, then the rest.
func (e *epoch) apply(l []resolved, committer sender) (*transition, error) {
	t := &transition{from: e, tree: e.tree.clone(), extensions: e.context.extensions, list: l}
	t.diff = Diff{Epoch: e.context.epoch + 1, External: committer.kind == senderNewMemberCommit}
	if committer.kind == senderMember {
		t.committer = committer.leaf()
	}
	for _, p := range l {
		t.diff.Proposals = append(t.diff.Proposals, p.kind)
	}
	for _, step := range []func(resolved) error{t.applyFirst, t.applySelfRemove, t.applyRemove, t.applyAdd} {
		for _, p := range l {
			if err := step(p); err != nil {
				return nil, err
			}
		}
	}
	if t.tree.members() == 0 {
		return nil, invalid("12.3", "nobody is left")
	}
	return t, nil
}

func (t *transition) applyFirst(p resolved) error {
	switch p.kind {
	case ProposalGroupContextExtensions:
		t.extensions = p.extensions
		t.diff.ContextChanged = true
	case ProposalUpdate:
		i := p.sender.leaf()
		old := t.tree.leaf(i)
		if old == nil {
			return invalid("12.1.2", "Update of leaf %d, which is blank", i)
		}
		t.diff.replaced(i, old, p.update)
		t.tree.update(i, p.update.clone())
		t.changed = append(t.changed, i)
		if i == t.from.self {
			if p.key == nil {
				return fmt.Errorf("mls: an Update of this member that it did not make")
			}
			t.ownKey = p.key
		}
	case ProposalPSK:
		t.psks = append(t.psks, p.psk)
	case ProposalExternalInit:
		t.kemOutput = p.kemOutput
	case ProposalAdd, ProposalRemove, ProposalSelfRemove, ProposalReInit:
	}
	return nil
}

func (t *transition) applyRemove(p resolved) error {
	if p.kind != ProposalRemove {
		return nil
	}
	return t.takeOut(p.remove)
}

// takeOut blanks the leaf of a member that leaves.
func (t *transition) takeOut(i LeafIndex) error {
	old := t.tree.leaf(i)
	if old == nil {
		return invalid("12.1.3", "Remove of leaf %d, which is blank", i)
	}
	t.diff.Removed = append(t.diff.Removed, old.member(i))
	if i == t.from.self {
		t.diff.SelfRemoved = true
	}
	t.tree.remove(i)
	return nil
}

func (t *transition) applyAdd(p resolved) error {
	if p.kind != ProposalAdd {
		return nil
	}
	i, err := t.tree.add(p.add.leaf.clone())
	if err != nil {
		return err
	}
	t.added = append(t.added, i)
	t.packages = append(t.packages, p.add)
	t.changed = append(t.changed, i)
	t.diff.Added = append(t.diff.Added, p.add.leaf.member(i))
	return nil
}

// checkLeaves validates the leaves that are new or replaced against the tree
// that results, the committer's included (Sections 7.3, 12.2), and all of them
// where the group's extensions change (Section 12.1.7).
func (t *transition) checkLeaves(auth Authenticator) error {
	for _, i := range t.changed {
		n := t.tree.leaf(i)
		if n == nil {
			continue // replaced and removed in one list is refused before
		}
		if err := t.tree.checkLeaf(n); err != nil {
			return err
		}
		if err := n.checkIn(t.extensions); err != nil {
			return err
		}
		if err := auth.Authenticate(n.credential, n.signatureKey); err != nil {
			return fmt.Errorf("%w: leaf %d: %w", ErrInvalid, i, err)
		}
	}
	if !t.diff.ContextChanged {
		return nil
	}
	for i := range LeafIndex(t.tree.slots()) {
		if n := t.tree.leaf(i); n != nil {
			if err := n.checkIn(t.extensions); err != nil {
				return err
			}
		}
	}
	return nil
}

// A Diff is what a commit changes. It is what a caller judges before Apply.
type Diff struct {
	Epoch     uint64 // the new one
	Committer LeafIndex
	External  bool // the committer joined by this commit
	Added     []Member
	Removed   []Member
	Updated   []Member // leaves that were replaced, the committer's included
	Previous  []Member // what stood there before, in the order of Updated
	// Proposals are the types of the list, in its order.
	Proposals      []ProposalType
	ByReference    bool // some proposal was sent before the commit
	SelfRemoved    bool // Apply ends the group for this member
	ContextChanged bool // Extensions differ from those of the epoch before
	Extensions     []Extension
	// Expired are added members whose KeyPackage is outside its lifetime by
	// this member's clock. It is no reason to refuse: the clock may be wrong.
	Expired []LeafIndex
	// PSKs counts the pre-shared keys that were mixed in; Resumed are the epochs
	// of those that are resumption PSKs of this group.
	PSKs    int
	Resumed []uint64
}

func (d *Diff) replaced(i LeafIndex, old, now *LeafNode) {
	d.Previous = append(d.Previous, old.member(i))
	d.Updated = append(d.Updated, now.member(i))
}

// complete fills in what follows from the list.
func (t *transition) complete(c *Config) {
	d := &t.diff
	d.Committer, d.Extensions = t.committer, t.extensions
	d.ByReference = slices.ContainsFunc(t.list, func(p resolved) bool { return !p.byValue })
	d.PSKs = len(t.psks)
	for _, id := range t.psks {
		if id.kind == pskResumption && bytes.Equal(id.groupID, t.from.context.groupID) {
			d.Resumed = append(d.Resumed, id.epoch)
		}
	}
	now := c.Now()
	for k, p := range t.packages {
		if expired(p, now) {
			d.Expired = append(d.Expired, t.added[k])
		}
	}
}
