// SPDX-License-Identifier: Apache-2.0

// Package verify appraises evidence: it says what a room's statement about its
// software is worth.
//
// It is a pure function of bytes, records, policy and time. It knows neither
// clock nor file nor network nor TPM; of go-tpm it uses the codec alone. The
// service around it keeps the records (which nonces are open, what was
// enrolled), the build delivers the reference values, and package evidence
// does encoding and signatures.
package verify

import (
	"crypto/ecdsa"
	"crypto/sha256"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/google/go-tpm/tpm2"

	"incamera/secureboot/evidence"
)

// MaxAge is how long a challenge stands if it does not say.
const MaxAge = 60 * time.Second

// A Challenge is what the verifier or a peer asked.
type Challenge struct {
	Nonce  []byte // 8 to 64 bytes
	SPKI   []byte // SubjectPublicKeyInfo of the key that the evidence must be about
	Issued time.Time
	MaxAge time.Duration // 0: [MaxAge]
	Used   bool          // answered before; only who keeps the challenges can know
}

// A Policy is what the site decides.
type Policy struct {
	ID               string   // of this policy, for the result
	Developer, Build string   // of the verifier, for the result
	Minimum          uint64   // lowest rollback number admitted
	RevokedVersions  []string // releases that were withdrawn
	RevokedAKs       [][]byte // TPM names of withdrawn attestation keys
	// ResetAnomaly is [evidence.Warning] or, which the zero value means, too,
	// [evidence.Contraindicated].
	ResetAnomaly evidence.Status
	// Unrooted is what a room without a hardware root of trust comes to at best:
	// [evidence.Warning], which the zero value means, too, or, where a site
	// accepts it, [evidence.Affirming]. The result names the failure either way.
	Unrooted evidence.Status
	Phase    string // boot phase that the room must have reached; "": "ready"
}

// Appraise judges a CMW record of evidence. The device is what enrolment
// recorded of the room that the challenge went to. The result lists every check
// that failed; its status is that of the worst. It is not signed.
func Appraise(cmw []byte, c Challenge, d evidence.Device, r References, p Policy, now time.Time) evidence.Result {
	a := &appraisal{challenge: c, policy: p, now: now, result: evidence.Result{
		Issued: now.UTC().Truncate(time.Second), Developer: p.Developer, Build: p.Build, PolicyID: p.ID,
		Evidence: sha256.Sum256(cmw), Device: d,
	}}
	if a.policy.Phase == "" {
		a.policy.Phase = "ready"
	}
	if a.parse(cmw) {
		a.freshness()
		a.identity()
		a.reference(r)
		a.registers()
		a.release()
		a.counters()
	}
	a.roots()
	return a.conclude()
}

// An appraisal is the state of one call of [Appraise].
type appraisal struct {
	challenge Challenge
	policy    Policy
	now       time.Time

	evidence *evidence.Evidence
	attest   *tpm2.TPMSAttest    // nil if it does not parse
	quote    *tpm2.TPMSQuoteInfo // of attest
	ak       *ecdsa.PublicKey    // nil if none is enrolled or it is not as prescribed
	genuine  bool                // the enrolled AK signed this quote for this challenge
	chosen   *reference          // nil if there is none
	measured *measured           // nil if logs and quote disagree
	matched  bool                // all registers are as the reference says

	result evidence.Result
}

// refuse records a failed check that refuses the room.
func (a *appraisal) refuse(code evidence.Code, format string, args ...any) {
	a.fail(code, evidence.Contraindicated, nil, format, args...)
}

// maxFailures bounds a result: a release and a board have fewer checks, so more
// come from a list of registers that somebody made long.
const maxFailures = 100

func (a *appraisal) fail(code evidence.Code, status evidence.Status, event *evidence.Event, format string, args ...any) {
	if len(a.result.Failures) < maxFailures {
		a.result.Failures = append(a.result.Failures, evidence.Failure{
			Code: code, Status: status, Event: event, Detail: clip(fmt.Sprintf(format, args...)),
		})
	}
}

// clip bounds a text for people and leaves only ASCII in it: parts of it may
// come from the room, through the errors of decoders.
func clip(s string) string {
	s = strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' {
			return '?'
		}
		return r
	}, s)
	if len(s) > 300 {
		s = s[:300] + "..."
	}
	return s
}

// parse does step 1: sizes, encoding, and the quote's own form. Without a
// decoded statement nothing else can be judged.
func (a *appraisal) parse(cmw []byte) bool {
	e, err := evidence.Parse(cmw)
	switch {
	case errors.Is(err, evidence.ErrTooLarge):
		a.refuse(evidence.TooLarge, "%v", err)
		return false
	case err != nil:
		a.refuse(evidence.Malformed, "%v", err)
		return false
	}
	a.evidence = e
	a.result.Nonce = e.Nonce
	attest, err := parseAttest(e.Quote.Attest, tpm2.TPMSTAttestQuote)
	if err == nil {
		a.attest = attest
		a.quote, err = attest.Attested.Quote()
	}
	if err != nil {
		a.attest, a.quote = nil, nil
		a.refuse(structureCode(err), "quote: %v", err)
	}
	return true
}

// conclude draws the sum.
func (a *appraisal) conclude() evidence.Result {
	r := &a.result
	r.Status = evidence.Affirming
	for _, f := range r.Failures {
		r.Status = max(r.Status, f.Status)
	}
	if a.genuine {
		clock := a.attest.ClockInfo
		r.State = &evidence.State{
			ResetCount: clock.ResetCount, RestartCount: clock.RestartCount, Safe: clock.Safe,
			BootCount: a.evidence.BootCount,
		}
		if a.measured != nil && a.chosen != nil {
			r.State.Registers = a.measured.judged(a.chosen.values.Profile.Rules)
		}
		r.Device.LastReset = max(r.Device.LastReset, clock.ResetCount)
	}
	if a.matched && a.genuine {
		v := a.chosen.values
		r.Release = &evidence.Release{
			Version: v.Version, Rollback: v.Rollback, FirstStage: v.Profile.FirstStage, VerifiedBy: v.Profile.VerifiedBy,
		}
	}
	r.Vector = a.vector()
	return *r
}
