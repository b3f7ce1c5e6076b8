// SPDX-License-Identifier: Apache-2.0

package seal

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/sha256"
	"errors"
	"fmt"
	"math/big"
	"math/bits"

	"github.com/fxamacker/cbor/v2"
	"github.com/google/go-tpm/tpm2"
)

// Limits of policies.cbor. A release for one board under two roots has two
// roots, six approvals, six delegations and eight writes.
const (
	maxPolicies = 16 << 10 // bytes
	maxEntries  = 32       // of each kind
)

// errMalformed is the one answer to bytes that no builder of ours wrote.
var errMalformed = errors.New("seal: malformed")

// A Signature is an ECDSA P-256 signature over SHA-256: r, then s, 32 bytes
// each.
type Signature [64]byte

// An Approval is the word of a policy key that PCRs with these values may open
// what is sealed for a use, if the floor is not above Version.
type Approval struct {
	_          struct{}  `cbor:",toarray"`
	Use        Use       // State, Identity or Owner
	Root       uint8     // generation of the root whose floor is compared
	Generation uint64    // n of the policy key that signed
	PCRs       uint32    // bit i set: PCR i of the SHA-256 bank counts
	PCRDigest  [32]byte  // SHA-256 of their values, lowest PCR first
	Version    uint64    // rollback number of the release
	Signature  Signature // by policy key n
}

// A Delegation is the word of a root that policy key n may approve for a use,
// if the keygen index is not above n.
type Delegation struct {
	_          struct{} `cbor:",toarray"`
	Use        Use
	Root       uint8     // generation of the root that signed
	Generation uint64    // n
	Key        [65]byte  // of policy key n: 4, x, y
	Signature  Signature // by the root
}

// A Write is the word of a root that an index may be given a value: the first
// one, or one above that it has.
type Write struct {
	_         struct{} `cbor:",toarray"`
	Use       Use      // Floor or Keygen
	Root      uint8    // generation of the root that signed
	First     bool
	Value     uint64
	Signature Signature // by the root
}

// Policies is what a release brings for the TPM to judge: policies.cbor. It is
// not secret, and nobody need believe it: a false line opens nothing. A value
// that [ParsePolicies] returned is not changed and may be shared.
type Policies struct {
	_           struct{}           `cbor:",toarray"`
	Format      uint8              // 1
	Roots       map[uint8][65]byte // by generation: 4, x, y
	Approvals   []Approval
	Delegations []Delegation
	Writes      []Write
}

var (
	encMode = must(cbor.EncOptions{Sort: cbor.SortCoreDeterministic, IndefLength: cbor.IndefLengthForbidden, TagsMd: cbor.TagsForbidden}.EncMode())
	decMode = must(cbor.DecOptions{
		DupMapKey:         cbor.DupMapKeyEnforcedAPF,
		IndefLength:       cbor.IndefLengthForbidden,
		TagsMd:            cbor.TagsForbidden,
		MaxNestedLevels:   4,
		MaxArrayElements:  maxEntries,
		MaxMapPairs:       maxEntries,
		ExtraReturnErrors: cbor.ExtraDecErrorUnknownField,
	}.DecMode())
)

// must is for options fixed at build time.
func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// ParsePolicies decodes policies.cbor: deterministic CBOR (RFC 8949, Section
// 4.2.1), so every file has one spelling. It checks form, not signatures, for
// which see [Policies.Verify].
func ParsePolicies(b []byte) (*Policies, error) {
	if len(b) > maxPolicies {
		return nil, fmt.Errorf("%w policies: %d bytes", errMalformed, len(b))
	}
	if newer(b) {
		return nil, fmt.Errorf("%w: policies of format %d", ErrVersion, b[1])
	}
	p := new(Policies)
	if err := decode(b, p); err != nil {
		return nil, fmt.Errorf("%w policies: %w", errMalformed, err)
	}
	if err := p.check(); err != nil {
		return nil, err
	}
	return p, nil
}

