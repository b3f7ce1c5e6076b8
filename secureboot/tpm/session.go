// SPDX-License-Identifier: Apache-2.0

package tpm

import "github.com/google/go-tpm/tpm2"

// A Direction says which first parameter of a command a session encrypts. Both
// must exist: the TPM refuses a session that encrypts what the command lacks
// (TPM 2.0 Part 1, 21).
type Direction int

// The directions.
const (
	In    Direction = iota // from us to the TPM
	Out                    // from the TPM to us
	InOut                  // both
)

// NonceSize is the size of our session nonces in bytes: the digest of the
// session's hash, the largest there is.
const NonceSize = 32

// Encrypted returns the options of an HMAC or policy session whose key only the
// TPM with that SRK can know: salted to the SRK, its parameters in AES-128-CFB,
// each command and response under an HMAC. Take srk from [Pinned]: a salt to a
// key that something on the bus chose protects nothing.
func Encrypted(srk Key, dir Direction) []tpm2.AuthOption {
	encryption := tpm2.AESEncryption(128, tpm2.EncryptIn)
	switch dir {
	case In:
	case Out:
		encryption = tpm2.AESEncryption(128, tpm2.EncryptOut)
	case InOut:
		encryption = tpm2.AESEncryption(128, tpm2.EncryptInOut)
	}
	return []tpm2.AuthOption{tpm2.Salted(srk.Handle, srk.Public), encryption}
}

// EncryptedSession returns an HMAC session as [Encrypted] describes it, for one
// command. With tpm2.Auth among opts it also authorises, and the authorisation
// value does not cross the bus.
func EncryptedSession(srk Key, dir Direction, opts ...tpm2.AuthOption) tpm2.Session {
	return tpm2.HMAC(tpm2.TPMAlgSHA256, NonceSize, append(Encrypted(srk, dir), opts...)...)
}

// AuditSession returns a session for one command that has nothing to encrypt:
// the TPM with that SRK proves its response by an HMAC.
func AuditSession(srk Key) tpm2.Session {
	return tpm2.HMAC(tpm2.TPMAlgSHA256, NonceSize, tpm2.Salted(srk.Handle, srk.Public), tpm2.Audit())
}
