// SPDX-License-Identifier: Apache-2.0

package sframe

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"hash"
)

const (
	ctrKeySize = 16 // AES-128
	macKeySize = 32 // HMAC-SHA-256
)

var errOpen = errors.New("sframe: message authentication failed")

// ctrHMAC is the AEAD of RFC 9605, Section 4.5.1: AES-128 in counter mode, then
// a truncated HMAC-SHA-256. Every buffer is a field, because what passes
// through an interface escapes to the heap; so one value serves one call at a
// time, which Sender and Receiver see to.
type ctrHMAC struct {
	block   cipher.Block
	mac     hash.Hash
	tagSize int

	counter, pad [aes.BlockSize]byte
	lengths      [24]byte
	nonce        [saltSize]byte
	sum          [sha256.Size]byte
}

func newCTRHMAC(key []byte, tagSize int) (*ctrHMAC, error) {
	if len(key) != ctrKeySize+macKeySize {
		return nil, aes.KeySizeError(len(key))
	}
	block, err := aes.NewCipher(key[:ctrKeySize])
	if err != nil {
		return nil, err
	}
	return &ctrHMAC{block: block, mac: hmac.New(sha256.New, key[ctrKeySize:]), tagSize: tagSize}, nil
}

func (c *ctrHMAC) NonceSize() int { return saltSize }

func (c *ctrHMAC) Overhead() int { return c.tagSize }

func (c *ctrHMAC) Seal(dst, nonce, plaintext, aad []byte) []byte {
	start := len(dst)
	dst = append(dst, plaintext...)
	c.xorKeyStream(dst[start:], nonce)
	return append(dst, c.tag(nonce, aad, dst[start:])...)
}

func (c *ctrHMAC) Open(dst, nonce, ciphertext, aad []byte) ([]byte, error) {
	if len(ciphertext) < c.tagSize {
		return nil, errOpen
	}
	body, tag := ciphertext[:len(ciphertext)-c.tagSize], ciphertext[len(ciphertext)-c.tagSize:]
	if !hmac.Equal(tag, c.tag(nonce, aad, body)) {
		return nil, errOpen
	}
	start := len(dst)
	dst = append(dst, body...)
	c.xorKeyStream(dst[start:], nonce)
	return dst, nil
}

// xorKeyStream encrypts or decrypts b in place. It is written out because a
// cipher.Stream is a new allocation for each frame; the first counter block is
// the nonce and four zero bytes.
func (c *ctrHMAC) xorKeyStream(b, nonce []byte) {
	clear(c.counter[:])
	copy(c.counter[:], nonce)
	for n := uint32(0); len(b) > 0; n++ {
		binary.BigEndian.PutUint32(c.counter[saltSize:], n)
		c.block.Encrypt(c.pad[:], c.counter[:])
		k := min(len(b), len(c.pad))
		for i := range k {
			b[i] ^= c.pad[i]
		}
		b = b[k:]
	}
}

// tag computes compute_tag of RFC 9605, Section 4.5.1. The result is valid
// until the next call.
func (c *ctrHMAC) tag(nonce, aad, ciphertext []byte) []byte {
	binary.BigEndian.PutUint64(c.lengths[0:], uint64(len(aad)))
	binary.BigEndian.PutUint64(c.lengths[8:], uint64(len(ciphertext)))
	binary.BigEndian.PutUint64(c.lengths[16:], uint64(c.tagSize))
	copy(c.nonce[:], nonce)
	c.mac.Reset()
	for _, part := range [...][]byte{c.lengths[:], c.nonce[:], aad, ciphertext} {
		c.mac.Write(part)
	}
	return c.mac.Sum(c.sum[:0])[:c.tagSize]
}
