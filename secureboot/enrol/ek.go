// SPDX-License-Identifier: Apache-2.0

package enrol

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/sha256"
	"crypto/x509"
	"encoding/asn1"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/google/go-tpm/tpm2"
)

// An EK is a checked endorsement key.
type EK struct {
	Public    tpm2.TPMTPublic
	Name      tpm2.TPM2BName
	Certified bool // a maker's certificate vouches for it, not staff
}

// Hash is the identity of the chip: SHA-256 of the name, in hexadecimal. It is
// the UEID of evidence without its first byte.
func (e EK) Hash() string {
	sum := sha256.Sum256(e.Name.Buffer)
	return hex.EncodeToString(sum[:])
}

// CheckEK checks the public area of an endorsement key and its certificate
// chain, the key's own first, against the makers' roots. Without a chain only
// a key whose hash approved lists will do: it is asked with [EK.Hash].
func CheckEK(public []byte, chain [][]byte, makers *x509.CertPool, approved func(hash string) (bool, error), now time.Time) (EK, error) {
	pub, name, err := parsePublic(public)
	if err != nil {
		return EK{}, fmt.Errorf("%w: %w", ErrEKMismatch, err)
	}
	key, err := endorsementKey(pub)
	if err != nil {
		return EK{}, fmt.Errorf("%w: %w", ErrEKMismatch, err)
	}
	ek := EK{Public: *pub, Name: name}
	if len(chain) > 0 {
		cert, err := verifyEKChain(chain, makers, now)
		if err != nil {
			return EK{}, err
		}
		if !key.Equal(cert.PublicKey) {
			return EK{}, fmt.Errorf("%w: the certificate is for another key", ErrEKMismatch)
		}
		ek.Certified = true
		return ek, nil
	}
	if ok, err := approved(ek.Hash()); err != nil {
		return EK{}, err
	} else if !ok {
		return EK{}, fmt.Errorf("%w: no certificate, and staff have not approved %s", ErrEKUntrusted, ek.Hash())
	}
	return ek, nil
}

// endorsementKey checks what makes a key safe to address a credential to: it
// is restricted to decryption, born in its TPM, and stays there.
func endorsementKey(pub *tpm2.TPMTPublic) (*ecdsa.PublicKey, error) {
	a := pub.ObjectAttributes
	if !a.FixedTPM || !a.FixedParent || !a.SensitiveDataOrigin || !a.Restricted || !a.Decrypt || a.SignEncrypt || a.EncryptedDuplication {
		return nil, fmt.Errorf("attributes")
	}
	key, params, err := eccKey(pub)
	if err != nil {
		return nil, err
	}
	// TCG EK Credential Profile, templates L-2 and H-3.
	wantName, wantBits := tpm2.TPMAlgSHA256, tpm2.TPMKeyBits(128)
	if key.Curve == elliptic.P384() {
		wantName, wantBits = tpm2.TPMAlgSHA384, 256
	}
	bits, err := params.Symmetric.KeyBits.AES()
	if pub.NameAlg != wantName || params.Symmetric.Algorithm != tpm2.TPMAlgAES || err != nil || *bits != wantBits {
		return nil, fmt.Errorf("algorithms")
	}
	return key, nil
}

// eccKey returns the point of a P-256 or P-384 key, which is on its curve.
func eccKey(pub *tpm2.TPMTPublic) (*ecdsa.PublicKey, *tpm2.TPMSECCParms, error) {
	if pub.Type != tpm2.TPMAlgECC {
		return nil, nil, fmt.Errorf("no elliptic-curve key")
	}
	params, err := pub.Parameters.ECCDetail()
	if err != nil {
		return nil, nil, err
	}
	if params.CurveID != tpm2.TPMECCNistP256 && params.CurveID != tpm2.TPMECCNistP384 {
		return nil, nil, fmt.Errorf("curve")
	}
	point, err := pub.Unique.ECC()
	if err != nil {
		return nil, nil, err
	}
	key, err := tpm2.ECDSAPub(params, point)
	if err != nil {
		return nil, nil, err
	}
	if _, err := key.ECDH(); err != nil { // the only check that the point is on the curve
		return nil, nil, err
	}
	return key, params, nil
}

// parsePublic reads a TPMT_PUBLIC that is in its one encoding: go-tpm ignores
// trailing bytes.
func parsePublic(b []byte) (*tpm2.TPMTPublic, tpm2.TPM2BName, error) {
	if len(b) > maxPublic {
		return nil, tpm2.TPM2BName{}, fmt.Errorf("public area of %d bytes", len(b))
	}
	pub, err := tpm2.Unmarshal[tpm2.TPMTPublic](b)
	if err != nil {
		return nil, tpm2.TPM2BName{}, fmt.Errorf("public area: %w", err)
	}
	if !bytes.Equal(tpm2.Marshal(pub), b) {
		return nil, tpm2.TPM2BName{}, fmt.Errorf("public area in a second spelling")
	}
	name, err := tpm2.ObjectName(pub)
	if err != nil {
		return nil, tpm2.TPM2BName{}, fmt.Errorf("public area: %w", err)
	}
	return pub, *name, nil
}

