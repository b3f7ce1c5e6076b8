// SPDX-License-Identifier: Apache-2.0

package sframe

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/sha256"
	"crypto/sha512"
	"errors"
	"fmt"
)

// ErrSuite reports a number that names no cipher suite of RFC 9605.
var ErrSuite = errors.New("sframe: unknown cipher suite")

// A Suite is a cipher suite (RFC 9605, Section 4.5). Its value is the number
// that IANA assigned and enters the key derivation.
//
// Meetings use [AES256GCMSHA512] alone. The others exist so that all published
// vectors run; tags of 4 and 8 bytes are too short for anything else here.
type Suite uint16

// The suites of RFC 9605, Table 1. The Tag suites are AES-CTR with a truncated
// HMAC and are named for the length of the tag in bits.
const (
	AES128CTRHMACSHA256Tag80 Suite = 1
	AES128CTRHMACSHA256Tag64 Suite = 2
	AES128CTRHMACSHA256Tag32 Suite = 3
	AES128GCMSHA256          Suite = 4
	AES256GCMSHA512          Suite = 5
)

// saltSize is Nn, the length in bytes of a nonce, in every suite.
const saltSize = 12

// params is a row of RFC 9605, Table 1, in bytes.
type params struct{ key, tag int }

func (s Suite) params() (params, error) {
	switch s {
	case AES128CTRHMACSHA256Tag80:
		return params{key: ctrKeySize + macKeySize, tag: 10}, nil
	case AES128CTRHMACSHA256Tag64:
		return params{key: ctrKeySize + macKeySize, tag: 8}, nil
	case AES128CTRHMACSHA256Tag32:
		return params{key: ctrKeySize + macKeySize, tag: 4}, nil
	case AES128GCMSHA256:
		return params{key: 16, tag: 16}, nil
	case AES256GCMSHA512:
		return params{key: 32, tag: 16}, nil
	}
	return params{}, fmt.Errorf("%w: %d", ErrSuite, uint16(s))
}

// newAEAD makes the suite's AEAD, which is not safe for concurrent use.
func (s Suite) newAEAD(key []byte) (cipher.AEAD, error) {
	p, err := s.params()
	if err != nil {
		return nil, err
	}
	if s == AES128GCMSHA256 || s == AES256GCMSHA512 {
		block, err := aes.NewCipher(key)
		if err != nil {
			return nil, err
		}
		return cipher.NewGCM(block)
	}
	return newCTRHMAC(key, p.tag)
}

// extract and expand are HKDF with the suite's hash.
func (s Suite) extract(secret []byte) ([]byte, error) {
	if s == AES256GCMSHA512 {
		return hkdf.Extract(sha512.New, secret, nil)
	}
	return hkdf.Extract(sha256.New, secret, nil)
}

func (s Suite) expand(prk []byte, label string, length int) ([]byte, error) {
	if s == AES256GCMSHA512 {
		return hkdf.Expand(sha512.New, prk, label, length)
	}
	return hkdf.Expand(sha256.New, prk, label, length)
}
