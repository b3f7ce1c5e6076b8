// SPDX-License-Identifier: Apache-2.0

package mls

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/x509"
	"slices"
)

// A CredentialType says how a credential names its owner (Section 5.3).
type CredentialType uint16

// The credential types of RFC 9420.
const (
	BasicCredential CredentialType = 1
	X509Credential  CredentialType = 2
)

// A Credential names the owner of a leaf (Section 5.3).
type Credential struct {
	Type         CredentialType
	Identity     []byte   // of a basic credential
	Certificates [][]byte // of an X.509 credential: DER, the leaf's own first
}

// An Authenticator decides whether a credential is acceptable for a signature
// key: chain, anchor, name, time. This package has checked before it that the
// key of the first certificate is the signature key. Authenticate is called
// for each leaf that enters the group or changes, on every member; where the
// members do not agree on the answer, their groups part.
type Authenticator interface {
	Authenticate(c Credential, signatureKey []byte) error
}

// Equal reports whether two credentials are the same bytes.
func (c Credential) Equal(o Credential) bool {
	return c.Type == o.Type && bytes.Equal(c.Identity, o.Identity) &&
		slices.EqualFunc(c.Certificates, o.Certificates, bytes.Equal)
}

func decodeCredential(r *reader) Credential {
	c := Credential{Type: CredentialType(r.u16())}
	switch c.Type {
	case BasicCredential:
		c.Identity = r.vec(maxIdentity)
	case X509Credential:
		c.Certificates = list(r, maxCertificates*(maxCertificate+4), maxCertificates, func(r *reader) []byte { return r.vec(maxCertificate) })
	default:
		r.unsupported("credential type")
	}
	return c
}

func (c Credential) append(b []byte) []byte {
	b = appendU16(b, uint16(c.Type))
	if c.Type == BasicCredential {
		return appendVec(b, c.Identity)
	}
	return appendList(b, c.Certificates, appendVec[[]byte])
}

// check verifies the form of the credential and that an X.509 one is for the
// signature key (Section 5.3).
func (c Credential) check(s *Suite, signatureKey []byte) error {
	if c.Type != X509Credential {
		return nil
	}
	if len(c.Certificates) == 0 {
		return invalid("5.3", "empty certificate chain")
	}
	var key []byte
	for i, der := range c.Certificates {
		cert, err := x509.ParseCertificate(der)
		if err != nil {
			return invalid("5.3", "certificate %d does not parse", i)
		}
		if i > 0 {
			continue
		}
		switch pub := cert.PublicKey.(type) {
		case *ecdsa.PublicKey:
			if want, err := curve(s.scheme); err == nil && want == pub.Curve {
				key, _ = pub.Bytes()
			}
		case ed25519.PublicKey:
			if s.scheme == Ed25519 {
				key = pub
			}
		}
	}
	if key == nil || !bytes.Equal(key, signatureKey) {
		return invalid("5.3", "the certificate is for another key")
	}
	return nil
}
