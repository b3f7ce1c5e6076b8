// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"net/http"
	"strings"
	"time"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"incamera/secureboot/enrol"
	"incamera/secureboot/evidence"
)

// addReference takes reference values that a trusted builder signed and that are
// in the public log, of which this verifier has seen one history alone.
func (v *service) addReference(r *http.Request, who *caller) (*answer, error) {
	body, err := enrol.Decode[enrol.ReferenceDocument](r.Body)
	if err != nil {
		return nil, err
	}
	values, err := v.parseReference(body.Document)
	if err != nil {
		return nil, err
	}
	proof, err := evidence.ParseProof(body.Proof)
	if err != nil {
		return nil, err
	}
	seen, err := proof.Verify(body.Document, v.trust.Log...)
	if err != nil {
		return nil, refuse(http.StatusForbidden, evidence.RefvalUnlogged, "no proof that they are in the public log")
	}
	now := time.Now()
	err = v.store.update(r.Context(), func(t *txn) error {
		if err := t.audit(now, who.staff, "add reference values", values.Board+" "+values.Version); err != nil {
			return err
		}
		if err := v.oneHistory(t, seen, proof.Checkpoint, body.Consistency); err != nil {
			return err
		}
		if _, err := t.exec(`INSERT INTO refs (sha256, board, version, rollback, document, proof, added, revoked)
			VALUES (?, ?, ?, ?, ?, ?, ?, 0) ON CONFLICT (sha256) DO UPDATE SET proof = excluded.proof`,
			hexHash(body.Document), values.Board, values.Version, int64(values.Rollback), body.Document, body.Proof, now.UnixMicro()); err != nil {
			return err
		}
		return t.setMeta("references", []byte(newSession()))
	})
	if err != nil {
		return nil, err
	}
	return done()
}

func (v *service) parseReference(document []byte) (*evidence.ReferenceValues, error) {
	err := evidence.ErrSignature // with no key at all
	for _, s := range v.trust.Signers {
		var values *evidence.ReferenceValues
		if values, err = evidence.ParseReferences(document, s.Key); err == nil {
			return values, nil
		}
	}
	return nil, err
}

// oneHistory keeps the newest checkpoint. A log that shows different histories
// to different verifiers is caught where one of them comes here.
func (v *service) oneHistory(t *txn, seen evidence.Checkpoint, signed []byte, hashes [][]byte) error {
	var proof tlog.TreeProof
	for _, h := range hashes {
		proof = append(proof, tlog.Hash(h))
	}
	kept, err := t.meta("checkpoint")
	if err != nil {
		return err
	}
	if len(kept) == 0 {
		return t.setMeta("checkpoint", signed)
	}
	last, err := evidence.ParseCheckpoint(kept, v.trust.Log...)
	if err != nil {
		return fmt.Errorf("kept checkpoint: %w", err)
	}
	older, newer := last, seen
	if seen.Size < last.Size {
		older, newer = seen, last
	}
	if err := evidence.CheckConsistency(older, newer, proof); err != nil {
		return refuse(http.StatusForbidden, evidence.RefvalUnlogged,
			fmt.Sprintf("the log must be proved to contain what it had at %d leaves, the checkpoint that is kept here", last.Size))
	}
	if seen.Size > last.Size {
		return t.setMeta("checkpoint", signed)
	}
	return nil
}

// revokeReference withdraws a release on all boards. Rooms do not get it any
// more.
func (v *service) revokeReference(r *http.Request, who *caller) (*answer, error) {
	release := r.PathValue("version")
	err := v.store.update(r.Context(), func(t *txn) error {
		if err := t.audit(time.Now(), who.staff, "revoke release", fmt.Sprintf("%.64s", release)); err != nil {
			return err
		}
		n, err := t.exec(`UPDATE refs SET revoked = 1 WHERE version = ?`, release)
		if err != nil {
			return err
		}
		if n == 0 {
			return notFound("release")
		}
		if _, err := t.exec(`UPDATE bundles SET approved = 0 WHERE version = ?`, release); err != nil {
			return err
		}
		return t.setMeta("references", []byte(newSession()))
	})
	if err != nil {
		return nil, err
	}
	return done()
}

