// SPDX-License-Identifier: Apache-2.0

package e2ee

import (
	"bytes"
	"fmt"

	"incamera/media/mls"
)

// A Member is a room in the meeting, as its leaf in the ratchet tree says.
type Member struct {
	Leaf         Leaf
	Name, Site   string   // from the certificate; at most 64 bytes, printable
	Credential   [32]byte // SHA-256 of the certificate
	SignatureKey []byte   // as RFC 9420, Section 5.1.1, encodes it; not to be changed
	Since        uint64   // the epoch that added the room; 0 if it was there before this one
	// Lapsed says that the certificate is not valid now by this room's clock.
	// Another room let it in: see [HoldQuestion].
	Lapsed bool
	// Verdict is what this room makes of the room's evidence.
	Verdict Verdict
}

// An Epoch is the state of the group between two commits.
type Epoch struct {
	Number  uint64
	Suite   string   // the cipher suite, by its name in RFC 9420, Section 17.1, without prefix
	Hybrid  bool     // its key encapsulation has a post-quantum half
	Members []Member // in the order of their leaves, Self included
	Self    Leaf
	Added   []Member // by the commit that began the epoch
	Removed []Member
	// SelfRemoved says that the commit removed this room. Members are those of
	// the epoch before.
	SelfRemoved bool

	Mode  Mode // whom the meeting takes
	fresh []known
}

// Handle is what newcomers bind their evidence to while this is the epoch. It
// may be told to the relay.
func (e Epoch) Handle() []byte { return e.fresh[len(e.fresh)-1].bytes() }

// member returns the member of a leaf.
func (e *Epoch) member(leaf Leaf) (Member, bool) {
	for _, m := range e.Members {
		if m.Leaf == leaf {
			return m, true
		}
	}
	return Member{}, false
}

// newMember reads a leaf.
func newMember(m mls.Member) (Member, identity, error) {
	id, _, err := identify(m.Credential)
	if err != nil {
		return Member{}, identity{}, err
	}
	return Member{
		Leaf:         Leaf(m.Index),
		Name:         id.name,
		Site:         id.site,
		Credential:   id.credential,
		SignatureKey: bytes.Clone(m.SignatureKey),
	}, id, nil
}

// sameRoom reports whether two members are one room: name and signature key
// are equal. A renewed certificate keeps both.
func sameRoom(a, b Member) bool {
	return sameName(a.Name, b.Name) && bytes.Equal(a.SignatureKey, b.SignatureKey)
}

// unique checks that no two rooms have one name or one signature key.
func unique(members []Member) error {
	for i, a := range members {
		for _, b := range members[:i] {
			if sameName(a.Name, b.Name) || bytes.Equal(a.SignatureKey, b.SignatureKey) {
				return fmt.Errorf("%w: leaves %d and %d have one name or one key", ErrPolicy, b.Leaf, a.Leaf)
			}
		}
	}
	return nil
}
