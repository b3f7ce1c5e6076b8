// SPDX-License-Identifier: Apache-2.0

package pairing

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

const (
	bookVersion = 1
	maxBook     = 64 << 10 // bytes: 64 panels take half of it
	maxName     = 60       // runes
)

// A book is the list of panels as it lies on the disk. What a newer release adds
// is skipped, so that a panel outlives the way back to an older one.
type book struct {
	Version  int     `json:"version"`
	Paired   bool    `json:"paired"`             // a panel was paired once
	Baseline *uint64 `json:"baseline,omitempty"` // of the guess counter when the last one was; nil: it was dead
	Wrong    uint64  `json:"wrong,omitempty"`    // proofs of a link since then
	Panels   []Panel `json:"panels,omitempty"`
}

// A Panel is a paired panel.
type Panel struct {
	ID     string    `json:"id"`
	Name   string    `json:"name"` // for people
	Role   Role      `json:"role"`
	Kind   string    `json:"kind"`   // "Browser"
	Key    []byte    `json:"key"`    // SubjectPublicKeyInfo of P-256 in DER
	Cookie []byte    `json:"cookie"` // SHA-256
	Paired time.Time `json:"paired"`
	Seen   time.Time `json:"seen,omitzero"` // when it last proved itself
}

const kindBrowser = "Browser"

// Proves reports whether the panel signed the session.
func (p Panel) Proves(s Session, signature []byte) bool {
	return s.Panel == p.ID && signed(p.Key, s.message(), signature)
}

func (p Panel) has(cookieHash [32]byte) bool {
	return subtle.ConstantTimeCompare(p.Cookie, cookieHash[:]) == 1
}

// hashCookie returns what the room keeps of a cookie: with the disk alone nobody
// has it.
func hashCookie(cookie string) ([32]byte, bool) {
	var raw [32]byte
	if !decode(raw[:], cookie) {
		return raw, false
	}
	return sha256.Sum256(raw[:]), true
}

var validID = regexp.MustCompile(`^p-[0-9a-f]{16}$`)

// nameOf makes a name that reads as what it is.
func nameOf(s string) string {
	s = strings.TrimSpace(strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || unicode.Is(unicode.Cf, r) {
			return -1
		}
		return r
	}, strings.ToValidUTF8(s, "\uFFFD")))
	if utf8.RuneCountInString(s) > maxName {
		s = string([]rune(s)[:maxName-1]) + "…"
	}
	if s == "" {
		return "Panel"
	}
	return s
}

var errBook = errors.New("pairing: the list of panels is damaged")

func parseBook(data []byte) (*book, error) {
	var b book
	if err := json.Unmarshal(data, &b); err != nil {
		return nil, fmt.Errorf("%w: %w", errBook, err)
	}
	if b.Version != bookVersion || len(b.Panels) > maxPanels || len(b.Panels) > 0 && !b.Paired {
		return nil, errBook
	}
	ids, cookies := map[string]bool{}, map[string]bool{}
	for _, p := range b.Panels {
		_, err := parseKey(p.Key)
		if err != nil || !validID.MatchString(p.ID) || ids[p.ID] || cookies[string(p.Cookie)] || len(p.Cookie) != 32 ||
			!p.Role.valid() || p.Kind != kindBrowser || p.Name != nameOf(p.Name) {
			return nil, errBook
		}
		ids[p.ID], cookies[string(p.Cookie)] = true, true
	}
	return &b, nil
}

// loadBook returns nil where there is no list yet.
func loadBook(path string) (*book, error) {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("pairing: %w", err)
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxBook+1))
	if err != nil {
		return nil, fmt.Errorf("pairing: %w", err)
	}
	if len(data) > maxBook {
		return nil, errBook
	}
	return parseBook(data)
}

// save replaces the list. A power cut leaves the old one or the new.
func (b *book) save(path string) error {
	data, err := json.Marshal(b)
	if err != nil {
		return fmt.Errorf("pairing: %w", err)
	}
	return replace(path, data)
}

// replace writes a file that only this user may read, durably, in place of the
// one that was there.
func replace(path string, data []byte) error {
	folder := filepath.Dir(path)
	f, err := os.CreateTemp(folder, ".pairing-*")
	if err != nil {
		return fmt.Errorf("pairing: %w", err)
	}
	_, err = f.Write(data)
	err = errors.Join(err, f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return fmt.Errorf("pairing: %w", errors.Join(err, os.Remove(f.Name())))
	}
	d, err := os.Open(folder)
	if err != nil {
		return fmt.Errorf("pairing: %w", err)
	}
	if err := errors.Join(d.Sync(), d.Close()); err != nil {
		return fmt.Errorf("pairing: %w", err)
	}
	return nil
}
