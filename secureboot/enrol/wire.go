// SPDX-License-Identifier: Apache-2.0

package enrol

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"
)

// Sizes of bodies on the wire, in bytes (the table of the verifier's API).
const (
	MaxSmall    = 16 << 10  // begin, renew, what staff send
	MaxEvidence = 256 << 10 // finish, evidence
	MaxAsk      = 1 << 10   // challenge
)

// MediaBundle is the media type of a release as one file.
const MediaBundle = "application/vnd.in-camera.bundle"

// Limits of what bodies hold.
const (
	maxChain  = 4       // certificates of an EK chain
	maxPublic = 1 << 10 // a TPMT_PUBLIC; P-384 has 166 bytes
	maxAttest = 1 << 10 // a TPMS_ATTEST; a quote has 145 bytes
	maxSerial = 64
	maxCSR    = 4 << 10
)

// SecretSize is the size of the secret in a credential: it must fit the digest
// of the EK's name algorithm, the smallest of which is SHA-256.
const SecretSize = 32

// A BeginRequest opens an enrolment. Either Code or Voucher is set.
type BeginRequest struct {
	Code    string   `json:"code,omitempty"`     // 16 Crockford characters; hyphens and case do not matter
	Voucher []byte   `json:"voucher,omitempty"`  // COSE_Sign1 of the site
	Serial  string   `json:"serial"`             // of the box
	EKChain [][]byte `json:"ek_chain,omitempty"` // DER, the EK's own first; none if the chip has none
	EK      []byte   `json:"ek"`                 // TPMT_PUBLIC
	AK      []byte   `json:"ak"`                 // TPMT_PUBLIC
	SRKName []byte   `json:"srk_name"`           // the pin
	Soft    bool     `json:"soft,omitempty"`     // the room says that its TPM is software
}

func (r *BeginRequest) check() error {
	switch {
	case (r.Code == "") == (len(r.Voucher) == 0):
		return errors.New("one of code and voucher")
	case !isSerial(r.Serial):
		return errors.New("serial: 1 to 64 letters, digits, hyphens and dots")
	case len(r.EKChain) > maxChain:
		return fmt.Errorf("ek_chain: at most %d certificates", maxChain)
	case len(r.EK) == 0 || len(r.EK) > maxPublic || len(r.AK) == 0 || len(r.AK) > maxPublic:
		return fmt.Errorf("ek, ak: 1 to %d bytes", maxPublic)
	case len(r.SRKName) != 34:
		return errors.New("srk_name: 34 bytes")
	}
	return nil
}

// A BeginResponse carries the challenge of the credential.
type BeginResponse struct {
	Session    string    `json:"session"`
	Credential []byte    `json:"credential"` // TPM2B_ID_OBJECT without its size
	Secret     []byte    `json:"secret"`     // TPM2B_ENCRYPTED_SECRET without its size
	Nonce      []byte    `json:"nonce"`      // 32 bytes, for the first evidence and the proofs
	Expires    time.Time `json:"expires"`
}

// A KeyProof asks for a certificate for a key and proves that it lies in the
// room's TPM: the AK has certified it, with [ProofData] as qualifying data.
type KeyProof struct {
	CSR       []byte `json:"csr"`       // PKCS #10, DER
	Public    []byte `json:"public"`    // TPMT_PUBLIC
	Attest    []byte `json:"attest"`    // TPMS_ATTEST of TPM2_Certify
	Signature []byte `json:"signature"` // TPMT_SIGNATURE by the AK
}

func (k *KeyProof) check() error {
	if k == nil || len(k.CSR) == 0 || len(k.CSR) > maxCSR || len(k.Public) == 0 || len(k.Public) > maxPublic ||
		len(k.Attest) == 0 || len(k.Attest) > maxAttest || len(k.Signature) == 0 || len(k.Signature) > maxAttest {
		return errors.New("csr, public, attest and signature: missing or too long")
	}
	return nil
}

// A FinishRequest answers the challenge. While the room waits for admission it
// sends Session and Secret alone, to ask again.
type FinishRequest struct {
	Session  string    `json:"session"`
	Secret   []byte    `json:"secret"`             // recovered from the credential
	Identity *KeyProof `json:"identity,omitempty"` // LDevID: TLS, EAT
	Leaf     *KeyProof `json:"leaf,omitempty"`     // MLS
	Evidence []byte    `json:"evidence,omitempty"` // CMW, about the LDevID, nonce of begin
}

// First reports whether the request carries the proofs.
func (r *FinishRequest) First() bool { return r.Identity != nil }

func (r *FinishRequest) check() error {
	switch {
	case !isSession(r.Session):
		return errors.New("session: 32 hexadecimal digits")
	case len(r.Secret) != SecretSize:
		return fmt.Errorf("secret: %d bytes", SecretSize)
	case r.Identity == nil && r.Leaf == nil && len(r.Evidence) == 0:
		return nil
	case len(r.Evidence) == 0:
		return errors.New("evidence: missing")
	}
	if err := r.Identity.check(); err != nil {
		return fmt.Errorf("identity: %w", err)
	}
	if err := r.Leaf.check(); err != nil {
		return fmt.Errorf("leaf: %w", err)
	}
	return nil
}

