// SPDX-License-Identifier: Apache-2.0

//go:build simtpm && cgo

package tpm_test

import (
	"errors"
	"fmt"
	"testing"

	"github.com/google/go-tpm/tpm2"
	"github.com/google/go-tpm/tpm2/transport"

	"incamera/secureboot/tpm"
	"incamera/secureboot/tpm/tpmtest"
)

// pcr reads a PCR of the SHA-256 bank.
func pcr(t *testing.T, chip transport.TPM, n uint) string {
	t.Helper()
	rsp, err := tpm2.PCRRead{PCRSelectionIn: tpm2.TPMLPCRSelection{PCRSelections: []tpm2.TPMSPCRSelection{
		{Hash: tpm2.TPMAlgSHA256, PCRSelect: tpm2.PCClientCompatible.PCRs(n)},
	}}}.Execute(chip)
	if err != nil || len(rsp.PCRValues.Digests) != 1 {
		t.Fatalf("PCRRead(%d) = %v, %v", n, rsp, err)
	}
	return fmt.Sprintf("%x", rsp.PCRValues.Digests[0].Buffer)
}

func extend(t *testing.T, chip transport.TPM, n tpm2.TPMHandle) {
	t.Helper()
	_, err := tpm2.PCREvent{
		PCRHandle: tpm2.AuthHandle{Handle: n, Auth: tpm2.PasswordAuth(nil)},
		EventData: tpm2.TPM2BEvent{Buffer: []byte("enter-initrd")},
	}.Execute(chip)
	if err != nil {
		t.Fatal(err)
	}
}

func reset(chip transport.TPM, n tpm2.TPMHandle) error {
	_, err := tpm2.PCRReset{PCRHandle: tpm2.AuthHandle{Handle: n, Auth: tpm2.PasswordAuth(nil)}}.Execute(chip)
	return err
}

// The boot phases in PCR 11 cap what is sealed to them only as long as nobody
// can set PCR 11 back: neither software, which has locality 0, nor who reaches
// the pins and so the others.
func TestPCR11Locality(t *testing.T) {
	chip := tpmtest.Swtpm(t)
	var extended [16]string
	for n := range uint(16) {
		extend(t, chip, tpm2.TPMHandle(n))
		extended[n] = pcr(t, chip, n)
	}
	for locality := range 5 {
		chip.Locality(locality)
		for n := range uint(16) {
			if err := reset(chip, tpm2.TPMHandle(n)); !errors.Is(err, tpm2.TPMRCLocality) {
				t.Errorf("reset of PCR %d from locality %d: %v; want LOCALITY", n, locality, err)
			}
			if got := pcr(t, chip, n); got != extended[n] {
				t.Errorf("PCR %d after locality %d = %s; want %s", n, locality, got, extended[n])
			}
		}
	}
	// Some PCRs can be reset, PCR 20 by localities 2 and 4 alone (PC Client
	// profile 1.05, 4.6.2), so the localities above were real.
	for locality, want := range map[int]error{0: tpm2.TPMRCLocality, 2: nil} {
		chip.Locality(locality)
		if err := reset(chip, 20); !errors.Is(err, want) {
			t.Errorf("reset of PCR 20 from locality %d: %v; want %v", locality, err, want)
		}
	}
	chip.Locality(0)
	chip.Reset()
	if got, zero := pcr(t, chip, 11), fmt.Sprintf("%064d", 0); got != zero {
		t.Errorf("PCR 11 after a reset = %s; want %s", got, zero)
	}
}

