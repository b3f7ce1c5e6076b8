// SPDX-License-Identifier: Apache-2.0

package pairing

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
	"math/big"
	"strings"
	"time"

	"incamera/device/pairing/spake"
)

// A Role is what a paired panel may do. A panel with the role Facilities may
// also do what one with the role Panel may.
type Role string

// The roles that pairing gives.
const (
	PanelRole  Role = "Panel"
	Facilities Role = "Facilities"
)

func (r Role) valid() bool { return r == PanelRole || r == Facilities }

// A Window is a time in which one panel can be paired. It holds the secret, and
// prints without it.
type Window struct {
	Role  Role
	Until time.Time

	nonce  [16]byte // names the window; who has not seen the link does not know it
	secret [16]byte
	pin    [32]byte
	hosts  []string

	digits *digits // nil: only the link pairs
}

// digits is the PIN of a window and what it became. What names it is public,
// unlike the nonce of the link: a stranger who uses up the tries of the PIN
// leaves the link alone.
type digits struct {
	text   string
	nonce  [16]byte
	salt   [spake.SaltSize]byte
	secret spake.Secret
}

func newWindow(role Role, now time.Time) *Window {
	w := &Window{Role: role, Until: now.Add(windowTime)}
	_, _ = rand.Read(w.nonce[:]) // never fails
	_, _ = rand.Read(w.secret[:])
	return w
}

// pinRange is how many PINs there are: eight digits.
var pinRange = big.NewInt(1e8)

func newDigits() (*digits, error) {
	n, err := rand.Int(rand.Reader, pinRange)
	if err != nil {
		return nil, err
	}
	d := &digits{text: fmt.Sprintf("%08d", n)}
	_, _ = rand.Read(d.nonce[:]) // never fails
	_, _ = rand.Read(d.salt[:])
	d.secret, err = spake.NewSecret(d.text, d.salt[:], "panel", "room")
	return d, err
}

// PIN returns the eight digits that pair a browser which cannot open the link;
// they are typed at [Window.Pages]. It is empty while there is none.
func (w Window) PIN() string {
	if w.digits == nil {
		return ""
	}
	return w.digits.text
}

// Pages returns the addresses where the PIN is typed.
func (w Window) Pages() []string {
	out := make([]string, len(w.hosts))
	for i, host := range w.hosts {
		out[i] = "https://" + host + "/pair"
	}
	return out
}

// Links returns what a browser opens to be paired, one for each name and
// address of the room. Each holds the secret.
func (w Window) Links() []string {
	out := make([]string, len(w.hosts))
	for i, host := range w.hosts {
		out[i] = w.LinkAt(host)
	}
	return out
}

// LinkAt returns the link for a browser that reaches the room as host, which
// has a port unless it is 443.
func (w Window) LinkAt(host string) string {
	return "https://" + host + "/pair#" + link{w.nonce, w.secret, w.pin}.fragment()
}

func (Window) String() string { return "[redacted]" }

// GoString implements fmt.GoStringer, so that no format prints the secret.
func (Window) GoString() string { return "[redacted]" }

// LogValue implements [slog.LogValuer].
func (Window) LogValue() slog.Value { return slog.StringValue("[redacted]") }

// PinOf returns the SHA-256 of the public key of a certificate: what the link
// promises that the panel will meet.
func PinOf(c tls.Certificate) [32]byte { return sha256.Sum256(c.Leaf.RawSubjectPublicKeyInfo) }

// A link is the fragment of a pairing link. Browsers send no fragment to a
// server.
type link struct {
	nonce, secret [16]byte
	pin           [32]byte
}

const linkVersion = "IC1"

var base64url = base64.RawURLEncoding.Strict()

func (l link) fragment() string {
	return strings.Join([]string{
		linkVersion, base64url.EncodeToString(l.nonce[:]), base64url.EncodeToString(l.secret[:]), base64url.EncodeToString(l.pin[:]),
	}, ".")
}

var errLink = errors.New("pairing: not the link of a room")

// parseLink reads a fragment without its "#".
func parseLink(fragment string) (link, error) {
	var l link
	parts := strings.Split(fragment, ".")
	if len(parts) != 4 || parts[0] != linkVersion {
		return link{}, errLink
	}
	for i, out := range [][]byte{l.nonce[:], l.secret[:], l.pin[:]} {
		if !decode(out, parts[i+1]) {
			return link{}, errLink
		}
	}
	return l, nil
}

// decode fills out from base64url, which must have its one spelling.
func decode(out []byte, text string) bool {
	if len(text) != base64url.EncodedLen(len(out)) {
		return false
	}
	n, err := base64url.Decode(out, []byte(text))
	return err == nil && n == len(out) && base64url.EncodeToString(out) == text
}
