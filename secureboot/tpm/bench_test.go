// SPDX-License-Identifier: Apache-2.0

//go:build simtpm && cgo

package tpm_test

import (
	"crypto/sha256"
	"testing"

	"github.com/google/go-tpm/tpm2"

	"incamera/secureboot/tpm"
	"incamera/secureboot/tpm/tpmtest"
)

// BenchmarkTPM times what a room does, on both software TPMs. The object that
// is unsealed has a password; policies are timed in package seal.
func BenchmarkTPM(b *testing.B) {
	for _, name := range []string{"simulator", "swtpm"} {
		chip := chips[name]
		b.Run("create/"+name, func(b *testing.B) { benchmarkCreate(b, chip(b)) })
		b.Run("sign/"+name, func(b *testing.B) { benchmarkSign(b, chip(b)) })
		b.Run("quote/"+name, func(b *testing.B) { benchmarkQuote(b, chip(b)) })
		b.Run("unseal/"+name, func(b *testing.B) { benchmarkUnseal(b, chip(b)) })
	}
}

// loop runs f and reports how many commands it took.
func loop(b *testing.B, chip *tpmtest.Chip, f func() error) {
	b.Helper()
	before := chip.Commands()
	for b.Loop() {
		if err := f(); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(chip.Commands()-before)/float64(b.N), "commands/op")
}

func signer() tpm2.TPMTPublic {
	public := tpm.AKTemplate
	public.ObjectAttributes.Restricted = false
	return public
}

func benchmarkCreate(b *testing.B, chip *tpmtest.Chip) {
	srk := persistSRK(b, chip)
	loop(b, chip, func() error {
		_, err := tpm2.Create{
			ParentHandle: tpm2.AuthHandle{Handle: srk.Handle, Name: srk.Name, Auth: tpm.EncryptedSession(srk, tpm.In)},
			InPublic:     tpm2.New2B(signer()),
		}.Execute(chip)
		return err
	})
}

func benchmarkSign(b *testing.B, chip *tpmtest.Chip) {
	key, err := tpm.Persist(chip, tpm2.TPMRHOwner, signer(), tpm.HandleAK)
	if err != nil {
		b.Fatal(err)
	}
	digest := sha256.Sum256(nil)
	loop(b, chip, func() error {
		_, err := tpm2.Sign{
			KeyHandle:  key.Auth(),
			Digest:     tpm2.TPM2BDigest{Buffer: digest[:]},
			Validation: tpm2.TPMTTKHashCheck{Tag: tpm2.TPMSTHashCheck},
		}.Execute(chip)
		return err
	})
}

func benchmarkQuote(b *testing.B, chip *tpmtest.Chip) {
	ak, err := tpm.Persist(chip, tpm2.TPMRHEndorsement, tpm.AKTemplate, tpm.HandleAK)
	if err != nil {
		b.Fatal(err)
	}
	selection := tpm2.TPMLPCRSelection{PCRSelections: []tpm2.TPMSPCRSelection{
		{Hash: tpm2.TPMAlgSHA256, PCRSelect: tpm2.PCClientCompatible.PCRs(0, 1, 2, 3, 4, 5, 6, 7, 11, 12, 15)},
	}}
	loop(b, chip, func() error {
		_, err := tpm2.Quote{SignHandle: ak.Auth(), PCRSelect: selection}.Execute(chip)
		return err
	})
}

func benchmarkUnseal(b *testing.B, chip *tpmtest.Chip) {
	srk := persistSRK(b, chip)
	created, err := tpm2.Create{
		ParentHandle: srk.Auth(),
		InSensitive: tpm2.TPM2BSensitiveCreate{Sensitive: &tpm2.TPMSSensitiveCreate{
			Data: tpm2.NewTPMUSensitiveCreate(&tpm2.TPM2BSensitiveData{Buffer: make([]byte, 32)}),
		}},
		InPublic: tpm2.New2B(sealedObject),
	}.Execute(chip)
	if err != nil {
		b.Fatal(err)
	}
	loop(b, chip, func() error {
		loaded, err := tpm2.Load{ParentHandle: srk.Auth(), InPrivate: created.OutPrivate, InPublic: created.OutPublic}.Execute(chip)
		if err != nil {
			return err
		}
		_, err = tpm2.Unseal{ItemHandle: tpm2.AuthHandle{
			Handle: loaded.ObjectHandle, Name: loaded.Name, Auth: tpm.EncryptedSession(srk, tpm.Out),
		}}.Execute(chip)
		if err != nil {
			return err
		}
		return tpm.Flush(chip, loaded.ObjectHandle)
	})
}
