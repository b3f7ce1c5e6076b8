// SPDX-License-Identifier: Apache-2.0

package update

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"fmt"

	"github.com/veraison/go-cose"
)

// A manifest is signed as COSE_Sign (RFC 9052, Section 4.1), which holds several
// signatures: the first is ES256 by the bundle key and decides. Others, by
// post-quantum algorithms, may stand beside it; this release carries and does
// not judge them.
const (
	contentType   = "application/vnd.in-camera.bundle+cbor"
	tagSign       = 0xd8 // 98 in two bytes
	maxSignatures = 4
	maxSignature  = 64 << 10 // bytes; SLH-DSA has the longest, 49,856
)

// sign returns the signed manifest. The key is ECDSA on P-256.
func sign(payload []byte, key crypto.Signer) ([]byte, error) {
	if err := p256(key.Public()); err != nil {
		return nil, err
	}
	signer, err := cose.NewSigner(cose.AlgorithmES256, key)
	if err != nil {
		return nil, fmt.Errorf("update: signer: %w", err)
	}
	s := cose.NewSignature()
	s.Headers.Protected.SetAlgorithm(cose.AlgorithmES256)
	m := cose.NewSignMessage()
	m.Headers.Protected[cose.HeaderLabelContentType] = contentType
	m.Payload, m.Signatures = payload, []*cose.Signature{s}
	if err := m.Sign(rand.Reader, nil, signer); err != nil {
		return nil, fmt.Errorf("update: sign: %w", err)
	}
	b, err := m.MarshalCBOR()
	if err == nil && len(b) > MaxManifest {
		err = refuse(TooLarge, "signed manifest of %d bytes", len(b))
	}
	return b, err
}

type wireSignature struct {
	_           struct{} `cbor:",toarray"`
	Protected   []byte
	Unprotected struct{}
	Signature   []byte
}

type wireSign struct {
	_           struct{} `cbor:",toarray"`
	Protected   []byte
	Unprotected struct{}
	Payload     []byte
	Signatures  []wireSignature
}

// open verifies a signed manifest and returns it.
func open(b []byte, key crypto.PublicKey) (*Manifest, error) {
	if len(b) > MaxManifest {
		return nil, refuse(TooLarge, "signed manifest of %d bytes", len(b))
	}
	if err := p256(key); err != nil {
		return nil, err
	}
	// Strictly first: go-cose takes indefinite lengths and long integers.
	var outer wireSign
	if !bytes.HasPrefix(b, []byte{tagSign, 98}) {
		return nil, refuse(Malformed, "no COSE_Sign")
	}
	if err := decode(b[2:], &outer); err != nil {
		return nil, refuse(Malformed, "COSE_Sign: %w", err)
	}
	body, err := protected(cose.ProtectedHeader{cose.HeaderLabelContentType: contentType})
	if err != nil {
		return nil, err
	}
	es256 := cose.ProtectedHeader{}
	es256.SetAlgorithm(cose.AlgorithmES256)
	head, err := protected(es256)
	if err != nil {
		return nil, err
	}
	if n := len(outer.Signatures); n < 1 || n > maxSignatures || !bytes.Equal(outer.Protected, body) || len(outer.Payload) == 0 {
		return nil, refuse(Malformed, "COSE_Sign with %d signatures", n)
	}
	for i, s := range outer.Signatures {
		if isES256 := bytes.Equal(s.Protected, head); isES256 != (i == 0) || len(s.Signature) > maxSignature || isES256 && len(s.Signature) != 64 {
			return nil, refuse(Malformed, "signature %d of the manifest", i)
		}
	}
	m := cose.NewSignMessage()
	if err := m.UnmarshalCBOR(b); err != nil {
		return nil, refuse(Malformed, "COSE_Sign: %w", err)
	}
	v, err := cose.NewVerifier(cose.AlgorithmES256, key)
	if err != nil {
		return nil, fmt.Errorf("update: bundle key: %w", err)
	}
	if err := m.Signatures[0].Verify(v, m.Headers.RawProtected, m.Payload, nil); err != nil {
		return nil, refuse(SigInvalid, "manifest: signature does not verify")
	}
	return parseManifest(m.Payload)
}

// protected returns a protected header as the bytes inside its byte string.
func protected(h cose.ProtectedHeader) ([]byte, error) {
	b, err := h.MarshalCBOR()
	if err != nil {
		return nil, fmt.Errorf("update: header: %w", err)
	}
	var inner []byte
	if err := decoder.Unmarshal(b, &inner); err != nil {
		return nil, fmt.Errorf("update: header: %w", err)
	}
	return inner, nil
}

func p256(key crypto.PublicKey) error {
	if k, ok := key.(*ecdsa.PublicKey); !ok || k.Curve != elliptic.P256() {
		return fmt.Errorf("update: the bundle key is not on P-256")
	}
	return nil
}
