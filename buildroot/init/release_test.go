// SPDX-License-Identifier: Apache-2.0

package main

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"incamera/secureboot/seal"
)

// publicPEM is a public key as files have it.
func publicPEM(t testing.TB, key any) []byte {
	t.Helper()
	der, err := x509.MarshalPKIXPublicKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})
}

func newKey(t testing.TB, curve elliptic.Curve) *ecdsa.PrivateKey {
	t.Helper()
	k, err := ecdsa.GenerateKey(curve, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

const goodRelease = `{"version": "1.0.0", "rollback": 7, "policy_key": 2, "root_generation": 3}` + "\n"

func TestReadRelease(t *testing.T) {
	key := newKey(t, elliptic.P256())
	dir := t.TempDir()
	for name, content := range map[string]string{"release.json": goodRelease, "root.pem": string(publicPEM(t, &key.PublicKey))} {
		if _, err := readRelease(dir); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("before %s: %v", name, err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	r, err := readRelease(dir)
	if err != nil {
		t.Fatal(err)
	}
	if r.version != "1.0.0" || r.rollback != 7 || r.keygen != 2 || r.root.Generation != 3 || !r.root.Key.Equal(&key.PublicKey) {
		t.Errorf("readRelease = %+v", r)
	}
	if got := r.policiesName(); got != "in-camera_1.0.0.policies.cbor" {
		t.Errorf("policies in %q", got)
	}
}

func TestParseReleaseRefuses(t *testing.T) {
	key := publicPEM(t, &newKey(t, elliptic.P256()).PublicKey)
	ed, _, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	with := func(from, to string) string { return strings.Replace(goodRelease, from, to, 1) }
	for name, c := range map[string]struct {
		text string
		key  []byte
	}{
		"empty":                          {"", key},
		"an array":                       {"[]", key},
		"nothing in it":                  {"{}", key},
		"a member that nobody knows":     {with(`{`, `{"debug": true, `), key},
		"something that follows":         {goodRelease + "{}", key},
		"no version":                     {with(`"1.0.0"`, `""`), key},
		"a version that is a path":       {with("1.0.0", "../../etc"), key},
		"a version with a NUL":           {with("1.0.0", `1\u0000`), key},
		"a long version":                 {with("1.0.0", strings.Repeat("1", 65)), key},
		"rollback zero":                  {with("7", "0"), key},
		"negative rollback":              {with("7", "-7"), key},
		"rollback that is no number":     {with("7", `"7"`), key},
		"no policy key":                  {with(`"policy_key": 2, `, ""), key},
		"no root":                        {with("3", "0"), key},
		"a root beyond all":              {with("3", "9"), key},
		"no key":                         {goodRelease, nil},
		"no PEM":                         {goodRelease, []byte("a key")},
		"PEM with nothing in it":         {goodRelease, pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY"})},
		"a key on another curve":         {goodRelease, publicPEM(t, &newKey(t, elliptic.P384()).PublicKey)},
		"a key of another kind":          {goodRelease, publicPEM(t, ed)},
		"a private key in a public file": {goodRelease, []byte(strings.Replace(string(key), "PUBLIC", "PUBLIC KEY-----\n-----BEGIN PRIVATE", 1))},
	} {
		t.Run(name, func(t *testing.T) {
			if r, err := parseRelease([]byte(c.text), c.key); err == nil {
				t.Errorf("parseRelease = %+v", r)
			}
		})
	}
	if _, err := parseRelease([]byte(goodRelease), key); err != nil {
		t.Errorf("the good one: %v", err)
	}
}

// What is accepted names one file beside the UKI, and a root that there is.
func FuzzParseRelease(f *testing.F) {
	key := publicPEM(f, &newKey(f, elliptic.P256()).PublicKey)
	f.Add([]byte(goodRelease), key)
	f.Add([]byte("{}"), []byte(nil))
	f.Add([]byte(strings.Replace(goodRelease, "1.0.0", "..", 1)), key)
	f.Fuzz(func(t *testing.T, text, key []byte) {
		r, err := parseRelease(text, key)
		if err != nil {
			return
		}
		if filepath.Base(r.policiesName()) != r.policiesName() || len(r.policiesName()) > 100 {
			t.Errorf("policies in %q", r.policiesName())
		}
		if r.rollback == 0 || r.keygen == 0 || r.root.Generation == 0 || r.root.Generation > seal.MaxRoots || r.root.Key == nil {
			t.Errorf("%+v", r)
		}
	})
}

// Policies count only if the root that this image knows has signed for them.
func TestPolicies(t *testing.T) {
	root, policy := newKey(t, elliptic.P256()), newKey(t, elliptic.P256())
	b, err := seal.MakePolicies(seal.Release{Version: 1, Generation: 1, Predictions: []seal.Prediction{
		{Use: seal.State, PCRs: map[int][32]byte{11: {1}}},
	}}, 1, root, policy)
	if err != nil {
		t.Fatal(err)
	}
	flipped := []byte(string(b))
	flipped[len(flipped)-1] ^= 1
	mine := release{version: "1.0.0", root: seal.RootKey{Generation: 1, Key: &root.PublicKey}}
	other := release{version: "1.0.0", root: seal.RootKey{Generation: 1, Key: &policy.PublicKey}}
	for name, c := range map[string]struct {
		r    release
		file []byte
		good bool
	}{
		"signed":             {mine, b, true},
		"another's root":     {other, b, false},
		"a bit flipped":      {mine, flipped, false},
		"empty":              {mine, []byte{}, false},
		"longer than may be": {mine, make([]byte, maxPolicies+1), false},
		"none":               {mine, nil, false},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			if c.file != nil {
				if err := os.WriteFile(filepath.Join(dir, c.r.policiesName()), c.file, 0o600); err != nil {
					t.Fatal(err)
				}
			}
			p, err := c.r.policies(dir)
			if c.good != (err == nil) || c.good != (p != nil) {
				t.Errorf("policies = %v, %v", p, err)
			}
			if err != nil && !errors.Is(err, seal.ErrPolicies) {
				t.Errorf("%v; want ErrPolicies, which the recovery screen knows", err)
			}
		})
	}
}
