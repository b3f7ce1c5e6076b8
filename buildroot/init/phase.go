// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/google/go-tpm/tpm2"

	"incamera/secureboot/eventlog"
	"incamera/secureboot/measure"
	"incamera/secureboot/tpm"
)

// phaseLog is the log of the phases, which nothing but this program writes.
const phaseLog = runDir + "/phases"

// A chip is the box's TPM with the log of what we extend into it.
type chip struct {
	*tpm.TPM

	log string // path
}

func openChip(ctx context.Context) (*chip, error) {
	t, err := tpm.Open(ctx, "device:tpmrm0")
	if err != nil {
		return nil, err
	}
	return &chip{t, phaseLog}, nil
}

// enter notes that the start has come to a phase.
func (c *chip) enter(word string) error { return c.extend(eventlog.PCRPhases, word) }

// extend extends a PCR with a word and notes it. If it stops between the two, the
// log does not replay, and nobody is told that the start was good.
func (c *chip) extend(pcr int, word string) error {
	record, digest, err := eventlog.PhaseRecord(pcr, word)
	if err != nil {
		return err
	}
	f, err := os.OpenFile(c.log, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o644) //nolint:gosec // evidence, which anyone on the box may read
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if info.Size() == 0 {
		record = append(eventlog.PhaseHeader(), record...)
	}
	_, err = tpm2.PCRExtend{
		PCRHandle: tpm2.AuthHandle{Handle: tpm2.TPMHandle(pcr), Auth: tpm2.PasswordAuth(nil)},
		Digests: tpm2.TPMLDigestValues{Digests: []tpm2.TPMTHA{
			{HashAlg: tpm2.TPMAlgSHA256, Digest: digest[:]},
		}},
	}.Execute(c)
	if err != nil {
		return fmt.Errorf("extend PCR %d with %s: %w", pcr, word, err)
	}
	if _, err := f.Write(record); err != nil {
		return fmt.Errorf("phase %s: %w", word, err)
	}
	return f.Close()
}

// runPhase is "init phase WORD", for the phases of the running system.
func runPhase(ctx context.Context, args []string) error {
	if len(args) != 2 || args[0] != "phase" || args[1] != measure.Sysinit && args[1] != measure.Ready {
		return errors.New("usage: init phase sysinit|ready")
	}
	c, err := openChip(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = c.Close() }() // nothing is under way
	return c.enter(args[1])
}
