// SPDX-License-Identifier: Apache-2.0

package evidence

import (
	"crypto"
	"fmt"
	"time"
)

// A Status is a trustworthiness tier (draft-ietf-rats-ear-04, Section 3.1).
type Status uint8

// The tiers, from better to worse but for None, which says nothing.
const (
	None            Status = 0
	Affirming       Status = 2
	Warning         Status = 32
	Contraindicated Status = 96
)

// String returns the word of the draft.
func (s Status) String() string {
	switch s {
	case None:
		return "none"
	case Affirming:
		return "affirming"
	case Warning:
		return "warning"
	case Contraindicated:
		return "contraindicated"
	}
	return fmt.Sprintf("status %d", uint8(s))
}

// MarshalText writes the word of the draft.
func (s Status) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// Indices of a [Vector]: the categories of AR4SI.
const (
	InstanceIdentity = iota
	Configuration
	Executables
	FileSystem
	Hardware
	RuntimeOpaque
	StorageOpaque
	SourcedData
)

// A Vector is a trustworthiness vector (AR4SI); zero makes no claim.
type Vector [8]int8

// An Event is the first event that does not belong.
type Event struct {
	PCR int `json:"pcr"`
	// Number counts from 0 through the firmware's log and then that of the
	// phases; -1 if no event can be named, as for a missing one.
	Number int    `json:"number"`
	Type   uint32 `json:"type"` // of the TCG; 0 for phases
	Digest Digest `json:"sha256"`
	Name   string `json:"name"` // what the log says of it, quoted; not authenticated
}

// A Failure is a check that failed. Status is [Contraindicated] if that
// refuses the room, [Warning] if it only caps the verdict, and [Affirming] if
// the site's policy accepts it.
type Failure struct {
	Code   Code   `json:"code"`
	Status Status `json:"status"`
	Detail string `json:"detail"` // for people
	Event  *Event `json:"event,omitempty"`
}

// A Device is what enrolment recorded of a room. Results carry it, so that a
// peer with nothing but a room's certificate can appraise its fresh quotes.
type Device struct {
	EKName    []byte `cbor:"1,keyasint" json:"ek_name"`                        // TPM name
	AK        []byte `cbor:"2,keyasint" json:"ak"`                             // TPMT_PUBLIC
	LDevID    []byte `cbor:"3,keyasint" json:"ldevid"`                         // SubjectPublicKeyInfo
	KeyPolicy []byte `cbor:"4,keyasint,omitempty" json:"key_policy,omitempty"` // authPolicy that LDevID and leaf must have; empty: some policy
	Board     string `cbor:"5,keyasint" json:"board"`
	// Soft means that the TPM is a program, EKCertified that a maker known to the
	// site vouches for the TPM.
	Soft        bool `cbor:"6,keyasint" json:"soft"`
	EKCertified bool `cbor:"7,keyasint" json:"ek_certified"`
	// ResetCount and BootCount are a pair of the same instant: when the room was
	// enrolled or last admitted after an anomaly. LastReset is the highest
	// resetCount seen since.
	ResetCount uint32 `cbor:"8,keyasint" json:"reset_count"`
	BootCount  uint64 `cbor:"9,keyasint" json:"boot_count"`
	LastReset  uint32 `cbor:"10,keyasint" json:"last_reset"`
	PCR15      Digest `cbor:"11,keyasint" json:"pcr15"` // system identity
}

// A Register is a judged register as quoted.
type Register struct {
	PCR   int    `json:"pcr"`
	Word  Word   `json:"word"`
	Value Digest `json:"sha256"`
}

// A State is what the quote told of the moment it was made.
type State struct {
	ResetCount   uint32     `json:"reset_count"`
	RestartCount uint32     `json:"restart_count"`
	Safe         bool       `json:"clock_safe"` // false after each power cut: shown, never a ground
	BootCount    uint64     `json:"boot_count"`
	Registers    []Register `json:"registers,omitempty"` // ascending
}

// A Release is the release that the reference values named.
type Release struct {
	Version    string `json:"version"`
	Rollback   uint64 `json:"rollback"`
	FirstStage string `json:"first_stage"`
	VerifiedBy string `json:"verified_by,omitempty"`
}

// A Result is a verdict: an EAT attestation result (EAR).
type Result struct {
	Issued     time.Time `json:"issued"` // whole seconds
	Developer  string    `json:"developer"`
	Build      string    `json:"build"`     // of the verifier
	PolicyID   string    `json:"policy_id"` // of the site's policy
	Nonce      []byte    `json:"nonce"`     // of the evidence; nil if that could not be read
	Status     Status    `json:"status"`
	Vector     Vector    `json:"vector"`
	Failures   []Failure `json:"failures"`   // every check that failed, in the order of appraisal
	Evidence   Digest    `json:"evidence"`   // SHA-256 of the CMW
	References Digest    `json:"references"` // SHA-256 of the signed reference values; zero: none
	Release    *Release  `json:"release"`    // nil if no reference values matched
	State      *State    `json:"state"`      // nil if the quote could not be read
	Device     Device    `json:"device"`     // with LastReset brought forward
}

// Age returns how old the verdict is; zero if it comes from the future, since
// a clock that went back must not show a negative age.
func (r *Result) Age(now time.Time) time.Duration { return max(0, now.Sub(r.Issued)) }

// Offender returns the first event that a failed check named, or nil.
func (r *Result) Offender() *Event {
	for _, f := range r.Failures {
		if f.Event != nil {
			return f.Event
		}
	}
	return nil
}

// Failed reports whether a check failed with code, as a refusal or a warning.
func (r *Result) Failed(code Code) bool {
	for _, f := range r.Failures {
		if f.Code == code {
			return true
		}
	}
	return false
}

// SignResult returns r as a CMW record, signed by the verifier's result key, an
// ECDSA key on P-256.
func SignResult(r Result, key crypto.Signer) ([]byte, error) {
	if err := r.check(); err != nil {
		return nil, err
	}
	payload, err := encode(r.wire())
	if err != nil {
		return nil, err
	}
	signed, err := sign(payload, nil, key)
	if err != nil {
		return nil, err
	}
	if len(signed) > MaxCMW-64 { // the frame of the record
		return nil, ErrTooLarge
	}
	return wrap(signed, cmwResults)
}

// ParseResult verifies and decodes a CMW record that holds a result. It returns
// an error that wraps [ErrTooLarge], [ErrMalformed] or [ErrSignature].
func ParseResult(cmw []byte, key crypto.PublicKey) (*Result, error) {
	s, err := unwrap(cmw, cmwResults)
	if err != nil {
		return nil, err
	}
	if err := s.verify(key); err != nil {
		return nil, err
	}
	return decodeResult(s)
}