var (
	oidSAN   = asn1.ObjectIdentifier{2, 5, 29, 17}
	oidEKEKU = asn1.ObjectIdentifier{2, 23, 133, 8, 1} // tcg-kp-EKCertificate
	oidMaker = asn1.ObjectIdentifier{2, 23, 133, 2, 1} // tcg-at-tpmManufacturer
	oidModel = asn1.ObjectIdentifier{2, 23, 133, 2, 2}
	oidVer   = asn1.ObjectIdentifier{2, 23, 133, 2, 3}
)

const maxEKCertificate = 8 << 10

// verifyEKChain verifies a chain and returns the EK's certificate. crypto/x509
// does not know the subject alternative name of TPMs, which is critical where
// the subject is empty (TCG EK Credential Profile, 3.2.9), so it is checked
// here and then struck from what nobody has looked at.
func verifyEKChain(chain [][]byte, makers *x509.CertPool, now time.Time) (*x509.Certificate, error) {
	var cert *x509.Certificate
	intermediates := x509.NewCertPool()
	for i, der := range chain {
		if len(der) > maxEKCertificate {
			return nil, fmt.Errorf("%w: certificate of %d bytes", ErrEKUntrusted, len(der))
		}
		c, err := x509.ParseCertificate(der)
		if err != nil {
			return nil, fmt.Errorf("%w: malformed certificate", ErrEKUntrusted)
		}
		if i == 0 {
			cert = c
		} else {
			intermediates.AddCert(c)
		}
	}
	if cert.IsCA || !slices.ContainsFunc(cert.UnknownExtKeyUsage, oidEKEKU.Equal) {
		return nil, fmt.Errorf("%w: no certificate of an endorsement key", ErrEKUntrusted)
	}
	if err := checkTPMName(cert); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrEKUntrusted, err)
	}
	cert.UnhandledCriticalExtensions = slices.DeleteFunc(cert.UnhandledCriticalExtensions, oidSAN.Equal)
	if _, err := cert.Verify(x509.VerifyOptions{
		Roots:         makers,
		Intermediates: intermediates,
		CurrentTime:   now,
		KeyUsages:     []x509.ExtKeyUsage{x509.ExtKeyUsageAny},
	}); err != nil {
		// What x509 says quotes names of the certificate.
		return nil, fmt.Errorf("%w: no valid chain to a maker's root", ErrEKUntrusted)
	}
	return cert, nil
}

// checkTPMName checks that the subject alternative name has one directory name
// with maker, model and version of a TPM, each once.
func checkTPMName(cert *x509.Certificate) error {
	var names [][]byte
	for _, e := range cert.Extensions {
		if e.Id.Equal(oidSAN) {
			names = append(names, e.Value)
		}
	}
	if len(names) != 1 {
		return fmt.Errorf("%d subject alternative names", len(names))
	}
	var general []asn1.RawValue
	if rest, err := asn1.Unmarshal(names[0], &general); err != nil || len(rest) > 0 {
		return fmt.Errorf("malformed subject alternative name")
	}
	seen := map[string]string{}
	for _, g := range general {
		if g.Class != asn1.ClassContextSpecific || g.Tag != 4 { // directoryName
			continue
		}
		if len(seen) > 0 {
			return fmt.Errorf("two directory names")
		}
		var rdns []rdn
		if rest, err := asn1.Unmarshal(g.Bytes, &rdns); err != nil || len(rest) > 0 {
			return fmt.Errorf("malformed directory name")
		}
		for _, set := range rdns {
			for _, attribute := range set {
				if s, ok := attribute.Value.(string); ok && s != "" && seen[attribute.Type.String()] == "" {
					seen[attribute.Type.String()] = s
				} else {
					return fmt.Errorf("directory name with an empty or repeated attribute")
				}
			}
		}
	}
	if !strings.HasPrefix(seen[oidMaker.String()], "id:") || seen[oidModel.String()] == "" || seen[oidVer.String()] == "" {
		return fmt.Errorf("no maker, model and version of a TPM")
	}
	return nil
}

// rdn is one relative name. encoding/asn1 takes a type whose name ends in SET
// for a SET OF.
type rdn = relativeNameSET

type relativeNameSET []struct {
	Type  asn1.ObjectIdentifier
	Value any
}
