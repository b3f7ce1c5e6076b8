// SPDX-License-Identifier: Apache-2.0

package mls

import (
	"crypto"
	"crypto/aes"
	"crypto/cipher"
	"crypto/ecdh"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/hpke"
	_ "crypto/sha256" // links SHA-256 into package crypto
	_ "crypto/sha512" // and SHA-384, SHA-512
	"fmt"
	"hash"
	"slices"
	"sync"

	"golang.org/x/crypto/chacha20poly1305"
)

// A ProtocolVersion is the version of MLS (Section 6). There is one.
type ProtocolVersion uint16

// MLS10 is RFC 9420.
const MLS10 ProtocolVersion = 1

// A CipherSuite is the number of a suite (Section 17.1).
type CipherSuite uint16

// The suites of this package. Suites 4 and 6 need X448 and Ed448, which the
// standard library does not have. The hybrid ones are those of
// draft-ietf-mls-pq-ciphersuites under private-use numbers: see [Suite.WithID].
const (
	X25519AES128GCMSHA256Ed25519        CipherSuite = 1
	P256AES128GCMSHA256P256             CipherSuite = 2
	X25519ChaCha20Poly1305SHA256Ed25519 CipherSuite = 3
	P521AES256GCMSHA512P521             CipherSuite = 5
	P384AES256GCMSHA384P384             CipherSuite = 7

	MLKEM768P256AES256GCMSHA384P256      CipherSuite = 0xF0A1
	MLKEM1024P384AES256GCMSHA384P384     CipherSuite = 0xF0A2
	MLKEM768X25519AES256GCMSHA384Ed25519 CipherSuite = 0xF0A3
)

// A Suite is the algorithms of a cipher suite (Section 5.1). It is immutable
// and may be shared. What makes a suite is its algorithms; its number is
// configuration, since the hybrid suites have none assigned.
type Suite struct {
	id     CipherSuite
	name   string
	hybrid bool
	kem    hpke.KEM
	kdf    hpke.KDF
	aead   hpke.AEAD
	hash   crypto.Hash
	scheme SignatureScheme
	nk     int // bytes of an AEAD key
	nh     int // bytes of a hash and of a secret
	open   func(key []byte) (cipher.AEAD, error)
}

// nn is the size of a nonce: 12 bytes with every AEAD of MLS.
const nn = 12

// suites are made once, so that what was verified for one of them is not
// verified for its twin again.
var suites = sync.OnceValue(func() []*Suite {
	aes128, aes256 := hpke.AES128GCM(), hpke.AES256GCM()
	s256, s384, s512 := hpke.HKDFSHA256(), hpke.HKDFSHA384(), hpke.HKDFSHA512()
	return []*Suite{
		newSuite(X25519AES128GCMSHA256Ed25519, "X25519_AES128GCM_SHA256_Ed25519", hpke.DHKEM(ecdh.X25519()), s256, aes128, crypto.SHA256, Ed25519),
		newSuite(P256AES128GCMSHA256P256, "P256_AES128GCM_SHA256_P256", hpke.DHKEM(ecdh.P256()), s256, aes128, crypto.SHA256, ECDSAP256SHA256),
		newSuite(X25519ChaCha20Poly1305SHA256Ed25519, "X25519_CHACHA20POLY1305_SHA256_Ed25519", hpke.DHKEM(ecdh.X25519()), s256, hpke.ChaCha20Poly1305(), crypto.SHA256, Ed25519),
		newSuite(P521AES256GCMSHA512P521, "P521_AES256GCM_SHA512_P521", hpke.DHKEM(ecdh.P521()), s512, aes256, crypto.SHA512, ECDSAP521SHA512),
		newSuite(P384AES256GCMSHA384P384, "P384_AES256GCM_SHA384_P384", hpke.DHKEM(ecdh.P384()), s384, aes256, crypto.SHA384, ECDSAP384SHA384),
		newSuite(MLKEM768P256AES256GCMSHA384P256, "MLKEM768P256_AES256GCM_SHA384_P256", hpke.MLKEM768P256(), s384, aes256, crypto.SHA384, ECDSAP256SHA256),
		newSuite(MLKEM1024P384AES256GCMSHA384P384, "MLKEM1024P384_AES256GCM_SHA384_P384", hpke.MLKEM1024P384(), s384, aes256, crypto.SHA384, ECDSAP384SHA384),
		newSuite(MLKEM768X25519AES256GCMSHA384Ed25519, "MLKEM768X25519_AES256GCM_SHA384_Ed25519", hpke.MLKEM768X25519(), s384, aes256, crypto.SHA384, Ed25519),
	}
})

