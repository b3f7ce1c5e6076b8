// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strings"

	"incamera/secureboot/seal"
)

const (
	maxRelease  = 4 << 10
	maxPolicies = 256 << 10
)

// A release is what this image knows of itself. It lies in the initial file
// system, which the UKI's signature and PCR 11 cover.
type release struct {
	version          string
	rollback, keygen uint64
	root             seal.RootKey
}

// readRelease reads release.json and root.pem in dir.
func readRelease(dir string) (release, error) {
	text, err := readUpTo(filepath.Join(dir, "release.json"), maxRelease)
	if err != nil {
		return release{}, err
	}
	key, err := readUpTo(filepath.Join(dir, "root.pem"), maxRelease)
	if err != nil {
		return release{}, err
	}
	return parseRelease(text, key)
}

func parseRelease(text, key []byte) (release, error) {
	var v struct {
		Version        string `json:"version"`
		Rollback       uint64 `json:"rollback"`
		PolicyKey      uint64 `json:"policy_key"`
		RootGeneration uint8  `json:"root_generation"`
	}
	dec := json.NewDecoder(bytes.NewReader(text))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&v); err != nil {
		return release{}, fmt.Errorf("release.json: %w", err)
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return release{}, errors.New("release.json: something follows")
	}
	if v.Version == "" || len(v.Version) > 64 || strings.ContainsAny(v.Version, "/\x00") {
		return release{}, fmt.Errorf("release.json: version %q", v.Version)
	}
	if v.Rollback == 0 || v.PolicyKey == 0 || v.RootGeneration == 0 || v.RootGeneration > seal.MaxRoots {
		return release{}, errors.New("release.json: a number is missing or out of range")
	}
	block, _ := pem.Decode(key)
	if block == nil {
		return release{}, errors.New("root.pem: no key in PEM")
	}
	public, err := x509.ParsePKIXPublicKey(block.Bytes)
	if err != nil {
		return release{}, fmt.Errorf("root.pem: %w", err)
	}
	ec, ok := public.(*ecdsa.PublicKey)
	if !ok || ec.Curve != elliptic.P256() {
		return release{}, errors.New("root.pem: no ECDSA key on P-256")
	}
	return release{v.Version, v.Rollback, v.PolicyKey, seal.RootKey{Generation: v.RootGeneration, Key: ec}}, nil
}

// policiesName is the file of what was signed for this release.
func (r release) policiesName() string { return "in-camera_" + r.version + ".policies.cbor" }

// policies reads, from the folder of the UKIs, what was signed for this release.
func (r release) policies(dir string) (*seal.Policies, error) {
	b, err := readUpTo(filepath.Join(dir, r.policiesName()), maxPolicies)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", seal.ErrPolicies, err)
	}
	p, err := seal.ParsePolicies(b)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", seal.ErrPolicies, err)
	}
	if err := p.Verify(r.root); err != nil {
		return nil, fmt.Errorf("%w: %w", seal.ErrPolicies, err)
	}
	return p, nil
}
