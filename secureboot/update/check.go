// SPDX-License-Identifier: Apache-2.0

package update

import (
	"context"
	"crypto"
	"crypto/x509"
	"errors"
	"fmt"
	"io"

	"golang.org/x/mod/sumdb/note"

	"incamera/secureboot/evidence"
	"incamera/secureboot/measure"
	"incamera/secureboot/seal"
)

// Trust is what a room takes from nobody but its own image.
type Trust struct {
	Board     string           // as in manifests
	BundleKey crypto.PublicKey // ECDSA on P-256; signs manifests and reference values
	// Log has the keys that must have signed a checkpoint: the log's, then
	// those of witnesses.
	Log  []note.Verifier
	Root seal.RootKey
	// DB has the certificates of the firmware's db. A UKI that none of them
	// signed would stop the firmware in its menu; without any, nothing installs.
	DB []*x509.Certificate
}

// candidate is a release whose manifest was accepted.
type candidate struct {
	*Manifest
	references *evidence.ReferenceValues
	seen       seenState
}

// accept judges a manifest whose signature was verified. Nothing was written.
func (u *Updater) accept(ctx context.Context, m *Manifest, older bool) (*candidate, error) {
	if m.Board != u.c.Trust.Board {
		return nil, refuse(WrongBoard, "for %s; this is %s", m.Board, u.c.Trust.Board)
	}
	floor, err := u.c.Floor.Read(ctx)
	if err != nil {
		return nil, fmt.Errorf("update: floor: %w", err)
	}
	if m.Rollback < floor {
		return nil, refuse(BelowFloor, "%s has number %d; the floor is %d", m.Version, m.Rollback, floor)
	}
	c, now, err := trusted(m, u.c.Trust)
	if err != nil {
		return nil, err
	}
	if c.seen, err = u.grown(now, m.History); err != nil {
		return nil, err
	}
	if m.Version == u.c.Running.Version {
		return nil, refuse(Installed, "%s runs", m.Version)
	}
	if !older && u.isOlder(m.Version, m.Rollback) {
		return nil, refuse(Older, "%s is older than %s", m.Version, u.c.Running.Version)
	}
	size, err := u.c.Idle.Size()
	if err != nil {
		return nil, fmt.Errorf("update: slot: %w", err)
	}
	if m.System.Size > size {
		return nil, refuse(TooLarge, "system of %d bytes; the slot has %d", m.System.Size, size)
	}
	return c, nil
}

func (u *Updater) isOlder(version string, rollback uint64) bool {
	return rollback < u.c.Running.Rollback || compareVersions(version, u.c.Running.Version) < 0
}

func reasonOf(err error) Reason {
	switch {
	case errors.Is(err, evidence.ErrTooLarge):
		return TooLarge
	case errors.Is(err, evidence.ErrSignature):
		return SigInvalid
	default:
		return Malformed
	}
}

// trusted checks what does not depend on the state of a room. It returns the
// checkpoint of the log as well.
func trusted(m *Manifest, t Trust) (*candidate, evidence.Checkpoint, error) {
	r, now, err := logged(m, t.BundleKey, t.Log)
	if err != nil {
		return nil, now, err
	}
	c := &candidate{Manifest: m, references: r}
	return c, now, c.opens(t.Root)
}

// logged checks that the reference values are the release's and in the log, and
// that the log which the bundle carries is the one of the checkpoint. It returns values
// and checkpoint.
func logged(m *Manifest, key crypto.PublicKey, keys []note.Verifier) (*evidence.ReferenceValues, evidence.Checkpoint, error) {
	var now evidence.Checkpoint
	r, err := evidence.ParseReferences(m.References, key)
	if err != nil {
		return nil, now, &Error{reasonOf(err), err}
	}
	if r.Board != m.Board || r.Version != m.Version || r.Rollback != m.Rollback || r.VerityRoot != m.VerityRoot {
		return nil, now, refuse(Malformed, "the reference values are those of %s %s", r.Board, r.Version)
	}
	proof, err := evidence.ParseProof(m.LogProof)
	if err != nil {
		return nil, now, &Error{reasonOf(err), err}
	}
	if now, err = proof.Verify(m.References, keys...); err != nil {
		return nil, now, &Error{Unlogged, err}
	}
	log, err := evidence.ParseLog(m.History)
	if err != nil {
		return nil, now, &Error{Unlogged, err}
	}
	if again, err := log.Checkpoint(now.Origin); err != nil || again != now {
		return nil, now, refuse(Unlogged, "the log in the bundle is not that of its checkpoint")
	}
	return r, now, nil
}

