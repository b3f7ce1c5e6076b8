// SPDX-License-Identifier: Apache-2.0

//go:build simtpm

package main

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/sha256"
	"errors"
	"testing"

	"github.com/google/go-tpm/tpm2"

	"incamera/secureboot/eventlog"
	"incamera/secureboot/evidence"
	"incamera/secureboot/measure"
	"incamera/secureboot/measure/measuretest"
	"incamera/secureboot/measure/simboot"
	"incamera/secureboot/seal"
	"incamera/secureboot/tpm"
	"incamera/secureboot/tpm/tpmtest"
)

// TestRoom takes what the program wrote to a TPM: it opens what a release may
// open, in its phase and not in another, and for no other image.
func TestRoom(t *testing.T) {
	dir := built(t)
	ctx := t.Context()
	p, err := seal.ParsePolicies(get(t, dir, "policies.cbor"))
	if err != nil {
		t.Fatal(err)
	}
	root := seal.RootKey{Generation: 1, Key: publicKey(t, dir, "keys/root.pub")}
	chip := tpmtest.Swtpm(t)
	srk, err := tpm.Persist(chip, tpm2.TPMRHOwner, tpm.SRKTemplate, tpm.HandleSRK)
	if err != nil {
		t.Fatal(err)
	}
	if err := seal.Define(ctx, chip, srk, root, nil); err != nil {
		t.Fatal(err)
	}
	for _, use := range []seal.Use{seal.Floor, seal.Keygen} {
		if v, err := seal.Advance(ctx, chip, srk, root, p, use, 1); err != nil || v != 1 {
			t.Fatalf("%s = %d, %v", use, v, err)
		}
	}
	secret := []byte("the key of the state partition..")
	blob, err := seal.Seal(ctx, chip, srk, root, seal.State, secret)
	if err != nil {
		t.Fatal(err)
	}
	keyBlob, err := seal.NewKey(ctx, chip, srk, root, seal.Identity)
	if err != nil {
		t.Fatal(err)
	}
	key, err := seal.OpenKey(chip, srk, keyBlob, p)
	if err != nil {
		t.Fatal(err)
	}
	digest := sha256.Sum256([]byte("message"))
	start := func(uki []byte) *simboot.Machine {
		chip.Reset()
		m, err := simboot.Start(chip, firmware(uki))
		if err != nil {
			t.Fatal(err)
		}
		return m
	}
	// check goes on to a phase and tries both.
	check := func(m *simboot.Machine, word string, disk, keys bool) {
		t.Helper()
		if err := m.Extend(eventlog.PCRPhases, word); err != nil {
			t.Fatal(err)
		}
		got, err := seal.Unseal(ctx, chip, srk, blob, p)
		if disk && (err != nil || !bytes.Equal(got, secret)) || !disk && !errors.Is(err, seal.ErrNotApproved) {
			t.Errorf("in %s: Unseal: %v; want open %v", word, err, disk)
		}
		sig, err := key.SignContext(ctx, digest[:])
		if keys && (err != nil || !ecdsa.VerifyASN1(key.Public().(*ecdsa.PublicKey), digest[:], sig)) || !keys && !errors.Is(err, seal.ErrNotApproved) {
			t.Errorf("in %s: Sign: %v; want %v", word, err, keys)
		}
	}
	m := start(get(t, dir, "uki.efi"))
	check(m, measure.EnterInitrd, true, false)
	check(m, measure.LeaveInitrd, false, false)
	check(m, measure.Sysinit, false, false)
	check(m, measure.Ready, false, true)

	m = start(measuretest.UKI("1.5.0")) // the same version from another build
	for _, word := range measure.Phases() {
		check(m, word, false, false)
	}
}

func firmware(uki []byte) simboot.Firmware {
	return simboot.Firmware{
		Version: "2026.01", SecureBoot: true,
		PK: []byte("pk"), KEK: []byte("kek"), DB: []byte("db"), DBEntry: []byte("entry"),
		Loader: measuretest.Loader(), UKI: uki,
	}
}

// TestReferenceOfRoom starts a machine and compares it with reference values
// that were written before, with the log of another start as board log: what
// must be exact is equal, and every event that must be listed is.
func TestReferenceOfRoom(t *testing.T) {
	dir := inputs(t)
	chip := tpmtest.Swtpm(t)
	board, _, err := simboot.Boot(chip, firmware(measuretest.UKI("1.0.0")))
	if err != nil {
		t.Fatal(err)
	}
	put(t, dir, "board.log", board)
	for _, c := range [][]string{callKeys, callUKI, callSigned} {
		must(t, dir, c...)
	}
	r, err := evidence.ParseReferences(get(t, dir, "out/reference.cbor"), publicKey(t, dir, "keys/bundle.pub"))
	if err != nil {
		t.Fatal(err)
	}

	chip.Reset()
	log, _, err := simboot.Boot(chip, firmware(get(t, dir, "uki.efi")), measure.Phases()...)
	if err != nil {
		t.Fatal(err)
	}
	l, err := eventlog.Parse(log)
	if err != nil {
		t.Fatal(err)
	}
	listed := map[evidence.PCRValue]bool{}
	for _, e := range r.Events {
		listed[evidence.PCRValue{PCR: e.PCR, Value: e.Digest}] = true
	}
	judged := 0
	for _, rule := range r.Profile.Rules {
		value := readPCR(t, chip, rule.PCR)
		switch rule.Word {
		case evidence.Exact:
			want, _ := r.Phase(measure.Ready)
			for _, v := range r.Values {
				if v.PCR == rule.PCR {
					want = v.Value
				}
			}
			if value != want {
				t.Errorf("PCR %d = %v; the reference says %v", rule.PCR, value, want)
			}
			judged++
		case evidence.Events:
			for _, e := range l.Events {
				if sum, _ := e.SHA256(); e.PCR == rule.PCR && !listed[evidence.PCRValue{PCR: e.PCR, Value: sum}] {
					t.Errorf("%v is not listed", e)
				}
			}
			judged++
		case evidence.Any, evidence.Zero:
		}
	}
	if judged != 5 {
		t.Errorf("%d registers compared; want 0, 4, 7, 11, 12", judged)
	}
}

func readPCR(t *testing.T, chip *tpmtest.Chip, n int) evidence.Digest {
	t.Helper()
	r, err := tpm2.PCRRead{PCRSelectionIn: tpm2.TPMLPCRSelection{PCRSelections: []tpm2.TPMSPCRSelection{
		{Hash: tpm2.TPMAlgSHA256, PCRSelect: tpm2.PCClientCompatible.PCRs(uint(n))},
	}}}.Execute(chip)
	if err != nil || len(r.PCRValues.Digests) != 1 {
		t.Fatalf("PCR %d: %v", n, err)
	}
	return evidence.Digest(r.PCRValues.Digests[0].Buffer)
}
