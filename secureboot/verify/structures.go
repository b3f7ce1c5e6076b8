// SPDX-License-Identifier: Apache-2.0

package verify

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/sha256"
	"crypto/x509"
	"encoding/binary"
	"errors"
	"fmt"
	"math/big"

	"github.com/google/go-tpm/tpm2"

	"incamera/secureboot/evidence"
)

// Errors of TPM structures. [tpm2.Unmarshal] checks neither the magic number nor
// that all bytes were used, nor that a size says what follows it.
var (
	errMagic     = errors.New("not made inside a TPM")
	errStructure = errors.New("not a TPM structure of the expected kind")
	errSignature = errors.New("signature does not verify")
	errTemplate  = errors.New("key without the attributes prescribed")
)

func structureCode(err error) evidence.Code {
	switch {
	case errors.Is(err, errMagic):
		return evidence.MagicInvalid
	case errors.Is(err, errSignature):
		return evidence.SigInvalid
	case errors.Is(err, errTemplate):
		return evidence.AKTemplate
	}
	return evidence.Malformed
}

// strict decodes b and refuses what does not come out as the same bytes.
func strict[T tpm2.Marshallable, P interface {
	*T
	tpm2.Unmarshallable
}](b []byte) (P, error) {
	v, err := tpm2.Unmarshal[T, P](b)
	if err != nil || !bytes.Equal(tpm2.Marshal(*v), b) {
		return nil, errStructure
	}
	return v, nil
}

// parseAttest reads a TPMS_ATTEST of one type. Magic and type are looked at
// first, so that the codec meets no union that it might not know.
func parseAttest(b []byte, kind tpm2.TPMST) (*tpm2.TPMSAttest, error) {
	if len(b) < 6 {
		return nil, errStructure
	}
	if binary.BigEndian.Uint32(b) != uint32(tpm2.TPMGeneratedValue) {
		return nil, errMagic
	}
	if tpm2.TPMST(binary.BigEndian.Uint16(b[4:])) != kind {
		return nil, errStructure
	}
	return strict[tpm2.TPMSAttest](b)
}

// checkSignature checks a TPMT_SIGNATURE: ECDSA with SHA-256, as the attestation
// key's scheme says.
func checkSignature(key *ecdsa.PublicKey, attest, signature []byte) error {
	if len(signature) < 2 || tpm2.TPMAlgID(binary.BigEndian.Uint16(signature)) != tpm2.TPMAlgECDSA {
		return fmt.Errorf("%w: scheme", errSignature)
	}
	s, err := strict[tpm2.TPMTSignature](signature)
	if err != nil {
		return err
	}
	ecc, err := s.Signature.ECDSA()
	if err != nil || ecc.Hash != tpm2.TPMAlgSHA256 || len(ecc.SignatureR.Buffer) > 32 || len(ecc.SignatureS.Buffer) > 32 {
		return fmt.Errorf("%w: hash", errSignature)
	}
	sum := sha256.Sum256(attest)
	if !ecdsa.Verify(key, sum[:], new(big.Int).SetBytes(ecc.SignatureR.Buffer), new(big.Int).SetBytes(ecc.SignatureS.Buffer)) {
		return errSignature
	}
	return nil
}

// parsePublic reads a TPMT_PUBLIC of a signing key on P-256.
func parsePublic(b []byte) (*tpm2.TPMTPublic, *ecdsa.PublicKey, error) {
	if len(b) < 2 || tpm2.TPMAlgID(binary.BigEndian.Uint16(b)) != tpm2.TPMAlgECC {
		return nil, nil, errTemplate
	}
	public, err := strict[tpm2.TPMTPublic](b)
	if err != nil {
		return nil, nil, err
	}
	params, err := public.Parameters.ECCDetail()
	if err != nil || public.NameAlg != tpm2.TPMAlgSHA256 || params.CurveID != tpm2.TPMECCNistP256 {
		return nil, nil, errTemplate
	}
	point, err := public.Unique.ECC()
	if err != nil || len(point.X.Buffer) > 32 || len(point.Y.Buffer) > 32 {
		return nil, nil, errTemplate
	}
	raw := make([]byte, 65) // TPMs may strip leading zeros
	raw[0] = 4
	copy(raw[33-len(point.X.Buffer):33], point.X.Buffer)
	copy(raw[65-len(point.Y.Buffer):], point.Y.Buffer)
	key, err := ecdsa.ParseUncompressedPublicKey(elliptic.P256(), raw)
	if err != nil {
		return nil, nil, fmt.Errorf("%w: point", errTemplate)
	}
	return public, key, nil
}

// parseAK reads an attestation key: it signs only what the TPM itself made.
func parseAK(b []byte) (*ecdsa.PublicKey, []byte, error) {
	public, key, err := parsePublic(b)
	if err != nil {
		return nil, nil, err
	}
	o := public.ObjectAttributes
	if !o.FixedTPM || !o.FixedParent || !o.SensitiveDataOrigin || !o.Restricted || !o.SignEncrypt || o.Decrypt {
		return nil, nil, fmt.Errorf("%w: attestation key", errTemplate)
	}
	params, err := public.Parameters.ECCDetail()
	if err != nil || params.Scheme.Scheme != tpm2.TPMAlgECDSA {
		return nil, nil, fmt.Errorf("%w: scheme of the attestation key", errTemplate)
	}
	if scheme, err := params.Scheme.Details.ECDSA(); err != nil || scheme.HashAlg != tpm2.TPMAlgSHA256 {
		return nil, nil, fmt.Errorf("%w: hash of the attestation key", errTemplate)
	}
	return key, objectName(b), nil
}

// objectName returns the TPM name of a key whose name algorithm is SHA-256 (TPM
// 2.0 Part 1, Section 16). That its public area has but one encoding was
// checked when it was parsed.
func objectName(public []byte) []byte {
	sum := sha256.Sum256(public)
	return append(binary.BigEndian.AppendUint16(nil, uint16(tpm2.TPMAlgSHA256)), sum[:]...)
}

// checkCertify checks the attestation key's word that the key of spki lives in
// the same TPM and can be used only as policy allows; an empty policy leaves
// open which one it is.
func checkCertify(ak *ecdsa.PublicKey, c *evidence.Certify, spki, policy []byte) error {
	attest, err := parseAttest(c.Attest, tpm2.TPMSTAttestCertify)
	if err != nil {
		return err
	}
	if err := checkSignature(ak, c.Attest, c.Signature); err != nil {
		return err
	}
	info, err := attest.Attested.Certify()
	if err != nil {
		return errStructure
	}
	public, key, err := parsePublic(c.Public)
	if err != nil {
		return err
	}
	if !bytes.Equal(objectName(c.Public), info.Name.Buffer) {
		return fmt.Errorf("%w: another key was certified", errSignature)
	}
	if der, err := x509.MarshalPKIXPublicKey(key); err != nil || !bytes.Equal(der, spki) {
		return fmt.Errorf("%w: certified for another key than the statement's", errSignature)
	}
	o := public.ObjectAttributes
	switch {
	case !o.FixedTPM || !o.FixedParent || !o.SensitiveDataOrigin || !o.SignEncrypt || o.Restricted || o.Decrypt:
		return errTemplate
	case o.UserWithAuth, len(public.AuthPolicy.Buffer) == 0: // whoever holds the box could sign
		return fmt.Errorf("%w: not bound to a policy", errTemplate)
	case len(policy) > 0 && !bytes.Equal(policy, public.AuthPolicy.Buffer):
		return fmt.Errorf("%w: bound to another policy", errTemplate)
	}
	return nil
}
