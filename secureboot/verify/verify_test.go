// SPDX-License-Identifier: Apache-2.0

//go:build simtpm && cgo

package verify

import (
	"bytes"
	"errors"
	"testing"
	"time"

	"incamera/secureboot/evidence"
)

func TestAffirming(t *testing.T) {
	r := newRig(t)
	s := r.statement()
	result := r.appraise(s)
	wantOnly(t, result, evidence.Affirming)
	if result.Release == nil || result.Release.Version != version || result.Release.Rollback != 7 {
		t.Errorf("release %+v; want %s", result.Release, version)
	}
	if result.State == nil || result.State.ResetCount != r.device.ResetCount || len(result.State.Registers) != len(allPCRs) {
		t.Errorf("state %+v", result.State)
	}
	if age := result.Age(s.now.Add(time.Hour)); age != time.Hour {
		t.Errorf("Age = %v; want %v", age, time.Hour)
	}
	if want := (evidence.Vector{2, 2, 3, 2, 2}); result.Vector != want {
		t.Errorf("vector %v; want %v", result.Vector, want)
	}
	// About the LDevID itself, which was certified at enrolment.
	s = r.statement()
	s.challenge.SPKI, s.claims.Quote.Certify = r.device.LDevID, nil
	wantOnly(t, r.appraise(s), evidence.Affirming)
}

// TestNonce: a challenge is answered once, in time, and by what was made for it.
func TestNonce(t *testing.T) {
	r := newRig(t)
	unknown := r.statement()
	unknown.challenge.Nonce = bytes.Repeat([]byte{0x22}, 32)
	wantOnly(t, r.appraise(unknown), evidence.Contraindicated, evidence.NonceUnknown, evidence.SigInvalid)

	none := r.statement()
	none.challenge.Nonce = nil
	wantOnly(t, r.appraise(none), evidence.Contraindicated, evidence.NonceUnknown, evidence.SigInvalid)

	used := r.statement()
	used.challenge.Used = true
	wantOnly(t, r.appraise(used), evidence.Contraindicated, evidence.NonceUsed)

	for age, ok := range map[time.Duration]bool{
		0: true, MaxAge: true, MaxAge + 1: false, -1: false, // -1: our clock went back
	} {
		s := r.statement()
		s.now = noon.Add(age)
		if ok {
			wantOnly(t, r.appraise(s), evidence.Affirming)
		} else {
			wantOnly(t, r.appraise(s), evidence.Contraindicated, evidence.NonceExpired)
		}
	}
	longer := r.statement()
	longer.challenge.MaxAge, longer.now = 10*time.Minute, noon.Add(9*time.Minute)
	wantOnly(t, r.appraise(longer), evidence.Affirming)
}

// TestStaleQuote: a quote of yesterday in claims of today.
func TestStaleQuote(t *testing.T) {
	r := newRig(t)
	old := r.statement()
	old.claims.Nonce = bytes.Repeat([]byte{0x33}, 32)
	r.quote(old)
	s := r.statement()
	s.claims.Quote.Attest, s.claims.Quote.Signature = old.claims.Quote.Attest, old.claims.Quote.Signature
	result := r.appraise(s)
	wantOnly(t, result, evidence.Contraindicated, evidence.SigInvalid)
	if result.State != nil || result.Release != nil {
		t.Error("a stale quote is shown as the state of the room")
	}
}

// TestKeyBinding: a statement is worth nothing without the key that it is about.
func TestKeyBinding(t *testing.T) {
	r := newRig(t)
	other, otherSPKI := r.certify(leafTemplate())

	relayed := r.statement() // made for our leaf, presented by the holder of another key
	cmw := r.sign(relayed)
	relayed.cmw, relayed.challenge.SPKI = cmw, otherSPKI
	wantOnly(t, r.appraise(relayed), evidence.Contraindicated, evidence.SigInvalid)

	foreign := r.statement() // the certify is of another key than the quote
	foreign.claims.Quote.Certify = other
	wantOnly(t, r.appraise(foreign), evidence.Contraindicated, evidence.SigInvalid)

	uncertified := r.statement() // a key that may lie anywhere
	uncertified.claims.Quote.Certify = nil
	wantOnly(t, r.appraise(uncertified), evidence.Contraindicated, evidence.SigInvalid)

	swapped := r.statement() // the right public area beside the certify of another
	c := *other
	c.Public = r.leaf.Public
	swapped.claims.Quote.Certify = &c
	wantOnly(t, r.appraise(swapped), evidence.Contraindicated, evidence.SigInvalid)

	// A claim changed after the quote, by someone who has the LDevID.
	changed := r.statement()
	r.quote(changed)
	changed.claims.BootCount = 40
	changed.device.BootCount = 40
	wantOnly(t, r.appraise(changed), evidence.Contraindicated, evidence.SigInvalid)
}

