// SPDX-License-Identifier: Apache-2.0

package e2ee

import (
	"crypto/sha256"
	"crypto/x509"
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"incamera/media/mls"
)

// ErrIdentity means that a room's credential is not one that a meeting takes:
// no certificate of a known site, not valid now, or without a proper name.
var ErrIdentity = errors.New("e2ee: credential refused")

// maxName bounds the names of rooms and sites in bytes: what a panel can show.
const maxName = 64

// identity is who a credential says it is.
type identity struct {
	name, site          string
	credential          [32]byte // SHA-256 of the certificate
	notBefore, notAfter time.Time
}

// lapsed reports whether the certificate is not valid at the given time.
func (id identity) lapsed(now time.Time) bool {
	return now.Before(id.notBefore) || now.After(id.notAfter)
}

// identify reads the certificate of a credential. It looks at form alone, so
// all members come to the same answer; [authenticator] checks the chain.
func identify(c mls.Credential) (identity, *x509.Certificate, error) {
	if c.Type != mls.X509Credential || len(c.Certificates) == 0 {
		return identity{}, nil, fmt.Errorf("%w: not an X.509 credential", ErrIdentity)
	}
	cert, err := x509.ParseCertificate(c.Certificates[0])
	if err != nil {
		return identity{}, nil, fmt.Errorf("%w: malformed certificate", ErrIdentity)
	}
	id := identity{
		name:       cert.Subject.CommonName,
		credential: sha256.Sum256(cert.Raw),
		notBefore:  cert.NotBefore,
		notAfter:   cert.NotAfter,
	}
	if id.name == "" && len(cert.DNSNames) > 0 {
		id.name = cert.DNSNames[0]
	}
	if len(cert.Subject.Organization) == 1 {
		id.site = cert.Subject.Organization[0]
	}
	if !presentable(id.name) || !presentable(id.site) {
		return identity{}, nil, fmt.Errorf("%w: name or site is missing, too long or not printable", ErrIdentity)
	}
	return id, cert, nil
}

// presentable reports whether s can stand on a panel as it is: a character that
// turns the direction of text or takes no room could make one name look like
// another.
func presentable(s string) bool {
	if s == "" || len(s) > maxName || !utf8.ValidString(s) || strings.TrimSpace(s) != s {
		return false
	}
	return !strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) })
}

// sameName compares names as people read them.
func sameName(a, b string) bool { return strings.EqualFold(a, b) }

// authenticator verifies that a credential leads to the CA of a site.
type authenticator struct {
	sites *x509.CertPool
}

// Authenticate implements [mls.Authenticator]. It looks at no clock: every
// member asks it about every leaf, and where two answer differently their
// groups part. So the chain must hold at the beginning or at the end of the
// certificate's own life; whether that is now is asked by [admissible], where a
// room is let in.
func (a authenticator) Authenticate(c mls.Credential, _ []byte) error {
	id, _, err := identify(c)
	if err != nil {
		return err
	}
	if a.verify(c, id.notBefore) != nil {
		return a.verify(c, id.notAfter)
	}
	return nil
}

// verify checks the whole chain as it was at an instant.
func (a authenticator) verify(c mls.Credential, at time.Time) error {
	id, cert, err := identify(c)
	if err != nil {
		return err
	}
	if cert.IsCA {
		return fmt.Errorf("%w: certificate of a CA", ErrIdentity)
	}
	intermediates := x509.NewCertPool()
	for _, der := range c.Certificates[1:] {
		ca, err := x509.ParseCertificate(der)
		if err != nil {
			return fmt.Errorf("%w: malformed chain", ErrIdentity)
		}
		intermediates.AddCert(ca)
	}
	chains, err := cert.Verify(x509.VerifyOptions{
		Roots:         a.sites,
		Intermediates: intermediates,
		CurrentTime:   at,
		KeyUsages:     []x509.ExtKeyUsage{x509.ExtKeyUsageAny},
	})
	if err != nil {
		// What x509 says quotes names of the certificate.
		return fmt.Errorf("%w: no chain to the CA of a known site", ErrIdentity)
	}
	// Name constraints do not cover organisations: a known site must not speak
	// for another one.
	for _, chain := range chains {
		if root := chain[len(chain)-1].Subject.Organization; len(root) == 1 && root[0] == id.site {
			return nil
		}
	}
	return fmt.Errorf("%w: site is not that of its CA", ErrIdentity)
}