// decode is strict: what does not encode to the same bytes again is refused.
func decode(b []byte, v any) error {
	if err := decMode.Unmarshal(b, v); err != nil {
		return fmt.Errorf("cbor: %w", err)
	}
	again, err := encMode.Marshal(v)
	if err != nil {
		return fmt.Errorf("cbor: %w", err)
	}
	if !bytes.Equal(again, b) {
		return errors.New("cbor: not the deterministic encoding")
	}
	return nil
}

// Marshal encodes p as policies.cbor.
func (p *Policies) Marshal() ([]byte, error) {
	if err := p.check(); err != nil {
		return nil, err
	}
	b, err := encMode.Marshal(p)
	if err != nil {
		return nil, fmt.Errorf("seal: policies: %w", err)
	}
	if len(b) > maxPolicies {
		return nil, fmt.Errorf("seal: policies: %d bytes", len(b))
	}
	return b, nil
}

func (p *Policies) check() error {
	if p.Format != formatV1 {
		return fmt.Errorf("%w policies: format %d", errMalformed, p.Format)
	}
	if max(len(p.Approvals), len(p.Delegations), len(p.Writes)) > maxEntries || len(p.Roots) > MaxRoots {
		return fmt.Errorf("%w policies: too many", errMalformed)
	}
	for g := range p.Roots {
		if _, err := p.root(g); err != nil {
			return err
		}
	}
	for _, a := range p.Approvals {
		if _, ok := p.Roots[a.Root]; !ok || !a.Use.seals() || !sealPCRs(a.PCRs) {
			return fmt.Errorf("%w approval", errMalformed)
		}
	}
	for _, d := range p.Delegations {
		if _, ok := p.Roots[d.Root]; !ok || !d.Use.seals() {
			return fmt.Errorf("%w delegation", errMalformed)
		}
		if _, err := parsePoint(d.Key); err != nil {
			return fmt.Errorf("%w delegation: %w", errMalformed, err)
		}
	}
	for _, w := range p.Writes {
		if _, ok := p.Roots[w.Root]; !ok || !w.Use.writes() {
			return fmt.Errorf("%w write", errMalformed)
		}
	}
	return nil
}

// sealPCRs reports whether a policy may rest on the PCRs of mask: 11, which
// depends on the image alone, with 7 where the customer owns the boot keys.
func sealPCRs(mask uint32) bool { return mask == 1<<11 || mask == 1<<11|1<<7 }

func parsePoint(point [65]byte) (*ecdsa.PublicKey, error) {
	k, err := ecdsa.ParseUncompressedPublicKey(elliptic.P256(), point[:])
	if err != nil {
		return nil, fmt.Errorf("policy key: %w", err)
	}
	return k, nil
}

// root is the root key of a generation as the file has it, which need not be
// the one that the room trusts.
func (p *Policies) root(generation uint8) (RootKey, error) {
	point, ok := p.Roots[generation]
	if !ok {
		return RootKey{}, fmt.Errorf("%w policies: no root %d", errMalformed, generation)
	}
	k, err := parsePoint(point)
	if err != nil {
		return RootKey{}, fmt.Errorf("%w policies: %w", errMalformed, err)
	}
	r := RootKey{Generation: generation, Key: k}
	if err := r.check(); err != nil {
		return RootKey{}, fmt.Errorf("%w policies: %w", errMalformed, err)
	}
	return r, nil
}

// policy is what the policy key signs.
func (a Approval) policy(root RootKey) (tpm2.TPM2BDigest, error) {
	floor, err := index{root, Floor}.compare(tpm2.TPMEOUnsignedLE, a.Version)
	if err != nil {
		return tpm2.TPM2BDigest{}, err
	}
	return calculate(
		tpm2.PolicyPCR{Pcrs: selection(a.PCRs), PcrDigest: tpm2.TPM2BDigest{Buffer: a.PCRDigest[:]}},
		floor,
	)
}

// policy is what the root signs.
func (d Delegation) policy(root RootKey) (tpm2.TPM2BDigest, error) {
	k, err := parsePoint(d.Key)
	if err != nil {
		return tpm2.TPM2BDigest{}, fmt.Errorf("seal: %w", err)
	}
	by, err := authorizedBy(k, d.Use)
	if err != nil {
		return tpm2.TPM2BDigest{}, err
	}
	keygen, err := index{root, Keygen}.compare(tpm2.TPMEOUnsignedLE, d.Generation)
	if err != nil {
		return tpm2.TPM2BDigest{}, err
	}
	return calculate(by, keygen)
}

