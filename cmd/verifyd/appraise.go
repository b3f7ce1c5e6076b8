// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"crypto/rand"
	"errors"
	"io"
	"net/http"
	"strings"
	"sync"
	"time"

	"incamera/secureboot/attest"
	"incamera/secureboot/enrol"
	"incamera/secureboot/evidence"
	"incamera/secureboot/verify"
)

const (
	challengeLife = verify.MaxAge
	// challengeMemory is how long a nonce is told to be used or expired, and
	// not unknown.
	challengeMemory = 10 * time.Minute
	perMinute       = 6  // challenges for one room
	maxChallenges   = 64 // that wait for evidence
)

// challenge hands out a nonce. Anyone may ask: a peer, a phone.
func (v *service) challenge(r *http.Request, _ *caller) (*answer, error) {
	body, err := enrol.Decode[enrol.ChallengeRequest](r.Body)
	if err != nil {
		return nil, err
	}
	now := time.Now()
	rsp := enrol.ChallengeResponse{Session: newSession(), Nonce: make([]byte, attest.NonceSize), Expires: now.Add(challengeLife).UTC()}
	_, _ = rand.Read(rsp.Nonce) // never fails
	profile := body.Profile
	if profile == "" {
		profile = enrol.ProfileIdentity
	}
	err = v.store.glance(r.Context(), func(t *txn) error {
		if err := t.lock(); err != nil { // or two would each be the last that is allowed
			return err
		}
		if err := t.known(body.Device); err != nil {
			return err
		}
		var recent, open int
		if err := t.row(`SELECT count(*) FROM challenges WHERE room = ? AND issued > ?`,
			[]any{body.Device, now.Add(-time.Minute).UnixMicro()}, &recent); err != nil {
			return err
		}
		if err := t.row(`SELECT count(*) FROM challenges WHERE used = 0 AND issued > ?`,
			[]any{now.Add(-challengeLife).UnixMicro()}, &open); err != nil {
			return err
		}
		if recent >= perMinute || open >= maxChallenges {
			return refuse(http.StatusTooManyRequests, codeBusy, "6 challenges a minute for a room, 64 open for all")
		}
		_, err := t.exec(`INSERT INTO challenges (session, room, nonce, profile, issued, used) VALUES (?, ?, ?, ?, ?, 0)`,
			rsp.Session, body.Device, rsp.Nonce, profile, now.UnixMicro())
		return err
	})
	if err != nil {
		return nil, err
	}
	return reply(http.StatusOK, rsp)
}

// known refuses the id of no room, and of one that is not admitted yet.
func (t *txn) known(id string) error {
	var n int
	if err := t.row(`SELECT count(*) FROM rooms WHERE id = ?`, []any{id}, &n); err != nil || n > 0 {
		return err
	}
	if err := t.row(`SELECT count(*) FROM enrolments WHERE room = ?`, []any{id}, &n); err != nil {
		return err
	}
	if n > 0 {
		return refuse(http.StatusForbidden, evidence.NotAdmitted, "the room is not enrolled yet")
	}
	return akUnknown()
}

// evidence appraises. A room that is refused is no fault of the protocol: the
// answer is a verdict, signed, with all reasons. A nonce that does not serve
// is one, and changes nothing.
func (v *service) evidence(r *http.Request, _ *caller) (*answer, error) {
	cmw, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, err
	}
	session := r.URL.Query().Get("session")
	now := time.Now()
	var id string
	var q question
	var room *record
	var known knownReferences
	err = v.store.glance(r.Context(), func(t *txn) error {
		if id, q, err = t.answered(session, now); err != nil {
			return err
		}
		if room, err = t.room(id); errors.Is(err, errNone) {
			return akUnknown() // gone since the challenge
		} else if err != nil {
			return err
		}
		known, err = v.references.load(t, v)
		return err
	})
	if err != nil {
		return nil, err
	}
	q.spki = room.Device.LDevID
	if q.profile == enrol.ProfileLeaf {
		q.spki = room.Leaf
	}
	// Between the transactions: what takes time must not keep others waiting.
	result, ear, err := v.judge(known, cmw, q, room, now)
	if err != nil {
		return nil, err
	}
	if result.State == nil {
		// Not this room's word: whoever asked for the challenge could have
		// sent it. Told, but not written down.
		return &answer{status: http.StatusOK, mediaType: attest.MediaType, body: ear}, nil
	}
	err = v.store.update(r.Context(), func(t *txn) error {
		judged := room
		if room, err = t.lockRoom(id); errors.Is(err, errNone) {
			return akUnknown()
		} else if err != nil {
			return err
		}
		// Revoked, enrolled anew or judged again meanwhile: this verdict is on
		// what the room was.
		if room.Room.State != judged.Room.State || !bytes.Equal(room.Device.LDevID, judged.Device.LDevID) || room.Device.LastReset > result.State.ResetCount {
			return refuse(http.StatusConflict, codeConflict, "the room's record changed meanwhile; ask for another challenge")
		}
		room.note(result, ear, now.UTC())
		return t.putRoom(room)
	})
	if err != nil {
		return nil, err
	}
	return &answer{status: http.StatusOK, mediaType: attest.MediaType, body: ear}, nil
}

