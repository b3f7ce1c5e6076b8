// SPDX-License-Identifier: Apache-2.0

package client

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"golang.org/x/mod/sumdb/note"
)

// Revocations is what a site has withdrawn.
type Revocations struct {
	At           time.Time
	Certificates [][32]byte // SHA-256 of each
	AKs          [][]byte   // TPM names
	Versions     []string   // releases
}

const (
	revocationsHead = "in-camera/revocations/v1"
	maxRevoked      = 1 << 16 // entries
)

// ErrRevocations means that a list of revocations is not one that the site
// signed. The caller keeps the list that it has.
var ErrRevocations = errors.New("client: not the site's list of revocations")

// Revocations fetches the list. noteKey is that of [enrol.SiteInfo].
func (c *Client) Revocations(ctx context.Context, noteKey string) (Revocations, error) {
	b, err := c.do(ctx, http.MethodGet, "/v1/revocations", "", nil)
	if err != nil {
		return Revocations{}, err
	}
	return ParseRevocations(b, noteKey)
}

// ParseRevocations verifies and reads a signed list.
func ParseRevocations(b []byte, noteKey string) (Revocations, error) {
	verifier, err := note.NewVerifier(noteKey)
	if err != nil {
		return Revocations{}, fmt.Errorf("client: note key: %w", err)
	}
	n, err := note.Open(b, note.VerifierList(verifier))
	if err != nil {
		return Revocations{}, fmt.Errorf("%w: %w", ErrRevocations, err)
	}
	return parseRevocations(n.Text)
}

// parseRevocations reads the text: what it is, the site, the time, and a line
// for each thing withdrawn.
func parseRevocations(text string) (Revocations, error) {
	lines := strings.Split(strings.TrimSuffix(text, "\n"), "\n")
	if len(lines) < 3 || lines[0] != revocationsHead || len(lines) > 3+maxRevoked {
		return Revocations{}, ErrRevocations
	}
	at, err := time.Parse(time.RFC3339, lines[2])
	if err != nil {
		return Revocations{}, ErrRevocations
	}
	r := Revocations{At: at}
	for _, line := range lines[3:] {
		word, value, _ := strings.Cut(line, " ")
		if err := r.add(word, value); err != nil {
			return Revocations{}, err
		}
	}
	return r, nil
}

// add takes a line. A word that this release does not know ends the reading: it
// might withdraw something that would go on to be trusted.
func (r *Revocations) add(word, value string) error {
	switch word {
	case "certificate":
		b, err := hex.DecodeString(value)
		if err != nil || len(b) != 32 {
			return ErrRevocations
		}
		r.Certificates = append(r.Certificates, [32]byte(b))
	case "ak":
		b, err := hex.DecodeString(value)
		if err != nil || len(b) == 0 || len(b) > 66 {
			return ErrRevocations
		}
		r.AKs = append(r.AKs, b)
	case "version":
		s, err := strconv.Unquote(value)
		if err != nil {
			return ErrRevocations
		}
		r.Versions = append(r.Versions, s)
	default:
		return ErrRevocations
	}
	return nil
}
