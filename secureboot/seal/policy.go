// SPDX-License-Identifier: Apache-2.0

package seal

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/google/go-tpm/tpm2"
)

// A Use says what a policy is for. It is the policyRef of every signature, so
// that an approval for one use is worth nothing for another.
type Use string

// The uses there are.
const (
	State    Use = "in-camera/state/v1"    // the key of the state partition; phase enter-initrd
	Identity Use = "in-camera/identity/v1" // LDevID and leaf keys; phase ready
	Owner    Use = "in-camera/owner/v1"    // owner and lockout authorisations; phase ready
	Floor    Use = "in-camera/floor/v1"    // writing the lowest version that may open
	Keygen   Use = "in-camera/keygen/v1"   // writing the lowest policy key that counts
)

// seals reports whether u is a use of sealed objects and keys.
func (u Use) seals() bool { return u == State || u == Identity || u == Owner }

// writes reports whether u is a use of an NV index.
func (u Use) writes() bool { return u == Floor || u == Keygen }

// A RootKey is the public half of a root policy key, P-256. Generation, 1 to
// [MaxRoots], counts the roots of a product line: each has NV indices of its
// own, since their Names hold the policy of the root that writes them.
type RootKey struct {
	Generation uint8
	Key        *ecdsa.PublicKey
}

// MaxRoots bounds the generations of root keys.
const MaxRoots = 8

func (r RootKey) check() error {
	if r.Generation < 1 || r.Generation > MaxRoots {
		return fmt.Errorf("seal: root generation %d out of range", r.Generation)
	}
	return checkKey(r.Key)
}

func checkKey(k *ecdsa.PublicKey) error {
	if k == nil || k.Curve != elliptic.P256() {
		return errors.New("seal: policy keys are on P-256")
	}
	if _, err := k.Bytes(); err != nil {
		return fmt.Errorf("seal: policy key: %w", err)
	}
	return nil
}

// keyPublic is the public area under which the TPM loads a policy key. Every
// bit of it is in the key's Name, so it never changes.
func keyPublic(k *ecdsa.PublicKey) (tpm2.TPMTPublic, error) {
	point, err := k.Bytes() // 4, x, y
	if err != nil {
		return tpm2.TPMTPublic{}, fmt.Errorf("seal: policy key: %w", err)
	}
	return tpm2.TPMTPublic{
		Type:             tpm2.TPMAlgECC,
		NameAlg:          tpm2.TPMAlgSHA256,
		ObjectAttributes: tpm2.TPMAObject{SignEncrypt: true, UserWithAuth: true},
		Parameters: tpm2.NewTPMUPublicParms(tpm2.TPMAlgECC, &tpm2.TPMSECCParms{
			Scheme:  ecdsaSHA256(),
			CurveID: tpm2.TPMECCNistP256,
		}),
		Unique: tpm2.NewTPMUPublicID(tpm2.TPMAlgECC, &tpm2.TPMSECCPoint{
			X: tpm2.TPM2BECCParameter{Buffer: point[1:33]},
			Y: tpm2.TPM2BECCParameter{Buffer: point[33:]},
		}),
	}, nil
}

func ecdsaSHA256() tpm2.TPMTECCScheme {
	return tpm2.TPMTECCScheme{
		Scheme: tpm2.TPMAlgECDSA,
		Details: tpm2.NewTPMUAsymScheme(tpm2.TPMAlgECDSA,
			&tpm2.TPMSSigSchemeECDSA{HashAlg: tpm2.TPMAlgSHA256}),
	}
}

func keyName(k *ecdsa.PublicKey) (tpm2.TPM2BName, error) {
	pub, err := keyPublic(k)
	if err != nil {
		return tpm2.TPM2BName{}, err
	}
	name, err := tpm2.ObjectName(&pub)
	if err != nil {
		return tpm2.TPM2BName{}, fmt.Errorf("seal: policy key: %w", err)
	}
	return *name, nil
}

// A step is one policy command, as it changes the digest of a session.
type step interface {
	Update(policy *tpm2.PolicyCalculator) error
}

// calculate is the digest of a session after steps, in which a PolicyAuthorize
// starts over (Part 3, Section 23.16: the digest is set to zero first, which
// go-tpm leaves to its caller).
func calculate(steps ...step) (tpm2.TPM2BDigest, error) {
	calc, err := tpm2.NewPolicyCalculator(tpm2.TPMAlgSHA256)
	if err != nil {
		return tpm2.TPM2BDigest{}, fmt.Errorf("seal: %w", err)
	}
	for _, s := range steps {
		if _, ok := s.(tpm2.PolicyAuthorize); ok {
			calc.Reset()
		}
		if err := s.Update(calc); err != nil {
			return tpm2.TPM2BDigest{}, fmt.Errorf("seal: policy digest: %w", err)
		}
	}
	return tpm2.TPM2BDigest{Buffer: calc.Hash().Digest}, nil
}

// authorizedBy is the policy "whatever k approves for use".
func authorizedBy(k *ecdsa.PublicKey, use Use) (tpm2.PolicyAuthorize, error) {
	name, err := keyName(k)
	if err != nil {
		return tpm2.PolicyAuthorize{}, err
	}
	return tpm2.PolicyAuthorize{KeySign: name, PolicyRef: tpm2.TPM2BDigest{Buffer: []byte(use)}}, nil
}

// AuthPolicy is the policy digest of every object that root governs for use.
func AuthPolicy(root RootKey, use Use) (tpm2.TPM2BDigest, error) {
	step, err := authorizedBy(root.Key, use)
	if err != nil {
		return tpm2.TPM2BDigest{}, err
	}
	return calculate(step)
}

// toSign is what a policy key signs to approve policy for use: aHash of Part 3,
// Section 23.16.
func toSign(policy tpm2.TPM2BDigest, use Use) []byte {
	h := sha256.New()
	h.Write(policy.Buffer)
	h.Write([]byte(use))
	return h.Sum(nil)
}

func operand(v uint64) []byte { return binary.BigEndian.AppendUint64(nil, v) }
