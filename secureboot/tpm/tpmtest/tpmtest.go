// SPDX-License-Identifier: Apache-2.0

//go:build simtpm

// Package tpmtest gives tests a TPM of their own: the simulator in this process,
// or a swtpm process that can lose its power at any instant and keeps its state
// as a chip does.
package tpmtest

import (
	"testing"

	"github.com/google/go-tpm/tpm2"
	"github.com/google/go-tpm/tpm2/transport"

	"incamera/secureboot/tpm"
)

// A Chip is a TPM that has been started and lives as long as its test. Its TPM
// stays valid over resets and power cuts.
type Chip struct {
	*tpm.TPM

	t        testing.TB
	off      func(orderly bool) // takes the power and gives it back
	locality func(int)          // nil if there is but one
}

// Reset is a restart of the machine: TPM2_Shutdown(CLEAR), reset,
// TPM2_Startup(CLEAR). PCRs are zero, resetCount is one higher.
func (c *Chip) Reset() {
	c.t.Helper()
	c.off(true)
}

// PowerCut takes the power without a word to the TPM and gives it back. The
// simulator cannot do that: use [Swtpm].
func (c *Chip) PowerCut() {
	c.t.Helper()
	c.off(false)
}

// Locality makes the following commands come from a locality, 0 to 4. The
// simulator has only the first: use [Swtpm].
func (c *Chip) Locality(n int) {
	c.t.Helper()
	if c.locality == nil {
		c.t.Fatal("the simulator has one locality")
	}
	c.locality(n)
}

func startup(t testing.TB, chip transport.TPM) {
	t.Helper()
	if _, err := (tpm2.Startup{StartupType: tpm2.TPMSUClear}).Execute(chip); err != nil {
		t.Fatalf("startup: %v", err)
	}
}

// Empty fails the test if objects or sessions are left in the TPM's slots.
func Empty(t testing.TB, chip transport.TPM) {
	t.Helper()
	loaded, err := tpm.Loaded(chip)
	if err != nil {
		t.Fatal(err)
	}
	if len(loaded) != 0 {
		t.Errorf("left in the TPM's slots: %#x", loaded)
	}
}
