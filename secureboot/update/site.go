// SPDX-License-Identifier: Apache-2.0

package update

import (
	"bytes"
	"crypto"
	"errors"
	"io"

	"golang.org/x/mod/sumdb/note"

	"incamera/secureboot/evidence"
)

// MaxBundle bounds a bundle in bytes.
const MaxBundle = int64(len(magic)+4) + MaxManifest + MaxSystem + MaxUKI

// OpenForSite verifies the head of a bundle by what a site holds: the keys that
// may sign releases, and the log. It does not know a room's board, root or
// firmware, so what it accepts a room may still refuse. Nothing behind the head
// was read: [Manifest.ReadParts] goes on there. It returns the checkpoint of the
// log as well, for the caller to compare with the last that it saw.
func OpenForSite(bundle io.Reader, keys []crypto.PublicKey, log ...note.Verifier) (*Manifest, evidence.Checkpoint, error) {
	var none evidence.Checkpoint
	var head bytes.Buffer // bounded by readManifest
	from := io.TeeReader(bundle, &head)
	err := refuse(SigInvalid, "no key that signs bundles")
	for _, key := range keys {
		var m *Manifest
		if m, err = readManifest(from, key); err == nil {
			now, err := logged(m, key, log)
			return m, now, err
		}
		if e, ok := errors.AsType[*Error](err); !ok || e.Reason != SigInvalid {
			return nil, none, err
		}
		from = bytes.NewReader(head.Bytes()) // another key may have signed it
	}
	return nil, none, err
}

// logged checks that the reference values are the release's and in the log, and
// that the log which the bundle carries is the one of the checkpoint.
func logged(m *Manifest, key crypto.PublicKey, keys []note.Verifier) (evidence.Checkpoint, error) {
	var now evidence.Checkpoint
	r, err := evidence.ParseReferences(m.References, key)
	if err != nil {
		return now, &Error{reasonOf(err), err}
	}
	if r.Board != m.Board || r.Version != m.Version || r.Rollback != m.Rollback || r.VerityRoot != m.VerityRoot {
		return now, refuse(Malformed, "the reference values are those of %s %s", r.Board, r.Version)
	}
	proof, err := evidence.ParseProof(m.LogProof)
	if err != nil {
		return now, &Error{reasonOf(err), err}
	}
	if now, err = proof.Verify(m.References, keys...); err != nil {
		return now, &Error{Unlogged, err}
	}
	log, err := evidence.ParseLog(m.History)
	if err != nil {
		return now, &Error{Unlogged, err}
	}
	if again, err := log.Checkpoint(now.Origin); err != nil || again != now {
		return now, refuse(Unlogged, "the log in the bundle is not that of its checkpoint")
	}
	return now, nil
}

// ReadParts reads a bundle from behind its head to its end, and checks that its
// parts are those of the manifest.
func (m *Manifest) ReadParts(bundle io.Reader) error {
	for _, p := range []Part{m.System, m.UKI} {
		if _, err := io.Copy(io.Discard, newPartReader(bundle, p)); err != nil {
			return err
		}
	}
	if n, err := io.ReadFull(bundle, make([]byte, 1)); n != 0 {
		return refuse(Malformed, "the bundle goes on behind its last part")
	} else if !errors.Is(err, io.EOF) {
		return cutShort(err)
	}
	return nil
}