func (v *service) listReferences(r *http.Request, _ *caller) (*answer, error) {
	list := []enrol.ReferenceEntry{}
	err := v.store.update(r.Context(), func(t *txn) error {
		return t.rows(`SELECT board, version, rollback, sha256, added, revoked FROM refs ORDER BY rollback, version, board`, nil, func(read func(...any) error) error {
			var e enrol.ReferenceEntry
			var rollback, added int64
			var revoked int
			err := read(&e.Board, &e.Version, &rollback, &e.SHA256, &added, &revoked)
			e.Rollback, e.Added, e.Revoked = uint64(rollback), time.UnixMicro(added).UTC(), revoked != 0
			list = append(list, e)
			return err
		})
	})
	if err != nil {
		return nil, err
	}
	return reply(http.StatusOK, map[string]any{"references": list})
}

// reference returns the signed values of a release, for each board, with proof.
func (v *service) reference(r *http.Request, _ *caller) (*answer, error) {
	var list []enrol.ReferenceDocument
	err := v.store.update(r.Context(), func(t *txn) error {
		return t.rows(`SELECT document, proof FROM refs WHERE version = ? ORDER BY board`, []any{r.PathValue("version")}, func(read func(...any) error) error {
			var d enrol.ReferenceDocument
			err := read(&d.Document, &d.Proof)
			list = append(list, d)
			return err
		})
	})
	if err == nil && len(list) == 0 {
		err = notFound("release")
	}
	if err != nil {
		return nil, err
	}
	return reply(http.StatusOK, map[string]any{"references": list})
}

// checkpoint returns the newest checkpoint of the log that was seen here.
func (v *service) checkpoint(r *http.Request, _ *caller) (*answer, error) {
	var kept []byte
	err := v.store.update(r.Context(), func(t *txn) (err error) {
		kept, err = t.meta("checkpoint")
		return err
	})
	if err == nil && len(kept) == 0 {
		err = notFound("checkpoint: no reference values were added")
	}
	if err != nil {
		return nil, err
	}
	return &answer{status: http.StatusOK, mediaType: mediaNote, body: kept}, nil
}

const mediaNote = "text/plain; charset=utf-8"

// revocations returns what no longer counts, as a note signed by the site.
func (v *service) revocations(r *http.Request, _ *caller) (*answer, error) {
	var text string
	err := v.store.update(r.Context(), func(t *txn) (err error) {
		text, err = t.revocationText(v.authority.Site(), time.Now())
		return err
	})
	if err != nil {
		return nil, err
	}
	signed, err := note.Sign(&note.Note{Text: text}, v.notes)
	if err != nil {
		return nil, fmt.Errorf("sign revocations: %w", err)
	}
	return &answer{status: http.StatusOK, mediaType: mediaNote, body: signed}, nil
}

// revocationText has a line for what it is, the site, the time, and one for each
// thing revoked: "certificate" and its SHA-256, "ak" and its TPM name, "version"
// and the release, quoted.
func (t *txn) revocationText(site string, now time.Time) (string, error) {
	var b strings.Builder
	fmt.Fprintf(&b, "in-camera/revocations/v1\n%s\n%s\n", site, now.UTC().Format(time.RFC3339))
	for _, list := range []struct{ word, verb, query string }{
		{"certificate", "%s", `SELECT fingerprint FROM certificates WHERE revoked = 1 ORDER BY fingerprint`},
		{"ak", "%s", `SELECT ak FROM revoked_keys ORDER BY ak`},
		{"version", "%q", `SELECT DISTINCT version FROM refs WHERE revoked = 1 ORDER BY version`},
	} {
		err := t.rows(list.query, nil, func(read func(...any) error) error {
			var s string
			if err := read(&s); err != nil {
				return err
			}
			fmt.Fprintf(&b, list.word+" "+list.verb+"\n", s)
			return nil
		})
		if err != nil {
			return "", err
		}
	}
	return b.String(), nil
}
