// SPDX-License-Identifier: Apache-2.0

package sframe

import (
	"crypto/cipher"
	"errors"
	"sync"
)

// Why a frame is refused. The caller drops it and counts; whichever it was, it
// never tells the sender. ErrHeader is the fourth.
var (
	ErrKID            = errors.New("sframe: sealed under another key identifier")
	ErrReplay         = errors.New("sframe: frame was opened before, or is too old to tell")
	ErrAuthentication = errors.New("sframe: authentication failed")
)

// A Receiver opens the frames of one sender, each at most once. It is safe for
// concurrent use.
type Receiver struct {
	kid     uint64
	tagSize int

	mu     sync.Mutex // guards what follows: check and mark of the window are one step
	aead   cipher.AEAD
	salt   [saltSize]byte
	window window
	nonce  [saltSize]byte
	aad    []byte
}

// KID returns the identifier of the receiver's key.
func (r *Receiver) KID() uint64 { return r.kid }

// Open appends to dst the frame that sealed holds (RFC 9605, Section 4.4.4).
// The metadata must be what the sender gave. Open fails with [ErrHeader],
// [ErrKID], [ErrReplay], [ErrAuthentication] or [ErrWiped]; then neither the
// replay window nor what dst holds has changed, but the free capacity of dst
// may have. That capacity must not overlap sealed. With enough of it Open
// allocates nothing.
func (r *Receiver) Open(dst, metadata, sealed []byte) ([]byte, error) {
	h, ciphertext, err := ParseHeader(sealed)
	if err != nil {
		return nil, err
	}
	if h.KID != r.kid {
		return nil, ErrKID
	}
	if len(ciphertext) < r.tagSize {
		return nil, ErrAuthentication
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.aead == nil {
		return nil, ErrWiped
	}
	// Asked first because it is cheap. Only a verified tag moves the window:
	// otherwise a forged counter would shut out the frames of an honest sender
	// (RFC 9605, Section 9.3).
	if r.window.seen(h.CTR) {
		return nil, ErrReplay
	}
	r.aad = append(append(r.aad[:0], sealed[:len(sealed)-len(ciphertext)]...), metadata...)
	putNonce(&r.nonce, &r.salt, h.CTR)
	out, err := r.aead.Open(dst, r.nonce[:], ciphertext, r.aad)
	if err != nil {
		return nil, ErrAuthentication
	}
	r.window.mark(h.CTR)
	return out, nil
}

// Wipe forgets the key. It waits for an Open that is under way; every later one
// fails with [ErrWiped].
func (r *Receiver) Wipe() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.aead = nil // as in Sender.Wipe
	clear(r.salt[:])
	clear(r.nonce[:])
}

// String keeps the key out of logs.
func (r *Receiver) String() string { return "redacted" }