// policy is what the root signs.
func (w Write) policy(root RootKey) (tpm2.TPM2BDigest, error) {
	steps, err := index{root, w.Use}.writing(w.Value, w.First)
	if err != nil {
		return tpm2.TPM2BDigest{}, err
	}
	return calculate(steps...)
}

func selection(mask uint32) tpm2.TPMLPCRSelection {
	var pcrs []uint
	for m := mask; m != 0; m &= m - 1 {
		pcrs = append(pcrs, uint(bits.TrailingZeros32(m)))
	}
	return tpm2.TPMLPCRSelection{PCRSelections: []tpm2.TPMSPCRSelection{{
		Hash:      tpm2.TPMAlgSHA256,
		PCRSelect: tpm2.PCClientCompatible.PCRs(pcrs...),
	}}}
}

// PCRDigest is the digest of predicted PCR values, and the mask of their
// numbers, for an [Approval].
func PCRDigest(values map[int][32]byte) (mask uint32, digest [32]byte) {
	h := sha256.New()
	for i := range 24 {
		if v, ok := values[i]; ok {
			mask |= 1 << i
			h.Write(v[:])
		}
	}
	h.Sum(digest[:0])
	return mask, digest
}

// Verify checks every signature in p under root, as the TPM would: an update
// does so before it trusts a new slot's policies.cbor with a reboot. Lines of
// other roots are passed over; that there are none for root is an error.
func (p *Policies) Verify(root RootKey) error {
	if err := root.check(); err != nil {
		return err
	}
	keys := make(map[uint64]map[Use]*ecdsa.PublicKey)
	for _, d := range p.Delegations {
		if d.Root != root.Generation {
			continue
		}
		policy, err := d.policy(root)
		if err != nil {
			return err
		}
		if !d.Signature.valid(root.Key, toSign(policy, d.Use)) {
			return fmt.Errorf("%w: delegation of key %d for %s", ErrPolicies, d.Generation, d.Use)
		}
		if keys[d.Generation] == nil {
			keys[d.Generation] = make(map[Use]*ecdsa.PublicKey)
		}
		if keys[d.Generation][d.Use], err = parsePoint(d.Key); err != nil {
			return fmt.Errorf("seal: %w", err)
		}
	}
	if len(keys) == 0 {
		return fmt.Errorf("%w: no delegation by root %d", ErrUntrusted, root.Generation)
	}
	for _, a := range p.Approvals {
		if a.Root != root.Generation {
			continue
		}
		policy, err := a.policy(root)
		if err != nil {
			return err
		}
		k := keys[a.Generation][a.Use]
		if k == nil || !a.Signature.valid(k, toSign(policy, a.Use)) {
			return fmt.Errorf("%w: approval by key %d for %s", ErrPolicies, a.Generation, a.Use)
		}
	}
	for _, w := range p.Writes {
		if w.Root != root.Generation {
			continue
		}
		policy, err := w.policy(root)
		if err != nil {
			return err
		}
		if !w.Signature.valid(root.Key, toSign(policy, w.Use)) {
			return fmt.Errorf("%w: write of %d for %s", ErrPolicies, w.Value, w.Use)
		}
	}
	return nil
}

func (s Signature) valid(k *ecdsa.PublicKey, digest []byte) bool {
	return ecdsa.Verify(k, digest, new(big.Int).SetBytes(s[:32]), new(big.Int).SetBytes(s[32:]))
}

func (s Signature) tpm() tpm2.TPMTSignature {
	return tpm2.TPMTSignature{
		SigAlg: tpm2.TPMAlgECDSA,
		Signature: tpm2.NewTPMUSignature(tpm2.TPMAlgECDSA, &tpm2.TPMSSignatureECC{
			Hash:       tpm2.TPMAlgSHA256,
			SignatureR: tpm2.TPM2BECCParameter{Buffer: s[:32]},
			SignatureS: tpm2.TPM2BECCParameter{Buffer: s[32:]},
		}),
	}
}
