// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"

	"incamera/secureboot/enrol"
)

const (
	maxConfig = 64 << 10
	maxPEM    = 1 << 20 // the roots of all makers
)

// A config is what a verifier must know before it can start. Paths in it are
// relative to the folder of the file.
type config struct {
	Version int    `json:"version"` // of the format: 1
	Listen  string `json:"listen"`  // host:port
	Store   string `json:"store"`   // "sqlite:PATH" or "postgres://..."

	// Bundles is the folder of releases for rooms. Without it, "bundles" beside
	// the database, or beside this file if that is a server.
	Bundles string `json:"bundles,omitempty"`

	// Keys is the folder of the site: root.pem, issuing.pem and .key, tls.pem
	// and .key, result.key, note.key. The root's key does not belong here.
	Keys string `json:"keys"`

	Makers     string `json:"makers"`      // roots of TPM makers, PEM; "" for none
	BundleKeys string `json:"bundle_keys"` // public keys that sign reference values, PEM
	DebugKeys  string `json:"debug_keys"`  // those of developers, whose images are refused by name; "" for none
	LogKey     string `json:"log_key"`     // verifier key of the transparency log, as package note writes it

	// KeyPolicies are the policies of rooms' keys, SHA-256 in hexadecimal: keys
	// that no signed release could use are not certified.
	KeyPolicies []string `json:"key_policies"`

	Policy          policyConfig  `json:"policy"`
	CertificateDays int           `json:"certificate_days"` // life of a room's certificates: 1 to 30
	Staff           []staffConfig `json:"staff"`            // who has the security role
}

type policyConfig struct {
	ID              string `json:"id"`               // printed in each verdict
	MinimumRollback uint64 `json:"minimum_rollback"` // older releases are refused
	RefuseAnomaly   bool   `json:"refuse_anomaly"`   // a reset too many refuses; else it warns
	// AcceptUnrooted takes a TPM that is a program, or for which no maker
	// vouches, for as good as any: for tests and demonstrations.
	AcceptUnrooted bool `json:"accept_unrooted,omitempty"`
}

// A staffConfig is a member of staff, known by a token, a key or both.
type staffConfig struct {
	Name        string `json:"name"`
	TokenSHA256 string `json:"token_sha256,omitempty"` // of the token's text
	KeySHA256   string `json:"key_sha256,omitempty"`   // of the SPKI of a client certificate
}

func readConfig(path string) (config, error) {
	b, err := readBounded(path, maxConfig)
	if err != nil {
		return config{}, fmt.Errorf("configuration: %w", err)
	}
	c, err := parseConfig(b)
	if err != nil {
		return config{}, fmt.Errorf("configuration %s: %w", path, err)
	}
	dir := filepath.Dir(path)
	beside := dir
	if file, ok := strings.CutPrefix(c.Store, "sqlite:"); ok {
		if !filepath.IsAbs(file) {
			file = filepath.Join(dir, file)
		}
		c.Store, beside = "sqlite:"+file, filepath.Dir(file)
	}
	if c.Bundles == "" {
		c.Bundles = filepath.Join(beside, "bundles")
	}
	for _, p := range []*string{&c.Bundles, &c.Keys, &c.Makers, &c.BundleKeys, &c.DebugKeys} {
		if *p != "" && !filepath.IsAbs(*p) {
			*p = filepath.Join(dir, *p)
		}
	}
	return c, nil
}

func parseConfig(b []byte) (config, error) {
	var c config
	dec := json.NewDecoder(bytes.NewReader(b))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&c); err != nil {
		return config{}, err
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return config{}, errors.New("bytes after the end of the object")
	}
	return c, c.check()
}

func (c *config) check() error {
	switch {
	case c.Version != 1:
		return fmt.Errorf("version %d: this release reads version 1", c.Version)
	case c.Keys == "":
		return errors.New("keys: the folder of the site's keys is missing")
	case c.BundleKeys == "" || c.LogKey == "":
		return errors.New("bundle_keys and log_key: without them no release is a known one")
	case len(c.KeyPolicies) == 0 || len(c.KeyPolicies) > 16:
		return errors.New("key_policies: 1 to 16, or no room's key could be trusted")
	case !enrol.IsName(c.Policy.ID):
		return errors.New("policy: id: 1 to 64 bytes that print")
	case c.CertificateDays < 1 || c.life() > enrol.MaxLife:
		return fmt.Errorf("certificate_days %d: 1 to 30", c.CertificateDays)
	case len(c.Staff) == 0 || len(c.Staff) > 64:
		return errors.New("staff: 1 to 64, or nobody could admit a room")
	}
	if _, _, err := net.SplitHostPort(c.Listen); err != nil {
		return fmt.Errorf("listen: %w", err)
	}
	if !strings.HasPrefix(c.Store, "sqlite:") && !strings.HasPrefix(c.Store, "postgres://") {
		return errors.New(`store: want "sqlite:PATH" or "postgres://..."`)
	}
	for _, p := range c.KeyPolicies {
		if !isHash(p) {
			return errors.New("key_policies: 64 hexadecimal digits in lower case each")
		}
	}
	names := map[string]bool{}
	for _, s := range c.Staff {
		switch {
		case !enrol.IsName(s.Name) || names[s.Name]:
			return fmt.Errorf("staff: name %q: 1 to 64 bytes, once", s.Name)
		case s.TokenSHA256 == "" && s.KeySHA256 == "":
			return fmt.Errorf("staff: %s: a token_sha256 or a key_sha256", s.Name)
		case s.TokenSHA256 != "" && !isHash(s.TokenSHA256), s.KeySHA256 != "" && !isHash(s.KeySHA256):
			return fmt.Errorf("staff: %s: 64 hexadecimal digits in lower case", s.Name)
		}
		names[s.Name] = true
	}
	return nil
}

func (c *config) life() time.Duration { return time.Duration(c.CertificateDays) * 24 * time.Hour }

func isHash(s string) bool {
	b, err := hex.DecodeString(s)
	return err == nil && len(b) == 32 && strings.ToLower(s) == s
}

func readBounded(path string, limit int64) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err == nil && int64(len(b)) > limit {
		err = fmt.Errorf("%s: larger than %d bytes", path, limit)
	}
	return b, err
}

// readBlocks returns the PEM blocks of a kind in a file.
func readBlocks(path, kind string) ([][]byte, error) {
	b, err := readBounded(path, maxPEM)
	if err != nil {
		return nil, err
	}
	var blocks [][]byte
	for {
		var block *pem.Block
		if block, b = pem.Decode(b); block == nil {
			break
		}
		if block.Type == kind {
			blocks = append(blocks, block.Bytes)
		}
	}
	if len(blocks) == 0 {
		return nil, fmt.Errorf("%s: holds no %s in PEM", path, kind)
	}
	return blocks, nil
}

func readCertificate(path string) (*x509.Certificate, error) {
	blocks, err := readBlocks(path, "CERTIFICATE")
	if err != nil {
		return nil, err
	}
	cert, err := x509.ParseCertificate(blocks[0])
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return cert, nil
}
