// SPDX-License-Identifier: Apache-2.0

package mls

import (
	"bytes"
	"context"
	"crypto/hpke"
	"fmt"
	"slices"
	"time"
)

// A KeyPackage is a client's offer to be added to a group (Section 10). It is
// immutable.
type KeyPackage struct {
	version    ProtocolVersion
	suite      CipherSuite
	initKey    []byte
	leaf       *LeafNode
	extensions []Extension
	signature  []byte

	raw []byte
	tbs int // how much of raw is in front of the signature

	// Set by check.
	checked *Suite         // for which it was found valid
	ref     []byte         // KeyPackageRef
	init    hpke.PublicKey // initKey, parsed
}

func decodeKeyPackage(r *reader) *KeyPackage {
	start := r.b
	k := &KeyPackage{
		version: ProtocolVersion(r.u16()), suite: CipherSuite(r.u16()), initKey: r.vec(maxKey),
		leaf: decodeLeafNode(r), extensions: decodeExtensions(r),
	}
	tbs := len(start) - len(r.b)
	k.signature = r.vec(maxSignature)
	if r.err != nil {
		return nil
	}
	k.raw = start[: len(start)-len(r.b) : len(start)-len(r.b)]
	k.tbs = tbs
	if len(k.raw) > maxKeyPackage {
		r.limit("KeyPackage")
		return nil
	}
	return k
}

func (k *KeyPackage) append(b []byte) []byte { return append(b, k.raw...) }

func (k *KeyPackage) encode(signature []byte) {
	b := appendU16(nil, uint16(k.version))
	b = appendU16(b, uint16(k.suite))
	b = appendVec(b, k.initKey)
	b = k.leaf.append(b)
	b = appendExtensions(b, k.extensions)
	k.tbs = len(b)
	k.signature = signature
	k.raw = appendVec(b, signature)
}

// check validates a KeyPackage for a suite (Section 10.1), except for the
// lifetime, which binds only who adds it, and the credential, which is the
// Authenticator's. One that was found valid is not checked again.
func (k *KeyPackage) check(s *Suite) error {
	if k.checked == s {
		return nil
	}
	if k.version != MLS10 || k.suite != s.id {
		return invalid("10.1", "KeyPackage for version %d, suite %#04x", k.version, uint16(k.suite))
	}
	if err := k.leaf.check(s, sourceKeyPackage); err != nil {
		return err
	}
	if err := k.leaf.verify(s, nil, 0); err != nil {
		return err
	}
	if bytes.Equal(k.initKey, k.leaf.encryptionKey) {
		return invalid("10.1", "init_key is the encryption_key")
	}
	init, err := s.publicKey(k.initKey)
	if err != nil {
		return err
	}
	if err := verifyWithLabel(s, k.leaf.signatureKey, "KeyPackageTBS", k.raw[:k.tbs], k.signature); err != nil {
		return err
	}
	k.checked, k.ref, k.init = s, s.keyPackageRef(k.raw), init
	return nil
}

// ParseKeyPackage decodes a KeyPackage in an MLSMessage and verifies its form
// and signatures. Suites outside [SuiteByID] are given as arguments. Lifetime
// and credential are the caller's to judge.
func ParseKeyPackage(msg []byte, extra ...*Suite) (*KeyPackage, error) {
	m, err := decodeMessage(bytes.Clone(msg))
	if err != nil {
		return nil, err
	}
	if m.keyPackage == nil {
		return nil, malformed("not a KeyPackage")
	}
	k := m.keyPackage
	var suite *Suite
	for _, s := range extra {
		if s.id == k.suite {
			suite = s
		}
	}
	if suite == nil {
		if suite, err = SuiteByID(k.suite); err != nil {
			return nil, err
		}
	}
	if err := k.check(suite); err != nil {
		return nil, err
	}
	return k, nil
}

// Suite returns the number of the suite that the KeyPackage is for.
func (k *KeyPackage) Suite() CipherSuite { return k.suite }

// Ref returns the KeyPackageRef by which a Welcome names its addressee. The
// caller must not change it.
func (k *KeyPackage) Ref() []byte { return k.ref }

// Member returns what the new member would be in a group; its Index is 0.
func (k *KeyPackage) Member() Member { return k.leaf.member(0) }

// Credential returns the credential of the leaf.
func (k *KeyPackage) Credential() Credential { return k.leaf.credential }

