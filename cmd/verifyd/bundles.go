// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"crypto"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"time"

	"incamera/secureboot/enrol"
	"incamera/secureboot/evidence"
	"incamera/secureboot/update"
)

// maxBundles bounds how many releases are held: several boards, and some
// releases of each to go back to.
const maxBundles = 16

// addBundle keeps a release for rooms, which get it once it is approved. Who
// signed it is known before anything behind its head is read, and it counts
// once all of it was verified and is on the disk.
func (v *service) addBundle(r *http.Request, who *caller) (*answer, error) {
	if !v.uploading.TryLock() {
		return nil, refuse(http.StatusTooManyRequests, codeBusy, "another bundle is on its way here")
	}
	defer v.uploading.Unlock()
	f, err := v.bundles.create()
	if err != nil {
		return nil, err
	}
	defer func() {
		_ = f.Close()           // Sync has said what there is to say
		_ = os.Remove(f.Name()) // not there any more if it was kept
	}()
	a, err := v.receive(r, f)
	if err != nil {
		return nil, err
	}
	err = v.store.update(r.Context(), func(t *txn) error {
		// From here on transactions that name files follow one another.
		if err := t.audit(a.entry.Added, who.staff, "add bundle", a.entry.Board+" "+a.entry.Version+" "+a.entry.SHA256); err != nil {
			return err
		}
		if err := t.placeFor(a.manifest, a.entry.SHA256); err != nil {
			return err
		}
		if err := v.oneLog(t, a.manifest, a.seen); err != nil {
			return err
		}
		if err := t.putBundle(a); err != nil {
			return err
		}
		return v.bundles.keep(f, a.entry.SHA256)
	})
	if err != nil {
		return nil, err
	}
	v.log.Info("bundle added", "board", a.entry.Board, "version", a.entry.Version, "bytes", a.entry.Size)
	return reply(http.StatusCreated, a.entry)
}

// An arrival is a bundle that was verified and has reached the disk.
type arrival struct {
	entry    enrol.BundleEntry
	manifest *update.Manifest
	seen     evidence.Checkpoint // of the log that is in it
}

// receive writes a bundle to f and verifies it on its way.
func (v *service) receive(r *http.Request, f *os.File) (*arrival, error) {
	out, sum := bufio.NewWriterSize(f, 1<<20), sha256.New()
	in := io.TeeReader(r.Body, io.MultiWriter(out, sum))
	m, seen, err := update.OpenForSite(in, v.bundleKeys(), v.trust.Log...)
	if err != nil {
		return nil, err
	}
	if err := v.store.glance(r.Context(), func(t *txn) error { return t.placeFor(m, "") }); err != nil {
		return nil, err
	}
	if err := m.ReadParts(in); err != nil {
		return nil, err
	}
	if err := out.Flush(); err != nil {
		return nil, fmt.Errorf("bundles: %w", err)
	}
	if err := f.Sync(); err != nil {
		return nil, fmt.Errorf("bundles: %w", err)
	}
	info, err := f.Stat()
	if err != nil {
		return nil, fmt.Errorf("bundles: %w", err)
	}
	return &arrival{enrol.BundleEntry{
		Board: m.Board, Version: m.Version, Rollback: m.Rollback, Size: info.Size(),
		SHA256: hex.EncodeToString(sum.Sum(nil)), Added: time.Now().UTC(),
	}, m, seen}, nil
}

// putBundle adds a bundle. One that is held stays as it is, and the entry then
// says how.
func (t *txn) putBundle(a *arrival) error {
	e := &a.entry
	if _, err := t.exec(`INSERT INTO bundles (board, version, rollback, size, sha256, added, approved, document, proof)
		VALUES (?, ?, ?, ?, ?, ?, 0, ?, ?) ON CONFLICT (board, version) DO NOTHING`,
		e.Board, e.Version, int64(e.Rollback), e.Size, e.SHA256, e.Added.UnixMicro(), a.manifest.References, a.manifest.LogProof); err != nil {
		return err
	}
	var added int64
	var approved int
	err := t.row(`SELECT added, approved FROM bundles WHERE board = ? AND version = ?`, []any{e.Board, e.Version}, &added, &approved)
	e.Added, e.Approved = time.UnixMicro(added).UTC(), approved != 0
	return err
}

