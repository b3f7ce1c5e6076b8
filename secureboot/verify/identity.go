// SPDX-License-Identifier: Apache-2.0

package verify

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/x509"
	"slices"

	"incamera/secureboot/evidence"
)

// freshness does step 2: the answer belongs to this question, once, in time.
func (a *appraisal) freshness() {
	c, e := a.challenge, a.evidence
	if len(c.Nonce) < 8 || !bytes.Equal(e.Nonce, c.Nonce) {
		a.refuse(evidence.NonceUnknown, "the evidence answers another challenge")
	}
	if c.Used {
		a.refuse(evidence.NonceUsed, "the challenge was answered before")
	}
	limit := c.MaxAge
	if limit <= 0 {
		limit = MaxAge
	}
	// A negative age means that our own clock went back: then nothing is known.
	if age := a.now.Sub(c.Issued); age > limit || age < 0 {
		a.refuse(evidence.NonceExpired, "answered after %v, at most %v", age, limit)
	}
}

// identity does step 3: the enrolled keys of the enrolled TPM made the
// statement, for the key that it is said to be about.
func (a *appraisal) identity() {
	d, e := &a.result.Device, a.evidence
	if !bytes.Equal(e.UEID, evidence.UEID(d.EKName)) {
		a.refuse(evidence.EKMismatch, "the evidence names another TPM than the enrolled one")
	}
	if key, err := ldevid(d.LDevID); err != nil {
		a.refuse(evidence.SigInvalid, "no usable LDevID is enrolled")
	} else if e.Verify(key) != nil {
		a.refuse(evidence.SigInvalid, "not signed by the enrolled LDevID")
	}
	if !a.attestationKey() || a.attest == nil {
		return
	}
	if err := checkSignature(a.ak, e.Quote.Attest, e.Quote.Signature); err != nil {
		a.refuse(structureCode(err), "quote: %v", err)
	} else if want, err := evidence.QualifyingData(a.challenge.Nonce, a.challenge.SPKI, e.Claims); err != nil ||
		!bytes.Equal(a.attest.ExtraData.Buffer, want[:]) {
		a.refuse(evidence.SigInvalid, "the quote was made for another challenge, key or set of claims")
	} else {
		a.genuine = true
	}
	a.subject()
}

// attestationKey reports whether a quote can be checked at all.
func (a *appraisal) attestationKey() bool {
	d, e := &a.result.Device, a.evidence
	if len(d.AK) == 0 {
		a.refuse(evidence.AKUnknown, "no attestation key is enrolled")
		return false
	}
	key, name, err := parseAK(d.AK)
	if err != nil {
		a.refuse(evidence.AKTemplate, "enrolled attestation key: %v", err)
		return false
	}
	a.ak = key
	if slices.ContainsFunc(a.policy.RevokedAKs, func(revoked []byte) bool { return bytes.Equal(revoked, name) }) {
		a.refuse(evidence.AKRevoked, "the attestation key was withdrawn")
	}
	if !bytes.Equal(e.Quote.AKName, name) {
		a.refuse(evidence.AKUnknown, "quoted by another attestation key than the enrolled one")
		return false
	}
	return true
}

// subject checks the key that the statement is about: the LDevID, which was
// certified at enrolment, or one that the quote's Certify covers.
func (a *appraisal) subject() {
	d, certify := &a.result.Device, a.evidence.Quote.Certify
	if certify == nil {
		if len(d.LDevID) == 0 || !bytes.Equal(a.challenge.SPKI, d.LDevID) {
			a.refuse(evidence.SigInvalid, "nothing says that the key lives in the room's TPM")
		}
		return
	}
	if err := checkCertify(a.ak, certify, a.challenge.SPKI, d.KeyPolicy); err != nil {
		a.refuse(structureCode(err), "certified key: %v", err)
	}
}

func ldevid(spki []byte) (*ecdsa.PublicKey, error) {
	key, err := x509.ParsePKIXPublicKey(spki)
	if err != nil {
		return nil, errTemplate
	}
	k, ok := key.(*ecdsa.PublicKey)
	if !ok {
		return nil, errTemplate
	}
	return k, nil
}
