// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"net/http"
	"time"

	"incamera/secureboot/enrol"
	"incamera/secureboot/evidence"
)

// begin checks code, EK and AK, in this order: who has no code learns nothing
// and costs nothing. The code is taken, not spent: until the enrolment is
// acknowledged the same box may begin again, as after a power cut.
func (v *service) begin(r *http.Request, _ *caller) (*answer, error) {
	body, err := enrol.Decode[enrol.BeginRequest](r.Body)
	if err != nil {
		return nil, err
	}
	now := time.Now()
	var rsp enrol.BeginResponse
	err = v.store.update(r.Context(), func(t *txn) error {
		ticket, err := v.redeem(t, body, now)
		if err != nil {
			return err
		}
		ek, err := enrol.CheckEK(body.EK, body.EKChain, v.makers, t.approvedEK, now)
		if err != nil {
			return err
		}
		ak, err := enrol.CheckAK(body.AK)
		if err != nil {
			return err
		}
		if revoked, err := t.revokedAK(ak.Name.Buffer); err != nil {
			return err
		} else if revoked {
			return refuse(http.StatusForbidden, evidence.AKRevoked, "the box was revoked; staff must admit it again first")
		}
		c, err := enrol.MakeCredential(ek, ak)
		if err != nil {
			return err
		}
		secret := enrol.SecretHash(c.Secret[:])
		e := &enrolment{
			session: newSession(), room: ticket.room, code: ticket.hash, secret: secret[:], nonce: make([]byte, 32),
			state: stateBegun, begun: now, deadline: now.Add(lifeBegun),
			record: &record{
				Room: enrol.Room{
					ID: ticket.room, Name: ticket.name, Serial: body.Serial, Address: ticket.address, EK: ek.Hash(), EKCertified: ek.Certified,
					Soft: body.Soft, Enrolled: now.UTC(),
				},
				Device:  evidence.Device{EKName: ek.Name.Buffer, AK: body.AK, Soft: body.Soft, EKCertified: ek.Certified},
				AKName:  ak.Name.Buffer,
				SRKName: body.SRKName,
			},
		}
		_, _ = rand.Read(e.nonce) // never fails
		if err := v.makeRoom(t, e); err != nil {
			return err
		}
		rsp = enrol.BeginResponse{Session: e.session, Credential: c.Credential, Secret: c.Encrypted, Nonce: e.nonce, Expires: e.deadline.UTC()}
		return t.putEnrolment(e)
	})
	if err != nil {
		return nil, err
	}
	return reply(http.StatusOK, rsp)
}

// maxEnrolments bounds how many rooms may be between begin and finish.
const maxEnrolments = 64

// makeRoom takes away an earlier attempt with the same code, and refuses if
// another code's is under way for the room, or too many are.
func (v *service) makeRoom(t *txn, e *enrolment) error {
	if earlier, err := t.enrolment("code", e.code); err == nil {
		if err := t.undo(earlier); err != nil {
			return err
		}
	} else if !errors.Is(err, errNone) {
		return err
	}
	if _, err := t.enrolment("room", e.room); err == nil {
		return refuse(http.StatusConflict, codeConflict, "another enrolment of this room is under way")
	} else if !errors.Is(err, errNone) {
		return err
	}
	var open int
	if err := t.row(`SELECT count(*) FROM enrolments WHERE state = ?`, []any{stateBegun}, &open); err != nil {
		return err
	}
	if open >= maxEnrolments {
		return refuse(http.StatusTooManyRequests, codeBusy, "too many enrolments under way")
	}
	return nil
}

// A ticket is what a code or voucher gives its box.
type ticket struct {
	hash                []byte
	room, name, address string
}

// redeem finds the ticket of a code or voucher that is not spent.
func (v *service) redeem(t *txn, body *enrol.BeginRequest, now time.Time) (ticket, error) {
	if len(body.Voucher) > 0 {
		return v.redeemVoucher(t, body, now)
	}
	code, err := enrol.ParseCode(body.Code)
	if err != nil {
		return ticket{}, err
	}
	hash := code.Hash(body.Serial)
	k := ticket{hash: hash[:]}
	var expires int64
	var spent int
	err = t.row(`SELECT room, name, address, expires, spent FROM codes WHERE hash = ?`, []any{hash[:]}, &k.room, &k.name, &k.address, &expires, &spent)
	if errors.Is(err, errNone) || err == nil && (spent != 0 || now.UnixMicro() > expires) {
		return ticket{}, enrol.ErrCode
	}
	return k, err
}