// States of an enrolment, as the room sees it.
const (
	Waiting = "waiting" // for staff to admit the room
	Issued  = "issued"  // certificates are in the answer
	Refused = "refused" // by the first evidence; Result says why, and nothing is left of the enrolment
)

// A FinishResponse holds certificates if Status is [Issued]. Chains have the
// room's own certificate first and end before the root.
type FinishResponse struct {
	Status   string   `json:"status"`
	Room     string   `json:"room"` // the id that staff gave it
	Name     string   `json:"name"`
	Identity [][]byte `json:"identity,omitempty"` // DER
	Leaf     [][]byte `json:"leaf,omitempty"`     // DER
	Root     []byte   `json:"root,omitempty"`     // the site's root, DER
	Result   []byte   `json:"result,omitempty"`   // EAR of the first evidence, CMW
}

// An AckRequest says that the room has stored its certificates.
type AckRequest struct {
	Session string `json:"session"`
	Secret  []byte `json:"secret"`
}

func (r *AckRequest) check() error {
	if !isSession(r.Session) || len(r.Secret) != SecretSize {
		return errors.New("session and secret: missing or of another size")
	}
	return nil
}

// A ChallengeRequest asks for a nonce to challenge a room with.
type ChallengeRequest struct {
	Device  string `json:"device"`            // id of the room
	Profile string `json:"profile,omitempty"` // which key the evidence is about: "identity" (default) or "leaf"
}

func (r *ChallengeRequest) check() error {
	if !IsRoom(r.Device) {
		return errors.New("device: 1 to 32 of a-z, 0-9 and -")
	}
	if r.Profile != "" && r.Profile != ProfileIdentity && r.Profile != ProfileLeaf {
		return errors.New(`profile: "identity" or "leaf"`)
	}
	return nil
}

// Profiles of a challenge: the key that the evidence is about.
const (
	ProfileIdentity = "identity"
	ProfileLeaf     = "leaf"
)

// A ChallengeResponse carries the nonce. The CMW goes to
// POST /v1/evidence?session=.
type ChallengeResponse struct {
	Session string    `json:"session"`
	Nonce   []byte    `json:"nonce"` // 32 bytes
	Expires time.Time `json:"expires"`
}

// A RenewRequest asks for new certificates over mutual TLS with the LDevID.
type RenewRequest struct {
	Identity []byte    `json:"identity"`        // CSR of the LDevID, DER
	Leaf     []byte    `json:"leaf"`            // CSR of the leaf, DER
	Result   []byte    `json:"result"`          // EAR, under 1 h old
	Proof    *KeyProof `json:"proof,omitempty"` // of a leaf key that is not the enrolled one; ProofData has the nonce of Result
}

func (r *RenewRequest) check() error {
	switch {
	case len(r.Identity) == 0 || len(r.Identity) > maxCSR || len(r.Leaf) == 0 || len(r.Leaf) > maxCSR:
		return errors.New("identity and leaf: certificate requests, missing or too long")
	case len(r.Result) == 0:
		return errors.New("result: missing")
	case r.Proof != nil:
		return r.Proof.check()
	}
	return nil
}

// A Body is one of the requests above.
type Body interface {
	BeginRequest | FinishRequest | AckRequest | ChallengeRequest | RenewRequest | CodeRequest | EKRequest | ReferenceDocument
}

// Decode reads one JSON object of a known shape: no unknown members, nothing
// behind it, every length checked. It reads all of r; the caller bounds it.
func Decode[T Body](r io.Reader) (*T, error) {
	b, err := io.ReadAll(r)
	if err != nil {
		return nil, err
	}
	v := new(T)
	dec := json.NewDecoder(bytes.NewReader(b))
	dec.DisallowUnknownFields()
	if err := dec.Decode(v); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("%w: bytes after the end of the object", ErrMalformed)
	}
	if err := any(v).(interface{ check() error }).check(); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	return v, nil
}

// ErrMalformed means that a body is not what the route takes.
var ErrMalformed = errors.New("enrol: malformed")

// IsRoom reports whether s can be the id of a room.
func IsRoom(s string) bool {
	return s != "" && len(s) <= 32 && strings.Trim(s, "abcdefghijklmnopqrstuvwxyz0123456789-") == "" &&
		!strings.HasPrefix(s, "-") && !strings.HasSuffix(s, "-") // a DNS label
}

func isSerial(s string) bool {
	return s != "" && len(s) <= maxSerial &&
		strings.Trim(s, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-.") == ""
}

func isSession(s string) bool { return len(s) == 32 && strings.Trim(s, "0123456789abcdef") == "" }
