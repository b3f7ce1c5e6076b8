// SPDX-License-Identifier: Apache-2.0

package sframe

import (
	"crypto/cipher"
	"encoding/binary"
	"errors"
	"fmt"
)

// ErrBaseKey reports a base key without a byte.
var ErrBaseKey = errors.New("sframe: empty base key")

// ErrSenderMade reports a second request for the sender of one key identifier.
// Two senders would count from 0 both and so repeat every nonce; the caller
// uses the sender that it has.
var ErrSenderMade = errors.New("sframe: the sender of this key identifier was made before")

// ErrWiped reports the use of a key after its Wipe.
var ErrWiped = errors.New("sframe: key was wiped")

// A Secret derives the keys of all senders from one base key (RFC 9605, Section
// 4.4.2). It is not safe for concurrent use.
type Secret struct {
	suite  Suite
	params params
	prk    []byte              // sframe_secret; nil once wiped
	made   map[uint64]struct{} // key identifiers that have a sender
}

// NewSecret extracts the secret from baseKey, of which it keeps no copy.
func NewSecret(s Suite, baseKey []byte) (*Secret, error) {
	p, err := s.params()
	if err != nil {
		return nil, err
	}
	if len(baseKey) == 0 {
		return nil, ErrBaseKey
	}
	prk, err := s.extract(baseKey)
	if err != nil {
		return nil, fmt.Errorf("sframe: %w", err)
	}
	return &Secret{suite: s, params: p, prk: prk, made: map[uint64]struct{}{}}, nil
}

// Sender derives the one sender that uses kid under this base key. A second
// request fails with [ErrSenderMade].
func (s *Secret) Sender(kid uint64) (*Sender, error) {
	if _, ok := s.made[kid]; ok {
		return nil, ErrSenderMade
	}
	aead, salt, err := s.derive(kid)
	if err != nil {
		return nil, err
	}
	s.made[kid] = struct{}{}
	return &Sender{kid: kid, tagSize: s.params.tag, aead: aead, salt: salt}, nil
}

// Receiver derives a receiver for what the sender of kid seals. Each has a
// replay window of its own, so a caller makes one for each kid and keeps it.
func (s *Secret) Receiver(kid uint64) (*Receiver, error) {
	aead, salt, err := s.derive(kid)
	if err != nil {
		return nil, err
	}
	return &Receiver{kid: kid, tagSize: s.params.tag, aead: aead, salt: salt}, nil
}

// Wipe overwrites the secret. Senders and receivers made before go on.
func (s *Secret) Wipe() {
	clear(s.prk)
	s.prk = nil
}

// String keeps the secret out of logs.
func (s *Secret) String() string { return "redacted" }

func (s *Secret) derive(kid uint64) (aead cipher.AEAD, salt [saltSize]byte, err error) {
	if s.prk == nil {
		return nil, salt, ErrWiped
	}
	key, err := s.suite.expand(s.prk, s.label("SFrame 1.0 Secret key ", kid), s.params.key)
	if err != nil {
		return nil, salt, fmt.Errorf("sframe: %w", err)
	}
	defer clear(key)
	b, err := s.suite.expand(s.prk, s.label("SFrame 1.0 Secret salt ", kid), saltSize)
	if err != nil {
		return nil, salt, fmt.Errorf("sframe: %w", err)
	}
	copy(salt[:], b)
	aead, err = s.suite.newAEAD(key)
	return aead, salt, err
}

// label is text || kid (8 bytes) || cipher suite (2 bytes), as in RFC 9605,
// Section 4.4.2.
func (s *Secret) label(text string, kid uint64) string {
	b := binary.BigEndian.AppendUint64([]byte(text), kid)
	return string(binary.BigEndian.AppendUint16(b, uint16(s.suite)))
}

// putNonce writes salt XOR ctr to nonce (RFC 9605, Section 4.4.3).
func putNonce(nonce, salt *[saltSize]byte, ctr uint64) {
	*nonce = *salt
	low := nonce[saltSize-8:]
	binary.BigEndian.PutUint64(low, binary.BigEndian.Uint64(low)^ctr)
}