// redeemVoucher verifies a voucher. It may have been signed where this verifier
// was out of reach; that it serves once is known from the first time on.
func (v *service) redeemVoucher(t *txn, body *enrol.BeginRequest, now time.Time) (ticket, error) {
	voucher, err := v.authority.CheckVoucher(body.Voucher, body.Serial, now)
	if err != nil {
		return ticket{}, err
	}
	hash := sha256.Sum256(append([]byte("in-camera/voucher/v1\x00"), voucher.ID...))
	if _, err := t.exec(`INSERT INTO codes (hash, serial, room, name, address, expires, spent) VALUES (?, ?, ?, ?, ?, ?, 0) ON CONFLICT (hash) DO NOTHING`,
		hash[:], voucher.Serial, voucher.Room, voucher.Name, voucher.Address, voucher.Expires*1e6); err != nil {
		return ticket{}, err
	}
	var spent int
	if err := t.row(`SELECT spent FROM codes WHERE hash = ?`, []any{hash[:]}, &spent); err != nil {
		return ticket{}, err
	}
	if spent != 0 {
		return ticket{}, enrol.ErrCode
	}
	return ticket{hash[:], voucher.Room, voucher.Name, voucher.Address}, nil
}

func (t *txn) approvedEK(hash string) (bool, error) {
	var n int
	err := t.row(`SELECT count(*) FROM endorsement_keys WHERE hash = ?`, []any{hash}, &n)
	return n > 0, err
}

func (t *txn) revokedAK(name []byte) (bool, error) {
	var n int
	err := t.row(`SELECT count(*) FROM revoked_keys WHERE ak = ?`, []any{hex.EncodeToString(name)}, &n)
	return n > 0, err
}

