// SPDX-License-Identifier: Apache-2.0

package main

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
)

// An identity is who the room is: two keys, each certified by the site's CA.
// The key that signs in meetings and the key of the room's connections are
// different ones, so that no protocol's signature can pass for the other's.
//
// Both are files here. A room with a TPM has them there: see [roomBox.identity].
type identity struct {
	site  *x509.CertPool
	chain [][]byte      // of the meeting's leaf, its own certificate first, DER
	key   crypto.Signer // of the leaf
	tls   tls.Certificate
}

// String keeps the keys out of logs.
func (identity) String() string { return "[redacted]" }

// maxPEM bounds each file of an identity.
const maxPEM = 64 << 10

func readIdentity(dir string) (*identity, error) {
	id := &identity{site: x509.NewCertPool()}
	anchors, err := readCertificates(filepath.Join(dir, "site.pem"))
	if err != nil {
		return nil, err
	}
	for _, der := range anchors {
		cert, err := x509.ParseCertificate(der)
		if err != nil {
			return nil, fmt.Errorf("identity: site.pem: %w", err)
		}
		id.site.AddCert(cert)
	}
	chain, key, err := readPair(dir, "mls")
	if err != nil {
		return nil, err
	}
	id.chain, id.key = chain, key
	chain, key, err = readPair(dir, "tls")
	if err != nil {
		return nil, err
	}
	id.tls = tls.Certificate{Certificate: chain, PrivateKey: key}
	return id, nil
}

// readPair reads name.pem and name.key and checks that they belong together.
func readPair(dir, name string) (chain [][]byte, key *ecdsa.PrivateKey, err error) {
	chain, err = readCertificates(filepath.Join(dir, name+".pem"))
	if err != nil {
		return nil, nil, err
	}
	leaf, err := x509.ParseCertificate(chain[0])
	if err != nil {
		return nil, nil, fmt.Errorf("identity: %s.pem: %w", name, err)
	}
	path := filepath.Join(dir, name+".key")
	info, err := os.Stat(path)
	if err != nil {
		return nil, nil, fmt.Errorf("identity: %w", err)
	}
	if info.Mode().Perm()&0o077 != 0 {
		return nil, nil, fmt.Errorf("identity: %s may be read by others: chmod 600 it, and renew the certificate if they did", path)
	}
	b, err := readBounded(path)
	if err != nil {
		return nil, nil, err
	}
	block, _ := pem.Decode(b)
	clear(b)
	if block == nil || block.Type != "PRIVATE KEY" {
		return nil, nil, fmt.Errorf("identity: %s holds no PKCS #8 key in PEM", path)
	}
	parsed, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	clear(block.Bytes)
	if err != nil {
		return nil, nil, fmt.Errorf("identity: %s is no key in PKCS #8", path)
	}
	key, ok := parsed.(*ecdsa.PrivateKey)
	if !ok || key.Curve != elliptic.P256() {
		return nil, nil, fmt.Errorf("identity: %s is no P-256 key", path)
	}
	if !key.PublicKey.Equal(leaf.PublicKey) {
		return nil, nil, fmt.Errorf("identity: %s.pem certifies another key than %s.key", name, name)
	}
	return chain, key, nil
}

func readCertificates(path string) ([][]byte, error) {
	b, err := readBounded(path)
	if err != nil {
		return nil, err
	}
	var ders [][]byte
	for {
		var block *pem.Block
		block, b = pem.Decode(b)
		if block == nil {
			break
		}
		if block.Type == "CERTIFICATE" {
			ders = append(ders, block.Bytes)
		}
	}
	if len(ders) == 0 || len(ders) > 4 {
		return nil, fmt.Errorf("identity: %s holds %d certificates in PEM; want 1 to 4", path, len(ders))
	}
	return ders, nil
}

func readBounded(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("identity: %w", err)
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxPEM+1))
	if err == nil && len(b) > maxPEM {
		err = errors.New("larger than 64 KiB")
	}
	if err != nil {
		return nil, fmt.Errorf("identity: %s: %w", path, err)
	}
	return b, nil
}
