// SPDX-License-Identifier: Apache-2.0

package relay

import (
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"

	"incamera/media/signal"
)

// An Identity is who a certificate of the site says that its holder is.
type Identity struct {
	Room
	Key [32]byte // SHA-256 of the SubjectPublicKeyInfo
}

// IdentityOf reads the identity off a room's certificate: the name is the
// common name or, without one, the first DNS name; the site is the first
// organisation. It verifies nothing.
func IdentityOf(leaf *x509.Certificate) (Identity, error) {
	name, site := leaf.Subject.CommonName, ""
	if name == "" && len(leaf.DNSNames) > 0 {
		name = leaf.DNSNames[0]
	}
	if len(leaf.Subject.Organization) > 0 {
		site = leaf.Subject.Organization[0]
	}
	room, err := signal.NewRoom(name, site)
	if err != nil {
		return Identity{}, fmt.Errorf("%w: certificate without a name and site that a panel can show", ErrStranger)
	}
	return Identity{Room: room, Key: sha256.Sum256(leaf.RawSubjectPublicKeyInfo)}, nil
}

// Credentials are a room's certificate, for client and server alike, and the
// CA of its site.
type Credentials struct {
	Certificate tls.Certificate // leaf first; the key may lie in a TPM
	SiteCA      *x509.CertPool
}

func (c Credentials) identity() (Identity, error) {
	if c.SiteCA == nil || len(c.Certificate.Certificate) == 0 || c.Certificate.PrivateKey == nil {
		return Identity{}, errors.New("relay: no certificate, key or site CA")
	}
	leaf, err := x509.ParseCertificate(c.Certificate.Certificate[0])
	if err != nil {
		return Identity{}, fmt.Errorf("relay: own certificate: %w", err)
	}
	return IdentityOf(leaf)
}

// hybrids are the key exchanges in use: what is recorded now stays closed to a
// quantum computer later. There is nothing older to fall back for.
var hybrids = []tls.CurveID{tls.X25519MLKEM768, tls.SecP256r1MLKEM768, tls.SecP384r1MLKEM1024}

func (c Credentials) config() *tls.Config {
	return &tls.Config{
		MinVersion:             tls.VersionTLS13,
		Certificates:           []tls.Certificate{c.Certificate},
		CurvePreferences:       hybrids,
		NextProtos:             []string{"http/1.1"},
		SessionTicketsDisabled: true, // a ticket would outlive a certificate
	}
}

func (c Credentials) server() *tls.Config {
	config := c.config()
	config.ClientAuth = tls.RequireAndVerifyClientCert
	config.ClientCAs = c.SiteCA
	config.VerifyConnection = func(s tls.ConnectionState) error {
		_, err := IdentityOf(s.PeerCertificates[0])
		return err
	}
	return config
}

// client returns a configuration that accepts relay alone, and puts who that
// was into found. Names of rooms are no host names, so the check is ours.
func (c Credentials) client(relay Expect, found *Identity) *tls.Config {
	config := c.config()
	config.InsecureSkipVerify = true // VerifyConnection verifies chain, usage and name
	config.VerifyConnection = func(s tls.ConnectionState) error {
		chain := x509.VerifyOptions{
			Roots:         c.SiteCA,
			Intermediates: x509.NewCertPool(),
			KeyUsages:     []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		}
		for _, cert := range s.PeerCertificates[1:] {
			chain.Intermediates.AddCert(cert)
		}
		if _, err := s.PeerCertificates[0].Verify(chain); err != nil {
			return fmt.Errorf("%w: %w", ErrStranger, err)
		}
		id, err := IdentityOf(s.PeerCertificates[0])
		if err != nil {
			return err
		}
		*found = id
		return relay.check(id)
	}
	return config
}

// Expect says which relay a client means: by its name, by its key, or both. A
// certificate of the site is not enough, or any room could pose as the host.
type Expect struct {
	Name string   // of the room, of any site that the CA vouches for
	Key  [32]byte // SHA-256 of the SubjectPublicKeyInfo
}

func (e Expect) check(id Identity) error {
	if e.Name != "" && e.Name != id.Name {
		return fmt.Errorf("%w: %q answers where %q was expected", ErrStranger, id.Name, e.Name)
	}
	if e.Key != [32]byte{} && e.Key != id.Key {
		return fmt.Errorf("%w: the key of %q is not the one announced", ErrStranger, id.Name)
	}
	return nil
}
