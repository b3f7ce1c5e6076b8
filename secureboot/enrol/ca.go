// SPDX-License-Identifier: Apache-2.0

package enrol

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"errors"
	"fmt"
	"math/big"
	"net"
	"strings"
	"time"

	"incamera/secureboot/evidence"
)

const (
	// MaxLife is the longest life of a room's certificate: renewed at half of
	// it, an outage of the verifier of two weeks stops no meeting.
	MaxLife = 30 * 24 * time.Hour

	// skew is how far into the past certificates begin: clocks of members
	// differ, and a room that meets right after its enrolment must be let in.
	skew = 5 * time.Minute

	rootLife    = 10 * 365 * 24 * time.Hour
	issuingLife = 2 * 365 * 24 * time.Hour
)

// oidIM is id-kp-imUri of RFC 9734, for the signers of MLS. Without a usage of
// its own the certificate of the leaf would serve for TLS, too.
var oidIM = asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 3, 40}

// A Site is the organisation that a CA speaks for.
type Site struct {
	Name     string      // as panels show it: the organisation of every certificate
	Domain   string      // DNS domain under which rooms have their names
	Networks []net.IPNet // in which certificates may name addresses; none if empty
}

func (s Site) check() error {
	if !IsName(s.Name) {
		return errors.New("enrol: site name: 1 to 64 bytes that print")
	}
	if s.Domain == "" || len(s.Domain) > 190 || strings.Trim(s.Domain, "abcdefghijklmnopqrstuvwxyz0123456789-.") != "" ||
		strings.HasPrefix(s.Domain, ".") || strings.HasSuffix(s.Domain, ".") {
		return errors.New("enrol: domain of the site: a DNS name in lower case without a dot at its ends")
	}
	return nil
}

// NewRoot makes the certificate of a site's root for key, which is offline but
// for this and [NewIssuing]. The root can vouch for names under the site's
// domain alone, so a relying party that trusts it trusts it for no more.
func NewRoot(s Site, key crypto.Signer, now time.Time) (*x509.Certificate, error) {
	if err := s.check(); err != nil {
		return nil, err
	}
	t := &x509.Certificate{
		Subject:               pkix.Name{CommonName: s.Name + " root", Organization: []string{s.Name}},
		NotBefore:             now.Add(-skew),
		NotAfter:              now.Add(rootLife),
		KeyUsage:              x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
		BasicConstraintsValid: true,
		IsCA:                  true,
		MaxPathLen:            1,
	}
	constrain(t, s)
	return sign(t, t, key.Public(), key)
}

// NewIssuing makes the certificate of the key that issues, signed by the root.
func NewIssuing(s Site, root *x509.Certificate, rootKey crypto.Signer, issuing crypto.PublicKey, now time.Time) (*x509.Certificate, error) {
	if err := s.check(); err != nil {
		return nil, err
	}
	t := &x509.Certificate{
		Subject:               pkix.Name{CommonName: s.Name + " issuing CA", Organization: []string{s.Name}},
		NotBefore:             now.Add(-skew),
		NotAfter:              now.Add(issuingLife),
		KeyUsage:              x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
		BasicConstraintsValid: true,
		IsCA:                  true,
		MaxPathLenZero:        true,
	}
	constrain(t, s)
	return sign(t, root, issuing, rootKey)
}

// constrain permits the site's domain and networks and nothing else (RFC 5280,
// 4.2.1.10). A kind of name that no list mentions is free, so each is named.
func constrain(t *x509.Certificate, s Site) {
	t.PermittedDNSDomainsCritical = true
	t.PermittedDNSDomains = []string{s.Domain}
	t.PermittedEmailAddresses = []string{s.Domain}
	t.PermittedURIDomains = []string{s.Domain}
	for i := range s.Networks {
		t.PermittedIPRanges = append(t.PermittedIPRanges, &s.Networks[i])
	}
	if len(s.Networks) == 0 {
		t.ExcludedIPRanges = []*net.IPNet{
			{IP: net.IPv4zero.To4(), Mask: net.CIDRMask(0, 32)}, {IP: net.IPv6zero, Mask: net.CIDRMask(0, 128)},
		}
	}
}

// An Authority issues certificates to rooms. Its methods may be called from
// several goroutines if the key's may.
type Authority struct {
	root, issuing *x509.Certificate
	key           crypto.Signer
	site, domain  string
}

// NewAuthority makes an authority of the root's certificate, the issuing one
// and its key, which may lie in an HSM or the host's TPM.
func NewAuthority(root, issuing *x509.Certificate, key crypto.Signer) (*Authority, error) {
	pub, ok := issuing.PublicKey.(interface{ Equal(x crypto.PublicKey) bool })
	switch {
	case !ok || !pub.Equal(key.Public()):
		return nil, errors.New("enrol: the issuing certificate is for another key")
	case issuing.CheckSignatureFrom(root) != nil:
		return nil, errors.New("enrol: the root has not signed the issuing certificate")
	case len(root.PermittedDNSDomains) != 1 || !root.PermittedDNSDomainsCritical:
		return nil, errors.New("enrol: the root is not constrained to one domain")
	case len(issuing.Subject.Organization) != 1 || !IsName(issuing.Subject.Organization[0]):
		return nil, errors.New("enrol: the issuing certificate names no site")
	}
	return &Authority{root, issuing, key, issuing.Subject.Organization[0], root.PermittedDNSDomains[0]}, nil
}

