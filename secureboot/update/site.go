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
			_, now, err := logged(m, key, log)
			return m, now, err
		}
		if e, ok := errors.AsType[*Error](err); !ok || e.Reason != SigInvalid {
			return nil, none, err
		}
		from = bytes.NewReader(head.Bytes()) // another key may have signed it
	}
	return nil, none, err
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
