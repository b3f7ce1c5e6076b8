// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"crypto"
	"crypto/sha256"
	"crypto/x509"
	"slices"
	"sync/atomic"
	"time"

	"incamera/media/e2ee"
	"incamera/secureboot/enrol/client"
	"incamera/secureboot/evidence"
	"incamera/secureboot/verify"
)

// An appraiser implements [e2ee.Appraiser] with what the room has of its site:
// the verifier's result in the other room's certificate says which registers
// were judged good, and the fresh quote must show the same. No verifier need be
// reachable.
type appraiser struct {
	resultKey crypto.PublicKey
	revoked   atomic.Pointer[client.Revocations] // nil until a list was fetched
}

// Bound implements [e2ee.Appraiser].
func (a *appraiser) Bound(cmw []byte, binding [32]byte) bool {
	e, err := evidence.Parse(cmw)
	return err == nil && bytes.Equal(e.Nonce, binding[:])
}

// Appraise implements [e2ee.Appraiser].
func (a *appraiser) Appraise(chain [][]byte, cmw []byte, binding [32]byte) e2ee.Verdict {
	cert, err := x509.ParseCertificate(chain[0])
	if err != nil {
		return contraindicated(evidence.Malformed, "certificate")
	}
	policy := verify.Policy{ID: "room", Developer: "In Camera", Build: version, ResetAnomaly: evidence.Warning}
	if r := a.revoked.Load(); r != nil {
		if slices.Contains(r.Certificates, sha256.Sum256(cert.Raw)) {
			v := contraindicated(evidence.AKRevoked, "the site has withdrawn the room's certificate")
			v.Revoked = true
			return v
		}
		policy.RevokedAKs, policy.RevokedVersions = r.AKs, r.Versions
	}
	statement, err := evidence.FromCertificate(cert)
	if err != nil {
		return contraindicated(evidence.AKUnknown, "the certificate carries no verdict of the site")
	}
	result, err := evidence.ParseResult(statement, a.resultKey)
	if err != nil {
		return contraindicated(evidence.SigInvalid, "the verdict in the certificate is not the site's")
	}
	device, references, err := verify.FromResult(result)
	if err != nil {
		return contraindicated(evidence.RefvalMissing, err.Error())
	}
	if result.Status == evidence.Affirming {
		policy.Unrooted = evidence.Affirming // as the site has decided
	}
	now := time.Now()
	fresh := verify.Appraise(cmw, verify.Challenge{
		// How old the evidence is follows from the epoch that binding names.
		Nonce: binding[:], SPKI: cert.RawSubjectPublicKeyInfo, Issued: now,
	}, device, references, policy, now)
	return verdict(&fresh)
}

func contraindicated(code evidence.Code, detail string) e2ee.Verdict {
	return e2ee.Verdict{Tier: e2ee.Contraindicated, Reason: string(code), Detail: detail}
}

// verdict is a result in the words of a meeting.
func verdict(r *evidence.Result) e2ee.Verdict {
	v := e2ee.Verdict{Tier: e2ee.Contraindicated, Revoked: r.Failed(evidence.AKRevoked)}
	switch r.Status {
	case evidence.Affirming:
		v.Tier = e2ee.Affirming
	case evidence.Warning:
		v.Tier = e2ee.Warning
	case evidence.Contraindicated, evidence.None:
	}
	if r.Release != nil {
		v.Release = r.Release.Version
	}
	var worst evidence.Status
	for _, f := range r.Failures { // the first of the worst
		if f.Status > worst {
			worst, v.Reason, v.Detail = f.Status, string(f.Code), f.Detail
		}
	}
	return v
}
