// SPDX-License-Identifier: Apache-2.0

package verify

import (
	"encoding/json"
	"errors"
	"os"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/note"

	"incamera/secureboot/evidence"
)

// fixturePath is a statement of a simulated TPM with all that it was judged by,
// as release 1 wrote it. It must be admitted for ever and is never made anew.
const fixturePath = "testdata/v1/room.json"

// A fixture has no private key in it.
type fixture struct {
	Now       time.Time       `json:"now"`
	Nonce     []byte          `json:"nonce"`
	SPKI      []byte          `json:"spki"`
	Evidence  []byte          `json:"evidence"`
	Device    evidence.Device `json:"device"`
	Signer    []byte          `json:"signer"` // SubjectPublicKeyInfo
	Log       string          `json:"log"`    // key in the form of package note
	Reference []byte          `json:"reference"`
	Proof     []byte          `json:"proof"`
	Result    []byte          `json:"result"`
	ResultKey []byte          `json:"result_key"` // SubjectPublicKeyInfo
}

func loadFixture(tb testing.TB) fixture {
	tb.Helper()
	b, err := os.ReadFile(fixturePath)
	if err != nil {
		tb.Fatal(err)
	}
	var f fixture
	if err := json.Unmarshal(b, &f); err != nil {
		tb.Fatal(err)
	}
	return f
}

func (f *fixture) challenge() Challenge {
	return Challenge{Nonce: f.Nonce, SPKI: f.SPKI, Issued: f.Now.Add(-time.Second)}
}

func (f *fixture) references(tb testing.TB) References {
	tb.Helper()
	key, err := ldevid(f.Signer)
	if err != nil {
		tb.Fatal(err)
	}
	log, err := note.NewVerifier(f.Log)
	if err != nil {
		tb.Fatal(err)
	}
	refs, err := LoadReferences(Trust{Signers: []Signer{{Key: key}}, Log: []note.Verifier{log}}, Document{Signed: f.Reference, Proof: f.Proof})
	if err != nil {
		tb.Fatal(err)
	}
	return refs
}

func TestFixture(t *testing.T) {
	f := loadFixture(t)
	result := Appraise(f.Evidence, f.challenge(), f.Device, f.references(t), Policy{Minimum: 7}, f.Now)
	if result.Status != evidence.Affirming || result.Release == nil || result.Release.Version != "1.4.0" {
		t.Errorf("status %v, release %+v, failed checks %+v", result.Status, result.Release, result.Failures)
	}
	key, err := ldevid(f.ResultKey)
	if err != nil {
		t.Fatal(err)
	}
	old, err := evidence.ParseResult(f.Result, key)
	if err != nil {
		t.Fatal(err)
	}
	device, refs, err := FromResult(old)
	if err != nil {
		t.Fatal(err)
	}
	result = Appraise(f.Evidence, f.challenge(), device, refs, Policy{}, f.Now)
	if result.Status != evidence.Affirming {
		t.Errorf("by the result: status %v, failed checks %+v", result.Status, result.Failures)
	}
}

// TestPure checks that a verdict depends on the arguments alone, and that they
// come out as they went in.
func TestPure(t *testing.T) {
	f := loadFixture(t)
	refs := f.references(t)
	first := Appraise(f.Evidence, f.challenge(), f.Device, refs, Policy{}, f.Now)
	for range 3 {
		again := Appraise(f.Evidence, f.challenge(), f.Device, refs, Policy{}, f.Now)
		a, errA := json.Marshal(first)
		b, errB := json.Marshal(again)
		if err := errors.Join(errA, errB); err != nil || string(a) != string(b) {
			t.Fatalf("two verdicts on the same:\n%s\n%s\n%v", a, b, err)
		}
	}
	before, after := loadFixture(t), f
	a, errA := json.Marshal(before)
	b, errB := json.Marshal(after)
	if err := errors.Join(errA, errB); err != nil || string(a) != string(b) {
		t.Error("Appraise changed its arguments")
	}
}
