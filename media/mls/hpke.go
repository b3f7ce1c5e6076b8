// SPDX-License-Identifier: Apache-2.0

package mls

import (
	"context"
	"crypto/hpke"
	"errors"
	"fmt"
)

// An HPKEKey is a private key of the suite's KEM: an init key or the
// encryption key of a leaf. Parent nodes have software keys always, since they
// derive from path secrets.
type HPKEKey interface {
	// Public returns the serialised public key.
	Public() []byte
	// Open opens what was sealed to the key in HPKE's base mode, with empty
	// additional data. It returns promptly once ctx is done.
	Open(ctx context.Context, s *Suite, kemOutput, info, ciphertext []byte) ([]byte, error)
	// Destroy gives the key up. A key in hardware is flushed from it. Open fails
	// after it.
	Destroy()
}

// A KeyMaker makes a new private key for a suite, in hardware if it likes.
type KeyMaker func(ctx context.Context, s *Suite) (HPKEKey, error)

// NewSoftwareKey is the [KeyMaker] of keys in memory.
func NewSoftwareKey(ctx context.Context, s *Suite) (HPKEKey, error) {
	if err := context.Cause(ctx); err != nil {
		return nil, err
	}
	k, err := s.kem.GenerateKey()
	if err != nil {
		return nil, fmt.Errorf("mls: generate key: %w", err)
	}
	return KeyFrom(k), nil
}

// KeyFrom returns the HPKEKey of a private key of package hpke. A key with a
// half in hardware comes from [hpke.NewHybridPrivateKey] or
// [hpke.NewDHKEMPrivateKey].
func KeyFrom(k hpke.PrivateKey) HPKEKey { return &memoryKey{priv: k} }

var errDestroyed = errors.New("mls: key was destroyed")

type memoryKey struct{ priv hpke.PrivateKey }

func (k *memoryKey) Public() []byte {
	if k.priv == nil {
		return nil
	}
	return k.priv.PublicKey().Bytes()
}

func (k *memoryKey) Open(ctx context.Context, s *Suite, kemOutput, info, ciphertext []byte) ([]byte, error) {
	if err := context.Cause(ctx); err != nil {
		return nil, err
	}
	if k.priv == nil {
		return nil, errDestroyed
	}
	r, err := hpke.NewRecipient(kemOutput, k.priv, s.kdf, s.aead, info)
	if err != nil {
		return nil, ErrRefused
	}
	b, err := r.Open(nil, ciphertext)
	if err != nil {
		return nil, ErrRefused
	}
	return b, nil
}

// Destroy forgets the key. Package hpke gives no access to its bytes, so they
// are left to the garbage collector.
func (k *memoryKey) Destroy() { k.priv = nil }

// String hides the key.
func (k *memoryKey) String() string { return redacted }

// GoString hides the key from the verb %#v.
func (k *memoryKey) GoString() string { return redacted }

// An hpkeCiphertext is HPKECiphertext of Section 7.6.
type hpkeCiphertext struct{ kemOutput, ciphertext []byte }

func decodeHPKECiphertext(r *reader) hpkeCiphertext {
	return hpkeCiphertext{kemOutput: r.vec(maxKey), ciphertext: r.vec(maxKey)}
}

func (c hpkeCiphertext) append(b []byte) []byte {
	return appendVec(appendVec(b, c.kemOutput), c.ciphertext)
}

// encryptInfo is EncryptContext of Section 5.1.3.
func encryptInfo(label string, context []byte) []byte {
	b := make([]byte, 0, 16+len(label)+len(context))
	b = appendVec(b, "MLS 1.0 "+label)
	return appendVec(b, context)
}

// seal is EncryptWithLabel of Section 5.1.3; info comes from encryptInfo.
func (s *Suite) seal(to hpke.PublicKey, info []byte, plaintext secret) (hpkeCiphertext, error) {
	enc, sender, err := hpke.NewSender(to, s.kdf, s.aead, info)
	if err != nil {
		return hpkeCiphertext{}, fmt.Errorf("mls: seal: %w", err)
	}
	ct, err := sender.Seal(nil, plaintext)
	if err != nil {
		return hpkeCiphertext{}, fmt.Errorf("mls: seal: %w", err)
	}
	return hpkeCiphertext{kemOutput: enc, ciphertext: ct}, nil
}

// unseal is DecryptWithLabel of Section 5.1.3. An error of the key itself, such
// as a context that is done, is passed on; a refusal is opaque.
func unseal(ctx context.Context, s *Suite, k HPKEKey, label string, info []byte, c hpkeCiphertext) (secret, error) {
	if err := context.Cause(ctx); err != nil {
		return nil, fmt.Errorf("mls: open: %w", err)
	}
	b, err := k.Open(ctx, s, c.kemOutput, encryptInfo(label, info), c.ciphertext)
	if err != nil {
		return nil, fmt.Errorf("mls: open: %w", err)
	}
	return b, nil
}

// publicKey parses a public key of the suite's KEM. Section 5.1.1 allows one
// form; points must be uncompressed and on the curve.
func (s *Suite) publicKey(b []byte) (hpke.PublicKey, error) {
	k, err := s.kem.NewPublicKey(b)
	if err != nil {
		return nil, malformed("public key of the KEM")
	}
	return k, nil
}

// A nodeKey is the key pair of a parent node. Its public half is kept in both
// forms: a hybrid one takes microseconds to encode.
type nodeKey struct {
	priv hpke.PrivateKey
	pub  hpke.PublicKey
	raw  []byte // pub, encoded
}

func newNodeKey(k hpke.PrivateKey) nodeKey {
	pub := k.PublicKey()
	return nodeKey{priv: k, pub: pub, raw: pub.Bytes()}
}

// deriveKey is KEM.DeriveKeyPair.
func (s *Suite) deriveKey(from secret) (hpke.PrivateKey, error) {
	k, err := s.kem.DeriveKeyPair(from)
	if err != nil {
		return nil, fmt.Errorf("mls: derive key pair: %w", err)
	}
	return k, nil
}
