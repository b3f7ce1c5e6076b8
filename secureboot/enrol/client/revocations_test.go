// SPDX-License-Identifier: Apache-2.0

package client

import (
	"crypto/rand"
	"errors"
	"strings"
	"testing"

	"golang.org/x/mod/sumdb/note"
)

const someRevocations = "in-camera/revocations/v1\nMaison\n2026-11-01T10:00:00Z\n" +
	"certificate 0000000000000000000000000000000000000000000000000000000000000001\nak 000b01\nversion \"1.0.0\"\n"

func TestRevocations(t *testing.T) {
	secret, public, err := note.GenerateKey(rand.Reader, "maison.example")
	if err != nil {
		t.Fatal(err)
	}
	_, foreign, err := note.GenerateKey(rand.Reader, "maison.example")
	if err != nil {
		t.Fatal(err)
	}
	signer, err := note.NewSigner(secret)
	if err != nil {
		t.Fatal(err)
	}
	signed, err := note.Sign(&note.Note{Text: someRevocations}, signer)
	if err != nil {
		t.Fatal(err)
	}
	r, err := ParseRevocations(signed, public)
	if err != nil || len(r.Certificates) != 1 || len(r.AKs) != 1 || len(r.Versions) != 1 || r.Versions[0] != "1.0.0" || r.At.IsZero() {
		t.Errorf("%+v, %v", r, err)
	}
	if _, err := ParseRevocations(signed, foreign); !errors.Is(err, ErrRevocations) {
		t.Errorf("signed by another key: %v", err)
	}
	if _, err := ParseRevocations([]byte(strings.Replace(string(signed), "1.0.0", "1.0.1", 1)), public); !errors.Is(err, ErrRevocations) {
		t.Errorf("altered: %v", err)
	}
}

// FuzzRevocations: what is read is bounded, and nothing unknown passes.
func FuzzRevocations(f *testing.F) {
	f.Add(someRevocations)
	f.Add(strings.Replace(someRevocations, "ak ", "board ", 1))
	f.Add(strings.Replace(someRevocations, "\"1.0.0\"", "1.0.0", 1))
	f.Add("in-camera/revocations/v1\n\n\n")
	f.Fuzz(func(t *testing.T, text string) {
		r, err := parseRevocations(text)
		if err == nil && len(r.AKs)+len(r.Certificates)+len(r.Versions) != strings.Count(strings.TrimSuffix(text, "\n"), "\n")-2 {
			t.Errorf("%q lost lines: %+v", text, r)
		}
	})
}
