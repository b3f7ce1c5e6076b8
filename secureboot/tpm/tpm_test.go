// SPDX-License-Identifier: Apache-2.0

//go:build simtpm && cgo

package tpm_test

import (
	"testing"

	"github.com/google/go-tpm/tpm2"

	"incamera/secureboot/tpm"
	"incamera/secureboot/tpm/tpmtest"
)

// chips are the two software TPMs, which share most of their code but not the
// way there.
var chips = map[string]func(testing.TB, ...tpm.Option) *tpmtest.Chip{
	"simulator": tpmtest.Simulator,
	"swtpm":     tpmtest.Swtpm,
}

func onBoth(t *testing.T, f func(*testing.T, *tpmtest.Chip)) {
	t.Helper()
	for name, open := range chips {
		t.Run(name, func(t *testing.T) { f(t, open(t)) })
	}
}

func TestSend(t *testing.T) {
	onBoth(t, func(t *testing.T, chip *tpmtest.Chip) {
		before := chip.Commands()
		rsp, err := tpm2.GetRandom{BytesRequested: 16}.Execute(chip)
		if err != nil || len(rsp.RandomBytes.Buffer) != 16 {
			t.Fatalf("GetRandom = %v, %v; want 16 bytes", rsp, err)
		}
		if n := chip.Commands() - before; n != 1 {
			t.Errorf("Commands grew by %d; want 1", n)
		}
		if !chip.Soft() {
			t.Error("Soft = false; want true")
		}
		chip.Reset()
		tpmtest.Empty(t, chip)
	})
}
