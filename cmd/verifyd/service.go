// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"sync"
	"time"

	"golang.org/x/mod/sumdb/note"

	"incamera/secureboot/enrol"
	"incamera/secureboot/verify"
)

// A service answers the verifier's API. It may be used by several goroutines;
// what must not cross is in one transaction of the store.
type service struct {
	store *store
	log   *slog.Logger

	authority *enrol.Authority
	result    crypto.Signer // signs EARs
	resultKey []byte        // its SPKI
	notes     note.Signer   // signs revocations
	noteKey   string
	tlsKey    [32]byte // SHA-256 of the SPKI of the TLS key

	makers      *x509.CertPool
	trust       verify.Trust // in reference values
	keyPolicies [][]byte
	policy      policyConfig
	life        time.Duration
	staff       []staffConfig

	references references
	directory  directory

	bundles   folder
	uploading sync.Mutex // one bundle at a time
	sending   turns
}

// newService reads the keys that c names. It opens nothing else.
func newService(c config, s *store, log *slog.Logger) (*service, tls.Certificate, error) {
	v := &service{store: s, log: log, makers: x509.NewCertPool(), policy: c.Policy, life: c.life(), staff: c.Staff, bundles: folder(c.Bundles)}
	cert, err := v.readKeys(c)
	if err != nil {
		return nil, tls.Certificate{}, fmt.Errorf("keys: %w", err)
	}
	if c.Makers != "" {
		ders, err := readBlocks(c.Makers, "CERTIFICATE")
		if err != nil {
			return nil, tls.Certificate{}, fmt.Errorf("makers: %w", err)
		}
		for _, der := range ders {
			root, err := x509.ParseCertificate(der)
			if err != nil {
				return nil, tls.Certificate{}, fmt.Errorf("makers: %w", err)
			}
			v.makers.AddCert(root)
		}
	}
	if err := v.readTrust(c); err != nil {
		return nil, tls.Certificate{}, err
	}
	for _, p := range c.KeyPolicies {
		b, err := hex.DecodeString(p)
		if err != nil {
			return nil, tls.Certificate{}, fmt.Errorf("key_policies: %w", err)
		}
		v.keyPolicies = append(v.keyPolicies, b)
	}
	return v, cert, nil
}

func (v *service) readKeys(c config) (tls.Certificate, error) {
	file := func(name string) string { return filepath.Join(c.Keys, name) }
	root, err := readCertificate(file("root.pem"))
	if err != nil {
		return tls.Certificate{}, err
	}
	issuing, err := readCertificate(file("issuing.pem"))
	if err != nil {
		return tls.Certificate{}, err
	}
	issuingKey, err := readKey(file("issuing.key"))
	if err != nil {
		return tls.Certificate{}, err
	}
	if v.authority, err = enrol.NewAuthority(root, issuing, issuingKey); err != nil {
		return tls.Certificate{}, err
	}
	if v.result, err = readKey(file("result.key")); err != nil {
		return tls.Certificate{}, err
	}
	if v.resultKey, err = x509.MarshalPKIXPublicKey(v.result.Public()); err != nil {
		return tls.Certificate{}, err
	}
	if v.notes, v.noteKey, err = readNoteKey(file("note.key")); err != nil {
		return tls.Certificate{}, err
	}
	chain, err := readBlocks(file("tls.pem"), "CERTIFICATE")
	if err != nil {
		return tls.Certificate{}, err
	}
	leaf, err := x509.ParseCertificate(chain[0])
	if err != nil {
		return tls.Certificate{}, err
	}
	key, err := readKey(file("tls.key"))
	if err != nil {
		return tls.Certificate{}, err
	}
	if pub, ok := key.Public().(*ecdsa.PublicKey); !ok || !pub.Equal(leaf.PublicKey) {
		return tls.Certificate{}, errors.New("tls.pem certifies another key than tls.key")
	}
	v.tlsKey = sha256.Sum256(leaf.RawSubjectPublicKeyInfo)
	return tls.Certificate{Certificate: chain, PrivateKey: key, Leaf: leaf}, nil
}

// readTrust reads whose reference values count.
func (v *service) readTrust(c config) error {
	for _, file := range []struct {
		path  string
		debug bool
	}{{c.BundleKeys, false}, {c.DebugKeys, true}} {
		if file.path == "" {
			continue
		}
		ders, err := readBlocks(file.path, "PUBLIC KEY")
		if err != nil {
			return fmt.Errorf("bundle_keys, debug_keys: %w", err)
		}
		for _, der := range ders {
			key, err := x509.ParsePKIXPublicKey(der)
			if err != nil {
				return fmt.Errorf("bundle_keys, debug_keys: %s: %w", file.path, err)
			}
			v.trust.Signers = append(v.trust.Signers, verify.Signer{Key: key, Debug: file.debug})
		}
	}
	log, err := note.NewVerifier(c.LogKey)
	if err != nil {
		return fmt.Errorf("log_key: %w", err)
	}
	v.trust.Log = []note.Verifier{log}
	return nil
}

// run does what must happen without being asked, until ctx is done.
func (v *service) run(ctx context.Context) error {
	tick := time.NewTicker(sweepEvery)
	defer tick.Stop()
	for {
		if err := v.sweep(ctx, time.Now()); err != nil && ctx.Err() == nil {
			v.log.Error("cannot tidy up", "error", err)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// sweepEvery is far below each life of an enrolment.
const sweepEvery = 30 * time.Second

func (v *service) sweep(ctx context.Context, now time.Time) error {
	var undone []string
	err := v.store.update(ctx, func(t *txn) (err error) {
		if err := v.sweepBundles(t, now); err != nil {
			return err
		}
		undone, err = t.sweep(now)
		return err
	})
	for _, room := range undone {
		v.log.Info("enrolment undone", "room", room)
	}
	return err
}

// newSession returns an unguessable name.
func newSession() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails
	return hex.EncodeToString(b[:])
}
