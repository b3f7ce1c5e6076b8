// SPDX-License-Identifier: Apache-2.0

//go:build simtpm

package seal

import (
	"crypto/sha256"
	"errors"
	"slices"
	"testing"

	"github.com/google/go-tpm/tpm2"

	"incamera/secureboot/tpm/tpmtest"
)

func TestSealAndUnseal(t *testing.T) {
	v := newVendor(t)
	release := v.release("image", 1)
	r := provision(t, tpmtest.Simulator(t), v, release)
	boot(t, r.chip, "image", initrd)
	if err := r.unseal(release); err != nil {
		t.Fatal(err)
	}
}

func TestSign(t *testing.T) {
	v := newVendor(t)
	release := v.release("image", 1)
	r := provision(t, tpmtest.Simulator(t), v, release)
	boot(t, r.chip, "image", ready)
	k, err := OpenKey(r.chip, r.srk, r.ldev, release)
	if err != nil {
		t.Fatal(err)
	}
	d := sha256.Sum256([]byte("x"))
	if _, err := k.SignContext(t.Context(), d[:]); err != nil {
		t.Fatal(err)
	}
	_ = errors.Is
	_ = slices.Sort[[]int]
	_ = tpm2.TPMRHOwner
}