// Someone who guesses passwords locks the TPM, but not the room: its keys are
// exempt from the dictionary attack protection, and their use adds no guesses.
func TestNoDA(t *testing.T) {
	onBoth(t, func(t *testing.T, chip *tpmtest.Chip) {
		srk := persistSRK(t, chip)
		ak, err := tpm.Persist(chip, tpm2.TPMRHEndorsement, tpm.AKTemplate, tpm.HandleAK)
		if err != nil {
			t.Fatal(err)
		}
		use := func(auth []byte) error {
			k := ak.Auth()
			k.Auth = tpm2.PasswordAuth(auth)
			_, err := tpm2.Quote{SignHandle: k, PCRSelect: tpm2.TPMLPCRSelection{PCRSelections: []tpm2.TPMSPCRSelection{
				{Hash: tpm2.TPMAlgSHA256, PCRSelect: tpm2.PCClientCompatible.PCRs(11)},
			}}}.Execute(chip)
			return err
		}
		most := property(t, chip, tpm2.TPMPTMaxAuthFail)
		if most < 1 || most > 100 {
			t.Fatalf("the TPM bears %d guesses", most)
		}
		for range most + 5 {
			if err := use([]byte("wrong")); !errors.Is(err, tpm2.TPMRCBadAuth) {
				t.Fatalf("wrong password for the AK: %v; want BAD_AUTH", err)
			}
		}
		if n := property(t, chip, tpm2.TPMPTLockoutCounter); n != 0 {
			t.Errorf("guesses at the AK counted: %d; want 0", n)
		}

		// The control: the same object without the exemption locks the TPM.
		victim := sealedObject
		victim.ObjectAttributes.NoDA = false
		created, err := tpm2.Create{
			ParentHandle: srk.Auth(),
			InSensitive: tpm2.TPM2BSensitiveCreate{Sensitive: &tpm2.TPMSSensitiveCreate{
				UserAuth: tpm2.TPM2BAuth{Buffer: []byte("right")},
				Data:     tpm2.NewTPMUSensitiveCreate(&tpm2.TPM2BSensitiveData{Buffer: []byte("a secret")}),
			}},
			InPublic: tpm2.New2B(victim),
		}.Execute(chip)
		if err != nil {
			t.Fatal(err)
		}
		loaded, err := tpm2.Load{ParentHandle: srk.Auth(), InPrivate: created.OutPrivate, InPublic: created.OutPublic}.Execute(chip)
		if err != nil {
			t.Fatal(err)
		}
		unseal := func(auth string) error {
			_, err := tpm2.Unseal{ItemHandle: tpm2.AuthHandle{
				Handle: loaded.ObjectHandle, Name: loaded.Name, Auth: tpm2.PasswordAuth([]byte(auth)),
			}}.Execute(chip)
			return err
		}
		for range most {
			if err := unseal("wrong"); !errors.Is(err, tpm2.TPMRCAuthFail) {
				t.Fatalf("wrong password: %v; want AUTH_FAIL", err)
			}
		}
		if err := unseal("right"); !errors.Is(err, tpm2.TPMRCLockout) {
			t.Fatalf("right password after %d guesses: %v; want LOCKOUT", most, err)
		}

		if err := use(nil); err != nil {
			t.Errorf("the AK while the TPM is locked: %v", err)
		}
		if _, err := (tpm2.Create{ParentHandle: srk.Auth(), InPublic: tpm2.New2B(tpm.AKTemplate)}).Execute(chip, tpm.EncryptedSession(srk, tpm.In)); err != nil {
			t.Errorf("the SRK while the TPM is locked: %v", err)
		}
		if err := tpm.Flush(chip, loaded.ObjectHandle); err != nil {
			t.Error(err)
		}
		tpmtest.Empty(t, chip)
	})
}

func property(t *testing.T, chip transport.TPM, p tpm2.TPMPT) uint32 {
	t.Helper()
	rsp, err := tpm2.GetCapability{Capability: tpm2.TPMCapTPMProperties, Property: uint32(p), PropertyCount: 1}.Execute(chip)
	if err != nil {
		t.Fatal(err)
	}
	list, err := rsp.CapabilityData.Data.TPMProperties()
	if err != nil || len(list.TPMProperty) != 1 || list.TPMProperty[0].Property != p {
		t.Fatalf("property %#x: %v, %v", uint32(p), list, err)
	}
	return list.TPMProperty[0].Value
}