// answered takes an open challenge, once.
func (t *txn) answered(session string, now time.Time) (string, question, error) {
	var id string
	var q question
	var issued int64
	n, err := t.exec(`UPDATE challenges SET used = 1 WHERE session = ? AND used = 0`, session)
	if err != nil {
		return "", q, err
	}
	err = t.row(`SELECT room, nonce, profile, issued FROM challenges WHERE session = ?`, []any{session}, &id, &q.nonce, &q.profile, &issued)
	q.issued, q.maxAge = time.UnixMicro(issued), challengeLife
	switch {
	case errors.Is(err, errNone):
		return "", q, refuse(http.StatusNotFound, evidence.NonceUnknown, "no such session; ask for a challenge")
	case err != nil:
		return "", q, err
	case n == 0:
		return "", q, refuse(http.StatusConflict, evidence.NonceUsed, "answered before; ask for another challenge")
	case now.Sub(q.issued) > challengeLife:
		return "", q, refuse(http.StatusGone, evidence.NonceExpired, "later than 60 s; ask for another challenge")
	}
	return id, q, nil
}

// A question is what evidence has to answer.
type question struct {
	nonce, spki []byte
	profile     string
	issued      time.Time
	maxAge      time.Duration
}

// appraise judges evidence of a room and signs the verdict.
func (v *service) appraise(t *txn, cmw []byte, q question, room *record, now time.Time) (evidence.Result, []byte, error) {
	known, err := v.references.load(t, v)
	if err != nil {
		return evidence.Result{}, nil, err
	}
	return v.judge(known, cmw, q, room, now)
}

// judge is appraise without a transaction.
func (v *service) judge(known knownReferences, cmw []byte, q question, room *record, now time.Time) (evidence.Result, []byte, error) {
	p := verify.Policy{
		ID: v.policy.ID, Developer: "In Camera", Build: version, Minimum: v.policy.MinimumRollback,
		RevokedVersions: known.revoked, ResetAnomaly: evidence.Warning,
	}
	if v.policy.RefuseAnomaly {
		p.ResetAnomaly = evidence.Contraindicated
	}
	if v.policy.AcceptUnrooted {
		p.Unrooted = evidence.Affirming
	}
	if room.Room.State == enrol.StateRevoked {
		p.RevokedAKs = [][]byte{room.AKName}
	}
	c := verify.Challenge{Nonce: q.nonce, SPKI: q.spki, Issued: q.issued, MaxAge: q.maxAge}
	result := verify.Appraise(cmw, c, room.Device, known.set, p, now)
	ear, err := evidence.SignResult(result, v.result)
	return result, ear, err
}

// baseline takes from a room's first evidence what later ones are compared with:
// board, counters, and the register that holds the system's identity.
func (v *service) baseline(t *txn, room *record, cmw []byte, q question, now time.Time) error {
	e, err := evidence.Parse(cmw)
	if err != nil {
		return err
	}
	room.Device.Board = e.Board
	result, _, err := v.appraise(t, cmw, q, room, now)
	if err != nil || result.State == nil {
		return err // the appraisal that counts will say what is wrong
	}
	d := &room.Device
	d.ResetCount, d.BootCount, d.LastReset = result.State.ResetCount, result.State.BootCount, result.State.ResetCount
	for _, register := range result.State.Registers {
		if register.PCR == 15 {
			d.PCR15 = register.Value
		}
	}
	return nil
}

// references keeps the reference values, verified, until the store has others.
type references struct {
	mu     sync.Mutex
	loaded knownReferences
}

type knownReferences struct {
	generation string
	set        verify.References
	revoked    []string
}

func (r *references) load(t *txn, v *service) (knownReferences, error) {
	b, err := t.meta("references")
	if err != nil {
		return knownReferences{}, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.loaded.generation == string(b) && r.loaded.generation != "" {
		return r.loaded, nil
	}
	known := knownReferences{generation: string(b)}
	var documents []verify.Document
	err = t.rows(`SELECT version, document, proof, revoked FROM refs`, nil, func(read func(...any) error) error {
		var d verify.Document
		var version string
		var revoked int
		if err := read(&version, &d.Signed, &d.Proof, &revoked); err != nil {
			return err
		}
		documents = append(documents, d)
		if revoked != 0 {
			known.revoked = append(known.revoked, version)
		}
		return nil
	})
	if err != nil {
		return knownReferences{}, err
	}
	if known.set, err = verify.LoadReferences(v.trust, documents...); err != nil {
		// A key that signed them is no longer trusted. The others serve.
		v.log.Warn("reference values left out", "error", strings.ReplaceAll(err.Error(), "\n", "; "))
	}
	r.loaded = known
	return known, nil
}
