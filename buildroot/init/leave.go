// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
)

// What the running system must know of this start lies in runDir, and says
// nothing that is secret:
//
//	phases        log of the boot phases
//	policies.cbor what was signed for this release
//	store/        blobs that only this TPM opens
//	slot          devices of the disk: {"esp", "idle", "data"}
//	boots         how often this room started, decimal
//	trial         exists if the loader counts this start

// A slot says where the parts of the disk are: idle is the system partition that
// does not run, and empty if there is none.
type slot struct {
	ESP  string `json:"esp"`
	Idle string `json:"idle"`
	Data string `json:"data"`
}

// leaveSlot says which disk this is, and if the start is on trial.
func leaveSlot(dir string, d *disk, trial bool) error {
	b, err := json.Marshal(slot{d.esp, d.idle, d.data})
	if err != nil {
		return err
	}
	if err := leave(dir, "slot", b); err != nil {
		return err
	}
	if !trial {
		return nil
	}
	return leave(dir, "trial", nil)
}

// leaveBoots counts the start on the data, mounted at root. The room starts
// without the count, too: what it then says of itself convinces nobody.
func leaveBoots(dir, root string) error {
	n, was, err := countBoot(root)
	if was != nil {
		say("the count of starts is lost (%v), and begins at 1: a site that knows this room must admit it again", was)
	}
	if err != nil {
		say("this start is not counted: %v", err)
	}
	if n == 0 {
		return nil
	}
	return leave(dir, "boots", strconv.AppendUint(nil, n, 10))
}

// leaveFiles copies what lies on the ESP, which stays unmounted: the policies in
// one folder, the store in another.
func leaveFiles(dir, uki, from string, r release) error {
	policies, err := readUpTo(filepath.Join(uki, r.policiesName()), maxPolicies)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err == nil {
		if err := leave(dir, "policies.cbor", policies); err != nil {
			return err
		}
	}
	store := filepath.Join(dir, "store")
	if err := os.MkdirAll(store, 0o755); err != nil { //nolint:gosec // the blobs are public
		return err
	}
	entries, err := os.ReadDir(from)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	for _, e := range entries {
		if !e.Type().IsRegular() {
			continue // nothing of ours
		}
		b, err := readUpTo(filepath.Join(from, e.Name()), maxBlob)
		if err != nil {
			return err
		}
		if err := leave(store, e.Name(), b); err != nil {
			return err
		}
	}
	return nil
}

// maxBlob bounds a file of the store, in bytes; the longest has some KiB.
const maxBlob = 64 << 10

func leave(dir, name string, b []byte) error {
	return os.WriteFile(filepath.Join(dir, name), b, 0o644) //nolint:gosec // what is left there is public
}
