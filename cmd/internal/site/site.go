// SPDX-License-Identifier: Apache-2.0

// Package site plays an organisation's certification authority for the demo
// and for tests: it makes a CA that lives as long as the process and issues
// rooms their certificates. No release program links it.
package site

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"time"
)

// An Authority is a site's CA.
type Authority struct {
	name string
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

// New makes the CA of the organisation called name.
func New(name string) (*Authority, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	template := &x509.Certificate{
		Subject:               pkix.Name{CommonName: name + " site CA", Organization: []string{name}},
		NotBefore:             time.Now().Add(-time.Hour),
		NotAfter:              time.Now().Add(7 * 24 * time.Hour),
		KeyUsage:              x509.KeyUsageCertSign,
		BasicConstraintsValid: true,
		IsCA:                  true,
		MaxPathLenZero:        true,
	}
	a := &Authority{name: name, key: key}
	a.cert, err = a.sign(template, template, key)
	return a, err
}

// Issue writes the identity of the room called name into the folder dir, as
// roomd reads it: site.pem, mls.pem, mls.key, tls.pem and tls.key. The room's
// relay may be reached under the given IP addresses.
func (a *Authority) Issue(dir, name string, addrs ...net.IP) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	if err := writePEM(filepath.Join(dir, "site.pem"), "CERTIFICATE", a.cert.Raw); err != nil {
		return err
	}
	for _, purpose := range []struct {
		file   string
		usages []x509.ExtKeyUsage
		addrs  []net.IP
	}{
		{file: "mls"},
		{"tls", []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}, addrs},
	} {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			return err
		}
		cert, err := a.sign(&x509.Certificate{
			Subject:     pkix.Name{CommonName: name, Organization: []string{a.name}},
			NotBefore:   time.Now().Add(-time.Hour),
			NotAfter:    time.Now().Add(24 * time.Hour),
			KeyUsage:    x509.KeyUsageDigitalSignature,
			ExtKeyUsage: purpose.usages,
			IPAddresses: purpose.addrs,
		}, a.cert, key)
		if err != nil {
			return err
		}
		der, err := x509.MarshalPKCS8PrivateKey(key)
		if err != nil {
			return err
		}
		if err := writePEM(filepath.Join(dir, purpose.file+".pem"), "CERTIFICATE", cert.Raw); err != nil {
			return err
		}
		if err := writePEM(filepath.Join(dir, purpose.file+".key"), "PRIVATE KEY", der); err != nil {
			return err
		}
	}
	return nil
}

func (a *Authority) sign(template, parent *x509.Certificate, key *ecdsa.PrivateKey) (*x509.Certificate, error) {
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		return nil, err
	}
	template.SerialNumber = serial
	der, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, a.key)
	if err != nil {
		return nil, fmt.Errorf("site: %w", err)
	}
	return x509.ParseCertificate(der)
}

func writePEM(path, kind string, der []byte) error {
	return os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600)
}
