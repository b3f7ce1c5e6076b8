// SPDX-License-Identifier: Apache-2.0

package sframe

import (
	"crypto/cipher"
	"errors"
	"math"
	"sync"
)

// ErrSpent reports that a sender has used all its counter values. It needs a
// new base key.
var ErrSpent = errors.New("sframe: counter is spent")

// A Sender seals the frames of one key identifier, with a counter that starts
// at 0 and never repeats. It is safe for concurrent use.
type Sender struct {
	kid     uint64
	tagSize int

	mu    sync.Mutex // guards what follows: two frames must not take one counter
	aead  cipher.AEAD
	salt  [saltSize]byte
	ctr   uint64 // of the next frame
	spent bool
	nonce [saltSize]byte // fields, since what is passed to a cipher.AEAD escapes
	aad   []byte
}

// KID returns the identifier of the sender's key.
func (s *Sender) KID() uint64 { return s.kid }

// Overhead returns how many bytes a sealed frame is longer than the frame, at
// the most.
func (s *Sender) Overhead() int { return MaxHeaderSize + s.tagSize }

// Seal appends header, ciphertext and tag of frame to dst (RFC 9605, Section
// 4.4.3). It authenticates metadata, which the receiver must know by other
// means. The free capacity of dst must not overlap frame. With enough of it
// Seal allocates nothing.
//
// The errors are [ErrSpent] and [ErrWiped]; then nothing was appended.
func (s *Sender) Seal(dst, metadata, frame []byte) ([]byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.aead == nil:
		return nil, ErrWiped
	case s.spent:
		return nil, ErrSpent
	}
	ctr := s.ctr
	// Before the cipher runs: whatever happens there, the value is used up.
	s.ctr++
	s.spent = ctr == math.MaxUint64

	start := len(dst)
	dst, _ = Header{KID: s.kid, CTR: ctr}.AppendBinary(dst)
	s.aad = append(append(s.aad[:0], dst[start:]...), metadata...)
	putNonce(&s.nonce, &s.salt, ctr)
	return s.aead.Seal(dst, s.nonce[:], frame, s.aad), nil
}

// Wipe forgets the key. It waits for a Seal that is under way; every later one
// fails with [ErrWiped].
func (s *Sender) Wipe() {
	s.mu.Lock()
	defer s.mu.Unlock()
	// The round keys lie inside the AEAD, out of reach; the garbage collector
	// takes them.
	s.aead = nil
	clear(s.salt[:])
	clear(s.nonce[:])
}

// String keeps the key out of logs.
func (s *Sender) String() string { return "redacted" }
