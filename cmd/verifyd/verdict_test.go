// SPDX-License-Identifier: Apache-2.0

//go:build simtpm && cgo

package main

import (
	"bytes"
	"errors"
	"net/http"
	"testing"
	"time"

	"incamera/secureboot/attest"
	"incamera/secureboot/enrol"
	"incamera/secureboot/enrol/client"
	"incamera/secureboot/enrol/enroltest"
	"incamera/secureboot/evidence"
	"incamera/secureboot/tpm/tpmtest"
)

// TestEmptyReferencesRefuse has a verifier without reference values: it admits
// nobody, neither a new box nor a room that was good before.
func TestEmptyReferencesRefuse(t *testing.T) {
	v := enroltest.NewVendor(t)
	release := v.Release("1.4.0", 7)
	s := newTestSite(t, v)
	box := enroltest.NewBox(t, tpmtest.Simulator(t), v, release)
	m := s.member(box)
	_, err := m.Join(t.Context(), client.Ticket{Code: s.code(box, "boardroom")})
	refusal, ok := errors.AsType[*client.Refusal](err)
	if !ok {
		t.Fatalf("Join = %v, want a refusal", err)
	}
	result, err := evidence.ParseResult(refusal.Result, s.service.result.Public())
	if err != nil {
		t.Fatal(err)
	}
	if !result.Failed(evidence.RefvalMissing) || result.Status != evidence.Contraindicated {
		t.Errorf("verdict %v: %+v", result.Status, result.Failures)
	}
	if rooms, err := s.staff().Rooms(t.Context()); err != nil || len(rooms) != 0 {
		t.Errorf("rooms %v, %v; want none", rooms, err)
	}
	wantProblem(t, s.staff().Admit(t.Context(), "boardroom"), codeNotFound)

	s.release(release)
	id := s.enrol(m, box, "lobby")
	if r := attestNow(t, m, id); r.Status != evidence.Warning {
		t.Fatalf("verdict %v: %+v", r.Status, r.Failures)
	}
	err = s.service.store.update(t.Context(), func(x *txn) error {
		_, err := x.exec(`DELETE FROM refs`)
		return errors.Join(err, x.setMeta("references", []byte("gone")))
	})
	if err != nil {
		t.Fatal(err)
	}
	if r := attestNow(t, m, id); !r.Failed(evidence.RefvalMissing) || r.Status != evidence.Contraindicated {
		t.Errorf("verdict %v: %+v", r.Status, r.Failures)
	}
}

// TestRevoked withdraws a room, and a release.
func TestRevoked(t *testing.T) {
	s, box, _ := newBox(t)
	m := s.member(box)
	id := s.enrol(m, box, "boardroom")
	if err := s.staff().Revoke(t.Context(), "boardroom"); err != nil {
		t.Fatal(err)
	}
	if r := attestNow(t, m, id); !r.Failed(evidence.AKRevoked) || r.Status != evidence.Contraindicated {
		t.Errorf("verdict %v: %+v", r.Status, r.Failures)
	}
	if n := s.revoked(t, id.TLS[0], id.MLS[0]); n != 2 {
		t.Errorf("%d of the 2 certificates are revoked", n)
	}
	if _, err := m.Renew(t.Context(), id); !errors.Is(err, client.ErrRefused) {
		t.Errorf("Renew = %v, want ErrRefused", err)
	}
	again := s.member(box)
	_, err := again.Join(t.Context(), client.Ticket{Code: s.code(box, "lobby")})
	wantProblem(t, err, evidence.AKRevoked)

	// Staff think better of it.
	if err := s.staff().Admit(t.Context(), "boardroom"); err != nil {
		t.Fatal(err)
	}
	id = s.enrol(again, box, "lobby")
	if r := attestNow(t, again, id); r.Status != evidence.Warning {
		t.Errorf("verdict %v: %+v", r.Status, r.Failures)
	}
	status, body := s.do(t, "POST", "/v1/reference/1.4.0/revoke", "", s.token, nil)
	if status != http.StatusNoContent {
		t.Fatalf("status %d: %s", status, body)
	}
	if r := attestNow(t, again, id); !r.Failed(evidence.VersionRevoked) || r.Status != evidence.Contraindicated {
		t.Errorf("verdict %v: %+v", r.Status, r.Failures)
	}
}

