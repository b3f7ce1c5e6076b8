// SPDX-License-Identifier: Apache-2.0

//go:build simtpm && cgo

package tpmtest

import (
	"testing"

	"incamera/secureboot/tpm"
)

// Simulator returns a new chip in this process. There is one at a time: a test
// that already has one waits for itself, and tests that have one are not
// parallel.
func Simulator(t testing.TB, opts ...tpm.Option) *Chip {
	t.Helper()
	s, err := tpm.Open(t.Context(), "sim:", opts...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Errorf("close simulator: %v", err)
		}
	})
	return &Chip{TPM: s, t: t, off: func(orderly bool) {
		if !orderly {
			t.Fatal("the simulator knows no power cut")
		}
		if err := s.PowerCycle(); err != nil {
			t.Fatalf("power cycle: %v", err)
		}
	}}
}