func newSuite(id CipherSuite, name string, kem hpke.KEM, kdf hpke.KDF, aead hpke.AEAD, hash crypto.Hash, scheme SignatureScheme) *Suite {
	s := &Suite{
		id: id, name: name, hybrid: id >= 0xF000,
		kem: kem, kdf: kdf, aead: aead, hash: hash, scheme: scheme,
		nk: 32, nh: hash.Size(), open: gcm,
	}
	switch aead.ID() {
	case hpke.AES128GCM().ID():
		s.nk = 16
	case hpke.ChaCha20Poly1305().ID():
		s.open = chacha20poly1305.New
	}
	return s
}

func gcm(key []byte) (cipher.AEAD, error) {
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	return cipher.NewGCM(block)
}

// SuiteByID returns the suite of a number, or an error wrapping
// [ErrUnsupported].
func SuiteByID(id CipherSuite) (*Suite, error) {
	for _, s := range suites() {
		if s.id == id {
			return s, nil
		}
	}
	return nil, fmt.Errorf("%w: cipher suite %#04x", ErrUnsupported, uint16(id))
}

// Suites returns every suite of this package, in the order of their numbers.
func Suites() []*Suite { return slices.Clone(suites()) }

// WithID returns the same algorithms under another number. Both sides must
// agree on it: deployed stacks have picked clashing numbers for the hybrids.
// It returns an error unless id is for private use (0xF000 to 0xFFFF).
func (s *Suite) WithID(id CipherSuite) (*Suite, error) {
	if id < 0xF000 {
		return nil, fmt.Errorf("mls: cipher suite %#04x is not for private use", uint16(id))
	}
	c := *s
	c.id = id
	return &c, nil
}

// ID returns the number of the suite.
func (s *Suite) ID() CipherSuite { return s.id }

// String returns the name of the suite as in the registry of RFC 9420, without
// its prefix.
func (s *Suite) String() string { return s.name }

// Scheme returns the signature scheme of the suite.
func (s *Suite) Scheme() SignatureScheme { return s.scheme }

// Hybrid reports whether the KEM has a post-quantum half.
func (s *Suite) Hybrid() bool { return s.hybrid }

// KEM returns the key encapsulation of the suite, for implementations of
// [HPKEKey].
func (s *Suite) KEM() hpke.KEM { return s.kem }

// digest returns the hash of the concatenation of its arguments.
func (s *Suite) digest(parts ...[]byte) []byte {
	h := s.hash.New()
	for _, p := range parts {
		h.Write(p) // never fails: package hash
	}
	return h.Sum(nil)
}

// mac returns the MAC of the suite, which is HMAC (Section 5.1).
func (s *Suite) mac(key secret, content []byte) []byte {
	m := hmac.New(s.hash.New, key)
	m.Write(content)
	return m.Sum(nil)
}

// extract is KDF.Extract.
func (s *Suite) extract(salt, ikm secret) secret {
	out, err := hkdf.Extract(s.hash.New, ikm, salt)
	if err != nil {
		panic(err) // only FIPS mode refuses, and then the program cannot work
	}
	return out
}

// expandWithLabel is ExpandWithLabel of Section 8.
func (s *Suite) expandWithLabel(from secret, label string, context []byte, length int) secret {
	info := make([]byte, 0, 2+1+8+len(label)+4+len(context))
	info = appendU16(info, uint16(length))
	info = appendVec(info, labelPrefix+label)
	info = appendVec(info, context)
	out, err := hkdf.Expand(s.hash.New, from, string(info), length)
	if err != nil {
		panic(err) // lengths are constants, or checked by Export
	}
	return out
}

// An expander is ExpandWithLabel of one secret, for several values of at most
// the size of the hash. HKDF-Expand is one HMAC then (RFC 5869, Section 2.3),
// whose key is prepared once: that is what a message costs besides its
// signature.
type expander struct {
	s    *Suite
	mac  hash.Hash
	info []byte
}

func (s *Suite) expander(from secret) *expander {
	return &expander{s: s, mac: hmac.New(s.hash.New, from)}
}

func (x *expander) expand(label string, context []byte, length int) secret {
	x.info = appendU16(x.info[:0], uint16(length))
	x.info = appendSize(x.info, len(labelPrefix)+len(label))
	x.info = append(append(x.info, labelPrefix...), label...)
	x.info = append(appendVec(x.info, context), 1)
	x.mac.Reset()
	x.mac.Write(x.info)
	return x.mac.Sum(nil)[:length:length]
}

// deriveSecret is DeriveSecret of Section 8.
func (x *expander) deriveSecret(label string) secret { return x.expand(label, nil, x.s.nh) }

const labelPrefix = "MLS 1.0 "

// deriveSecret is DeriveSecret of Section 8.
func (s *Suite) deriveSecret(from secret, label string) secret {
	return s.expandWithLabel(from, label, nil, s.nh)
}

// zero returns the all-zero secret of the size of the hash.
func (s *Suite) zero() secret { return make(secret, s.nh) }