// grown checks that the log contains, or is contained in, the one that this room
// saw last, and returns the longer.
func (u *Updater) grown(now evidence.Checkpoint, history []byte) (seenState, error) {
	last := u.r.Seen
	seen := seenState{now.Origin, now.Size, evidence.Digest(now.Root), history}
	if last.Size == 0 {
		return seen, nil
	}
	before, after := evidence.Checkpoint{Origin: last.Origin, Size: last.Size, Root: [32]byte(last.Root)}, now
	if now.Size < last.Size { // an older bundle
		before, after, seen = now, before, last
	}
	log, err := evidence.ParseLog(seen.History)
	if err != nil {
		return seenState{}, &Error{Unlogged, err}
	}
	consistency, err := log.ProveConsistency(before.Size)
	if err != nil {
		return seenState{}, &Error{Unlogged, err}
	}
	if err := evidence.CheckConsistency(before, after, consistency); err != nil {
		return seenState{}, &Error{Unlogged, fmt.Errorf("the log of this bundle is not the one seen before: %w", err)}
	}
	return seen, nil
}

// Inspect reads a bundle to its end and checks all that does not depend on the
// state of a room, as a build does before it ships one. Nothing is written.
func Inspect(bundle io.Reader, t Trust) (*Manifest, error) {
	m, err := readManifest(bundle, t.BundleKey)
	if err != nil {
		return nil, err
	}
	if m.Board != t.Board {
		return nil, refuse(WrongBoard, "for %s, not for %s", m.Board, t.Board)
	}
	c, _, err := trusted(m, t)
	if err != nil {
		return nil, err
	}
	if _, err := io.Copy(io.Discard, newPartReader(bundle, m.System)); err != nil {
		return nil, err
	}
	uki, err := readUKI(bundle, m.UKI)
	if err != nil {
		return nil, err
	}
	return m, c.image(uki, t.DB)
}

// opens checks that the policies let this image open what this room has: signed
// by its root, for this number, and for the PCRs that the image will have.
func (c *candidate) opens(root seal.RootKey) error {
	p, err := seal.ParsePolicies(c.Policies)
	if err != nil {
		return &Error{Malformed, err}
	}
	if err := p.Verify(root); err != nil {
		return &Error{Untrusted, err}
	}
	for _, need := range []struct {
		use   seal.Use
		phase string
	}{{seal.State, measure.EnterInitrd}, {seal.Identity, measure.Ready}} {
		if !c.approved(p, root, need.use, need.phase) {
			return refuse(Untrusted, "no policy approves this image for %s", need.use)
		}
	}
	var raise uint64
	for _, w := range p.Writes {
		if w.Root == root.Generation && w.Use == seal.Floor && !w.First {
			raise = max(raise, w.Value)
		}
	}
	if raise != c.FloorRaise {
		return refuse(Malformed, "the policies raise the floor to %d, the manifest to %d", raise, c.FloorRaise)
	}
	return nil
}

func (c *candidate) approved(p *seal.Policies, root seal.RootKey, use seal.Use, phase string) bool {
	pcr11, ok := c.references.Phase(phase)
	if !ok {
		return false
	}
	// PCR 7 counts only where the customer owns the boot keys.
	predictions := []map[int][32]byte{{11: pcr11}}
	for _, v := range c.references.Values {
		if v.PCR == 7 {
			predictions = append(predictions, map[int][32]byte{7: v.Value, 11: pcr11})
		}
	}
	for _, a := range p.Approvals {
		if a.Root != root.Generation || a.Use != use || a.Version != c.Rollback {
			continue
		}
		for _, pcrs := range predictions {
			if mask, digest := seal.PCRDigest(pcrs); a.PCRs == mask && a.PCRDigest == digest {
				return true
			}
		}
	}
	return false
}

// image checks that a UKI is the one that the reference values describe and that
// firmware will start it.
func (c *candidate) image(uki []byte, db []*x509.Certificate) error {
	sections, err := measure.Sections(uki)
	if err != nil {
		return &Error{Tampered, err}
	}
	want, ok := c.references.Phase(measure.EnterInitrd)
	if got := measure.PCR11(sections, measure.EnterInitrd); !ok || evidence.Digest(got) != want {
		return refuse(Tampered, "the image is not the one that the reference values describe")
	}
	if err := verifyImage(uki, db); err != nil {
		return &Error{SigInvalid, err}
	}
	return nil
}