// Root returns the site's root.
func (a *Authority) Root() *x509.Certificate { return a.root }

// Site returns the name of the site.
func (a *Authority) Site() string { return a.site }

// Address returns where the relay of a room is reached if staff say nothing
// else, host:port.
func (a *Authority) Address(room string) string {
	return net.JoinHostPort(room+"."+a.domain, RelayPort)
}

// Addresses returns the IP address of a relay at host:port if certificates of
// this site may name it, for [Grant]. Rooms know one another by name and key, so
// an address that is not named here serves them all the same.
func (a *Authority) Addresses(relay string) []net.IP {
	host, _, err := net.SplitHostPort(relay)
	ip := net.ParseIP(host)
	if err != nil || ip == nil {
		return nil
	}
	for _, network := range a.root.PermittedIPRanges {
		if network.Contains(ip) {
			return []net.IP{ip}
		}
	}
	return nil
}

// A Grant is what a certificate says.
type Grant struct {
	Room, Name string           // id and name
	Use        string           // [UseIdentity] or [UseLeaf]
	Key        *ecdsa.PublicKey // of the room
	Result     []byte           // EAR, CMW in CBOR; nil for what is no room
	Addresses  []net.IP         // beside the DNS name
	Life       time.Duration    // at most MaxLife
}

// Issue returns a chain, DER, the new certificate first and without the root.
func (a *Authority) Issue(g Grant, now time.Time) ([][]byte, error) {
	if !IsRoom(g.Room) || !IsName(g.Name) || g.Key == nil || g.Life <= 0 || g.Life > MaxLife {
		return nil, errors.New("enrol: grant without id, name, key or a life of at most 30 days")
	}
	t := &x509.Certificate{
		Subject:               pkix.Name{CommonName: g.Name, Organization: []string{a.site}},
		NotBefore:             now.Add(-skew),
		NotAfter:              now.Add(g.Life),
		KeyUsage:              x509.KeyUsageDigitalSignature,
		BasicConstraintsValid: true,
		DNSNames:              []string{g.Room + "." + a.domain},
		IPAddresses:           g.Addresses,
	}
	switch g.Use {
	case UseIdentity:
		t.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}
	case UseLeaf:
		t.UnknownExtKeyUsage = []asn1.ObjectIdentifier{oidIM}
	default:
		return nil, fmt.Errorf("enrol: use %q", g.Use)
	}
	if g.Result != nil {
		extension, err := evidence.Extension(g.Result)
		if err != nil {
			return nil, err
		}
		t.ExtraExtensions = []pkix.Extension{extension}
	}
	cert, err := sign(t, a.issuing, g.Key, a.key)
	if err != nil {
		return nil, err
	}
	// What a relying party would refuse is not handed out.
	roots, issuing := x509.NewCertPool(), x509.NewCertPool()
	roots.AddCert(a.root)
	issuing.AddCert(a.issuing)
	if _, err := cert.Verify(x509.VerifyOptions{Roots: roots, Intermediates: issuing, CurrentTime: now, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny}}); err != nil {
		return nil, fmt.Errorf("enrol: own certificate: %w", err)
	}
	return [][]byte{cert.Raw, a.issuing.Raw}, nil
}

func sign(t, parent *x509.Certificate, pub crypto.PublicKey, key crypto.Signer) (*x509.Certificate, error) {
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		return nil, err
	}
	t.SerialNumber = serial
	der, err := x509.CreateCertificate(rand.Reader, t, parent, pub, key)
	if err != nil {
		return nil, fmt.Errorf("enrol: sign certificate: %w", err)
	}
	return x509.ParseCertificate(der)
}

// IssueService issues a server certificate to a service of the site that is no
// room. It lives as long as the issuing key's.
func (a *Authority) IssueService(host string, key *ecdsa.PublicKey, now time.Time) ([][]byte, error) {
	if !IsRoom(host) || key == nil {
		return nil, errors.New("enrol: service without a name or key")
	}
	cert, err := sign(&x509.Certificate{
		Subject:               pkix.Name{CommonName: host, Organization: []string{a.site}},
		NotBefore:             now.Add(-skew),
		NotAfter:              a.issuing.NotAfter,
		KeyUsage:              x509.KeyUsageDigitalSignature,
		ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		BasicConstraintsValid: true,
		DNSNames:              []string{host + "." + a.domain},
	}, a.issuing, key, a.key)
	if err != nil {
		return nil, err
	}
	return [][]byte{cert.Raw, a.issuing.Raw}, nil
}
