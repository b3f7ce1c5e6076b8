// SPDX-License-Identifier: Apache-2.0

package e2ee

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"sync"
)

// ErrPinned means that a room has another signature key than the one that is
// pinned under its name. The caller asks its person, who may unpin the name: the
// room may have a new TPM, or somebody has a certificate in its name.
var ErrPinned = errors.New("e2ee: another key is pinned under the room's name")

// A Pin says that a person has compared the [PairwiseCode] with a room, and so
// knows its key. Keeping pins beyond a meeting is the caller's.
type Pin struct {
	Name         string
	SignatureKey []byte // as [Member] has it
}

// contradicts reports whether m has the pinned name and another key.
func (p Pin) contradicts(m Member) bool {
	return sameName(p.Name, m.Name) && !bytes.Equal(p.SignatureKey, m.SignatureKey)
}

// pins are the pins of a session, and whom they are about.
type pins struct {
	mu      sync.Mutex
	list    []Pin
	members []Member // of the newest epoch, this room left out
	ring    *Keyring
}

// judge looks at the members of a new epoch before anything is sent to them.
func (p *pins) judge(e *Epoch) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.members = slices.DeleteFunc(slices.Clone(e.Members), func(m Member) bool { return m.Leaf == e.Self })
	p.hold()
}

// hold stops sending as long as a member has another key than the pinned one.
// The caller holds p.mu.
func (p *pins) hold() {
	if slices.ContainsFunc(p.members, p.contradicts) {
		p.ring.Hold(HoldPin)
	} else {
		p.ring.Release(HoldPin)
	}
}

func (p *pins) contradicts(m Member) bool {
	return slices.ContainsFunc(p.list, func(pin Pin) bool { return pin.contradicts(m) })
}

// Pin notes that the person has compared the [PairwiseCode] with the room at a
// leaf, and returns what to keep in [Config] for later meetings. If another key
// is pinned under the room's name, the error is [ErrPinned].
func (s *Session) Pin(leaf Leaf) (Pin, error) {
	s.pins.mu.Lock()
	defer s.pins.mu.Unlock()
	i := slices.IndexFunc(s.pins.members, func(m Member) bool { return m.Leaf == leaf })
	if i < 0 {
		return Pin{}, fmt.Errorf("%w: leaf %d is no other member", ErrPolicy, leaf)
	}
	m := s.pins.members[i]
	if s.pins.contradicts(m) {
		return Pin{}, ErrPinned
	}
	pin := Pin{Name: m.Name, SignatureKey: bytes.Clone(m.SignatureKey)}
	s.pins.list = append(s.pins.remove(m.Name), pin)
	return pin, nil
}

// Unpin forgets the key of a name, and ends a hold for its sake.
func (s *Session) Unpin(name string) {
	s.pins.mu.Lock()
	defer s.pins.mu.Unlock()
	s.pins.list = s.pins.remove(name)
	s.pins.hold()
}

func (p *pins) remove(name string) []Pin {
	return slices.DeleteFunc(p.list, func(pin Pin) bool { return sameName(pin.Name, name) })
}

// Pinned reports whether a key is pinned under a member's name, and whether it
// is the member's. It waits for nothing.
func (s *Session) Pinned(m Member) (known, same bool) {
	s.pins.mu.Lock()
	defer s.pins.mu.Unlock()
	known = slices.ContainsFunc(s.pins.list, func(pin Pin) bool { return sameName(pin.Name, m.Name) })
	return known, known && !s.pins.contradicts(m)
}

// checkPin refuses a room that knocks with another key than the pinned one.
func (s *Session) checkPin(m Member) error {
	if known, same := s.Pinned(m); known && !same {
		return ErrPinned
	}
	return nil
}
