// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"net/http"

	"incamera/secureboot/evidence"
	"incamera/secureboot/update"
)

// oneLog is oneHistory for a bundle, which brings the log itself. The longest of
// them is kept: with it an older bundle is shown to be of the same history.
func (v *service) oneLog(t *txn, m *update.Manifest, seen evidence.Checkpoint) error {
	kept, err := t.meta("checkpoint")
	if err != nil {
		return err
	}
	var last evidence.Checkpoint
	if len(kept) > 0 {
		if last, err = evidence.ParseCheckpoint(kept, v.trust.Log...); err != nil {
			return fmt.Errorf("kept checkpoint: %w", err)
		}
	}
	if seen.Size < last.Size {
		return t.earlier(seen)
	}
	log, err := evidence.ParseLog(m.History)
	if err != nil {
		return err
	}
	proof, err := log.ProveConsistency(last.Size)
	if err != nil {
		return err
	}
	var hashes [][]byte
	for _, h := range proof {
		hashes = append(hashes, h[:])
	}
	signed, err := evidence.ParseProof(m.LogProof)
	if err != nil {
		return err
	}
	if err := v.oneHistory(t, seen, signed.Checkpoint, hashes); err != nil {
		return err
	}
	return t.setMeta("history", m.History)
}

// earlier checks that the log that was kept contains what it was at seen.
func (t *txn) earlier(seen evidence.Checkpoint) error {
	history, err := t.meta("history")
	if err != nil {
		return err
	}
	log, err := evidence.ParseLog(history)
	if err != nil {
		return fmt.Errorf("kept log: %w", err)
	}
	now, err := log.Checkpoint(seen.Origin)
	if err != nil {
		return fmt.Errorf("kept log: %w", err)
	}
	if now.Size < seen.Size {
		return refuse(http.StatusForbidden, evidence.RefvalUnlogged, "the checkpoint that is kept here is newer than this bundle: add a newer bundle first")
	}
	proof, err := log.ProveConsistency(seen.Size)
	if err != nil {
		return fmt.Errorf("kept log: %w", err)
	}
	if err := evidence.CheckConsistency(seen, now, proof); err != nil {
		return refuse(http.StatusForbidden, evidence.RefvalUnlogged, "the log of this bundle is not the one that was seen here before")
	}
	return nil
}
