// SPDX-License-Identifier: Apache-2.0

package enrol

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"crypto/x509"
	"errors"
	"fmt"
	"math/big"

	"github.com/google/go-tpm/tpm2"
)

// An AK is a checked attestation key. That it lies in the TPM of a certain EK
// is shown by the credential alone.
type AK struct {
	Public tpm2.TPMTPublic
	Name   tpm2.TPM2BName
	Key    *ecdsa.PublicKey
}

// CheckAK checks the attributes of an attestation key. It comes before the
// credential: activation proves that the key of this name is in the TPM, and
// the name covers the attributes, but nobody else looks at them. A key that is
// not restricted signs any digest, a forged quote too; one that is not
// fixedTPM may have been made outside and be in many hands.
func CheckAK(public []byte) (AK, error) {
	pub, name, err := parsePublic(public)
	if err != nil {
		return AK{}, fmt.Errorf("%w: %w", ErrAKTemplate, err)
	}
	a := pub.ObjectAttributes
	if !a.FixedTPM || !a.FixedParent || !a.SensitiveDataOrigin || !a.Restricted || !a.SignEncrypt || a.Decrypt ||
		a.STClear || a.EncryptedDuplication || a.X509Sign {
		return AK{}, fmt.Errorf("%w: attributes", ErrAKTemplate)
	}
	key, params, err := eccKey(pub)
	if err != nil {
		return AK{}, fmt.Errorf("%w: %w", ErrAKTemplate, err)
	}
	scheme, err := params.Scheme.Details.ECDSA()
	if pub.NameAlg != tpm2.TPMAlgSHA256 || key.Curve != elliptic.P256() || params.Scheme.Scheme != tpm2.TPMAlgECDSA ||
		err != nil || scheme.HashAlg != tpm2.TPMAlgSHA256 || params.Symmetric.Algorithm != tpm2.TPMAlgNull {
		return AK{}, fmt.Errorf("%w: algorithms", ErrAKTemplate)
	}
	return AK{Public: *pub, Name: name, Key: key}, nil
}

// A Challenge is what [MakeCredential] returns. Secret stays with the verifier.
type Challenge struct {
	Credential []byte   // to the room: TPM2B_ID_OBJECT without its size
	Encrypted  []byte   // to the room: TPM2B_ENCRYPTED_SECRET without its size
	Secret     [32]byte // what the room must send back
}

// MakeCredential makes a secret that only a TPM that holds both keys recovers
// (TPM 2.0 Part 1, 24: Credential Protection). It needs no TPM itself.
func MakeCredential(ek EK, ak AK) (Challenge, error) {
	var c Challenge
	_, _ = rand.Read(c.Secret[:]) // never fails
	key, err := tpm2.ImportEncapsulationKey(&ek.Public)
	if err != nil {
		return Challenge{}, fmt.Errorf("%w: %w", ErrEKMismatch, err)
	}
	c.Credential, c.Encrypted, err = tpm2.CreateCredential(rand.Reader, key, ak.Name.Buffer, c.Secret[:])
	if err != nil {
		return Challenge{}, fmt.Errorf("enrol: make credential: %w", err)
	}
	return c, nil
}

// SecretHash is what a verifier keeps of a challenge's secret.
func SecretHash(secret []byte) [32]byte {
	return sha256.Sum256(append([]byte("in-camera/credential/v1\x00"), secret...))
}

// CheckSecret compares what a room recovered with what was kept.
func CheckSecret(secret []byte, kept []byte) error {
	got := SecretHash(secret)
	if subtle.ConstantTimeCompare(got[:], kept) != 1 {
		return ErrProof
	}
	return nil
}

// Uses of the keys of a room.
const (
	UseIdentity = "identity"
	UseLeaf     = "leaf"
)

// ProofData is the qualifying data of the TPM2_Certify in a [KeyProof]: it
// binds the proof to one session and use.
func ProofData(nonce []byte, use string) [32]byte {
	h := sha256.New()
	h.Write([]byte("in-camera/key-proof/v1\x00" + use + "\x00"))
	h.Write(nonce)
	return [32]byte(h.Sum(nil))
}