// bundleKeys are those that sign releases. What developers signed is for rooms
// on a desk, to which no site gives releases.
func (v *service) bundleKeys() []crypto.PublicKey {
	var keys []crypto.PublicKey
	for _, s := range v.trust.Signers {
		if !s.Debug {
			keys = append(keys, s.Key)
		}
	}
	return keys
}

// placeFor refuses a release if another file has its name, or too many are held.
// The same file may come again. Before it is known, hash is empty.
func (t *txn) placeFor(m *update.Manifest, hash string) error {
	var held string
	err := t.row(`SELECT sha256 FROM bundles WHERE board = ? AND version = ?`, []any{m.Board, m.Version}, &held)
	switch {
	case err == nil && hash != "" && held != hash:
		return refuse(http.StatusConflict, codeConflict, "another bundle of this release is held: withdraw it first")
	case err == nil:
		return nil
	case !errors.Is(err, errNone):
		return err
	}
	var n int
	if err := t.row(`SELECT count(*) FROM bundles`, nil, &n); err != nil {
		return err
	}
	if n >= maxBundles {
		return refuse(http.StatusConflict, codeConflict, fmt.Sprintf("%d bundles are held: withdraw one first", n))
	}
	return nil
}

// release reads which release a request is about.
func release(r *http.Request) (board, version string, err error) {
	board, version = r.URL.Query().Get("board"), r.PathValue("version")
	if !enrol.IsBoard(board) || !enrol.IsVersion(version) {
		return "", "", refuse(http.StatusBadRequest, evidence.Malformed, "board and version: those of a release")
	}
	return board, version, nil
}

// approveBundle lets rooms have a release. Its reference values count from now
// on as if staff had added them: a room that installs it must be known.
func (v *service) approveBundle(r *http.Request, who *caller) (*answer, error) {
	board, version, err := release(r)
	if err != nil {
		return nil, err
	}
	now := time.Now()
	err = v.store.update(r.Context(), func(t *txn) error {
		if err := t.audit(now, who.staff, "approve bundle", board+" "+version); err != nil {
			return err
		}
		var revoked int
		if err := t.row(`SELECT count(*) FROM refs WHERE version = ? AND revoked = 1`, []any{version}, &revoked); err != nil {
			return err
		}
		if revoked > 0 {
			return refuse(http.StatusConflict, codeConflict, "the reference values of this release were revoked")
		}
		n, err := t.exec(`UPDATE bundles SET approved = 1 WHERE board = ? AND version = ?`, board, version)
		if err != nil {
			return err
		}
		if n == 0 {
			return notFound("bundle")
		}
		return t.referenceOf(board, version, now)
	})
	if err != nil {
		return nil, err
	}
	return done()
}

// referenceOf adds the reference values of a bundle, unless they are known.
func (t *txn) referenceOf(board, version string, now time.Time) error {
	var rollback int64
	var document, proof []byte
	if err := t.row(`SELECT rollback, document, proof FROM bundles WHERE board = ? AND version = ?`, []any{board, version}, &rollback, &document, &proof); err != nil {
		return err
	}
	n, err := t.exec(`INSERT INTO refs (sha256, board, version, rollback, document, proof, added, revoked)
		VALUES (?, ?, ?, ?, ?, ?, ?, 0) ON CONFLICT (sha256) DO NOTHING`,
		hexHash(document), board, version, rollback, document, proof, now.UnixMicro())
	if err != nil || n == 0 {
		return err
	}
	return t.setMeta("references", []byte(newSession()))
}

