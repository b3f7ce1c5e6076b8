// SPDX-License-Identifier: Apache-2.0

package main

import (
	"crypto/ecdsa"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"net/http"
	"slices"
	"strings"
	"time"

	"incamera/secureboot/enrol"
	"incamera/secureboot/evidence"
)

// rooms lists the rooms, and those that want to be some.
func (v *service) rooms(r *http.Request, who *caller) (*answer, error) {
	list := []enrol.Room{}
	err := v.store.update(r.Context(), func(t *txn) error {
		if err := t.audit(time.Now(), who.staff, "list rooms", ""); err != nil {
			return err
		}
		for _, query := range []string{`SELECT record FROM rooms`, `SELECT record FROM enrolments WHERE state <> 'begun'`} {
			err := t.rows(query, nil, func(read func(...any) error) error {
				var b []byte
				if err := read(&b); err != nil {
					return err
				}
				rec, err := decodeRecord(b)
				if err == nil {
					rec.Room.Address = v.address(&rec.Room)
					list = append(list, rec.Room)
				}
				return err
			})
			if err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	slices.SortFunc(list, func(a, b enrol.Room) int { return strings.Compare(a.ID, b.ID) })
	return reply(http.StatusOK, map[string]any{"rooms": list})
}

// admit lets a room that waits have its certificates. A revoked one may enrol
// again afterwards, with a new code.
func (v *service) admit(r *http.Request, who *caller) (*answer, error) {
	id, now := r.PathValue("id"), time.Now()
	if !enrol.IsRoom(id) {
		return nil, notFound("room")
	}
	err := v.store.update(r.Context(), func(t *txn) error {
		if err := t.audit(now, who.staff, "admit", id); err != nil {
			return err
		}
		e, err := t.enrolment("room", id)
		if err == nil && e.state == enrol.StateWaiting {
			e.state, e.deadline = enrol.StateAdmitted, now.Add(lifeWaiting)
			return t.putEnrolment(e)
		}
		if err != nil && !errors.Is(err, errNone) {
			return err
		}
		if pardoned, err := t.pardon(id); err != nil || pardoned {
			return err
		}
		if e != nil && e.state != stateBegun {
			return refuse(http.StatusConflict, codeConflict, "the room was admitted before")
		}
		if err := t.known(id); err == nil {
			return refuse(http.StatusConflict, codeConflict, "the room is enrolled")
		}
		return notFound("room that waits")
	})
	if err != nil {
		return nil, err
	}
	return done()
}

// pardon takes a revocation back and forgets the room.
func (t *txn) pardon(id string) (bool, error) {
	n, err := t.exec(`DELETE FROM rooms WHERE id = ? AND state = ?`, id, enrol.StateRevoked)
	if err != nil {
		return false, err
	}
	keys, err := t.exec(`DELETE FROM revoked_keys WHERE room = ?`, id)
	return n+keys > 0, err
}

// revoke withdraws a room: its key, its certificates, an enrolment under way.
func (v *service) revoke(r *http.Request, who *caller) (*answer, error) {
	id, now := r.PathValue("id"), time.Now()
	if !enrol.IsRoom(id) {
		return nil, notFound("room")
	}
	err := v.store.update(r.Context(), func(t *txn) error {
		if err := t.audit(now, who.staff, "revoke", id); err != nil {
			return err
		}
		found := false
		e, err := t.enrolment("room", id)
		if err == nil {
			found = true
			if err := t.undo(e); err != nil {
				return err
			}
			// Its code must not let it in again.
			if _, err := t.exec(`UPDATE codes SET spent = 1 WHERE hash = ?`, e.code); err != nil {
				return err
			}
			if err := t.revokeKey(id, e.record.AKName, now); err != nil {
				return err
			}
		} else if !errors.Is(err, errNone) {
			return err
		}
		room, err := t.lockRoom(id)
		if errors.Is(err, errNone) {
			if !found {
				return notFound("room")
			}
			return nil
		} else if err != nil {
			return err
		}
		room.Room.State = enrol.StateRevoked
		if err := errors.Join(t.putRoom(room), t.newDirectory()); err != nil {
			return err
		}
		if _, err := t.exec(`UPDATE certificates SET revoked = 1 WHERE room = ?`, id); err != nil {
			return err
		}
		return t.revokeKey(id, room.AKName, now)
	})
	if err != nil {
		return nil, err
	}
	return done()
}

func (t *txn) revokeKey(room string, name []byte, now time.Time) error {
	_, err := t.exec(`INSERT INTO revoked_keys (ak, room, at) VALUES (?, ?, ?) ON CONFLICT (ak) DO NOTHING`,
		hex.EncodeToString(name), room, now.UnixMicro())
	return err
}

// code makes an activation code or a voucher.
func (v *service) code(r *http.Request, who *caller) (*answer, error) {
	body, err := enrol.Decode[enrol.CodeRequest](r.Body)
	if err != nil {
		return nil, err
	}
	if body.Address == "" {
		body.Address = v.authority.Address(body.Room)
	}
	now := time.Now()
	rsp := enrol.CodeResponse{Expires: now.Add(enrol.CodeLife).UTC(), VerifierKey: hex.EncodeToString(v.tlsKey[:])}
	err = v.store.update(r.Context(), func(t *txn) error {
		if err := t.audit(now, who.staff, "make activation code", body.Room+" "+body.Serial+" "+body.Address); err != nil {
			return err
		}
		if body.Voucher {
			rsp.Voucher, _, err = v.authority.SignVoucher(*body, v.tlsKey, now)
			return err
		}
		code := enrol.NewCode()
		rsp.Code = code.Text()
		hash := code.Hash(body.Serial)
		_, err := t.exec(`INSERT INTO codes (hash, serial, room, name, address, expires, spent) VALUES (?, ?, ?, ?, ?, ?, 0)`,
			hash[:], body.Serial, body.Room, body.Name, body.Address, now.Add(enrol.CodeLife).UnixMicro())
		return err
	})
	if err != nil {
		return nil, err
	}
	return reply(http.StatusCreated, rsp)
}

func (v *service) approveEK(r *http.Request, who *caller) (*answer, error) {
	body, err := enrol.Decode[enrol.EKRequest](r.Body)
	if err != nil {
		return nil, err
	}
	err = v.store.update(r.Context(), func(t *txn) error {
		if err := t.audit(time.Now(), who.staff, "approve endorsement key", body.EK); err != nil {
			return err
		}
		_, err := t.exec(`INSERT INTO endorsement_keys (hash, note) VALUES (?, ?) ON CONFLICT (hash) DO UPDATE SET note = excluded.note`, body.EK, body.Note)
		return err
	})
	if err != nil {
		return nil, err
	}
	return done()
}

func (v *service) audit(r *http.Request, who *caller) (*answer, error) {
	var lines []auditLine
	err := v.store.update(r.Context(), func(t *txn) error {
		if err := t.audit(time.Now(), who.staff, "read audit log", ""); err != nil {
			return err
		}
		var err error
		lines, err = t.auditLines()
		return err
	})
	if err != nil {
		return nil, err
	}
	return reply(http.StatusOK, map[string]any{"lines": lines})
}

// maxResultAge is how old a verdict may be that certificates are renewed on.
const maxResultAge = time.Hour

// renew issues new certificates to an enrolled room. Who asks is known by the
// key of the LDevID alone: a room that was switched off until its certificate
// ran out comes back without a person.
func (v *service) renew(r *http.Request, who *caller) (*answer, error) {
	body, err := enrol.Decode[enrol.RenewRequest](r.Body)
	if err != nil {
		return nil, err
	}
	now := time.Now()
	var rsp *enrol.FinishResponse
	err = v.store.update(r.Context(), func(t *txn) error {
		room, err := t.enrolled(who.spki)
		if err != nil {
			return err
		}
		if err := v.freshResult(room, body.Result, now); err != nil {
			return err
		}
		identityKey, err := enrol.CheckCSR(body.Identity)
		if err != nil {
			return err
		}
		if spki, err := x509.MarshalPKIXPublicKey(identityKey); err != nil || string(spki) != string(who.spki) {
			return enrol.ErrProof
		}
		leafKey, err := v.renewLeaf(t, room, body)
		if err != nil {
			return err
		}
		var session string
		if err := t.row(`SELECT session FROM rooms WHERE id = ?`, []any{room.Room.ID}, &session); err != nil {
			return err
		}
		rsp, err = v.certify(t, room, session, identityKey, leafKey, body.Result, now)
		return err
	})
	if err != nil {
		return nil, err
	}
	return reply(http.StatusOK, rsp)
}

// freshResult checks that a verdict is this verifier's, on this room, recent,
// and no refusal.
func (v *service) freshResult(room *record, cmw []byte, now time.Time) error {
	result, err := evidence.ParseResult(cmw, v.result.Public())
	if err != nil {
		return err
	}
	if string(result.Device.EKName) != string(room.Device.EKName) || string(result.Device.LDevID) != string(room.Device.LDevID) {
		return refuse(http.StatusForbidden, evidence.EKMismatch, "the verdict is on another room")
	}
	if age := now.Sub(result.Issued); age > maxResultAge || age < -time.Minute {
		return refuse(http.StatusForbidden, evidence.NonceExpired, "the verdict is older than an hour; show new evidence first")
	}
	if result.Status == evidence.Contraindicated || result.State == nil {
		code := evidence.RefvalMismatch
		if len(result.Failures) > 0 {
			code = result.Failures[0].Code
		}
		return refuse(http.StatusForbidden, code, "the verdict refuses the room")
	}
	return nil
}

// renewLeaf returns the key of the leaf's request: the enrolled one, or one that
// the AK has certified for this verdict.
func (v *service) renewLeaf(t *txn, room *record, body *enrol.RenewRequest) (*ecdsa.PublicKey, error) {
	key, err := enrol.CheckCSR(body.Leaf)
	if err != nil {
		return nil, err
	}
	spki, err := x509.MarshalPKIXPublicKey(key)
	if err != nil {
		return nil, err
	}
	if string(spki) == string(room.Leaf) {
		return key, nil
	}
	if body.Proof == nil {
		return nil, refuse(http.StatusForbidden, evidence.SigInvalid, "a leaf key that is not the enrolled one, without a proof")
	}
	ak, err := enrol.CheckAK(room.Device.AK)
	if err != nil {
		return nil, err
	}
	policy, err := v.keyPolicy(body.Proof.Public)
	if err != nil {
		return nil, err
	}
	result, err := evidence.ParseResult(body.Result, v.result.Public())
	if err != nil {
		return nil, err
	}
	proved, err := enrol.CheckProof(body.Proof, ak, result.Nonce, enrol.UseLeaf, policy)
	if err != nil {
		return nil, err
	}
	if !proved.Equal(key) || string(spki) == string(room.Device.LDevID) {
		return nil, enrol.ErrProof
	}
	if room, err = t.lockRoom(room.Room.ID); err != nil {
		return nil, err
	}
	room.Leaf = spki
	return key, t.putRoom(room)
}
