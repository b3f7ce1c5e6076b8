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

// A LeafIndex numbers the leaves of the ratchet tree from the left. It names a
// member of a group as long as the member stays.
type LeafIndex uint32

// A leafSource says why a leaf node was made (Section 7.2).
type leafSource uint8

const (
	sourceKeyPackage leafSource = 1
	sourceUpdate     leafSource = 2
	sourceCommit     leafSource = 3
)

// Capabilities is what a client supports (Section 7.2). Values that RFC 9420
// requires of everyone are not listed, except versions, suites and credentials.
type Capabilities struct {
	Versions    []ProtocolVersion
	Suites      []CipherSuite
	Extensions  []ExtensionType
	Proposals   []ProposalType
	Credentials []CredentialType
}

func decodeCapabilities(r *reader) Capabilities {
	return Capabilities{
		Versions: u16s[ProtocolVersion](r), Suites: u16s[CipherSuite](r), Extensions: u16s[ExtensionType](r),
		Proposals: u16s[ProposalType](r), Credentials: u16s[CredentialType](r),
	}
}

func (c Capabilities) append(b []byte) []byte {
	b = appendU16s(b, c.Versions)
	b = appendU16s(b, c.Suites)
	b = appendU16s(b, c.Extensions)
	b = appendU16s(b, c.Proposals)
	return appendU16s(b, c.Credentials)
}

// supports reports whether a client meets the requirement (Section 11.1).
func (c Capabilities) supports(need RequiredCapabilities) bool {
	for _, e := range need.Extensions {
		if !knownToAll(e) && !slices.Contains(c.Extensions, e) {
			return false
		}
	}
	for _, p := range need.Proposals {
		if !p.knownToAll() && !slices.Contains(c.Proposals, p) {
			return false
		}
	}
	for _, t := range need.Credentials {
		if !slices.Contains(c.Credentials, t) {
			return false
		}
	}
	return true
}

// A lifetime bounds the use of a KeyPackage, in seconds since 1970 (Section 7.2).
type lifetime struct{ notBefore, notAfter uint64 }

// lifetimeTolerance is how wrong a clock may be. A room that lost its battery
// must still be able to join.
const lifetimeTolerance = 24 * time.Hour

// covers reports whether now is within the lifetime.
func (l lifetime) covers(now time.Time, tolerance time.Duration) bool {
	t, d := now.Unix(), int64(tolerance/time.Second)
	return t+d >= 0 && uint64(t+d) >= l.notBefore && (t-d < 0 || uint64(t-d) <= l.notAfter)
}

// A LeafNode is a member's entry in the ratchet tree (Section 7.2). It is
// immutable.
type LeafNode struct {
	encryptionKey []byte
	signatureKey  []byte
	credential    Credential
	capabilities  Capabilities
	source        leafSource
	lifetime      lifetime // of sourceKeyPackage
	parentHash    []byte   // of sourceCommit
	extensions    []Extension
	signature     []byte

	raw []byte         // the encoding
	tbs int            // how much of raw is in front of the signature
	key hpke.PublicKey // encryptionKey, parsed by check
}

func decodeLeafNode(r *reader) *LeafNode {
	start := r.b
	n := &LeafNode{
		encryptionKey: r.vec(maxKey), signatureKey: r.vec(maxKey), credential: decodeCredential(r),
		capabilities: decodeCapabilities(r), source: leafSource(r.u8()),
	}
	switch n.source {
	case sourceKeyPackage:
		n.lifetime = lifetime{notBefore: r.u64(), notAfter: r.u64()}
	case sourceUpdate:
	case sourceCommit:
		n.parentHash = r.vec(64)
	default:
		r.fail("leaf node source %d", n.source)
	}
	n.extensions = decodeExtensions(r)
	tbs := len(start) - len(r.b)
	n.signature = r.vec(maxSignature)
	if r.err != nil {
		return nil
	}
	n.raw = start[: len(start)-len(r.b) : len(start)-len(r.b)]
	n.tbs = tbs
	return n
}

// encode makes raw; it is called once, by who made the leaf.
func (n *LeafNode) encode(signature []byte) {
	b := appendVec(nil, n.encryptionKey)
	b = appendVec(b, n.signatureKey)
	b = n.credential.append(b)
	b = n.capabilities.append(b)
	b = append(b, byte(n.source))
	switch n.source {
	case sourceKeyPackage:
		b = appendU64(appendU64(b, n.lifetime.notBefore), n.lifetime.notAfter)
	case sourceCommit:
		b = appendVec(b, n.parentHash)
	case sourceUpdate:
	}
	b = appendExtensions(b, n.extensions)
	n.tbs = len(b)
	n.signature = signature
	n.raw = appendVec(b, signature)
}

func (n *LeafNode) append(b []byte) []byte { return append(b, n.raw...) }

// clone returns a leaf that does not keep the message alive it came in.
func (n *LeafNode) clone() *LeafNode {
	c, err := decodeAll(bytes.Clone(n.raw), decodeLeafNode)
	if err != nil {
		panic("mls: a leaf node that was decoded decodes again")
	}
	c.key = n.key
	return c
}

// signed is LeafNodeTBS: an update or a commit is bound to its group and place.
func (n *LeafNode) signed(groupID []byte, index LeafIndex) []byte {
	b := slices.Clip(n.raw[:n.tbs])
	if n.source != sourceKeyPackage {
		b = appendU32(appendVec(b, groupID), uint32(index))
	}
	return b
}

