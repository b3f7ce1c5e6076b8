// SPDX-License-Identifier: Apache-2.0

// Package evidence holds what rooms, verifiers and builds tell one another
// about software: evidence (EAT, RFC 9711), results (EAR, draft-ietf-rats-ear),
// reference values (CoRIM, draft-ietf-rats-corim), the wrapper of the first two
// (CMW, RFC 9999) and the proof that a reference value is in the public log.
//
// It encodes, decodes, signs and checks signatures; what a statement is worth
// is for package verify to say. Everything written is deterministic CBOR, and
// whatever is read must be: one value has one spelling. Slices that a decoder
// returns may share the memory of its argument.
package evidence

import (
	"crypto"
	"crypto/sha256"
	"fmt"
)

// A DebugStatus tells how far the room is closed for debugging (RFC 9711,
// Section 4.2.9).
type DebugStatus uint8

// The states.
const (
	DebugEnabled DebugStatus = iota
	DebugDisabled
	DebugDisabledSinceBoot
	DebugDisabledPermanently
	DebugDisabledFully
)

// Claims are what a room says of itself.
type Claims struct {
	Nonce     []byte // of the challenge, 8 to 64 bytes
	UEID      []byte // [UEID] of the endorsement key's name
	Board     string // hwmodel: the board as the reference values name it, at most 32 bytes
	OEMBoot   bool   // the boot chain was verified
	Debug     DebugStatus
	BootCount uint64 // starts of the system, kept on the state partition
	Name      string // of the software
	Version   string // of the release, a semantic version
	Quote     Quote  // not part of what [QualifyingData] covers
}

// A Quote is the TPM's own statement with all that is needed to judge it.
// TPM structures are in their wire form, without a size in front.
type Quote struct {
	Attest    []byte // TPMS_ATTEST
	Signature []byte // TPMT_SIGNATURE over it by the attestation key
	AKName    []byte // TPM name of that key

	// Log is the firmware's event log, or else the SHA-256 of it. Then Phases is
	// empty and PCRs has the values, since nothing could be replayed.
	Log    []byte
	Phases []byte // log of what user space measured
	PCRs   []byte // values of the quoted registers in ascending order, 32 bytes each; nil beside a log

	Certify *Certify // of the key that the statement is about, if that is not the LDevID
}

// LogOnlyHashed reports whether the quote has the log's hash in place of the log.
// No log is that short: its first record alone has more than 32 bytes.
func (q *Quote) LogOnlyHashed() bool { return len(q.Log) == sha256.Size }

// Compact returns q with the log replaced by its hash, for certificates and
// MLS leaves. values are the quoted registers in ascending order, 32 bytes each.
func (q Quote) Compact(values []byte) Quote {
	sum := sha256.Sum256(q.Log)
	q.Log, q.Phases, q.PCRs = sum[:], nil, values
	return q
}

// A Certify is the attestation key's word that another key lives in the same TPM.
type Certify struct {
	Attest    []byte `cbor:"1,keyasint"` // TPMS_ATTEST; its extraData is not looked at
	Signature []byte `cbor:"2,keyasint"` // TPMT_SIGNATURE
	Public    []byte `cbor:"3,keyasint"` // TPMT_PUBLIC of the certified key
}

// UEID returns the universal entity identifier of the room whose endorsement key
// has the TPM name ekName (RFC 9711, Section 4.2.1: type RAND).
func UEID(ekName []byte) []byte {
	sum := sha256.Sum256(ekName)
	return append([]byte{0x01}, sum[:]...)
}

// QualifyingData returns what the TPM must have quoted: it ties the quote to the
// nonce, to the key that the statement is about, in the form of its
// SubjectPublicKeyInfo, and to all claims beside the quote.
func QualifyingData(nonce, spki []byte, c Claims) ([32]byte, error) {
	claims, err := encode(c.wire(nil))
	if err != nil {
		return [32]byte{}, err
	}
	key, set := sha256.Sum256(spki), sha256.Sum256(claims)
	h := sha256.New()
	h.Write([]byte("in-camera/quote/v1"))
	h.Write(nonce)
	h.Write(key[:])
	h.Write(set[:])
	return [32]byte(h.Sum(nil)), nil
}

// Sign returns c as a CMW record, signed by the LDevID, an ECDSA key on P-256.
// The signer may take as long as a TPM does.
func Sign(c Claims, ldevid crypto.Signer) ([]byte, error) {
	if err := c.check(); err != nil {
		return nil, err
	}
	payload, err := encode(c.wire(&c.Quote))
	if err != nil {
		return nil, err
	}
	signed, err := sign(payload, nil, ldevid)
	if err != nil {
		return nil, err
	}
	if len(signed) > MaxCMW-64 { // the frame of the record
		return nil, ErrTooLarge
	}
	return wrap(signed, cmwEvidence)
}

// Evidence is a decoded statement of a room. Nothing in it is verified yet.
type Evidence struct {
	Claims

	signed *sign1
}

// Parse decodes a CMW record of evidence. It returns an error that wraps
// [ErrTooLarge] or [ErrMalformed].
func Parse(cmw []byte) (*Evidence, error) {
	s, err := unwrap(cmw, cmwEvidence)
	if err != nil {
		return nil, err
	}
	if len(s.message.Headers.Protected) != 1 {
		return nil, fmt.Errorf("%w: protected header", ErrMalformed)
	}
	if err := checkEAT(s.message.Payload); err != nil {
		return nil, err
	}
	var w wireClaims
	if err := decode(decoder, s.message.Payload, MaxCMW, &w); err != nil {
		return nil, err
	}
	c, err := w.claims()
	if err != nil {
		return nil, err
	}
	return &Evidence{Claims: c, signed: s}, nil
}

// Verify checks the LDevID's signature. It returns an error that wraps
// [ErrSignature].
func (e *Evidence) Verify(ldevid crypto.PublicKey) error { return e.signed.verify(ldevid) }
