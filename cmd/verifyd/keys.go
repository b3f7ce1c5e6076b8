// SPDX-License-Identifier: Apache-2.0

package main

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/x509"
	"fmt"
	"os"
	"strings"

	"golang.org/x/mod/sumdb/note"
)

// readKey reads a private key that nobody else may read. Others than files, an
// HSM or the host's TPM, take its place here: nothing behind it sees more than
// a [crypto.Signer].
func readKey(path string) (crypto.Signer, error) {
	if err := private(path); err != nil {
		return nil, err
	}
	blocks, err := readBlocks(path, "PRIVATE KEY")
	if err != nil {
		return nil, err
	}
	defer clear(blocks[0])
	parsed, err := x509.ParsePKCS8PrivateKey(blocks[0])
	if err != nil {
		return nil, fmt.Errorf("%s is no key in PKCS #8", path)
	}
	key, ok := parsed.(*ecdsa.PrivateKey)
	if !ok {
		return nil, fmt.Errorf("%s is no elliptic-curve key", path)
	}
	return key, nil
}

// readNoteKey reads a signer in the form of package note, and returns its
// verifier's key as well.
func readNoteKey(path string) (note.Signer, string, error) {
	if err := private(path); err != nil {
		return nil, "", err
	}
	b, err := readBounded(path, 1<<10)
	if err != nil {
		return nil, "", err
	}
	defer clear(b)
	private, public, _ := strings.Cut(strings.TrimSpace(string(b)), "\n")
	signer, err := note.NewSigner(private)
	if err != nil {
		return nil, "", fmt.Errorf("%s is no signer's key", path)
	}
	verifier, err := note.NewVerifier(public)
	if err != nil || verifier.KeyHash() != signer.KeyHash() {
		return nil, "", fmt.Errorf("%s: the second line is not its verifier's key", path)
	}
	return signer, public, nil
}

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