// TestCuckoo: another chip, genuine and in the same state, answers for ours.
func TestCuckoo(t *testing.T) {
	r := newRig(t)
	home, enrolled := r, r.device
	if err := r.chip.Manufacture(); err != nil { // another chip in the same place
		t.Fatal(err)
	}
	abroad := rigOn(t, r.chip)
	abroad.ldevid = home.ldevid // stolen
	if bytes.Equal(abroad.ak.Name.Buffer, home.ak.Name.Buffer) {
		t.Fatal("the other chip is the same one")
	}
	s := abroad.statement()
	s.device = enrolled
	s.device.ResetCount, s.device.LastReset = abroad.device.ResetCount, abroad.device.LastReset
	s.claims.UEID = evidence.UEID(home.ek.Name.Buffer) // it says that it is the enrolled one
	wantOnly(t, abroad.appraise(s), evidence.Contraindicated, evidence.AKUnknown)

	named := abroad.statement() // and names the enrolled AK
	named.device = s.device
	named.claims.UEID = s.claims.UEID
	abroad.quote(named)
	named.claims.Quote.AKName = home.ak.Name.Buffer
	wantOnly(t, abroad.appraise(named), evidence.Contraindicated, evidence.SigInvalid)

	honest := abroad.statement() // and says who it is
	honest.device = s.device
	wantOnly(t, abroad.appraise(honest), evidence.Contraindicated, evidence.EKMismatch, evidence.AKUnknown)
}

// TestResetAnomaly: a reset of the TPM alone leaves the registers as they should
// be, and one reset too many.
func TestResetAnomaly(t *testing.T) {
	r := newRig(t)
	for range 3 { // starts of the whole room
		r.chip.Reset()
		r.boot(commandLine)
		r.device.BootCount, r.device.ResetCount = r.device.BootCount+1, r.device.ResetCount+1
	}
	s := r.statement()
	s.claims.BootCount = r.device.BootCount
	wantOnly(t, r.appraise(s), evidence.Affirming)

	// The attack: only the TPM is reset, then all extends are replayed.
	r.chip.Reset()
	r.boot(commandLine)
	s = r.statement()
	s.claims.BootCount = r.device.BootCount
	result := r.appraise(s)
	wantOnly(t, result, evidence.Contraindicated, evidence.ResetAnomaly)
	if result.Release == nil {
		t.Error("the registers themselves are right, and the verdict does not say so")
	}
	if result.Device.LastReset != r.device.ResetCount+1 {
		t.Errorf("LastReset = %d; want %d", result.Device.LastReset, r.device.ResetCount+1)
	}
	s.policy.ResetAnomaly = evidence.Warning // a site with many power cuts
	wantOnly(t, r.appraise(s), evidence.Warning, evidence.ResetAnomaly)

	// The next proper start does not hide it: the difference stays.
	r.chip.Reset()
	r.boot(commandLine)
	s = r.statement()
	s.claims.BootCount = r.device.BootCount + 1
	wantOnly(t, r.appraise(s), evidence.Contraindicated, evidence.ResetAnomaly)
}

// TestPeerAppraisal: a peer that has nothing but the certificate's result judges
// a fresh quote, without logs and without asking the verifier.
func TestPeerAppraisal(t *testing.T) {
	r := newRig(t)
	key := newKey(t)
	admitted := r.appraise(r.statement())
	cmw, err := evidence.SignResult(admitted, key)
	if err != nil {
		t.Fatal(err)
	}
	result, err := evidence.ParseResult(cmw, &key.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	device, references, err := FromResult(result)
	if err != nil {
		t.Fatal(err)
	}
	// An MLS leaf: another nonce, and the log replaced by its hash.
	fresh := func() *statement {
		s := r.statement()
		s.claims.Nonce = bytes.Repeat([]byte{0x44}, 32)
		s.challenge.Nonce = s.claims.Nonce
		s.afterQuote = func(q *evidence.Quote) { *q = q.Compact(r.pcrValues(allPCRs...)) }
		return s
	}
	s := fresh()
	peer := Appraise(r.sign(s), s.challenge, device, references, Policy{Minimum: 7}, s.now)
	wantOnly(t, peer, evidence.Affirming)
	if peer.Release == nil || peer.Release.Version != version {
		t.Errorf("release %+v; want %s", peer.Release, version)
	}

	// With both logs it does as well.
	s = fresh()
	s.afterQuote = nil
	wantOnly(t, Appraise(r.sign(s), s.challenge, device, references, Policy{}, s.now), evidence.Affirming)

	// Another room's challenge, and another policy.
	s = fresh()
	wantOnly(t, Appraise(r.sign(s), Challenge{Nonce: s.claims.Nonce, SPKI: device.LDevID, Issued: noon}, device, references, Policy{}, s.now),
		evidence.Contraindicated, evidence.SigInvalid)
	s = fresh()
	wantOnly(t, Appraise(r.sign(s), s.challenge, device, references, Policy{Minimum: 8}, s.now),
		evidence.Contraindicated, evidence.Rollback)

	// Something else ran since.
	r.extend(11, [32]byte{1})
	s = fresh()
	changed := Appraise(r.sign(s), s.challenge, device, references, Policy{}, s.now)
	wantOnly(t, changed, evidence.Contraindicated, evidence.RefvalMismatch)

	// False values beside the true quote.
	s = fresh()
	s.afterQuote = func(q *evidence.Quote) {
		values := r.pcrValues(allPCRs...)
		copy(values[8*32:], admitted.State.Registers[8].Value[:])
		*q = q.Compact(values)
	}
	wantOnly(t, Appraise(r.sign(s), s.challenge, device, references, Policy{}, s.now), evidence.Contraindicated, evidence.LogMismatch)

	// A verdict that refuses gives nobody anything.
	refused := admitted // the release is known, and too old
	refused.Status = evidence.Contraindicated
	for _, result := range []evidence.Result{changed, refused} {
		if _, _, err := FromResult(&result); !errors.Is(err, ErrRefused) {
			t.Errorf("FromResult of a refusal: %v; want %v", err, ErrRefused)
		}
	}
}
