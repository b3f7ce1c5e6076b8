// SPDX-License-Identifier: Apache-2.0

package seal

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"log/slog"
	"strings"
)

// ErrRecoveryKey means that a text is not a recovery key, or not that of this
// secret. The person types it again.
var ErrRecoveryKey = errors.New("seal: not the recovery key")

// A RecoveryKey opens a secret without the TPM: on another board, after the TPM
// died, or when policies were lost. It is shown once, at provisioning, and
// prints as [redacted]; [RecoveryKey.Text] is what a person copies.
type RecoveryKey struct{ bits [16]byte }

const (
	// digits are Crockford's: no I, L, O, U.
	digits = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"

	dataSymbols  = 26 // 130 bits: the key, and two that are zero
	checkSymbols = 2
	symbols      = dataSymbols + checkSymbols // seven groups of four
	maxTyped     = 128                        // bytes, with what people put in between
)

// NewRecoveryKey returns a key of 128 random bits.
func NewRecoveryKey() RecoveryKey {
	var k RecoveryKey
	_, _ = rand.Read(k.bits[:]) // never fails: crypto/rand
	return k
}

func (RecoveryKey) String() string { return redacted }

// GoString keeps %#v from printing the bits.
func (RecoveryKey) GoString() string { return redacted }

// Format keeps all other verbs from it.
func (RecoveryKey) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(redacted)) }

// LogValue keeps it out of logs.
func (RecoveryKey) LogValue() slog.Value { return slog.StringValue(redacted) }

// Equal compares in constant time: it tells whether a key was copied right.
func (k RecoveryKey) Equal(other RecoveryKey) bool {
	return subtle.ConstantTimeCompare(k.bits[:], other.bits[:]) == 1
}

// Text returns the key as a person copies it: seven groups of four characters.
// Two of the 28 are check symbols of a Reed-Solomon code over GF(32), so any two
// wrong characters are found, and any two that changed places.
func (k RecoveryKey) Text() string {
	var s [symbols]byte
	for i := range dataSymbols {
		s[i] = k.symbol(i)
	}
	s[dataSymbols], s[dataSymbols+1] = checksum(s[:dataSymbols])
	var b strings.Builder
	for i, v := range s {
		if i > 0 && i%4 == 0 {
			b.WriteByte('-')
		}
		b.WriteByte(digits[v])
	}
	return b.String()
}

// symbol is bits 5i to 5i+4 of the key, the first in front.
func (k RecoveryKey) symbol(i int) byte {
	var v byte
	for bit := 5 * i; bit < 5*i+5; bit++ {
		v <<= 1
		if bit < 128 {
			v |= k.bits[bit/8] >> (7 - bit%8) & 1
		}
	}
	return v
}

// ParseRecoveryKey reads what a person typed: capital letters or small, with
// hyphens and spaces anywhere, I and L for 1, O for 0. A wrong text is
// [ErrRecoveryKey], and says no more.
func ParseRecoveryKey(text string) (RecoveryKey, error) {
	var s [symbols]byte
	n := 0
	if len(text) > maxTyped {
		return RecoveryKey{}, ErrRecoveryKey
	}
	for _, c := range []byte(strings.ToUpper(text)) {
		switch c {
		case ' ', '-', '\t', '\r', '\n':
			continue
		case 'I', 'L':
			c = '1'
		case 'O':
			c = '0'
		}
		v := strings.IndexByte(digits, c)
		if v < 0 || n == symbols {
			return RecoveryKey{}, ErrRecoveryKey
		}
		s[n] = byte(v)
		n++
	}
	a, b := checksum(s[:dataSymbols])
	if n != symbols || s[dataSymbols] != a || s[dataSymbols+1] != b || s[dataSymbols-1]&3 != 0 {
		return RecoveryKey{}, ErrRecoveryKey
	}
	var k RecoveryKey
	for i, v := range s[:dataSymbols] {
		for j := range 5 {
			if bit := 5*i + j; bit < 128 {
				k.bits[bit/8] |= v >> (4 - j) & 1 << (7 - bit%8)
			}
		}
	}
	return k, nil
}

// checksum is the remainder of data(x)*x^2 by (x-1)(x-2) over GF(32), 2 being a
// primitive element: distance 3, for words of up to 31 symbols.
func checksum(data []byte) (a, b byte) {
	// (x-1)(x-2) = x^2 + 3x + 2.
	for _, v := range data {
		lead := v ^ a
		a, b = b^times(lead, 3), times(lead, 2)
	}
	return a, b
}

// times multiplies in GF(32) modulo x^5 + x^2 + 1.
func times(a, b byte) byte {
	var p byte
	for ; b != 0; b >>= 1 {
		if b&1 != 0 {
			p ^= a
		}
		a <<= 1
		if a&0x20 != 0 {
			a ^= 0x25
		}
	}
	return p
}

// Recovery is a secret wrapped for a recovery key: no TPM, no policy. It is
// public as long as the key is not.
type Recovery struct {
	use    Use
	salt   []byte
	sealed []byte
}

const (
	saltSize = 16
	tagSize  = 16
)

// Wrap encrypts secret, of 1 to [MaxSecret] bytes, for whoever has k: AES-256-GCM
// under HKDF-SHA256 of k with a random salt. The key has 128 random bits, so
// stretching it would only make waiting longer.
func (k RecoveryKey) Wrap(use Use, secret []byte) (Recovery, error) {
	if len(secret) < 1 || len(secret) > MaxSecret || !use.seals() {
		return Recovery{}, fmt.Errorf("seal: secret of %d bytes for %q", len(secret), use)
	}
	r := Recovery{use: use, salt: make([]byte, saltSize)}
	_, _ = rand.Read(r.salt)
	aead, err := k.aead(r)
	if err != nil {
		return Recovery{}, err
	}
	//nolint:gosec // G407: the nonce is zero since the salt makes the key a new one
	r.sealed = aead.Seal(nil, make([]byte, aead.NonceSize()), secret, []byte(use))
	return r, nil
}

// Unwrap returns the secret, or [ErrRecoveryKey] if k is not the key or r was
// altered.
func (k RecoveryKey) Unwrap(r Recovery) (Secret, error) {
	aead, err := k.aead(r)
	if err != nil {
		return nil, err
	}
	secret, err := aead.Open(nil, make([]byte, aead.NonceSize()), r.sealed, []byte(r.use))
	if err != nil {
		return nil, ErrRecoveryKey
	}
	return secret, nil
}

func (k RecoveryKey) aead(r Recovery) (cipher.AEAD, error) {
	key, err := hkdf.Key(sha256.New, k.bits[:], r.salt, "in-camera/recovery/v1", 32)
	if err != nil {
		return nil, fmt.Errorf("seal: recovery: %w", err)
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, fmt.Errorf("seal: recovery: %w", err)
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		return nil, fmt.Errorf("seal: recovery: %w", err)
	}
	return aead, nil
}
