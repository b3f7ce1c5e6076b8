// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"golang.org/x/sys/unix"

	"incamera/secureboot/evidence"
	"incamera/secureboot/measure"
)

// referenceFlags are those of the reference command.
type referenceFlags struct {
	uki, loader, board, commit, sbom, out string
	rollback                              uint64
	logs                                  several
	agree, bundleKey, log, logKey         string
}

func setReference(c *call) func() error {
	var f referenceFlags
	need := func(p *string, name, what string) {
		c.required = append(c.required, name)
		c.StringVar(p, name, "", what)
	}
	need(&f.uki, "uki", "`file` of the unified kernel image, as it ships")
	need(&f.loader, "loader", "`file` of systemd-boot, as it ships")
	need(&f.board, "board", "`file` of the board's profile")
	need(&f.commit, "commit", "`hash` of the source's commit")
	need(&f.sbom, "sbom", "`file` of the software bill of materials")
	need(&f.out, "out", "`folder` for reference.json, reference.cbor and reference.proof")
	c.required = append(c.required, "rollback")
	c.Uint64Var(&f.rollback, "rollback", 0, "rollback `number` of the release")
	c.Var(&f.logs, "board-log", "`file` with the firmware's event log of a known good board; may be repeated")
	c.StringVar(&f.agree, "agree", "", "`file`: reference.json of another builder, which must be the same")
	c.StringVar(&f.bundleKey, "bundle-key", "", "`file` of the bundle key; without it nothing is signed or logged")
	c.StringVar(&f.log, "log", "", "`file` with the hashes of the log of reference values")
	c.StringVar(&f.logKey, "log-key", "", "`file` of the log's key")
	return func() error { return c.reference(f) }
}

func (c *call) reference(f referenceFlags) error {
	if sign := f.bundleKey != ""; sign != (f.log != "") || sign != (f.logKey != "") {
		return usageError{errors.New("-bundle-key, -log and -log-key go together: what is signed is logged")}
	}
	r, err := values(f)
	if err != nil {
		return err
	}
	twin, err := r.JSON()
	if err != nil {
		return err
	}
	if f.agree != "" {
		theirs, err := read(f.agree, evidence.MaxReferences)
		if err != nil {
			return err
		}
		if !bytes.Equal(theirs, twin) {
			return fmt.Errorf("%s differs from what is built here: the builders do not agree", f.agree)
		}
	}
	if f.bundleKey == "" {
		if _, err := os.Lstat(filepath.Join(f.out, "reference.cbor")); err == nil {
			return fmt.Errorf("%s has signed values: without -bundle-key they would stay beside others", f.out)
		}
	}
	if err := os.MkdirAll(f.out, 0o755); err != nil { //nolint:gosec // nothing in it is secret
		return err
	}
	answer := map[string]any{"folder": f.out, "version": r.Version, "board": r.Board, "signed": f.bundleKey != ""}
	text := fmt.Sprintf("reference values of %s for %s in %s, not signed\n", r.Version, r.Board, f.out)
	if f.bundleKey != "" {
		index, err := signAndLog(f, r)
		if err != nil {
			return err
		}
		answer["leaf"] = index
		text = fmt.Sprintf("reference values of %s for %s in %s, signed, leaf %d of the log\n", r.Version, r.Board, f.out, index)
	}
	if err := write(filepath.Join(f.out, "reference.json"), twin); err != nil {
		return err
	}
	return c.print(answer, text)
}

