// SPDX-License-Identifier: Apache-2.0

//go:build simtpm && cgo

package tpm_test

import (
	"context"
	"errors"
	"sync"
	"testing"

	"github.com/google/go-tpm/tpm2"
	"github.com/google/go-tpm/tpm2/transport"

	"incamera/secureboot/tpm"
	"incamera/secureboot/tpm/tpmtest"
)

// fill loads as many keys as the TPM has slots for, and flushes them.
func fill(t transport.TPM) error {
	var err error
	for range 3 {
		rsp, createErr := tpm2.CreatePrimary{
			PrimaryHandle: tpm2.AuthHandle{Handle: tpm2.TPMRHOwner, Auth: tpm2.PasswordAuth(nil)},
			InPublic:      tpm2.New2B(tpm.SRKTemplate),
		}.Execute(t)
		if createErr != nil {
			return createErr
		}
		defer func() { err = errors.Join(err, tpm.Flush(t, rsp.ObjectHandle)) }()
	}
	return err
}

// Several goroutines that each need all three slots get them, one at a time.
func TestExclusive(t *testing.T) {
	onBoth(t, func(t *testing.T, chip *tpmtest.Chip) {
		var wg sync.WaitGroup
		for range 4 {
			wg.Go(func() {
				for range 3 {
					err := tpm.Exclusive(t.Context(), chip, func(inner transport.TPM) error {
						// What it calls may ask for a turn again.
						return tpm.Exclusive(t.Context(), inner, fill)
					})
					if err != nil {
						t.Error(err)
					}
				}
			})
		}
		wg.Wait()
		tpmtest.Empty(t, chip)
	})
}

func TestExclusiveEnds(t *testing.T) {
	chip := tpmtest.Simulator(t)
	cause := errors.New("gave up")
	err := tpm.Exclusive(t.Context(), chip, func(transport.TPM) error {
		ctx, cancel := context.WithCancelCause(t.Context())
		cancel(cause)
		return tpm.Exclusive(ctx, chip, func(transport.TPM) error {
			t.Error("ran while another had the TPM")
			return nil
		})
	})
	if !errors.Is(err, cause) {
		t.Errorf("Exclusive = %v; want %v", err, cause)
	}
}

// What a program that was killed left in the slots does not keep the next one
// from working.
func TestFlushAll(t *testing.T) {
	onBoth(t, func(t *testing.T, chip *tpmtest.Chip) {
		for range 3 {
			_, err := tpm2.CreatePrimary{
				PrimaryHandle: tpm2.AuthHandle{Handle: tpm2.TPMRHOwner, Auth: tpm2.PasswordAuth(nil)},
				InPublic:      tpm2.New2B(tpm.SRKTemplate),
			}.Execute(chip)
			if err != nil {
				t.Fatal(err)
			}
			if _, _, err := tpm2.PolicySession(chip, tpm2.TPMAlgSHA256, tpm.NonceSize); err != nil {
				t.Fatal(err)
			}
		}
		if err := fill(chip); !errors.Is(err, tpm2.TPMRCObjectMemory) {
			t.Fatalf("a fourth object: %v; want OBJECT_MEMORY", err)
		}
		if err := tpm.FlushAll(chip); err != nil {
			t.Fatal(err)
		}
		tpmtest.Empty(t, chip)
		if err := fill(chip); err != nil {
			t.Error(err)
		}
	})
}
