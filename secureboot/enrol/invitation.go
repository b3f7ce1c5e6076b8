// SPDX-License-Identifier: Apache-2.0

package enrol

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/url"
	"strings"

	"github.com/fxamacker/cbor/v2"
)

// MaxInvitation is the longest text of an invitation in bytes: it fits a line
// of a message, and a QR code that a tablet shows.
const MaxInvitation = 300

// An Invitation is all that a box must be told to join a site, in one line:
//
//	"ic1."  base64url( CBOR {1: verifier, 2: key, 3: code}  4 bytes of checksum )
//
// The checksum finds what was copied wrongly; it proves nothing. An invitation
// holds an activation code, so package fmt and logs print it as [redacted]; its
// text is that of String.
type Invitation struct {
	Verifier string   // https://host:port, as the box reaches it
	Key      [32]byte // SHA-256 of the SPKI of the verifier's TLS key
	Code     Code
}

// ErrInvitation means that a text is no invitation, or was not copied whole.
var ErrInvitation = errors.New("enrol: no invitation, or not all of it")

const (
	invitationWord = "ic1."
	checksumSize   = 4
)

type wireInvitation struct {
	Verifier string   `cbor:"1,keyasint"`
	Key      [32]byte `cbor:"2,keyasint"`
	Code     string   `cbor:"3,keyasint"`
}

var invitationDecode = must(cbor.DecOptions{
	DupMapKey: cbor.DupMapKeyEnforcedAPF, IndefLength: cbor.IndefLengthForbidden, TagsMd: cbor.TagsForbidden,
	MaxNestedLevels: 4, MaxMapPairs: 16, MaxArrayElements: 32, ExtraReturnErrors: cbor.ExtraDecErrorUnknownField,
}.DecMode())

// NewInvitation checks what is to be told. It returns an error if verifier is
// not https://host:port or is too long for the line.
func NewInvitation(verifier string, key [32]byte, code Code) (Invitation, error) {
	i := Invitation{verifier, key, code}
	if !isVerifier(verifier) || len(code.text) != codeLength {
		return Invitation{}, fmt.Errorf("enrol: invitation to %.100q: want https://host:port and a code", verifier)
	}
	if n := len(i.String()); n > MaxInvitation {
		return Invitation{}, fmt.Errorf("enrol: invitation of %d bytes: at most %d", n, MaxInvitation)
	}
	return i, nil
}

// ParseInvitation reads a line as people paste it: with spaces and breaks
// within, or around it. Nothing but String's text is accepted besides.
func ParseInvitation(s string) (Invitation, error) {
	if len(s) > 4*MaxInvitation {
		return Invitation{}, ErrInvitation
	}
	s = strings.Join(strings.Fields(s), "")
	text, ok := strings.CutPrefix(s, invitationWord)
	if !ok || len(s) > MaxInvitation {
		return Invitation{}, ErrInvitation
	}
	b, err := base64.RawURLEncoding.Strict().DecodeString(text)
	if err != nil || len(b) < checksumSize {
		return Invitation{}, ErrInvitation
	}
	payload, sum := b[:len(b)-checksumSize], b[len(b)-checksumSize:]
	if !bytes.Equal(sum, checksum(payload)) {
		return Invitation{}, ErrInvitation
	}
	var w wireInvitation
	if invitationDecode.Unmarshal(payload, &w) != nil || !isVerifier(w.Verifier) {
		return Invitation{}, ErrInvitation
	}
	code, err := ParseCode(w.Code)
	if err != nil {
		return Invitation{}, ErrInvitation
	}
	i := Invitation{w.Verifier, w.Key, code}
	if i.String() != s {
		return Invitation{}, ErrInvitation // a second spelling
	}
	return i, nil
}

// String returns the line. It is a secret: whoever has it and the box may enrol
// the box.
func (i Invitation) String() string {
	payload, err := voucherEncode.Marshal(wireInvitation{i.Verifier, i.Key, i.Code.text})
	if err != nil {
		panic(err) // text and bytes alone
	}
	return invitationWord + base64.RawURLEncoding.EncodeToString(append(payload, checksum(payload)...))
}

// Format keeps the code out of what package fmt prints, whatever the verb.
func (Invitation) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, "[redacted]") }

// LogValue keeps the code out of logs.
func (Invitation) LogValue() slog.Value { return slog.StringValue("[redacted]") }

func checksum(payload []byte) []byte {
	sum := sha256.Sum256(append([]byte("in-camera/invitation/v1\x00"), payload...))
	return sum[:checksumSize]
}

// isVerifier reports whether s is https://host:port in its one spelling. The
// port may be missing: it is that of HTTPS then.
func isVerifier(s string) bool {
	u, err := url.Parse(s)
	return err == nil && u.Scheme == "https" && u.Hostname() != "" && !strings.ContainsAny(u.Host, "%\\ ") &&
		"https://"+u.Host == s
}
