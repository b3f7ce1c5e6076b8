// SPDX-License-Identifier: Apache-2.0

package enrol

import (
	"encoding/hex"
	"errors"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// A CodeRequest asks for an activation code. Only staff may.
type CodeRequest struct {
	Serial string `json:"serial"` // of the box that it is for
	Room   string `json:"room"`   // id that the room will have
	Name   string `json:"name"`   // as panels show it and certificates hold it
	// Address is where the room's relay will be reached, host:port. Without it,
	// under the room's DNS name in the domain of the site, at [RelayPort].
	Address string `json:"address,omitempty"`
	Voucher bool   `json:"voucher,omitempty"` // a signed voucher in place of a code
}

func (r *CodeRequest) check() error {
	switch {
	case !isSerial(r.Serial):
		return errors.New("serial: 1 to 64 letters, digits, hyphens and dots")
	case !IsRoom(r.Room):
		return errors.New("room: 1 to 32 of a-z, 0-9 and -")
	case !IsName(r.Name):
		return errors.New("name: 1 to 64 bytes that print")
	case r.Address != "" && !IsAddress(r.Address):
		return errors.New("address: host:port")
	}
	return nil
}

// A CodeResponse holds the code, once: the verifier keeps its hash alone.
type CodeResponse struct {
	Code    string    `json:"code,omitempty"`
	Voucher []byte    `json:"voucher,omitempty"`
	Expires time.Time `json:"expires"`
	// VerifierKey is the SHA-256 of the SPKI of the verifier's TLS key, in
	// hexadecimal: with it in the QR code, a room trusts no network.
	VerifierKey string `json:"verifier_key"`
}

// An EKRequest approves the endorsement key of a chip without a certificate.
type EKRequest struct {
	EK   string `json:"ek"`   // SHA-256 of its name, in hexadecimal
	Note string `json:"note"` // where staff have it from
}

func (r *EKRequest) check() error {
	if b, err := hex.DecodeString(r.EK); err != nil || len(b) != 32 || strings.ToLower(r.EK) != r.EK {
		return errors.New("ek: 64 hexadecimal digits in lower case")
	}
	if len(r.Note) > 256 || !utf8.ValidString(r.Note) || strings.ContainsFunc(r.Note, unicode.IsControl) {
		return errors.New("note: at most 256 bytes of text")
	}
	return nil
}

// States of a room at the verifier.
const (
	StateWaiting  = "waiting"  // proved itself; staff have not admitted it yet
	StateAdmitted = "admitted" // may collect its certificates
	StateIssued   = "issued"   // has them, has not said that it stored them
	StateEnrolled = "enrolled"
	StateRevoked  = "revoked"
)

// A Room is what the verifier tells staff about a room.
type Room struct {
	ID          string    `json:"id"`
	Name        string    `json:"name"`
	Serial      string    `json:"serial"`
	Address     string    `json:"address"` // of its relay, host:port
	State       string    `json:"state"`
	EK          string    `json:"ek"` // SHA-256 of its name, hexadecimal
	EKCertified bool      `json:"ek_certified"`
	Soft        bool      `json:"soft"` // no hardware root
	Enrolled    time.Time `json:"enrolled"`
	Firmware    string    `json:"firmware,omitempty"` // version of the last evidence
	Released    bool      `json:"released"`           // the measurements were the released ones
	Since       time.Time `json:"since,omitzero"`     // first evidence in a row with this firmware and verdict
	Verified    time.Time `json:"verified,omitzero"`  // last evidence
	Status      string    `json:"status,omitempty"`   // its verdict
	Reasons     []string  `json:"reasons,omitempty"`  // its failed checks
}

// IsName reports whether s can stand on a panel as it is: a character that
// turns the direction of text could make one name look like another.
func IsName(s string) bool {
	return s != "" && len(s) <= 64 && utf8.ValidString(s) && strings.TrimSpace(s) == s &&
		!strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) })
}

// A ReferenceDocument is signed reference values with the proof that they are
// in the transparency log.
type ReferenceDocument struct {
	Document []byte `json:"document"` // signed CoRIM
	Proof    []byte `json:"proof"`    // inclusion, and the checkpoint
	// Consistency leads from the checkpoint that the verifier keeps to that of
	// the proof: hashes of 32 bytes. None if they are the same.
	Consistency [][]byte `json:"consistency,omitempty"`
}

func (r *ReferenceDocument) check() error {
	switch {
	case len(r.Document) == 0 || len(r.Proof) == 0:
		return errors.New("document and proof: missing")
	case len(r.Consistency) > 64:
		return errors.New("consistency: at most 64 hashes")
	}
	for _, h := range r.Consistency {
		if len(h) != 32 {
			return errors.New("consistency: hashes of 32 bytes")
		}
	}
	return nil
}

// A ReferenceEntry is a line of the list of reference values.
type ReferenceEntry struct {
	Board    string    `json:"board"`
	Version  string    `json:"version"`
	Rollback uint64    `json:"rollback"`
	SHA256   string    `json:"sha256"` // of the document, hexadecimal
	Added    time.Time `json:"added"`
	Revoked  bool      `json:"revoked"`
}

// A SiteInfo is what a verifier says of its site.
type SiteInfo struct {
	Site      string `json:"site"`
	Root      []byte `json:"root"`       // certificate, DER
	ResultKey []byte `json:"result_key"` // SPKI of the key that signs EARs
	NoteKey   string `json:"note_key"`   // of revocations, as golang.org/x/mod/sumdb/note writes it
}
