// SPDX-License-Identifier: Apache-2.0

package mls

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
)

// A SignatureScheme is a signature algorithm by its number in TLS 1.3.
type SignatureScheme uint16

// The schemes of the suites.
const (
	ECDSAP256SHA256 SignatureScheme = 0x0403
	ECDSAP384SHA384 SignatureScheme = 0x0503
	ECDSAP521SHA512 SignatureScheme = 0x0603
	Ed25519         SignatureScheme = 0x0807
)

// A Signer is the signature key of a leaf. On a room it is in the TPM.
type Signer interface {
	// Scheme returns the algorithm, which must be that of the suite.
	Scheme() SignatureScheme
	// Public returns the public key in the form of Section 5.1.1: for ECDSA the
	// uncompressed point, for Ed25519 the 32 bytes of RFC 8032.
	Public() []byte
	// Sign signs content itself, not a digest, and returns for ECDSA the DER
	// encoding. It returns promptly once ctx is done.
	Sign(ctx context.Context, content []byte) ([]byte, error)
}

// SignerFrom returns a Signer of a key in memory or in hardware: an ECDSA key
// on P-256, P-384 or P-521, or an Ed25519 key.
func SignerFrom(key crypto.Signer) (Signer, error) {
	switch pub := key.Public().(type) {
	case ed25519.PublicKey:
		return &cryptoSigner{key: key, scheme: Ed25519, public: pub}, nil
	case *ecdsa.PublicKey:
		for scheme, c := range map[SignatureScheme]elliptic.Curve{
			ECDSAP256SHA256: elliptic.P256(), ECDSAP384SHA384: elliptic.P384(), ECDSAP521SHA512: elliptic.P521(),
		} {
			if pub.Curve != c {
				continue
			}
			b, err := pub.Bytes()
			if err != nil {
				return nil, fmt.Errorf("mls: signature key: %w", err)
			}
			return &cryptoSigner{key: key, scheme: scheme, public: b}, nil
		}
	}
	return nil, errors.New("mls: no signature scheme for this key")
}

// NewSoftwareSigner makes a new key in memory.
func NewSoftwareSigner(scheme SignatureScheme) (Signer, error) {
	if scheme == Ed25519 {
		_, priv, err := ed25519.GenerateKey(rand.Reader)
		if err != nil {
			return nil, err
		}
		return SignerFrom(priv)
	}
	c, err := curve(scheme)
	if err != nil {
		return nil, err
	}
	priv, err := ecdsa.GenerateKey(c, rand.Reader)
	if err != nil {
		return nil, err
	}
	return SignerFrom(priv)
}

type cryptoSigner struct {
	key    crypto.Signer
	scheme SignatureScheme
	public []byte
}

func (k *cryptoSigner) Scheme() SignatureScheme { return k.scheme }
func (k *cryptoSigner) Public() []byte          { return k.public }

func (k *cryptoSigner) Sign(ctx context.Context, content []byte) ([]byte, error) {
	if err := context.Cause(ctx); err != nil {
		return nil, err
	}
	if k.scheme == Ed25519 {
		return k.key.Sign(rand.Reader, content, crypto.Hash(0))
	}
	h := schemeHash(k.scheme)
	d := h.New()
	d.Write(content)
	return k.key.Sign(rand.Reader, d.Sum(nil), h)
}

func curve(scheme SignatureScheme) (elliptic.Curve, error) {
	switch scheme {
	case ECDSAP256SHA256:
		return elliptic.P256(), nil
	case ECDSAP384SHA384:
		return elliptic.P384(), nil
	case ECDSAP521SHA512:
		return elliptic.P521(), nil
	case Ed25519:
	}
	return nil, fmt.Errorf("%w: signature scheme %#04x", ErrUnsupported, uint16(scheme))
}

func schemeHash(scheme SignatureScheme) crypto.Hash {
	switch scheme {
	case ECDSAP384SHA384:
		return crypto.SHA384
	case ECDSAP521SHA512:
		return crypto.SHA512
	case ECDSAP256SHA256, Ed25519:
	}
	return crypto.SHA256
}

// A verifier is a public signature key that was parsed.
type verifier struct {
	scheme SignatureScheme
	ed     ed25519.PublicKey
	ec     *ecdsa.PublicKey
}

// newVerifier parses a key in the one form that Section 5.1.1 allows: a
// compressed or hybrid point is refused.
func newVerifier(scheme SignatureScheme, public []byte) (*verifier, error) {
	if scheme == Ed25519 {
		if len(public) != ed25519.PublicKeySize {
			return nil, malformed("Ed25519 key of %d bytes", len(public))
		}
		return &verifier{scheme: scheme, ed: public}, nil
	}
	c, err := curve(scheme)
	if err != nil {
		return nil, err
	}
	key, err := ecdsa.ParseUncompressedPublicKey(c, public)
	if err != nil {
		return nil, malformed("ECDSA key is not an uncompressed point")
	}
	return &verifier{scheme: scheme, ec: key}, nil
}

// verify checks what signWithLabel made of the parts of a content (Section
// 5.1.2). For ECDSA it copies nothing: a commit may be large.
func (v *verifier) verify(label string, signature []byte, content ...[]byte) error {
	ok := false
	if v.ed != nil {
		ok = ed25519.Verify(v.ed, signContent(label, content...), signature)
	} else {
		d := schemeHash(v.scheme).New()
		d.Write(signHead(label, content))
		for _, p := range content {
			d.Write(p)
		}
		ok = ecdsa.VerifyASN1(v.ec, d.Sum(nil), signature)
	}
	if !ok {
		return ErrRefused
	}
	return nil
}

// signHead is SignContent up to the content itself.
func signHead(label string, content [][]byte) []byte {
	n := 0
	for _, p := range content {
		n += len(p)
	}
	return appendSize(appendVec(make([]byte, 0, 16+len(label)), "MLS 1.0 "+label), n)
}

// signContent is SignContent of Section 5.1.2.
func signContent(label string, content ...[]byte) []byte {
	return slices.Concat(append([][]byte{signHead(label, content)}, content...)...)
}

// signWithLabel is SignWithLabel of Section 5.1.2.
func signWithLabel(ctx context.Context, k Signer, label string, content ...[]byte) ([]byte, error) {
	if err := context.Cause(ctx); err != nil {
		return nil, fmt.Errorf("mls: sign %s: %w", label, err)
	}
	sig, err := k.Sign(ctx, signContent(label, content...))
	if err != nil {
		return nil, fmt.Errorf("mls: sign %s: %w", label, err)
	}
	if len(sig) == 0 || len(sig) > maxSignature {
		return nil, fmt.Errorf("mls: sign %s: signature of %d bytes", label, len(sig))
	}
	return sig, nil
}

// verifyWithLabel is VerifyWithLabel of Section 5.1.2.
func verifyWithLabel(s *Suite, public []byte, label string, content, signature []byte) error {
	v, err := newVerifier(s.scheme, public)
	if err != nil {
		return err
	}
	return v.verify(label, signature, content)
}
