// SPDX-License-Identifier: Apache-2.0

package enrol

import (
	"crypto/rand"
	"crypto/sha256"
	"strings"
	"time"
)

// CodeLife is how long an activation code or voucher serves: a weekend between
// the office that makes it and the box on its wall.
const CodeLife = 72 * time.Hour

// crockford is the alphabet of the codes: no I, L, O or U.
const crockford = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"

const codeLength = 16 // of 5 bits: 80 bits, beyond guessing through a rate limit

// A Code is an activation code: a secret that prints as [redacted]. Text gives
// it to the one person who asked for it.
type Code struct{ text string }

// NewCode makes a random code.
func NewCode() Code {
	var b [codeLength]byte
	_, _ = rand.Read(b[:]) // never fails
	for i := range b {
		b[i] = crockford[b[i]&31]
	}
	return Code{string(b[:])}
}

// ParseCode reads a code as people type it: any case, hyphens and spaces
// between, O for 0 and I or L for 1.
func ParseCode(s string) (Code, error) {
	if len(s) > 4*codeLength {
		return Code{}, ErrCode
	}
	var b strings.Builder
	for _, r := range strings.ToUpper(s) {
		switch r {
		case '-', ' ':
			continue
		case 'O':
			r = '0'
		case 'I', 'L':
			r = '1'
		}
		if !strings.ContainsRune(crockford, r) {
			return Code{}, ErrCode
		}
		b.WriteRune(r)
	}
	if b.Len() != codeLength {
		return Code{}, ErrCode
	}
	return Code{b.String()}, nil
}

// Text returns the code in groups of four.
func (c Code) Text() string {
	return c.text[:4] + "-" + c.text[4:8] + "-" + c.text[8:12] + "-" + c.text[12:]
}

// String keeps the code out of logs.
func (Code) String() string { return "[redacted]" }

// Hash is what a verifier keeps of a code for a box: a code serves that serial
// alone, and who reads the verifier's disk enrols nothing.
func (c Code) Hash(serial string) [32]byte {
	return sha256.Sum256([]byte("in-camera/code/v1\x00" + c.text + "\x00" + serial))
}
