// SPDX-License-Identifier: Apache-2.0

//go:build simtpm && cgo

package verify

import (
	"bytes"
	"crypto/sha256"
	"slices"
	"testing"

	"github.com/google/go-tpm/tpm2"

	"incamera/secureboot/evidence"
)

// A refusal is one way to fail a check.
type refusal struct {
	name   string
	code   evidence.Code
	status evidence.Status // None: Contraindicated
	also   []evidence.Code // what must fail with it
	change func(r *rig, s *statement)
}

// refusals has the table of codes and tests: at least one row for each code.
func refusals(r *rig) []refusal {
	unquoted := func(f func(*statement)) func(*rig, *statement) { return func(_ *rig, s *statement) { f(s) } }
	quoted := func(f func(*evidence.Quote)) func(*rig, *statement) {
		return func(_ *rig, s *statement) { s.afterQuote = f }
	}
	return []refusal{
		{"no CBOR", evidence.Malformed, 0, nil, unquoted(func(s *statement) { s.cmw = []byte("hello") })},
		{"nothing", evidence.Malformed, 0, nil, unquoted(func(s *statement) { s.cmw = []byte{} })},
		{"trailing byte", evidence.Malformed, 0, nil, unquoted(func(s *statement) {
			s.afterSign = func(b []byte) []byte { return append(b, 0) }
		})},
		{"over the limit", evidence.TooLarge, 0, nil, unquoted(func(s *statement) { s.cmw = make([]byte, evidence.MaxCMW+1) })},
		{"trailing byte in the quote", evidence.Malformed, 0, []evidence.Code{evidence.SigInvalid}, func(r *rig, s *statement) {
			s.afterQuote = func(q *evidence.Quote) { q.Attest = append(bytes.Clone(q.Attest), 0) }
			s.challenge.SPKI, s.claims.Quote.Certify = r.leafSPKI, nil
			s.device.LDevID = nil
		}},
		{"quote of another type", evidence.Malformed, 0, nil, quoted(func(q *evidence.Quote) { q.Attest = r.leaf.Attest })},
		{"trailing byte in the signature", evidence.Malformed, 0, nil, quoted(func(q *evidence.Quote) {
			q.Signature = append(bytes.Clone(q.Signature), 0)
		})},
		{"magic", evidence.MagicInvalid, 0, nil, quoted(func(q *evidence.Quote) { q.Attest = flip(q.Attest, 0) })},
		{"magic of the certify", evidence.MagicInvalid, 0, nil, quoted(func(q *evidence.Quote) {
			q.Certify = &evidence.Certify{Attest: flip(r.leaf.Attest, 0), Signature: r.leaf.Signature, Public: r.leaf.Public}
		})},

		{"other nonce", evidence.NonceUnknown, 0, []evidence.Code{evidence.SigInvalid}, unquoted(func(s *statement) {
			s.challenge.Nonce = bytes.Repeat([]byte{9}, 32)
		})},
		{"too late", evidence.NonceExpired, 0, nil, unquoted(func(s *statement) { s.now = noon.Add(MaxAge + 1) })},
		{"twice", evidence.NonceUsed, 0, nil, unquoted(func(s *statement) { s.challenge.Used = true })},

		{"no certificate of the EK", evidence.EKUntrusted, evidence.Warning, nil, unquoted(func(s *statement) { s.device.EKCertified = false })},
		{"another EK", evidence.EKMismatch, 0, nil, unquoted(func(s *statement) { s.device.EKName = []byte("another") })},
		{"no AK", evidence.AKUnknown, 0, nil, unquoted(func(s *statement) { s.device.AK = nil })},
		{"another AK named", evidence.AKUnknown, 0, nil, quoted(func(q *evidence.Quote) { q.AKName = []byte("another") })},
		{"AK withdrawn", evidence.AKRevoked, 0, nil, unquoted(func(s *statement) {
			s.policy.RevokedAKs = [][]byte{[]byte("another"), r.ak.Name.Buffer}
		})},
		{"AK that signs anything", evidence.AKTemplate, 0, nil, unquoted(func(s *statement) {
			loose := r.ak.Public
			loose.ObjectAttributes.Restricted = false
			s.device.AK = tpm2.Marshal(loose)
		})},
		{"AK that can leave the TPM", evidence.AKTemplate, 0, nil, unquoted(func(s *statement) {
			loose := r.ak.Public
			loose.ObjectAttributes.FixedTPM = false
			s.device.AK = tpm2.Marshal(loose)
		})},
		{"AK that is an EK", evidence.AKTemplate, 0, nil, unquoted(func(s *statement) { s.device.AK = tpm2.Marshal(r.ek.Public) })},
		{"leaf that a password opens", evidence.AKTemplate, 0, nil, func(r *rig, s *statement) {
			open := leafTemplate()
			open.ObjectAttributes.UserWithAuth = true
			s.claims.Quote.Certify, s.challenge.SPKI = r.certify(open)
		}},
		{"leaf without a policy", evidence.AKTemplate, 0, nil, func(r *rig, s *statement) {
			open := leafTemplate()
			open.AuthPolicy = tpm2.TPM2BDigest{}
			s.claims.Quote.Certify, s.challenge.SPKI = r.certify(open)
			s.device.KeyPolicy = nil
		}},
		{"leaf of another policy", evidence.AKTemplate, 0, nil, unquoted(func(s *statement) {
			s.device.KeyPolicy = bytes.Repeat([]byte{1}, 32)
		})},

		{"quote's signature", evidence.SigInvalid, 0, nil, quoted(func(q *evidence.Quote) {
			q.Signature = flip(q.Signature, len(q.Signature)-1)
		})},
		{"signature of another scheme", evidence.SigInvalid, 0, nil, quoted(func(q *evidence.Quote) { q.Signature = flip(q.Signature, 1) })},
		{"signature over another hash", evidence.SigInvalid, 0, nil, quoted(func(q *evidence.Quote) { q.Signature = flip(q.Signature, 3) })},
		{"certify's signature", evidence.SigInvalid, 0, nil, quoted(func(q *evidence.Quote) {
			q.Certify = &evidence.Certify{Attest: r.leaf.Attest, Signature: flip(r.leaf.Signature, 20), Public: r.leaf.Public}
		})},
		{"LDevID", evidence.SigInvalid, 0, nil, func(r *rig, s *statement) { s.device.LDevID = spki(r.tb, &newKey(r.tb).PublicKey) }},
		{"no LDevID", evidence.SigInvalid, 0, nil, unquoted(func(s *statement) { s.device.LDevID = nil })},

		{"SHA-1 bank", evidence.PCRBank, 0, nil, unquoted(func(s *statement) { s.selection = selection(tpm2.TPMAlgSHA1, allPCRs...) })},
		{"two banks", evidence.PCRBank, 0, nil, unquoted(func(s *statement) {
			s.selection.PCRSelections = append(s.selection.PCRSelections, selection(tpm2.TPMAlgSHA1, 0).PCRSelections...)
		})},
		{"a register missing", evidence.PCRBank, 0, nil, unquoted(func(s *statement) {
			s.selection = selection(tpm2.TPMAlgSHA256, allPCRs[:10]...)
		})},
		{"a register more", evidence.PCRBank, 0, nil, unquoted(func(s *statement) {
			s.selection = selection(tpm2.TPMAlgSHA256, append([]int{9}, allPCRs...)...)
		})},
		{"register that nobody measured", evidence.PCRUnmeasured, 0, nil, func(_ *rig, s *statement) {
			s.values.Profile.Rules = append(slices.Clone(s.values.Profile.Rules[:8]), evidence.Rule{PCR: 9, Word: evidence.Any})
			s.values.Profile.Rules = append(s.values.Profile.Rules, evidence.DefaultRules()[8:]...)
			s.selection = selection(tpm2.TPMAlgSHA256, append([]int{9}, allPCRs...)...)
		}},

		{"log that does not parse", evidence.LogMalformed, 0, nil, unquoted(func(s *statement) { s.claims.Quote.Log = []byte("log") })},
		{"phases that do not parse", evidence.LogMalformed, 0, nil, unquoted(func(s *statement) { s.claims.Quote.Phases = []byte("log") })},
		{"log without an event", evidence.LogMismatch, 0, nil, func(r *rig, s *statement) {
			l := *r.firmware
			l.Events = l.Events[1:]
			s.claims.Quote.Log = l.Encode()
		}},
		{"no phases", evidence.LogMismatch, 0, nil, unquoted(func(s *statement) { s.claims.Quote.Phases = nil })},
		{"values of other registers", evidence.LogMismatch, 0, nil, quoted(func(q *evidence.Quote) {
			*q = q.Compact(make([]byte, 32*len(allPCRs)))
		})},
		{"values of too few registers", evidence.LogMismatch, 0, nil, quoted(func(q *evidence.Quote) { *q = q.Compact(make([]byte, 32)) })},

		{"no references", evidence.RefvalMissing, 0, nil, unquoted(func(s *statement) { s.noValues = true })},
		{"references of another release", evidence.RefvalMissing, 0, nil, unquoted(func(s *statement) { s.values.Version = "1.4.1" })},
		{"references of another board", evidence.RefvalMissing, 0, nil, unquoted(func(s *statement) { s.values.Board = "imx8mp" })},
		{"another board claimed", evidence.RefvalMismatch, 0, nil, unquoted(func(s *statement) { s.claims.Board = "imx8mp" })},
		{"another image", evidence.RefvalMismatch, 0, nil, unquoted(func(s *statement) { s.values.Phases = otherPhases(s.values.Phases) })},
		{"another phase", evidence.RefvalMismatch, 0, nil, unquoted(func(s *statement) { s.policy.Phase = "sysinit" })},
		{"an event that is not listed", evidence.RefvalMismatch, 0, nil, unquoted(func(s *statement) { s.values.Events = s.values.Events[1:] })},
		{"a value that is not listed", evidence.RefvalMismatch, 0, nil, unquoted(func(s *statement) { s.values.Values = s.values.Values[1:] })},
		{"another system identity", evidence.RefvalMismatch, 0, nil, unquoted(func(s *statement) { s.device.PCR15[0] ^= 1 })},
		{"touched, but must not be", evidence.RefvalMismatch, 0, nil, unquoted(func(s *statement) {
			s.values.Profile.Rules = slices.Clone(s.values.Profile.Rules)
			s.values.Profile.Rules[1].Word = evidence.Zero
		})},
		{"events without their log", evidence.RefvalMismatch, 0, nil, func(r *rig, s *statement) {
			s.afterQuote = func(q *evidence.Quote) { *q = q.Compact(r.pcrValues(allPCRs...)) }
		}},
		{"references not in the log", evidence.RefvalUnlogged, 0, nil, unquoted(func(s *statement) { s.noProof = true })},
		{"proof of another document", evidence.RefvalUnlogged, 0, nil, func(r *rig, s *statement) { s.proof = r.prove([]byte("another")) }},
		{"checkpoint of another log", evidence.RefvalUnlogged, 0, nil, unquoted(func(s *statement) { s.trust.Log = nil })},

		{"release withdrawn", evidence.VersionRevoked, 0, nil, unquoted(func(s *statement) { s.policy.RevokedVersions = []string{version} })},
		{"below the minimum", evidence.Rollback, 0, nil, unquoted(func(s *statement) { s.policy.Minimum = 8 })},
		{"debugging claimed", evidence.DebugImage, 0, nil, unquoted(func(s *statement) { s.claims.Debug = evidence.DebugEnabled })},
		{"signer for developers", evidence.DebugImage, 0, nil, unquoted(func(s *statement) { s.trust.Signers[0].Debug = true })},

		{"a reset too many", evidence.ResetAnomaly, 0, nil, unquoted(func(s *statement) { s.device.BootCount++ })},
		{"a reset too many, tolerated", evidence.ResetAnomaly, evidence.Warning, nil, unquoted(func(s *statement) {
			s.device.BootCount++
			s.policy.ResetAnomaly = evidence.Warning
		})},
		{"resets forgotten", evidence.TPMCleared, 0, nil, unquoted(func(s *statement) { s.device.LastReset++ })},
		{"soft TPM", evidence.HWUnrooted, evidence.Warning, nil, unquoted(func(s *statement) { s.device.Soft = true })},
		{"first stage unverified", evidence.HWUnrooted, evidence.Warning, nil, unquoted(func(s *statement) { s.values.Profile.VerifiedBy = "" })},
	}
}