// CheckProof checks that a key lies in the TPM of ak under the given policy,
// and that the request for its certificate is signed by it. It returns the
// public key. The policy is the one that lets a room sign only while it runs a
// signed release; without it another system on the box could sign as the room.
func CheckProof(p *KeyProof, ak AK, nonce []byte, use string, policy []byte) (*ecdsa.PublicKey, error) {
	pub, name, err := parsePublic(p.Public)
	if err != nil {
		return nil, fmt.Errorf("%w: %s: %w", ErrProof, use, err)
	}
	key, err := signingKey(pub, policy)
	if err != nil {
		return nil, fmt.Errorf("%w: %s key: %w", ErrProof, use, err)
	}
	if err := checkCertify(p, ak, name, ProofData(nonce, use)); err != nil {
		return nil, fmt.Errorf("%w: %s key: %w", ErrProof, use, err)
	}
	csrKey, err := CheckCSR(p.CSR)
	if err != nil {
		return nil, err
	}
	if !csrKey.Equal(key) {
		return nil, fmt.Errorf("%w: %s: the request is for another key", ErrProof, use)
	}
	return key, nil
}

// CheckCSR checks the signature of a request and returns its key, P-256. The
// names in it do not count: the site gives them.
func CheckCSR(der []byte) (*ecdsa.PublicKey, error) {
	csr, err := x509.ParseCertificateRequest(der)
	if err != nil {
		return nil, fmt.Errorf("%w: malformed certificate request", ErrMalformed)
	}
	key, ok := csr.PublicKey.(*ecdsa.PublicKey)
	if !ok || key.Curve != elliptic.P256() || csr.CheckSignature() != nil {
		return nil, fmt.Errorf("%w: certificate request", ErrProof)
	}
	return key, nil
}

func signingKey(pub *tpm2.TPMTPublic, policy []byte) (*ecdsa.PublicKey, error) {
	a := pub.ObjectAttributes
	if !a.FixedTPM || !a.FixedParent || !a.SensitiveDataOrigin || !a.SignEncrypt || a.Decrypt || a.Restricted ||
		a.UserWithAuth || a.EncryptedDuplication || a.X509Sign {
		return nil, errors.New("attributes")
	}
	if len(policy) != sha256.Size || subtle.ConstantTimeCompare(pub.AuthPolicy.Buffer, policy) != 1 {
		return nil, errors.New("policy")
	}
	key, _, err := eccKey(pub)
	if err != nil {
		return nil, err
	}
	if key.Curve != elliptic.P256() || pub.NameAlg != tpm2.TPMAlgSHA256 {
		return nil, errors.New("algorithms")
	}
	return key, nil
}

func checkCertify(p *KeyProof, ak AK, name tpm2.TPM2BName, data [32]byte) error {
	attest, err := tpm2.Unmarshal[tpm2.TPMSAttest](p.Attest)
	if err != nil || !bytes.Equal(tpm2.Marshal(attest), p.Attest) {
		return errors.New("malformed TPMS_ATTEST")
	}
	info, err := attest.Attested.Certify()
	if attest.Magic != tpm2.TPMGeneratedValue || attest.Type != tpm2.TPMSTAttestCertify || err != nil {
		return errors.New("no TPM2_Certify")
	}
	if subtle.ConstantTimeCompare(attest.ExtraData.Buffer, data[:]) != 1 || !bytes.Equal(info.Name.Buffer, name.Buffer) {
		return errors.New("certifies something else")
	}
	signature, err := tpm2.Unmarshal[tpm2.TPMTSignature](p.Signature)
	if err != nil || !bytes.Equal(tpm2.Marshal(signature), p.Signature) {
		return errors.New("malformed TPMT_SIGNATURE")
	}
	ecc, err := signature.Signature.ECDSA()
	if signature.SigAlg != tpm2.TPMAlgECDSA || err != nil || ecc.Hash != tpm2.TPMAlgSHA256 {
		return errors.New("signature algorithm")
	}
	digest := sha256.Sum256(p.Attest)
	r, s := new(big.Int).SetBytes(ecc.SignatureR.Buffer), new(big.Int).SetBytes(ecc.SignatureS.Buffer)
	if !ecdsa.Verify(ak.Key, digest[:], r, s) {
		return errors.New("signature")
	}
	return nil
}

// PolicyOf returns the policy of a key: whether it is an accepted one is the
// caller's to say.
func PolicyOf(public []byte) ([]byte, error) {
	pub, _, err := parsePublic(public)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrProof, err)
	}
	return pub.AuthPolicy.Buffer, nil
}
