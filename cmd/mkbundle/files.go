// SPDX-License-Identifier: Apache-2.0

package main

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/mod/sumdb/note"
)

// read returns a file of at most limit bytes, and at least one.
func read(path string, limit int64) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, limit+1))
	switch {
	case err != nil:
		return nil, err
	case int64(len(b)) > limit:
		return nil, fmt.Errorf("%s: more than %d bytes", path, limit)
	case len(b) == 0:
		return nil, fmt.Errorf("%s: empty", path)
	}
	return b, nil
}

// write puts a file in place, whole or not at all.
func write(path string, b []byte) error {
	return place(path, func(f *os.File) error {
		_, err := f.Write(b)
		return err
	})
}

// place is write for what fill writes.
func place(path string, fill func(f *os.File) error) error {
	f, err := os.CreateTemp(filepath.Dir(path), ".mkbundle-*")
	if err != nil {
		return err
	}
	err = fill(f)
	if err == nil {
		err = f.Chmod(0o644)
	}
	if err == nil {
		err = f.Sync()
	}
	if err == nil {
		err = f.Close()
	}
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		_ = f.Close()
		_ = os.Remove(f.Name())
		return err
	}
	return syncFolder(filepath.Dir(path))
}

func syncFolder(path string) error {
	d, err := os.Open(path)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}

const maxKey = 16 << 10 // bytes of a key file

// private refuses a key that others may read.
func private(path string) error {
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	if info.Mode().Perm()&0o077 != 0 {
		return fmt.Errorf("%s may be read by others: chmod 600 it, and replace the key if they did", path)
	}
	return nil
}

// A repeatable key signs the same with the same bytes (RFC 6979), so that two
// builds of a release are equal, signatures included.
type repeatable struct{ *ecdsa.PrivateKey }

// Sign implements [crypto.Signer]. It uses no random numbers; all that is signed
// here was hashed by SHA-256, which package cose does not say.
func (k repeatable) Sign(_ io.Reader, digest []byte, _ crypto.SignerOpts) ([]byte, error) {
	return k.PrivateKey.Sign(nil, digest, crypto.SHA256)
}

// signer reads a private key on P-256, PKCS #8 in PEM.
func signer(path string) (crypto.Signer, error) {
	if err := private(path); err != nil {
		return nil, err
	}
	b, err := read(path, maxKey)
	if err != nil {
		return nil, err
	}
	defer clear(b)
	block, rest := pem.Decode(b)
	if block == nil || block.Type != "PRIVATE KEY" || len(strings.TrimSpace(string(rest))) != 0 {
		return nil, fmt.Errorf("%s: not one PRIVATE KEY in PEM", path)
	}
	defer clear(block.Bytes)
	parsed, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("%s: not a key in PKCS #8", path)
	}
	key, ok := parsed.(*ecdsa.PrivateKey)
	if !ok || key.Curve != elliptic.P256() {
		return nil, fmt.Errorf("%s: not a key on P-256", path)
	}
	return repeatable{key}, nil
}

// public reads a public key on P-256, in PEM.
func public(path string) (*ecdsa.PublicKey, error) {
	b, err := read(path, maxKey)
	if err != nil {
		return nil, err
	}
	block, rest := pem.Decode(b)
	if block == nil || block.Type != "PUBLIC KEY" || len(strings.TrimSpace(string(rest))) != 0 {
		return nil, fmt.Errorf("%s: not one PUBLIC KEY in PEM", path)
	}
	parsed, err := x509.ParsePKIXPublicKey(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("%s: not a public key", path)
	}
	key, ok := parsed.(*ecdsa.PublicKey)
	if !ok || key.Curve != elliptic.P256() {
		return nil, fmt.Errorf("%s: not a key on P-256", path)
	}
	return key, nil
}

// noteSigner reads the log's key: the signer's key in a line, in the form of
// package note, then the verifier's.
func noteSigner(path string) (note.Signer, error) {
	if err := private(path); err != nil {
		return nil, err
	}
	b, err := read(path, maxKey)
	if err != nil {
		return nil, err
	}
	defer clear(b)
	line, _, _ := strings.Cut(string(b), "\n")
	s, err := note.NewSigner(line)
	if err != nil {
		return nil, fmt.Errorf("%s: not a key of a log", path)
	}
	return s, nil
}

// folder makes a folder that must be new or empty.
func folder(path string) error {
	entries, err := os.ReadDir(path)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return os.MkdirAll(path, 0o700)
	case err != nil:
		return err
	case len(entries) > 0:
		return fmt.Errorf("%s is not empty", path)
	}
	return os.Chmod(path, 0o700) //nolint:gosec // a folder needs its x
}
