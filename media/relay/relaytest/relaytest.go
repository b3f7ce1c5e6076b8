// SPDX-License-Identifier: Apache-2.0

// Package relaytest gives tests a site: a CA in memory, rooms with
// certificates of it, and relays on loopback.
package relaytest

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"math/big"
	"net"
	"testing"
	"time"

	"incamera/media/relay"
)

// A Site is an organisation with its CA.
type Site struct {
	Name string
	Pool *x509.CertPool // holds the CA

	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

// NewSite makes a site and its CA.
func NewSite(t testing.TB, name string) *Site {
	t.Helper()
	s := &Site{Name: name, Pool: x509.NewCertPool(), key: newKey(t)}
	template := certificate(t, "CA of "+name, name)
	template.IsCA, template.BasicConstraintsValid = true, true
	template.KeyUsage = x509.KeyUsageCertSign
	s.cert = sign(t, template, template, s.key, s.key)
	s.Pool.AddCert(s.cert)
	return s
}

// Room makes a room of the site: a fresh P-256 key and its certificate.
func (s *Site) Room(t testing.TB, name string) relay.Credentials {
	t.Helper()
	return s.Renew(t, name, newKey(t))
}

// Renew makes another certificate for a room that has a key.
func (s *Site) Renew(t testing.TB, name string, key *ecdsa.PrivateKey) relay.Credentials {
	t.Helper()
	template := certificate(t, name, s.Name)
	template.KeyUsage = x509.KeyUsageDigitalSignature
	template.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth}
	cert := sign(t, template, s.cert, key, s.key)
	return relay.Credentials{
		Certificate: tls.Certificate{Certificate: [][]byte{cert.Raw}, PrivateKey: key, Leaf: cert},
		SiteCA:      s.Pool,
	}
}

// Serve runs a relay on a loopback port until the test ends, and returns its
// address. The server must end in time, or the test fails.
func Serve(t testing.TB, s *relay.Server) string {
	t.Helper()
	ln, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = s.Serve(ctx, ln) // ends with ctx
	}()
	t.Cleanup(func() {
		cancel()
		select {
		case <-done:
		case <-time.After(10 * time.Second):
			t.Error("the relay does not end")
		}
	})
	return ln.Addr().String()
}

func newKey(t testing.TB) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func certificate(t testing.TB, name, site string) *x509.Certificate {
	t.Helper()
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 64))
	if err != nil {
		t.Fatal(err)
	}
	return &x509.Certificate{
		SerialNumber: serial,
		Subject:      pkix.Name{CommonName: name, Organization: []string{site}},
		NotBefore:    time.Now().Add(-time.Hour),
		NotAfter:     time.Now().Add(24 * time.Hour),
	}
}

func sign(t testing.TB, template, parent *x509.Certificate, key, by *ecdsa.PrivateKey) *x509.Certificate {
	t.Helper()
	der, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), by)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return cert
}
