// SPDX-License-Identifier: Apache-2.0

package seal

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/rand"
	"encoding/asn1"
	"errors"
	"fmt"
	"math/big"

	"github.com/google/go-tpm/tpm2"
)

// This file is the build side: it needs signers, and no TPM.

// A Prediction is the PCR values of an image in the boot phase of a use, by PCR
// number: 11, and 7 where the customer owns the boot keys.
type Prediction struct {
	Use  Use
	PCRs map[int][32]byte
}

// A Release is what a policy key approves.
type Release struct {
	Version     uint64 // rollback number
	Generation  uint64 // n of the policy key that signs
	Predictions []Prediction
}

// MakePolicies builds policies.cbor for a product with one root whose key is at
// hand: delegations to the policy key, the first writes of floor and keygen to
// 1, and approvals. Where the root is offline, use [Delegate] and [AllowWrite]
// there, [Approve] at each build, and [Merge].
func MakePolicies(r Release, generation uint8, rootKey, policyKey crypto.Signer) ([]byte, error) {
	root, err := rootOf(generation, rootKey)
	if err != nil {
		return nil, err
	}
	policyPublic, ok := policyKey.Public().(*ecdsa.PublicKey)
	if !ok {
		return nil, errors.New("seal: policy keys are on P-256")
	}
	parts := make([]*Policies, 0, 4)
	d, err := Delegate(generation, rootKey, r.Generation, policyPublic, State, Identity, Owner)
	if err != nil {
		return nil, err
	}
	parts = append(parts, d)
	for _, use := range []Use{Floor, Keygen} {
		w, err := AllowWrite(generation, rootKey, use, 1, true)
		if err != nil {
			return nil, err
		}
		parts = append(parts, w)
	}
	a, err := Approve(r, root, policyKey)
	if err != nil {
		return nil, err
	}
	p, err := Merge(append(parts, a)...)
	if err != nil {
		return nil, err
	}
	if err := p.Verify(root); err != nil {
		return nil, err
	}
	return p.Marshal()
}

func rootOf(generation uint8, key crypto.Signer) (RootKey, error) {
	pub, ok := key.Public().(*ecdsa.PublicKey)
	if !ok {
		return RootKey{}, errors.New("seal: root keys are on P-256")
	}
	r := RootKey{Generation: generation, Key: pub}
	return r, r.check()
}

// starting is a Policies that knows root and says nothing.
func starting(root RootKey) (*Policies, error) {
	point, err := pointOf(root.Key)
	if err != nil {
		return nil, err
	}
	return &Policies{Format: 1, Roots: map[uint8][65]byte{root.Generation: point}}, nil
}

func pointOf(k *ecdsa.PublicKey) (point [65]byte, err error) {
	b, err := k.Bytes()
	if err != nil || len(b) != len(point) {
		return point, errors.New("seal: policy keys are on P-256")
	}
	copy(point[:], b)
	return point, nil
}

// Delegate signs, with a root key, that policy key n may approve for uses.
func Delegate(generation uint8, rootKey crypto.Signer, n uint64, policyKey *ecdsa.PublicKey, uses ...Use) (*Policies, error) {
	root, err := rootOf(generation, rootKey)
	if err != nil {
		return nil, err
	}
	if err := checkKey(policyKey); err != nil {
		return nil, err
	}
	p, err := starting(root)
	if err != nil {
		return nil, err
	}
	for _, use := range uses {
		d := Delegation{Use: use, Root: generation, Generation: n}
		if d.Key, err = pointOf(policyKey); err != nil {
			return nil, err
		}
		policy, err := d.policy(root)
		if err != nil {
			return nil, err
		}
		if d.Signature, err = sign(rootKey, policy, use); err != nil {
			return nil, err
		}
		p.Delegations = append(p.Delegations, d)
	}
	return p, p.check()
}

// AllowWrite signs, with a root key, that its floor or keygen may be given
// value: as the first one ever, or as a higher one.
func AllowWrite(generation uint8, rootKey crypto.Signer, use Use, value uint64, first bool) (*Policies, error) {
	root, err := rootOf(generation, rootKey)
	if err != nil {
		return nil, err
	}
	p, err := starting(root)
	if err != nil {
		return nil, err
	}
	w := Write{Use: use, Root: generation, First: first, Value: value}
	policy, err := w.policy(root)
	if err != nil {
		return nil, err
	}
	if w.Signature, err = sign(rootKey, policy, use); err != nil {
		return nil, err
	}
	p.Writes = append(p.Writes, w)
	return p, p.check()
}

// Approve signs, with a policy key, that r may open what root governs. During a
// change of roots a release is approved for both.
func Approve(r Release, root RootKey, policyKey crypto.Signer) (*Policies, error) {
	if err := root.check(); err != nil {
		return nil, err
	}
	p, err := starting(root)
	if err != nil {
		return nil, err
	}
	for _, prediction := range r.Predictions {
		a := Approval{Use: prediction.Use, Root: root.Generation, Generation: r.Generation, Version: r.Version}
		a.PCRs, a.PCRDigest = PCRDigest(prediction.PCRs)
		for i, v := range prediction.PCRs {
			// A PCR that nothing was measured into is a policy for everyone.
			if i < 0 || i > 23 || v == [32]byte{} {
				return nil, fmt.Errorf("seal: no prediction for PCR %d", i)
			}
		}
		policy, err := a.policy(root)
		if err != nil {
			return nil, err
		}
		if a.Signature, err = sign(policyKey, policy, a.Use); err != nil {
			return nil, err
		}
		p.Approvals = append(p.Approvals, a)
	}
	return p, p.check()
}

// Merge joins parts of policies.cbor that were signed in different places. Two
// different keys for one generation of roots are refused.
func Merge(parts ...*Policies) (*Policies, error) {
	p := &Policies{Format: 1, Roots: make(map[uint8][65]byte)}
	for _, part := range parts {
		for g, point := range part.Roots {
			if other, ok := p.Roots[g]; ok && other != point {
				return nil, fmt.Errorf("seal: two keys for root %d", g)
			}
			p.Roots[g] = point
		}
		p.Approvals = append(p.Approvals, part.Approvals...)
		p.Delegations = append(p.Delegations, part.Delegations...)
		p.Writes = append(p.Writes, part.Writes...)
	}
	return p, p.check()
}

func sign(key crypto.Signer, policy tpm2.TPM2BDigest, use Use) (sig Signature, err error) {
	der, err := key.Sign(rand.Reader, toSign(policy, use), crypto.SHA256)
	if err != nil {
		return sig, fmt.Errorf("seal: sign for %s: %w", use, err)
	}
	var rs struct{ R, S *big.Int }
	if rest, err := asn1.Unmarshal(der, &rs); err != nil || len(rest) != 0 || rs.R.Sign() <= 0 || rs.S.Sign() <= 0 || rs.R.BitLen() > 256 || rs.S.BitLen() > 256 {
		return sig, errors.New("seal: policy keys are on P-256")
	}
	rs.R.FillBytes(sig[:32])
	rs.S.FillBytes(sig[32:])
	return sig, nil
}