// SignatureKey returns the signature key of the leaf. The caller must not
// change it.
func (k *KeyPackage) SignatureKey() []byte { return k.leaf.signatureKey }

// Extensions returns the extensions of the KeyPackage itself, not of its leaf.
func (k *KeyPackage) Extensions() []Extension { return k.extensions }

// LastResort reports whether the KeyPackage may be used more than once.
func (k *KeyPackage) LastResort() bool {
	if _, ok := extension(k.extensions, ExtLastResort); ok {
		return true
	}
	_, ok := Component(k.extensions, ComponentLastResort)
	return ok
}

// Lifetime returns between which instants the KeyPackage may be used. The ends
// of what Go can express stand for more distant ones.
func (k *KeyPackage) Lifetime() (notBefore, notAfter time.Time) {
	const far = 1 << 55 // seconds: beyond any clock, within time.Time
	l := k.leaf.lifetime
	return time.Unix(int64(min(l.notBefore, far)), 0), time.Unix(int64(min(l.notAfter, far)), 0)
}

// A KeyPackageBundle is a KeyPackage with its private keys. One bundle joins
// one group, unless it is of last resort.
type KeyPackageBundle struct {
	pkg     *KeyPackage
	initKey HPKEKey
	leafKey HPKEKey
}

// NewKeyPackage makes keys and a KeyPackage for them. The caller publishes
// [KeyPackageBundle.Message], keeps the bundle for [Join], and destroys it when
// it is no longer wanted.
func NewKeyPackage(ctx context.Context, c Config) (*KeyPackageBundle, error) {
	if err := c.check(); err != nil {
		return nil, err
	}
	b := &KeyPackageBundle{}
	done := false
	defer func() {
		if !done {
			b.Destroy()
		}
	}()
	var err error
	if b.initKey, err = c.newKey(ctx); err != nil {
		return nil, err
	}
	if b.leafKey, err = c.newKey(ctx); err != nil {
		return nil, err
	}
	leaf, err := newLeaf(ctx, &c, sourceKeyPackage, b.leafKey.Public())
	if err != nil {
		return nil, err
	}
	now := c.Now()
	leaf.lifetime = lifetime{
		notBefore: uint64(max(now.Add(-time.Hour).Unix(), 0)), // an hour: clocks of a site agree that well
		notAfter:  uint64(max(now.Add(c.lifetime()).Unix(), 0)),
	}
	var extra []Extension
	if !c.NoGREASE {
		g := greaseExtension()
		extra = append(extra, g)
		if caps := &leaf.capabilities; !slices.Contains(caps.Extensions, g.Type) { // Section 10: all are listed
			caps.Extensions = append(caps.Extensions, g.Type)
		}
	}
	if err := leaf.sign(ctx, c.Signer, nil, 0); err != nil {
		return nil, err
	}
	k := &KeyPackage{version: MLS10, suite: c.Suite.id, initKey: b.initKey.Public(), leaf: leaf}
	if c.LastResort {
		k.extensions = append(k.extensions, AppDataDictionary([]AppData{{Component: ComponentLastResort}}))
	}
	k.extensions = append(k.extensions, extra...)
	k.encode(nil)
	sig, err := signWithLabel(ctx, c.Signer, "KeyPackageTBS", k.raw[:k.tbs])
	if err != nil {
		return nil, err
	}
	k.encode(sig)
	if err := k.check(c.Suite); err != nil {
		return nil, fmt.Errorf("mls: own KeyPackage: %w", err)
	}
	b.pkg = k
	done = true
	return b, nil
}

// KeyPackage returns the public part.
func (b *KeyPackageBundle) KeyPackage() *KeyPackage { return b.pkg }

// Message returns the KeyPackage as an MLSMessage, to be published.
func (b *KeyPackageBundle) Message() []byte {
	return b.pkg.append(messageHead(wireKeyPackage))
}

// Destroy gives up the private keys that no group has taken over. It may be
// called more than once.
func (b *KeyPackageBundle) Destroy() {
	if b.initKey != nil {
		b.initKey.Destroy()
	}
	if b.leafKey != nil {
		b.leafKey.Destroy()
	}
	b.initKey, b.leafKey = nil, nil
}

// String hides the private keys.
func (b *KeyPackageBundle) String() string { return redacted }

// GoString hides the private keys from the verb %#v.
func (b *KeyPackageBundle) GoString() string { return redacted }
