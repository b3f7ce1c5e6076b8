// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"path/filepath"
	"strings"

	"golang.org/x/mod/sumdb/note"

	"incamera/cmd/internal/box"
	"incamera/cmd/internal/strict"
	"incamera/secureboot/seal"
	"incamera/secureboot/update"
)

const (
	maxFile        = 64 << 10 // bytes of a small file
	rootGeneration = 1        // of the one root key there is
)

// A running is what the image says of itself. The root that it lies in was
// verified.
type running struct {
	Version  string `json:"version"`
	Rollback uint64 `json:"rollback"`
	Board    string `json:"board"`
	Software string `json:"software"`
}

func readRunning(path string) (r running, err error) {
	b, err := box.ReadUpTo(path, maxFile)
	if err != nil {
		return r, err
	}
	if err := strict.Decode(b, &r); err != nil {
		return r, fmt.Errorf("%s: %w", path, err)
	}
	return r, nil
}

// readTrust reads the public keys of the image.
func readTrust(dir, board string) (update.Trust, error) {
	t := update.Trust{Board: board}
	root, err := readKey(filepath.Join(dir, "root.pem"))
	if err != nil {
		return t, err
	}
	public, ok := root.(*ecdsa.PublicKey)
	if !ok {
		return t, errors.New("root.pem: no elliptic-curve key")
	}
	t.Root = seal.RootKey{Generation: rootGeneration, Key: public}
	if t.BundleKey, err = readKey(filepath.Join(dir, "bundle.pem")); err != nil {
		return t, err
	}
	line, err := box.ReadUpTo(filepath.Join(dir, "log.pub"), maxFile)
	if err != nil {
		return t, err
	}
	log, err := note.NewVerifier(strings.TrimSpace(string(line)))
	if err != nil {
		return t, fmt.Errorf("log.pub: %w", err)
	}
	t.Log = []note.Verifier{log}
	db, err := readPEM(filepath.Join(dir, "db.crt"), "CERTIFICATE")
	if err != nil {
		return t, err
	}
	cert, err := x509.ParseCertificate(db)
	if err != nil {
		return t, fmt.Errorf("db.crt: %w", err)
	}
	t.DB = []*x509.Certificate{cert}
	return t, nil
}

func readKey(path string) (crypto.PublicKey, error) {
	der, err := readPEM(path, "PUBLIC KEY")
	if err != nil {
		return nil, err
	}
	key, err := x509.ParsePKIXPublicKey(der)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return key, nil
}

// readPEM reads a file that is one block of PEM.
func readPEM(path, kind string) ([]byte, error) {
	text, err := box.ReadUpTo(path, maxFile)
	if err != nil {
		return nil, err
	}
	block, rest := pem.Decode(text)
	if block == nil || block.Type != kind || len(bytes.TrimSpace(rest)) > 0 {
		return nil, fmt.Errorf("%s: not one %s in PEM", path, kind)
	}
	return block.Bytes, nil
}

// slots are the devices of the box, as init found them.
type slots struct {
	ESP  string `json:"esp"`
	Idle string `json:"idle"`
	Data string `json:"data"`
}

func readSlots(path string) (s slots, err error) {
	b, err := box.ReadUpTo(path, maxFile)
	if err != nil {
		return s, err
	}
	if err := strict.Decode(b, &s); err != nil {
		return s, fmt.Errorf("%s: %w", path, err)
	}
	if !filepath.IsAbs(s.ESP) || !filepath.IsAbs(s.Idle) {
		return s, fmt.Errorf("%s: no second slot", path)
	}
	return s, nil
}