// TestNonceOnce answers a challenge twice, late, and not at all.
func TestNonceOnce(t *testing.T) {
	s, box, _ := newBox(t)
	s.enrol(s.member(box), box, "boardroom")
	c := s.client()
	challenge, err := c.Challenge(t.Context(), enrol.ChallengeRequest{Device: "boardroom"})
	if err != nil {
		t.Fatal(err)
	}
	cmw, err := box.Attest.Evidence(t.Context(), attest.Statement{Nonce: challenge.Nonce})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Appraise(t.Context(), challenge.Session, cmw); err != nil {
		t.Fatal(err)
	}
	before := s.room()
	_, err = c.Appraise(t.Context(), challenge.Session, cmw)
	wantProblem(t, err, evidence.NonceUsed)
	_, err = c.Appraise(t.Context(), newSession(), cmw)
	wantProblem(t, err, evidence.NonceUnknown)

	late, err := c.Challenge(t.Context(), enrol.ChallengeRequest{Device: "boardroom"})
	if err != nil {
		t.Fatal(err)
	}
	err = s.service.store.update(t.Context(), func(x *txn) error {
		_, err := x.exec(`UPDATE challenges SET issued = issued - ? WHERE session = ?`, (challengeLife + time.Second).Microseconds(), late.Session)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if cmw, err = box.Attest.Evidence(t.Context(), attest.Statement{Nonce: late.Nonce}); err != nil {
		t.Fatal(err)
	}
	_, err = c.Appraise(t.Context(), late.Session, cmw)
	wantProblem(t, err, evidence.NonceExpired)
	if after := s.room(); !after.Verified.Equal(before.Verified) {
		t.Errorf("refused evidence was noted: %+v", after)
	}

	// Evidence for one challenge, sent for another: a verdict, and not a good one.
	other, err := c.Challenge(t.Context(), enrol.ChallengeRequest{Device: "boardroom"})
	if err != nil {
		t.Fatal(err)
	}
	ear, err := c.Appraise(t.Context(), other.Session, cmw)
	if err != nil {
		t.Fatal(err)
	}
	r, err := evidence.ParseResult(ear, s.service.result.Public())
	if err != nil {
		t.Fatal(err)
	}
	if !r.Failed(evidence.NonceUnknown) || r.Status != evidence.Contraindicated {
		t.Errorf("verdict %v: %+v", r.Status, r.Failures)
	}
}

// TestForeignEvidence has a stranger answer a challenge for a room: the verdict
// is told, but nothing is written down of the room, or anyone on the network
// could blacken it.
func TestForeignEvidence(t *testing.T) {
	s, box, _ := newBox(t)
	s.enrol(s.member(box), box, "boardroom")
	before := s.room()
	for _, body := range [][]byte{[]byte("garbage"), bytes.Repeat([]byte{0xa1}, 1000), {}} {
		challenge, err := s.client().Challenge(t.Context(), enrol.ChallengeRequest{Device: "boardroom"})
		if err != nil {
			t.Fatal(err)
		}
		ear, err := s.client().Appraise(t.Context(), challenge.Session, body)
		if err != nil {
			t.Fatal(err)
		}
		if r, err := evidence.ParseResult(ear, s.service.result.Public()); err != nil || r.Status != evidence.Contraindicated || !r.Failed(evidence.Malformed) {
			t.Errorf("verdict %+v, %v", r, err)
		}
	}
	if after := s.room(); after.Status != before.Status || !after.Verified.Equal(before.Verified) || !after.Since.Equal(before.Since) {
		t.Errorf("the room was %+v, and is %+v", before, after)
	}
}

// TestChallengeLimits asks too often: for one room, and for all.
func TestChallengeLimits(t *testing.T) {
	s, box, _ := newBox(t)
	s.enrol(s.member(box), box, "boardroom")
	c := s.client()
	for i := range perMinute {
		if _, err := c.Challenge(t.Context(), enrol.ChallengeRequest{Device: "boardroom"}); err != nil {
			t.Fatalf("challenge %d: %v", i+1, err)
		}
	}
	_, err := c.Challenge(t.Context(), enrol.ChallengeRequest{Device: "boardroom"})
	wantProblem(t, err, codeBusy)
	s.restart() // the limit is not forgotten
	_, err = s.client().Challenge(t.Context(), enrol.ChallengeRequest{Device: "boardroom"})
	wantProblem(t, err, codeBusy)

	now := time.Now()
	err = s.service.store.update(t.Context(), func(x *txn) error {
		_, err := x.exec(`DELETE FROM challenges`)
		for range maxChallenges {
			_, one := x.exec(`INSERT INTO challenges (session, room, nonce, profile, issued, used) VALUES (?, 'other', ?, 'identity', ?, 0)`,
				newSession(), []byte{1}, now.UnixMicro())
			err = errors.Join(err, one)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	_, err = s.client().Challenge(t.Context(), enrol.ChallengeRequest{Device: "boardroom"})
	wantProblem(t, err, codeBusy)

	_, err = s.client().Challenge(t.Context(), enrol.ChallengeRequest{Device: "nobody"})
	wantProblem(t, err, evidence.AKUnknown)
}

// TestRestartLosesNothing restarts the verifier between all steps.
func TestRestartLosesNothing(t *testing.T) {
	s, box, _ := newBox(t)
	s.restart() // reference values, checkpoint
	m := s.member(box)
	code := s.code(box, "boardroom")
	s.restart() // code, approved EK
	if _, err := m.Join(t.Context(), client.Ticket{Code: code}); !errors.Is(err, client.ErrWaiting) {
		t.Fatalf("Join = %v, want ErrWaiting", err)
	}
	s.restart() // enrolment
	if err := s.staff().Admit(t.Context(), "boardroom"); err != nil {
		t.Fatal(err)
	}
	s.restart() // admission
	id, err := m.Join(t.Context(), client.Ticket{})
	if err != nil {
		t.Fatal(err)
	}
	before := s.room()
	s.restart() // room
	if after := s.room(); !after.Since.Equal(before.Since) || after.State != enrol.StateEnrolled || after.EK != before.EK {
		t.Errorf("the room was %+v, and is %+v", before, after)
	}
	challenge, err := s.client().Challenge(t.Context(), enrol.ChallengeRequest{Device: "boardroom"})
	if err != nil {
		t.Fatal(err)
	}
	s.restart() // challenge
	cmw, err := box.Attest.Evidence(t.Context(), attest.Statement{Nonce: challenge.Nonce})
	if err != nil {
		t.Fatal(err)
	}
	ear, err := s.client().Appraise(t.Context(), challenge.Session, cmw)
	if err != nil {
		t.Fatal(err)
	}
	if r, err := client.ReadResult(ear, id.ResultKey, challenge.Nonce); err != nil || r.Status != evidence.Warning {
		t.Errorf("verdict %+v, %v", r, err)
	}
	s.restart() // that it was answered
	_, err = s.client().Appraise(t.Context(), challenge.Session, cmw)
	wantProblem(t, err, evidence.NonceUsed)
	if err := s.staff().Revoke(t.Context(), "boardroom"); err != nil {
		t.Fatal(err)
	}
	s.restart() // revocation
	if n := s.revoked(t, id.TLS[0], id.MLS[0]); n != 2 {
		t.Errorf("%d of the 2 certificates are revoked", n)
	}
	var lines []auditLine
	if err := s.service.store.update(t.Context(), func(x *txn) (err error) { lines, err = x.auditLines(); return err }); err != nil {
		t.Fatal(err)
	}
	acts := map[string]int{}
	for _, l := range lines {
		acts[l.Act]++
	}
	for _, act := range []string{"add reference values", "approve endorsement key", "make activation code", "admit", "enrol", "revoke"} {
		if acts[act] != 1 {
			t.Errorf("the audit log has %q %d times; want once: %v", act, acts[act], lines)
		}
	}
}
