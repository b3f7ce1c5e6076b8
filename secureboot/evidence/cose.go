// SPDX-License-Identifier: Apache-2.0

package evidence

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"fmt"

	"github.com/veraison/go-cose"
)

// A sign1 is a COSE_Sign1 (RFC 9052, Section 4.2) in the one form used here:
// ES256, no unprotected header.
type sign1 struct {
	message cose.Sign1Message
}

// sign signs payload. The signer's key is on P-256 and may be in a TPM: it
// returns DER. Header is protected; the algorithm is added to it.
func sign(payload []byte, header cose.ProtectedHeader, key crypto.Signer) ([]byte, error) {
	if err := p256(key.Public()); err != nil {
		return nil, err
	}
	signer, err := cose.NewSigner(cose.AlgorithmES256, key)
	if err != nil {
		return nil, fmt.Errorf("evidence: signer: %w", err)
	}
	if header == nil {
		header = cose.ProtectedHeader{}
	}
	header.SetAlgorithm(cose.AlgorithmES256)
	m := cose.Sign1Message{Headers: cose.Headers{Protected: header}, Payload: payload}
	if err := m.Sign(rand.Reader, nil, signer); err != nil {
		return nil, fmt.Errorf("evidence: sign: %w", err)
	}
	b, err := m.MarshalCBOR()
	if err != nil {
		return nil, fmt.Errorf("evidence: encode: %w", err)
	}
	return b, nil
}

// parseSign1 reads b, at most limit bytes, and verifies nothing.
func parseSign1(b []byte, limit int) (*sign1, error) {
	if len(b) > limit {
		return nil, ErrTooLarge
	}
	// Strictly first: go-cose takes indefinite lengths and long integers.
	var outer struct {
		_                  struct{} `cbor:",toarray"`
		Protected          []byte
		Unprotected        struct{}
		Payload, Signature []byte
	}
	if !bytes.HasPrefix(b, []byte{0xd2}) { // tag 18
		return nil, fmt.Errorf("%w: no COSE_Sign1", ErrMalformed)
	}
	if err := decode(decoder, b[1:], limit, &outer); err != nil {
		return nil, err
	}
	if len(outer.Signature) != 64 || len(outer.Payload) == 0 || len(outer.Protected) > 1<<10 {
		return nil, fmt.Errorf("%w: no COSE_Sign1 with ES256", ErrMalformed)
	}
	s := new(sign1)
	if err := s.message.UnmarshalCBOR(b); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	again, err := s.message.Headers.Protected.MarshalCBOR()
	if err != nil || !bytes.Equal(again, s.message.Headers.RawProtected) {
		return nil, fmt.Errorf("%w: protected header", ErrMalformed)
	}
	if alg, err := s.message.Headers.Protected.Algorithm(); err != nil || alg != cose.AlgorithmES256 {
		return nil, fmt.Errorf("%w: not ES256", ErrMalformed)
	}
	return s, nil
}

// verify checks the signature under key.
func (s *sign1) verify(key crypto.PublicKey) error {
	if err := p256(key); err != nil {
		return err
	}
	v, err := cose.NewVerifier(cose.AlgorithmES256, key)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrSignature, err)
	}
	if err := s.message.Verify(nil, v); err != nil {
		return ErrSignature
	}
	return nil
}

// p256 refuses what ES256 is not defined for in this project.
func p256(key crypto.PublicKey) error {
	if k, ok := key.(*ecdsa.PublicKey); !ok || k.Curve != elliptic.P256() {
		return fmt.Errorf("%w: the key is not on P-256", ErrSignature)
	}
	return nil
}