// values computes the reference values: nothing in them is written by hand but
// the board's profile.
func values(f referenceFlags) (*evidence.ReferenceValues, error) {
	uki, err := read(f.uki, measure.MaxImage)
	if err != nil {
		return nil, err
	}
	m, err := predict(uki)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", f.uki, err)
	}
	loader, err := read(f.loader, measure.MaxImage)
	if err != nil {
		return nil, err
	}
	boot, err := measure.BootEvents(loader, uki)
	if err != nil {
		return nil, err
	}
	sbom, err := read(f.sbom, 64<<20)
	if err != nil {
		return nil, err
	}
	b, err := readBoard(f.board)
	if err != nil {
		return nil, err
	}
	// The image measures what it was built for; a profile cannot say otherwise.
	if m.board != "" && m.board != b.Board {
		return nil, fmt.Errorf("%s: for %s, and the image is of %s", f.board, b.Board, m.board)
	}
	for _, path := range f.logs {
		if err := b.learn(path); err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
	}
	pcr12 := measure.PCR12(m.CommandLine)
	b.predicted(boot, measure.PCRCommandLine, pcr12)
	if err := b.complete(); err != nil {
		return nil, fmt.Errorf("%s: %w", f.board, err)
	}
	r := &evidence.ReferenceValues{
		Board: b.Board, Version: m.Version, Rollback: f.rollback, Commit: f.commit,
		SBOM: sha256.Sum256(sbom), VerityRoot: m.verityRoot, CommandLine: m.CommandLine,
		Values: b.Values, Events: b.Events,
		Profile: evidence.BoardProfile{Rules: b.Rules, FirstStage: b.FirstStage, VerifiedBy: b.VerifiedBy},
	}
	for _, s := range m.Sections {
		sum, err := hex.DecodeString(s.Value)
		if err != nil {
			return nil, err
		}
		r.Sections = append(r.Sections, evidence.Section{Name: s.Name, Digest: evidence.Digest(sum)})
	}
	for _, p := range m.PCR11 {
		r.Phases = append(r.Phases, evidence.Phase{Name: p.Phase, PCR11: p.value})
	}
	return r, nil
}

// signAndLog signs the values, appends them to the log and writes document and
// proof. The log is on disk before anything is published that a checkpoint of
// it vouches for: a lost leaf would fork it.
func signAndLog(f referenceFlags, r *evidence.ReferenceValues) (int64, error) {
	key, err := signer(f.bundleKey)
	if err != nil {
		return 0, err
	}
	logKey, err := noteSigner(f.logKey)
	if err != nil {
		return 0, err
	}
	document, err := evidence.SignReferences(*r, key)
	if err != nil {
		return 0, err
	}
	if again, err := evidence.ParseReferences(document, key.Public()); err != nil {
		return 0, fmt.Errorf("what was signed does not verify: %w", err)
	} else if !slices.Equal(again.Phases, r.Phases) {
		return 0, errors.New("what was signed reads differently")
	}
	unlock, err := lock(filepath.Dir(f.log))
	if err != nil {
		return 0, err
	}
	defer unlock()
	hashes, err := os.ReadFile(f.log) // must be there: a new log would fork the old one
	if err != nil {
		return 0, err
	}
	log, err := evidence.ParseLog(hashes)
	if err != nil {
		return 0, fmt.Errorf("%s: %w", f.log, err)
	}
	index, err := log.Append(document)
	if err != nil {
		return 0, err
	}
	proof, err := log.Prove(index, logKey)
	if err != nil {
		return 0, err
	}
	proofBytes, err := proof.Marshal()
	if err != nil {
		return 0, err
	}
	for _, file := range []struct {
		path string
		b    []byte
	}{
		{f.log, log.Marshal()},
		{filepath.Join(f.out, "reference.cbor"), document},
		{filepath.Join(f.out, "reference.proof"), proofBytes},
	} {
		if err := write(file.path, file.b); err != nil {
			return 0, err
		}
	}
	return index, nil
}

// lock keeps other builders out of a folder until unlock is called or the
// process ends.
func lock(folder string) (unlock func(), err error) {
	d, err := os.Open(folder)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(d.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		_ = d.Close()
		return nil, fmt.Errorf("%s: another builder is at work: %w", folder, err)
	}
	return func() { _ = d.Close() }, nil
}
