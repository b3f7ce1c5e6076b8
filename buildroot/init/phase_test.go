// SPDX-License-Identifier: Apache-2.0

//go:build simtpm

package main

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/google/go-tpm/tpm2"

	"incamera/secureboot/eventlog"
	"incamera/secureboot/tpm/tpmtest"
)

func pcr11(t *testing.T, c *chip) []byte {
	t.Helper()
	rsp, err := tpm2.PCRRead{PCRSelectionIn: tpm2.TPMLPCRSelection{PCRSelections: []tpm2.TPMSPCRSelection{
		{Hash: tpm2.TPMAlgSHA256, PCRSelect: []byte{0, 1 << 3, 0}},
	}}}.Execute(c)
	if err != nil || len(rsp.PCRValues.Digests) != 1 {
		t.Fatalf("read PCR 11: %+v, %v", rsp, err)
	}
	return rsp.PCRValues.Digests[0].Buffer
}

// The log of the phases replays to what the TPM holds, after each of them.
func TestPhaseLog(t *testing.T) {
	c := &chip{tpmtest.Swtpm(t).TPM, filepath.Join(t.TempDir(), "phases")}
	var words []string
	for _, word := range []string{"enter-initrd", "leave-initrd", "sysinit", "ready"} {
		if err := c.enter(word); err != nil {
			t.Fatal(err)
		}
		words = append(words, word)
		b, err := os.ReadFile(c.log)
		if err != nil {
			t.Fatal(err)
		}
		log, err := eventlog.ParsePhases(b)
		if err != nil {
			t.Fatal(err)
		}
		if got := log.Words(eventlog.PCRPhases); !slices.Equal(got, words) {
			t.Errorf("words %q; want %q", got, words)
		}
		replayed, err := eventlog.Replay(log)
		if err != nil {
			t.Fatal(err)
		}
		if got := replayed[eventlog.PCRPhases]; !bytes.Equal(got[:], pcr11(t, c)) {
			t.Errorf("after %s: the log replays to %x; the TPM holds %x", word, got, pcr11(t, c))
		}
	}
}

// A phase that cannot be noted is not entered; a word that no log may hold is not
// extended.
func TestPhaseNotEntered(t *testing.T) {
	c := &chip{tpmtest.Swtpm(t).TPM, filepath.Join(t.TempDir(), "gone", "phases")}
	before := pcr11(t, c)
	if err := c.enter("enter-initrd"); err == nil {
		t.Error("entered without a log")
	}
	c.log = filepath.Join(t.TempDir(), "phases")
	for _, word := range []string{"", "two words", "ends\n"} {
		if err := c.enter(word); err == nil {
			t.Errorf("entered %q", word)
		}
	}
	if !bytes.Equal(before, pcr11(t, c)) {
		t.Error("the TPM was extended")
	}
}

// The running system enters its own two phases, and none of the initial file
// system's.
func TestRunPhaseRefuses(t *testing.T) {
	for _, args := range [][]string{nil, {"phase"}, {"phase", "enter-initrd"}, {"phase", "leave-initrd"}, {"phase", "ready", "ready"}, {"measure", "ready"}} {
		if err := runPhase(t.Context(), args); err == nil || err.Error() != "usage: init phase sysinit|ready" {
			t.Errorf("%q: %v; want its usage", args, err)
		}
	}
}