func flip(b []byte, i int) []byte {
	b = bytes.Clone(b)
	b[i] ^= 1
	return b
}

func otherPhases(phases []evidence.Phase) []evidence.Phase {
	var all []evidence.Phase
	for _, p := range phases {
		p.PCR11 = sha256.Sum256(p.PCR11[:])
		all = append(all, p)
	}
	return all
}

func TestCodes(t *testing.T) {
	r := newRig(t)
	rows := refusals(r)
	covered := map[evidence.Code]bool{
		evidence.CodeInvalid: true, evidence.NotAdmitted: true, // of the verifier's protocol, not of a verdict
	}
	for _, row := range rows {
		covered[row.code] = true
		t.Run(string(row.code)+"/"+row.name, func(t *testing.T) {
			outer := r.tb
			r.tb = t
			defer func() { r.tb = outer }()
			s := r.statement()
			row.change(r, s)
			status := row.status
			if status == evidence.None {
				status = evidence.Contraindicated
			}
			wantOnly(t, r.appraise(s), status, append(row.also, row.code)...)
		})
	}
	for _, c := range evidence.Codes() {
		if !covered[c] {
			t.Errorf("no row for %s", c)
		}
	}
}

// TestResumed: a TPM that was shut down with its state saved and resumed has
// counted a restart.
func TestResumed(t *testing.T) {
	r := newRig(t)
	s := r.statement()
	r.quote(s)
	// Rooms never suspend, so what a resumed TPM would say is written by hand
	// and signed by nobody: the check must fire beside that of the signature.
	s.afterQuote = func(q *evidence.Quote) {
		attest, err := parseAttest(q.Attest, tpm2.TPMSTAttestQuote)
		if err != nil {
			t.Fatal(err)
		}
		attest.ClockInfo.RestartCount = 1
		q.Attest = tpm2.Marshal(attest)
	}
	wantOnly(t, r.appraise(s), evidence.Contraindicated, evidence.SigInvalid, evidence.ResetAnomaly)
}

// TestEveryFailure: a verdict does not stop at the first check.
func TestEveryFailure(t *testing.T) {
	r := newRig(t)
	s := r.statement()
	s.challenge.Used = true
	s.device.EKName = []byte("another")
	s.device.Soft = true
	s.policy.Minimum = 9
	s.values.Events = s.values.Events[1:]
	s.noProof = true
	s.device.LastReset++
	wantOnly(t, r.appraise(s), evidence.Contraindicated, evidence.NonceUsed, evidence.EKMismatch, evidence.HWUnrooted,
		evidence.Rollback, evidence.RefvalMismatch, evidence.RefvalUnlogged, evidence.TPMCleared)
}
