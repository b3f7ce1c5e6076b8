// SPDX-License-Identifier: Apache-2.0

package main

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/mod/sumdb/note"
)

// The names of the keys. A signing key NAME is in NAME.key and NAME.pub; a key
// of UEFI in NAME.key and NAME.crt.
var (
	signingKeys = []string{"root", "policy", "bundle"}
	uefiKeys    = []string{"PK", "KEK", "db"}
)

func setKeys(c *call) func() error {
	out := c.need("out", "new `folder` for the keys")
	origin := c.String("log-name", "in-camera.example/development", "`name` of the log of reference values")
	return func() error {
		if err := folder(*out); err != nil {
			return err
		}
		files, err := makeKeys(*origin)
		if err != nil {
			return err
		}
		var names []string
		for name, b := range files {
			mode := os.FileMode(0o644)
			if strings.HasSuffix(name, ".key") {
				mode = 0o600
			}
			if err := create(filepath.Join(*out, name), b, mode); err != nil {
				return err
			}
			names = append(names, name)
		}
		slices.Sort(names)
		return c.print(map[string]any{"folder": *out, "files": names},
			"keys for development, not for a product, in "+*out+":\n  "+strings.Join(names, "\n  ")+"\n")
	}
}

// create writes a file that must not exist.
func create(path string, b []byte, mode os.FileMode) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	if closing := f.Close(); err == nil {
		err = closing
	}
	return err
}

// makeKeys returns the files by name.
func makeKeys(origin string) (map[string][]byte, error) {
	files := map[string][]byte{"log.hashes": {}}
	for _, name := range signingKeys {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			return nil, err
		}
		if files[name+".key"], err = privatePEM(key); err != nil {
			return nil, err
		}
		der, err := x509.MarshalPKIXPublicKey(&key.PublicKey)
		if err != nil {
			return nil, err
		}
		files[name+".pub"] = pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})
	}
	for _, name := range uefiKeys {
		// UEFI firmware need know no other kind than RSA with 2,048 bits.
		key, err := rsa.GenerateKey(rand.Reader, 2048)
		if err != nil {
			return nil, err
		}
		if files[name+".key"], err = privatePEM(key); err != nil {
			return nil, err
		}
		if files[name+".crt"], err = certificate(name, key); err != nil {
			return nil, err
		}
	}
	signer, verifier, err := note.GenerateKey(rand.Reader, origin)
	if err != nil {
		return nil, fmt.Errorf("log: %w", err)
	}
	if _, err := note.NewVerifier(verifier); err != nil {
		return nil, usageError{fmt.Errorf("%q cannot be the name of a log", origin)}
	}
	files["log.key"] = []byte(signer + "\n" + verifier + "\n")
	files["log.pub"] = []byte(verifier + "\n")
	return files, nil
}

func privatePEM(key crypto.Signer) ([]byte, error) {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, err
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), nil
}

// certificate returns a self-signed certificate, which is how UEFI holds keys.
// Firmware does not look at its times.
func certificate(name string, key *rsa.PrivateKey) ([]byte, error) {
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1),
		Subject:      pkix.Name{CommonName: "In Camera " + name + " for development"},
		NotBefore:    time.Unix(0, 0),
		NotAfter:     time.Date(2099, 1, 1, 0, 0, 0, 0, time.UTC),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		return nil, err
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), nil
}
