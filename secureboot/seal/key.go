// SPDX-License-Identifier: Apache-2.0

package seal

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"encoding/asn1"
	"errors"
	"fmt"
	"io"
	"math/big"
	"sync"

	"github.com/google/go-tpm/tpm2"
	"github.com/google/go-tpm/tpm2/transport"

	"incamera/secureboot/tpm"
)

// A KeyBlob is a signing key. It loads only in the TPM that made it, and is
// public otherwise.
type KeyBlob struct{ object }

// Use returns what the key is for.
func (b KeyBlob) Use() Use { return b.use }

// Public returns the key's public half.
func (b KeyBlob) Public() (*ecdsa.PublicKey, error) { return b.ecdsa() }

// NewKey makes a P-256 signing key under srk, which signs only while root and
// the policy keys that it delegates to approve for use.
func NewKey(ctx context.Context, t transport.TPM, srk tpm.Key, root RootKey, use Use) (KeyBlob, error) {
	policy, err := objectPolicy(root, use)
	if err != nil {
		return KeyBlob{}, err
	}
	o, err := create(ctx, t, srk, use, keyTemplate(policy), nil)
	if err != nil {
		return KeyBlob{}, err
	}
	return KeyBlob{o}, nil
}

// A SigningKey signs in the TPM, each signature under the key's policy in a
// session of its own. It is a [crypto.Signer] for SHA-256 digests and may be
// shared by goroutines. The key is in the TPM only while it signs: a TPM has
// three slots.
type SigningKey struct {
	tpm      transport.TPM
	srk      tpm.Key
	blob     KeyBlob
	policies *Policies
	public   *ecdsa.PublicKey

	mu     sync.Mutex
	notary notary
}

// OpenKey returns the signer for a key. It sends nothing to the TPM: whether
// the policy holds is known when something is signed.
func OpenKey(t transport.TPM, srk tpm.Key, blob KeyBlob, p *Policies) (*SigningKey, error) {
	pub, err := blob.Public()
	if err != nil {
		return nil, err
	}
	if _, err := p.chains(blob.use, blob.public.AuthPolicy); err != nil {
		return nil, err
	}
	return &SigningKey{tpm: t, srk: srk, blob: blob, policies: p, public: pub}, nil
}

// Public returns the key's public half, an [*ecdsa.PublicKey].
func (k *SigningKey) Public() crypto.PublicKey { return k.public }

// TPMPublic returns the key's public area, whose name TPM2_Certify attests.
func (k *SigningKey) TPMPublic() tpm2.TPMTPublic { return k.blob.public }

// Sign is [SigningKey.SignContext] without a way to stop it. Randomness comes
// from the TPM; the reader is not used.
func (k *SigningKey) Sign(_ io.Reader, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
	if opts == nil || opts.HashFunc() != crypto.SHA256 {
		return nil, errors.New("seal: the key signs SHA-256 digests")
	}
	return k.SignContext(context.Background(), digest)
}

// SignContext signs a SHA-256 digest and returns the ASN.1 form of ECDSA
// signatures. It takes 12 TPM commands the first time and 8 after that, and
// three or one to tidy up. The error of a refusal is an [Error].
func (k *SigningKey) SignContext(ctx context.Context, digest []byte) ([]byte, error) {
	if len(digest) != crypto.SHA256.Size() {
		return nil, fmt.Errorf("seal: digest of %d bytes", len(digest))
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	var sig []byte
	err := k.blob.perform(ctx, k.tpm, k.srk, k.policies, &k.notary, func(t transport.TPM, h tpm2.AuthHandle) error {
		rsp, err := tpm2.Sign{
			KeyHandle:  h,
			Digest:     tpm2.TPM2BDigest{Buffer: digest},
			Validation: tpm2.TPMTTKHashCheck{Tag: tpm2.TPMSTHashCheck},
		}.Execute(t)
		if err != nil {
			return refusal(atSign, err)
		}
		sig, err = k.encode(digest, rsp.Signature)
		return refusal(atSign, err)
	})
	if err != nil {
		return nil, err
	}
	return sig, nil
}

// encode checks what the TPM made, so that a fault in it gives no signature
// from which the key could be computed.
func (k *SigningKey) encode(digest []byte, s tpm2.TPMTSignature) ([]byte, error) {
	ecc, err := s.Signature.ECDSA()
	if err != nil {
		return nil, fmt.Errorf("seal: signature: %w", err)
	}
	r, v := new(big.Int).SetBytes(ecc.SignatureR.Buffer), new(big.Int).SetBytes(ecc.SignatureS.Buffer)
	if !ecdsa.Verify(k.public, digest, r, v) {
		return nil, errors.New("seal: the TPM made a wrong signature")
	}
	sig, err := asn1.Marshal(struct{ R, S *big.Int }{r, v})
	if err != nil {
		return nil, fmt.Errorf("seal: signature: %w", err)
	}
	return sig, nil
}

// Loaded runs f while the key is in the TPM, for TPM2_Certify, which needs no
// policy. f has the TPM for itself and sends by the transport that it is given.
func (k *SigningKey) Loaded(ctx context.Context, f func(t transport.TPM, key tpm.Key) error) error {
	return tpm.Exclusive(ctx, k.tpm, func(t transport.TPM) error {
		return k.blob.load(ctx, t, k.srk, func(key tpm.Key) error { return f(bounded{ctx, t}, key) })
	})
}
