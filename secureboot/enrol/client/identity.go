// SPDX-License-Identifier: Apache-2.0

package client

import (
	"bytes"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"incamera/secureboot/enrol"
)

// An Identity is what a room has of its enrolment: certificates whose keys are
// in its TPM. Nothing in it is secret.
type Identity struct {
	Version     int      `json:"version"` // of the format: 1
	Room        string   `json:"room"`
	Name        string   `json:"name"`
	Verifier    string   `json:"verifier"`     // https://host:port
	VerifierKey string   `json:"verifier_key"` // SHA-256 of the SPKI of its TLS key, hexadecimal
	ResultKey   []byte   `json:"result_key"`   // SPKI of the key that signs its verdicts
	Root        []byte   `json:"root"`         // of the site, DER
	TLS         [][]byte `json:"tls"`          // DER, the room's own first
	MLS         [][]byte `json:"mls"`
}

// formatVersion is that of Identity and of the journal.
const formatVersion = 1

// ErrNotEnrolled means that there is no identity yet.
var ErrNotEnrolled = errors.New("client: the room is not enrolled")

// ErrNewer means that a newer release wrote the file. It is left alone.
var ErrNewer = errors.New("client: written by a newer release")

const maxFile = 256 << 10

// ReadIdentity reads the file at path.
func ReadIdentity(path string) (*Identity, error) {
	id := new(Identity)
	if err := readJSON(path, id, &id.Version); err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return nil, ErrNotEnrolled
		}
		return nil, err
	}
	return id, id.check()
}

// NotAfter returns when the first of the certificates ends.
func (id *Identity) NotAfter() (time.Time, error) {
	a, err := parseLeaf(id.TLS)
	if err != nil {
		return time.Time{}, err
	}
	b, err := parseLeaf(id.MLS)
	if err != nil {
		return time.Time{}, err
	}
	if b.NotAfter.Before(a.NotAfter) {
		return b.NotAfter, nil
	}
	return a.NotAfter, nil
}

// check verifies both chains as they were when they were issued: a clock that
// is wrong after a power cut must not take a room's identity away.
func (id *Identity) check() error {
	root, err := x509.ParseCertificate(id.Root)
	if err != nil || !enrol.IsRoom(id.Room) {
		return errors.New("client: damaged identity")
	}
	if _, err := id.pin(); err != nil {
		return err
	}
	roots := x509.NewCertPool()
	roots.AddCert(root)
	for _, chain := range [][][]byte{id.TLS, id.MLS} {
		leaf, err := parseLeaf(chain)
		if err != nil {
			return err
		}
		issuing := x509.NewCertPool()
		for _, der := range chain[1:] {
			c, err := x509.ParseCertificate(der)
			if err != nil {
				return fmt.Errorf("client: certificate: %w", err)
			}
			issuing.AddCert(c)
		}
		if _, err := leaf.Verify(x509.VerifyOptions{
			Roots: roots, Intermediates: issuing, CurrentTime: leaf.NotBefore, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny},
		}); err != nil {
			return fmt.Errorf("client: certificate: %w", err)
		}
	}
	return nil
}

func (id *Identity) pin() ([32]byte, error) {
	b, err := hex.DecodeString(id.VerifierKey)
	if err != nil || len(b) != 32 {
		return [32]byte{}, errors.New("client: verifier key: 64 hexadecimal digits")
	}
	return [32]byte(b), nil
}

func parseLeaf(chain [][]byte) (*x509.Certificate, error) {
	if len(chain) == 0 || len(chain) > 4 {
		return nil, fmt.Errorf("client: chain of %d certificates", len(chain))
	}
	leaf, err := x509.ParseCertificate(chain[0])
	if err != nil {
		return nil, fmt.Errorf("client: certificate: %w", err)
	}
	return leaf, nil
}

// readJSON reads a file into v, whose format version is then in found.
func readJSON(path string, v any, found *int) error {
	f, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("client: %w", err)
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return fmt.Errorf("client: %w", err)
	}
	if len(b) > maxFile {
		return fmt.Errorf("client: %s: larger than %d bytes", path, maxFile)
	}
	dec := json.NewDecoder(bytes.NewReader(b))
	err = dec.Decode(v)
	switch {
	case *found > formatVersion:
		return fmt.Errorf("%w: %s", ErrNewer, path)
	case err != nil:
		return fmt.Errorf("client: %s: %w", path, err)
	case *found != formatVersion:
		return fmt.Errorf("client: %s: no version", path)
	}
	return nil
}

// writeJSON replaces the file at path: after a power cut the old one is there
// or the new one, whole.
func writeJSON(path string, v any) (err error) {
	b, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return fmt.Errorf("client: %w", err)
	}
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+"-*")
	if err != nil {
		return fmt.Errorf("client: %w", err)
	}
	defer func() {
		_ = f.Close() // Sync has said what there is to say
		if err != nil {
			_ = os.Remove(f.Name()) // it never was the file
		}
	}()
	if _, err := f.Write(append(b, '\n')); err != nil {
		return fmt.Errorf("client: %w", err)
	}
	if err := f.Sync(); err != nil {
		return fmt.Errorf("client: %w", err)
	}
	if err := os.Rename(f.Name(), path); err != nil {
		return fmt.Errorf("client: %w", err)
	}
	return syncFolder(path)
}

func remove(path string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("client: %w", err)
	}
	return syncFolder(path)
}

func syncFolder(path string) error {
	d, err := os.Open(filepath.Dir(path))
	if err != nil {
		return fmt.Errorf("client: %w", err)
	}
	defer d.Close()
	if err := d.Sync(); err != nil {
		return fmt.Errorf("client: %w", err)
	}
	return nil
}