// sign signs the leaf and encodes it.
func (n *LeafNode) sign(ctx context.Context, k Signer, groupID []byte, index LeafIndex) error {
	n.encode(nil)
	sig, err := signWithLabel(ctx, k, "LeafNodeTBS", n.signed(groupID, index))
	if err != nil {
		return err
	}
	n.encode(sig)
	return nil
}

// verify checks the signature of the leaf.
func (n *LeafNode) verify(s *Suite, groupID []byte, index LeafIndex) error {
	return verifyWithLabel(s, n.signatureKey, "LeafNodeTBS", n.signed(groupID, index), n.signature)
}

// check validates what of Section 7.3 depends on the leaf alone, and keeps its
// parsed encryption key. The signature is verify's. That the leaf lists the
// suite in use is not asked for: the RFC does not, and published trees do not.
func (n *LeafNode) check(s *Suite, source leafSource) error {
	if n.source != source {
		return invalid("7.3", "leaf node source %d where %d belongs", n.source, source)
	}
	if n.key == nil {
		key, err := s.publicKey(n.encryptionKey)
		if err != nil {
			return err
		}
		n.key = key
	}
	c := n.capabilities
	if !slices.Contains(c.Versions, MLS10) {
		return invalid("7.2", "leaf does not list the version in use")
	}
	if !slices.Contains(c.Credentials, n.credential.Type) {
		return invalid("7.3", "leaf does not list its own credential type")
	}
	for _, e := range n.extensions {
		if !knownToAll(e.Type) && !slices.Contains(c.Extensions, e.Type) {
			return invalid("7.3", "leaf does not list its own extension %d", e.Type)
		}
		if e.Type == ExtAppDataDictionary {
			if _, err := ParseAppDataDictionary(e.Data); err != nil {
				return err
			}
		}
	}
	return n.credential.check(s, n.signatureKey)
}

// checkIn validates what depends on the group: required capabilities (Section
// 11.1) and the extensions in use. Its credential type against the others' is
// checked by the tree.
func (n *LeafNode) checkIn(groupExtensions []Extension) error {
	for _, e := range groupExtensions {
		if !knownToAll(e.Type) && !slices.Contains(n.capabilities.Extensions, e.Type) {
			return invalid("7.3", "leaf does not support the group's extension %d", e.Type)
		}
	}
	data, ok := extension(groupExtensions, ExtRequiredCapabilities)
	if !ok {
		return nil
	}
	need, err := decodeAll(data, decodeRequiredCapabilities)
	if err != nil {
		return err
	}
	if !n.capabilities.supports(need) {
		return invalid("11.1", "leaf lacks a required capability")
	}
	return nil
}

// A Member is an occupied leaf, as its owner described and signed it.
type Member struct {
	Index         LeafIndex
	Credential    Credential
	SignatureKey  []byte
	EncryptionKey []byte
	Extensions    []Extension // of the leaf
	Capabilities  Capabilities
}

func (n *LeafNode) member(i LeafIndex) Member {
	return Member{
		Index: i, Credential: n.credential, SignatureKey: n.signatureKey, EncryptionKey: n.encryptionKey,
		Extensions: n.extensions, Capabilities: n.capabilities,
	}
}

// A LeafData makes the components of the app data dictionary of a new leaf,
// whose encryption key is the one given: evidence about a leaf names its keys.
// It is called once for each leaf, with the context of the call that makes the
// leaf, and its error ends that call.
type LeafData func(ctx context.Context, encryptionKey []byte) ([]AppData, error)

// newLeaf makes the leaf of a configuration, unsigned.
func newLeaf(ctx context.Context, c *Config, source leafSource, encryptionKey []byte) (*LeafNode, error) {
	n := &LeafNode{
		encryptionKey: encryptionKey, signatureKey: c.Signer.Public(), credential: c.Credential, source: source,
		extensions: slices.Clone(c.LeafExtensions),
		capabilities: Capabilities{
			Versions: []ProtocolVersion{MLS10}, Suites: []CipherSuite{c.Suite.id},
			Credentials: []CredentialType{BasicCredential, X509Credential}, Proposals: []ProposalType{ProposalSelfRemove},
		},
	}
	if c.LeafData != nil {
		data, err := c.LeafData(ctx, encryptionKey)
		if err != nil {
			return nil, fmt.Errorf("mls: data of a new leaf: %w", err)
		}
		if len(data) > 0 {
			n.extensions = append(n.extensions, AppDataDictionary(data))
		}
	}
	caps := &n.capabilities
	for _, id := range c.Suites {
		if !slices.Contains(caps.Suites, id) {
			caps.Suites = append(caps.Suites, id)
		}
	}
	for _, e := range append([]ExtensionType{ExtAppDataDictionary}, c.Extensions...) {
		if !knownToAll(e) && !slices.Contains(caps.Extensions, e) {
			caps.Extensions = append(caps.Extensions, e)
		}
	}
	if !c.NoGREASE {
		g := greaseExtension()
		n.extensions = append(n.extensions, g)
		caps.Suites = append(caps.Suites, CipherSuite(grease()))
		caps.Extensions = append(caps.Extensions, g.Type)
		caps.Proposals = append(caps.Proposals, ProposalType(grease()))
		caps.Credentials = append(caps.Credentials, CredentialType(grease()))
	}
	for _, e := range c.LeafExtensions {
		if !knownToAll(e.Type) && !slices.Contains(caps.Extensions, e.Type) {
			return nil, fmt.Errorf("mls: leaf extension %d is not among Config.Extensions", e.Type)
		}
	}
	return n, nil
}
