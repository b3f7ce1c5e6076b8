// SPDX-License-Identifier: Apache-2.0

package tpm

import "crypto/rand"

// AuthSize is the length of our authorisation values in bytes: the digest of
// SHA-256, the longest that every TPM takes.
const AuthSize = 32

// NewAuth returns a random authorisation value, which the caller owns and
// clears. No byte of it is zero, which costs a fifth of a bit: a TPM drops zeros
// at the end (TPM 2.0 Part 1, 18.6.4.3), and go-tpm v0.9.8 drops all from the
// first zero on, so that one value in eight would never open what it was set
// for.
func NewAuth() []byte {
	value := make([]byte, AuthSize)
	_, _ = rand.Read(value) // never fails: crypto/rand
	for i := range value {
		for value[i] == 0 {
			_, _ = rand.Read(value[i : i+1])
		}
	}
	return value
}
