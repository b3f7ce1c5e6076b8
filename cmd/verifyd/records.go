// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"

	"incamera/secureboot/enrol"
	"incamera/secureboot/evidence"
)

// A record is all that the verifier knows of a room, from the first proof on.
// It is stored as JSON.
type record struct {
	Room         enrol.Room            `json:"room"`
	Device       evidence.Device       `json:"device"`
	AKName       []byte                `json:"ak_name"`
	Leaf         []byte                `json:"leaf"` // SPKI of the key that signs MLS
	SRKName      []byte                `json:"srk_name"`
	IdentityCSR  []byte                `json:"identity_csr,omitempty"` // until certificates are issued
	LeafCSR      []byte                `json:"leaf_csr,omitempty"`
	Result       []byte                `json:"result,omitempty"`       // the last EAR
	Certificates *enrol.FinishResponse `json:"certificates,omitempty"` // issued, not yet acknowledged
}

func (r *record) encode() ([]byte, error) {
	b, err := json.Marshal(r)
	if err != nil {
		return nil, fmt.Errorf("record: %w", err)
	}
	return b, nil
}

func decodeRecord(b []byte) (*record, error) {
	r := new(record)
	if err := json.Unmarshal(b, r); err != nil {
		return nil, fmt.Errorf("record: %w", err)
	}
	return r, nil
}

// note writes a verdict into the record. Since stays while firmware and verdict
// do: it is since when the room runs what it runs.
func (r *record) note(result evidence.Result, ear []byte, now time.Time) {
	room := &r.Room
	version, released := "", false
	if result.Release != nil {
		version, released = result.Release.Version, result.Status != evidence.Contraindicated
	}
	var reasons []string
	for _, f := range result.Failures {
		reasons = append(reasons, fmt.Sprintf("%s: %s", f.Code, f.Detail))
	}
	if room.Since.IsZero() || room.Firmware != version || room.Released != released {
		room.Since = now
	}
	room.Firmware, room.Released, room.Status = version, released, result.Status.String()
	room.Reasons, room.Verified = reasons, now
	r.Device.LastReset = max(r.Device.LastReset, result.Device.LastReset)
	r.Result = ear
}

// An enrolment is a row of the table of that name.
type enrolment struct {
	session, room, state string
	code, secret, nonce  []byte
	begun, deadline      time.Time
	record               *record
}

// How long an enrolment may stand still in each state until it is undone.
const (
	// A slow TPM takes seconds; a person may have to plug in a cable.
	lifeBegun = 10 * time.Minute
	// Staff have weekends and holidays.
	lifeWaiting = 14 * 24 * time.Hour
	// A room that lost its network between collecting and acknowledging.
	lifeIssued = time.Hour
)

const stateBegun = "begun" // the credential is out; nothing is proved

func (t *txn) enrolment(where string, arg any) (*enrolment, error) {
	var e enrolment
	var begun, deadline int64
	var b []byte
	err := t.row(`SELECT session, room, state, code, secret, nonce, begun, deadline, record FROM enrolments WHERE `+where+` = ?`,
		[]any{arg}, &e.session, &e.room, &e.state, &e.code, &e.secret, &e.nonce, &begun, &deadline, &b)
	if err != nil {
		return nil, err
	}
	e.begun, e.deadline = time.UnixMicro(begun).UTC(), time.UnixMicro(deadline).UTC()
	e.record, err = decodeRecord(b)
	return &e, err
}

func (t *txn) putEnrolment(e *enrolment) error {
	e.record.Room.State = e.state
	b, err := e.record.encode()
	if err != nil {
		return err
	}
	_, err = t.exec(`INSERT INTO enrolments (session, room, code, secret, nonce, state, begun, deadline, record)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)
		ON CONFLICT (session) DO UPDATE SET state = excluded.state, deadline = excluded.deadline, record = excluded.record`,
		e.session, e.room, e.code, e.secret, e.nonce, e.state, e.begun.UnixMicro(), e.deadline.UnixMicro(), b)
	return err
}

// undo forgets an enrolment: its certificates are revoked, its code serves again.
func (t *txn) undo(e *enrolment) error {
	if _, err := t.exec(`UPDATE certificates SET revoked = 1 WHERE session = ?`, e.session); err != nil {
		return err
	}
	_, err := t.exec(`DELETE FROM enrolments WHERE session = ?`, e.session)
	return err
}