// withdrawBundle forgets a release and its file. Rooms that run it already go on
// to be judged by its reference values: those revokeReference withdraws.
func (v *service) withdrawBundle(r *http.Request, who *caller) (*answer, error) {
	board, version, err := release(r)
	if err != nil {
		return nil, err
	}
	err = v.store.update(r.Context(), func(t *txn) error {
		if err := t.audit(time.Now(), who.staff, "withdraw bundle", board+" "+version); err != nil {
			return err
		}
		var hash string
		err := t.row(`SELECT sha256 FROM bundles WHERE board = ? AND version = ?`, []any{board, version}, &hash)
		if errors.Is(err, errNone) {
			return notFound("bundle")
		} else if err != nil {
			return err
		}
		if _, err := t.exec(`DELETE FROM bundles WHERE board = ? AND version = ?`, board, version); err != nil {
			return err
		}
		// Before the commit, or an upload of the same file might come between.
		return v.bundles.remove(hash)
	})
	if err != nil {
		return nil, err
	}
	return done()
}

// listBundles lists what is held for a board, or for all. Rooms learn of what is
// approved alone.
func (v *service) listBundles(r *http.Request, who *caller) (*answer, error) {
	board := r.URL.Query().Get("board")
	if board != "" && !enrol.IsBoard(board) {
		return nil, refuse(http.StatusBadRequest, evidence.Malformed, "board: that of a release")
	}
	list := []enrol.BundleEntry{}
	err := v.store.glance(r.Context(), func(t *txn) error {
		return t.rows(`SELECT board, version, rollback, size, sha256, added, approved FROM bundles ORDER BY board, rollback, version`, nil, func(read func(...any) error) error {
			var e enrol.BundleEntry
			var rollback, added int64
			var approved int
			err := read(&e.Board, &e.Version, &rollback, &e.Size, &e.SHA256, &added, &approved)
			e.Rollback, e.Added, e.Approved = uint64(rollback), time.UnixMicro(added).UTC(), approved != 0
			if (board == "" || board == e.Board) && (e.Approved || who.staff != "") {
				list = append(list, e)
			}
			return err
		})
	})
	if err != nil {
		return nil, err
	}
	return reply(http.StatusOK, map[string]any{"bundles": list})
}

// bundle sends a release that staff have approved.
func (v *service) bundle(r *http.Request, who *caller) (*answer, error) {
	board, version, err := release(r)
	if err != nil {
		return nil, err
	}
	hash, err := v.approved(r, board, version)
	if err != nil {
		return nil, err
	}
	f, err := v.bundles.open(hash)
	if err != nil {
		return nil, err
	}
	leave, err := v.sending.take(who.room + "\x00" + who.staff)
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return &answer{mediaType: enrol.MediaBundle, send: func(w http.ResponseWriter, r *http.Request) {
		defer leave()
		defer f.Close()
		slow := &slowAnswer{ResponseWriter: w, deadline: newDeadline(w), asked: time.Now(), may: func() error {
			if _, err := v.authenticate(member, r); err != nil {
				return err
			}
			if now, err := v.approved(r, board, version); err != nil || now != hash {
				return errors.Join(err, errWithdrawn)
			}
			return nil
		}}
		w.Header().Set("ETag", `"`+hash+`"`)
		http.ServeContent(slow, r, "", time.Time{}, f)
		if slow.err != nil {
			v.log.Info("transfer cut", "board", board, "version", version, "error", slow.err)
			panic(http.ErrAbortHandler) // or what was sent might pass for the whole
		}
	}}, nil
}

var errWithdrawn = errors.New("the release was withdrawn")

// approved returns the file of a release that rooms may have.
func (v *service) approved(r *http.Request, board, version string) (hash string, err error) {
	err = v.store.glance(r.Context(), func(t *txn) error {
		err := t.row(`SELECT sha256 FROM bundles WHERE board = ? AND version = ? AND approved = 1`, []any{board, version}, &hash)
		if errors.Is(err, errNone) {
			return notFound("bundle that is approved")
		}
		return err
	})
	return hash, err
}

// sweepBundles removes files that the database does not know.
func (v *service) sweepBundles(t *txn, now time.Time) error {
	if err := t.lock(); err != nil {
		return err
	}
	named := map[string]bool{}
	err := t.rows(`SELECT sha256 FROM bundles`, nil, func(read func(...any) error) error {
		var hash string
		err := read(&hash)
		named[hash] = true
		return err
	})
	if err != nil {
		return err
	}
	return v.bundles.sweep(named, now)
}
