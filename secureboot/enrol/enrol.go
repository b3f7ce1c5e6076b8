// SPDX-License-Identifier: Apache-2.0

// Package enrol lets rooms join a site. It holds the half of the verifier: the
// proof that an attestation key (AK) lies in a TPM that a maker or the site's
// staff vouches for, activation codes and vouchers, and the site's CA. Package
// client is the half of the room.
//
// It links no TPM transport: go-tpm is a codec here, and a verifier runs where
// there is no TPM.
//
// # The protocol
//
//	room                                   verifier
//	code, serial, EK chain, EK, AK    -->  checks code, EK and AK, in that order
//	                                  <--  session, credential, nonce
//	TPM2_ActivateCredential
//	secret, keys certified by the AK,
//	first evidence                    -->  checks the secret, keys and evidence
//	                                  <--  waiting (for staff), or certificates
//	stores them beside the old ones
//	acknowledges                      -->  the room counts as enrolled
//	puts them in place
//
// What is not acknowledged in time is undone on both sides: the verifier
// forgets the room and the code serves again, the room drops what it stored.
package enrol

import "errors"

// ErrCode means that an activation code or voucher is unknown, used, too old
// or for another box. Which of them is told to nobody outside; the caller asks
// staff for a new one.
var ErrCode = errors.New("enrol: activation code or voucher not accepted")

// ErrEKUntrusted means that no maker whose root the site holds vouches for the
// endorsement key and that staff have not listed it. Staff can approve its hash.
var ErrEKUntrusted = errors.New("enrol: nobody vouches for the endorsement key")

// ErrEKMismatch means that the endorsement key is not the one of its
// certificate, or not of a kind that can take part.
var ErrEKMismatch = errors.New("enrol: endorsement key does not match")

// ErrAKTemplate means that the attestation key could sign what it did not
// make, or could leave its TPM. The room must be provisioned again.
var ErrAKTemplate = errors.New("enrol: attestation key not as prescribed")

// ErrProof means that a signature, secret or proof does not hold. It is opaque
// on purpose.
var ErrProof = errors.New("enrol: proof does not hold")