// finish takes the proofs, or tells a room that waits how it stands.
func (v *service) finish(r *http.Request, _ *caller) (*answer, error) {
	body, err := enrol.Decode[enrol.FinishRequest](r.Body)
	if err != nil {
		return nil, err
	}
	now := time.Now()
	var rsp *enrol.FinishResponse
	err = v.store.update(r.Context(), func(t *txn) error {
		e, err := t.session(body.Session, body.Secret, now)
		if err != nil {
			return err
		}
		switch {
		case e.state == stateBegun && body.First():
			rsp, err = v.prove(t, e, body, now)
		case e.state == stateBegun:
			err = refuse(http.StatusConflict, codeConflict, "keys and evidence are missing")
		case e.state == enrol.StateWaiting:
			rsp = &enrol.FinishResponse{Status: enrol.Waiting, Room: e.room, Name: e.record.Room.Name, Result: e.record.Result}
		case e.state == enrol.StateAdmitted:
			rsp, err = v.issue(t, e, now)
		default: // issued: the answer was lost on its way
			rsp = e.record.Certificates
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	return reply(http.StatusOK, rsp)
}

// session finds an enrolment under way by its name and secret.
func (t *txn) session(name string, secret []byte, now time.Time) (*enrolment, error) {
	e, err := t.enrolment("session", name)
	if errors.Is(err, errNone) || err == nil && now.After(e.deadline) {
		return nil, refuse(http.StatusNotFound, evidence.NonceUnknown, "no such enrolment; begin again")
	}
	if err != nil {
		return nil, err
	}
	return e, enrol.CheckSecret(secret, e.secret)
}

// prove checks the keys and the first evidence. A box whose evidence refuses it
// is told why and forgotten.
func (v *service) prove(t *txn, e *enrolment, body *enrol.FinishRequest, now time.Time) (*enrol.FinishResponse, error) {
	ak, err := enrol.CheckAK(e.record.Device.AK)
	if err != nil {
		return nil, err
	}
	policy, err := v.keyPolicy(body.Identity.Public)
	if err != nil {
		return nil, err
	}
	identityKey, err := enrol.CheckProof(body.Identity, ak, e.nonce, enrol.UseIdentity, policy)
	if err != nil {
		return nil, err
	}
	leafKey, err := enrol.CheckProof(body.Leaf, ak, e.nonce, enrol.UseLeaf, policy)
	if err != nil {
		return nil, err
	}
	if identityKey.Equal(leafKey) {
		// A signature of one protocol must not pass for one of the other.
		return nil, refuse(http.StatusForbidden, evidence.SigInvalid, "one key for both uses")
	}
	d := &e.record.Device
	if d.LDevID, err = x509.MarshalPKIXPublicKey(identityKey); err != nil {
		return nil, err
	}
	if e.record.Leaf, err = x509.MarshalPKIXPublicKey(leafKey); err != nil {
		return nil, err
	}
	d.KeyPolicy = policy
	q := question{nonce: e.nonce, spki: d.LDevID, issued: e.begun, maxAge: lifeBegun}
	if err := v.baseline(t, e.record, body.Evidence, q, now); err != nil {
		return nil, err
	}
	result, ear, err := v.appraise(t, body.Evidence, q, e.record, now)
	if err != nil {
		return nil, err
	}
	rsp := &enrol.FinishResponse{Status: enrol.Waiting, Room: e.room, Name: e.record.Room.Name, Result: ear}
	if result.Status == evidence.Contraindicated {
		rsp.Status = enrol.Refused
		if err := t.undo(e); err != nil {
			return nil, err
		}
		return rsp, t.audit(now, "verifyd", "refuse enrolment", e.room)
	}
	e.record.note(result, ear, now.UTC())
	e.record.IdentityCSR, e.record.LeafCSR = body.Identity.CSR, body.Leaf.CSR
	e.state, e.deadline = enrol.StateWaiting, now.Add(lifeWaiting)
	v.log.Info("room waits for admission", "room", e.room, "verdict", result.Status.String())
	return rsp, t.putEnrolment(e)
}

// keyPolicy returns that of the accepted policies which the key has.
func (v *service) keyPolicy(public []byte) ([]byte, error) {
	has, err := enrol.PolicyOf(public)
	if err != nil {
		return nil, err
	}
	for _, p := range v.keyPolicies {
		if bytes.Equal(p, has) {
			return p, nil
		}
	}
	return nil, enrol.ErrProof
}

// issue makes the certificates of a room that staff have admitted.
func (v *service) issue(t *txn, e *enrolment, now time.Time) (*enrol.FinishResponse, error) {
	r := e.record
	identityKey, err := enrol.CheckCSR(r.IdentityCSR)
	if err != nil {
		return nil, err
	}
	leafKey, err := enrol.CheckCSR(r.LeafCSR)
	if err != nil {
		return nil, err
	}
	rsp, err := v.certify(t, r, e.session, identityKey, leafKey, r.Result, now)
	if err != nil {
		return nil, err
	}
	r.Certificates = rsp
	e.state, e.deadline = enrol.StateIssued, now.Add(lifeIssued)
	return rsp, t.putEnrolment(e)
}

// certify issues both certificates, with the verdict in them.
func (v *service) certify(t *txn, r *record, session string, identityKey, leafKey *ecdsa.PublicKey, ear []byte, now time.Time) (*enrol.FinishResponse, error) {
	grant := enrol.Grant{Room: r.Room.ID, Name: r.Room.Name, Use: enrol.UseIdentity, Key: identityKey, Result: ear, Life: v.life}
	grant.Addresses = v.authority.Addresses(r.Room.Address)
	identityChain, err := v.authority.Issue(grant, now)
	if err != nil {
		return nil, err
	}
	grant.Use, grant.Key, grant.Addresses = enrol.UseLeaf, leafKey, nil
	leafChain, err := v.authority.Issue(grant, now)
	if err != nil {
		return nil, err
	}
	if err := t.recordCertificates(r.Room.ID, session, now.Add(v.life), identityChain, leafChain); err != nil {
		return nil, err
	}
	return &enrol.FinishResponse{
		Status: enrol.Issued, Room: r.Room.ID, Name: r.Room.Name,
		Identity: identityChain, Leaf: leafChain, Root: v.authority.Root().Raw, Result: ear,
	}, nil
}

// acknowledge makes a room of the enrolment. It may come twice: the first answer
// may be lost.
func (v *service) acknowledge(r *http.Request, _ *caller) (*answer, error) {
	body, err := enrol.Decode[enrol.AckRequest](r.Body)
	if err != nil {
		return nil, err
	}
	now := time.Now()
	err = v.store.update(r.Context(), func(t *txn) error {
		var secret []byte
		err := t.row(`SELECT secret FROM rooms WHERE session = ?`, []any{body.Session}, &secret)
		if err == nil {
			return enrol.CheckSecret(body.Secret, secret)
		}
		if !errors.Is(err, errNone) {
			return err
		}
		e, err := t.session(body.Session, body.Secret, now)
		if err != nil {
			return err
		}
		if e.state != enrol.StateIssued {
			return refuse(http.StatusConflict, codeConflict, "no certificates were issued yet")
		}
		if err := t.enrol(e); err != nil {
			return err
		}
		return t.audit(now, "verifyd", "enrol", e.room)
	})
	if err != nil {
		return nil, err
	}
	return done()
}
