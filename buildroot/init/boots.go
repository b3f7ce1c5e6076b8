// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
)

// maxBoots bounds the count: evidence carries no larger one.
const maxBoots = 1 << 40

// boxDir is what the system keeps for itself on the data partition, below var.
const boxDir = "lib/in-camera-box"

var errBoots = errors.New("boots: no count of starts")

// countBoot counts this start on the data partition, whose root is given, and
// returns the count. On a partition that is new it begins at one. Where it was
// lost it does, too, and was says how.
//
// A verifier compares the count with the TPM's resets, and refuses a room whose
// TPM was reset more often than it started (reset_anomaly). So a count that is lost
// must not be made up: a number that is too high would hide such resets for as
// long as the room lives. One that begins anew gets the room refused, loudly, and
// the site admits it again.
func countBoot(root string) (n uint64, was, err error) {
	dir := filepath.Join(root, boxDir)
	if err := os.MkdirAll(filepath.Dir(dir), 0o755); err != nil { //nolint:gosec // var/lib of any system
		return 0, nil, err
	}
	made := os.Mkdir(dir, 0o700)
	if made != nil && !errors.Is(made, fs.ErrExist) {
		return 0, nil, made
	}
	path := filepath.Join(dir, "boots")
	if made != nil {
		n, was = readBoots(path)
	}
	n++
	return n, was, replace(path, strconv.AppendUint(nil, n, 10))
}

func readBoots(path string) (uint64, error) {
	b, err := readUpTo(path, 32)
	if err != nil {
		return 0, err
	}
	return parseBoots(b)
}

// parseBoots reads the one spelling that countBoot writes.
func parseBoots(b []byte) (uint64, error) {
	n, err := strconv.ParseUint(string(b), 10, 64)
	if err != nil || n == 0 || n >= maxBoots || !bytes.Equal(strconv.AppendUint(nil, n, 10), b) {
		return 0, fmt.Errorf("%w: %q", errBoots, b)
	}
	return n, nil
}

// replace writes a file that only root reads. After a power cut it is the old one
// or the new, and once replace has returned it is the new.
func replace(path string, b []byte) error {
	unfinished := path + ".new"
	if err := writeSynced(unfinished, b); err != nil {
		return err
	}
	if err := os.Rename(unfinished, path); err != nil {
		return err
	}
	return syncDir(filepath.Dir(path))
}

func writeSynced(path string, b []byte) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	if _, err := f.Write(b); err != nil {
		return errors.Join(err, f.Close())
	}
	return errors.Join(f.Sync(), f.Close())
}

func syncDir(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}