// sweep undoes what was not finished in time, and drops what serves no more.
func (t *txn) sweep(now time.Time) (undone []string, err error) {
	var overdue []string
	err = t.rows(`SELECT session FROM enrolments WHERE deadline < ?`, []any{now.UnixMicro()}, func(read func(...any) error) error {
		var session string
		err := read(&session)
		overdue = append(overdue, session)
		return err
	})
	if err != nil {
		return nil, err
	}
	for _, session := range overdue {
		e, err := t.enrolment("session", session)
		if err != nil {
			return nil, err
		}
		if err := t.undo(e); err != nil {
			return nil, err
		}
		undone = append(undone, e.room)
		if err := t.audit(now, "verifyd", "undo enrolment", e.room); err != nil {
			return nil, err
		}
	}
	for _, old := range []struct {
		query string
		age   time.Duration
	}{
		{`DELETE FROM challenges WHERE issued < ?`, challengeMemory},
		{`DELETE FROM codes WHERE expires < ?`, 24 * time.Hour},
		{`DELETE FROM certificates WHERE expires < ?`, 24 * time.Hour},
	} {
		if _, err := t.exec(old.query, now.Add(-old.age).UnixMicro()); err != nil {
			return nil, err
		}
	}
	return undone, nil
}

// room reads a room by its id.
func (t *txn) room(id string) (*record, error) {
	var b []byte
	if err := t.row(`SELECT record FROM rooms WHERE id = ?`, []any{id}, &b); err != nil {
		return nil, err
	}
	return decodeRecord(b)
}

// lockRoom reads a room for an update. Without it, two verdicts on PostgreSQL
// could each write over the other's.
func (t *txn) lockRoom(id string) (*record, error) {
	if _, err := t.exec(`UPDATE rooms SET id = id WHERE id = ?`, id); err != nil {
		return nil, err
	}
	return t.room(id)
}

// roomOf reads the room whose LDevID has this key.
func (t *txn) roomOf(spki []byte) (*record, error) {
	hash := sha256.Sum256(spki)
	var b []byte
	if err := t.row(`SELECT record FROM rooms WHERE identity = ?`, []any{hash[:]}, &b); err != nil {
		return nil, err
	}
	r, err := decodeRecord(b)
	if err == nil && !bytes.Equal(r.Device.LDevID, spki) {
		err = errNone
	}
	return r, err
}

// enrolled reads the room whose LDevID has this key, unless it was revoked.
func (t *txn) enrolled(spki []byte) (*record, error) {
	room, err := t.roomOf(spki)
	switch {
	case errors.Is(err, errNone):
		return nil, akUnknown()
	case err != nil:
		return nil, err
	case room.Room.State == enrol.StateRevoked:
		return nil, refuse(http.StatusForbidden, evidence.AKRevoked, "the room was revoked")
	}
	return room, nil
}

func (t *txn) putRoom(r *record) error {
	b, err := r.encode()
	if err != nil {
		return err
	}
	n, err := t.exec(`UPDATE rooms SET state = ?, record = ? WHERE id = ?`, r.Room.State, b, r.Room.ID)
	if err == nil && n != 1 {
		err = errNone
	}
	return err
}

// enrol makes a room of an enrolment. It takes the place of the room of that id
// and of the one that the box was before.
func (t *txn) enrol(e *enrolment) error {
	r := *e.record
	r.Room.State = enrol.StateEnrolled
	r.IdentityCSR, r.LeafCSR, r.Certificates = nil, nil, nil
	b, err := r.encode()
	if err != nil {
		return err
	}
	hash := sha256.Sum256(r.Device.LDevID)
	for _, step := range []struct {
		query string
		args  []any
	}{
		{
			`UPDATE certificates SET revoked = 1 WHERE session <> ? AND (room = ? OR room IN (SELECT id FROM rooms WHERE ek = ?))`,
			[]any{e.session, e.room, r.Room.EK},
		},
		{`DELETE FROM rooms WHERE id = ? OR ek = ?`, []any{e.room, r.Room.EK}},
		{
			`INSERT INTO rooms (id, session, secret, state, identity, ek, record) VALUES (?, ?, ?, ?, ?, ?, ?)`,
			[]any{e.room, e.session, e.secret, r.Room.State, hash[:], r.Room.EK, b},
		},
		{`UPDATE codes SET spent = 1 WHERE hash = ?`, []any{e.code}},
		{`DELETE FROM enrolments WHERE session = ?`, []any{e.session}},
	} {
		if _, err := t.exec(step.query, step.args...); err != nil {
			return err
		}
	}
	return t.newDirectory()
}

// recordCertificates remembers what was issued, for the list of revocations.
func (t *txn) recordCertificates(room, session string, expires time.Time, chains ...[][]byte) error {
	for _, chain := range chains {
		if len(chain) == 0 {
			return errors.New("record: no certificate")
		}
		sum := sha256.Sum256(chain[0])
		if _, err := t.exec(`INSERT INTO certificates (fingerprint, room, session, expires, revoked) VALUES (?, ?, ?, ?, 0)`,
			hex.EncodeToString(sum[:]), room, session, expires.UnixMicro()); err != nil {
			return err
		}
	}
	return nil
}
