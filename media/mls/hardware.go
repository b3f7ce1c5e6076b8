// SPDX-License-Identifier: Apache-2.0

package mls

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdh"
	"crypto/hpke"
	"errors"
	"fmt"
)

// A DHKey is a Diffie-Hellman key that may be outside the process, such as a
// P-256 key in a TPM.
type DHKey interface {
	// PublicKey returns the public key.
	PublicKey() *ecdh.PublicKey
	// ECDH returns the shared secret; for a NIST curve its X coordinate, from
	// which a TPM may have stripped leading zeros. It returns promptly once ctx
	// is done.
	ECDH(ctx context.Context, peer *ecdh.PublicKey) ([]byte, error)
	// Destroy gives the key up.
	Destroy()
}

// NewHardwareKey returns the HPKEKey of a DHKey and, for a hybrid suite, the
// ML-KEM half that goes with it; pq is nil for the others. It returns an error
// if the halves do not make a key of the suite.
func NewHardwareKey(s *Suite, pq crypto.Decapsulator, k DHKey) (HPKEKey, error) {
	h := &hardwareKey{pq: pq, key: k}
	priv, err := h.private(exchange{key: k})
	if err != nil {
		return nil, fmt.Errorf("mls: hardware key: %w", err)
	}
	if priv.KEM().ID() != s.kem.ID() {
		return nil, errors.New("mls: hardware key of another KEM")
	}
	h.public = priv.PublicKey().Bytes()
	return h, nil
}

type hardwareKey struct {
	pq     crypto.Decapsulator
	key    DHKey
	public []byte
}

func (h *hardwareKey) private(x exchange) (hpke.PrivateKey, error) {
	if h.pq != nil {
		return hpke.NewHybridPrivateKey(h.pq, x)
	}
	return hpke.NewDHKEMPrivateKey(x)
}

func (h *hardwareKey) Public() []byte { return h.public }

// Open makes a private key for this one operation, since ecdh.KeyExchanger has
// no context. An error of the hardware is returned as it is.
func (h *hardwareKey) Open(ctx context.Context, s *Suite, kemOutput, info, ciphertext []byte) ([]byte, error) {
	if h.key == nil {
		return nil, errDestroyed
	}
	var failed error
	priv, err := h.private(exchange{ctx: ctx, key: h.key, failed: &failed})
	if err != nil {
		return nil, fmt.Errorf("mls: hardware key: %w", err)
	}
	b, err := (&memoryKey{priv: priv}).Open(ctx, s, kemOutput, info, ciphertext)
	if failed != nil {
		return nil, fmt.Errorf("mls: hardware key: %w", failed)
	}
	return b, err
}

func (h *hardwareKey) Destroy() {
	if h.key != nil {
		h.key.Destroy()
	}
	h.key, h.pq = nil, nil
}

// An exchange is an ecdh.KeyExchanger for one operation.
type exchange struct {
	ctx    context.Context //nolint:containedctx // the interface it fills has no place for one
	key    DHKey
	failed *error
}

func (x exchange) PublicKey() *ecdh.PublicKey { return x.key.PublicKey() }
func (x exchange) Curve() ecdh.Curve          { return x.key.PublicKey().Curve() }

func (x exchange) ECDH(peer *ecdh.PublicKey) ([]byte, error) {
	shared, err := x.key.ECDH(x.ctx, peer)
	if err == nil && len(shared) == 0 {
		err = errors.New("empty shared secret")
	}
	if err != nil {
		*x.failed = err
		return nil, err
	}
	if size := coordinateLen(x.Curve()); len(shared) < size {
		shared = append(bytes.Repeat([]byte{0}, size-len(shared)), shared...)
	}
	return shared, nil
}

// coordinateLen returns the size of a shared secret of the curve.
func coordinateLen(c ecdh.Curve) int {
	switch c {
	case ecdh.P384():
		return 48
	case ecdh.P521():
		return 66
	}
	return 32
}
