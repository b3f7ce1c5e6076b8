// SPDX-License-Identifier: Apache-2.0

package attest

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
)

// ShortCode returns the six digits that the room's panel shows for a verdict.
// A person with a phone that talks to the verifier sees the same ones there, or
// a panel that lies about its room. Digits of this kind show that two screens
// speak of the same verdict; they are no secret.
//
// ear is the CMW of the result as the verifier signed it, nonce that of its
// challenge: a room cannot show the digits of an older verdict.
func ShortCode(ear, nonce []byte) string {
	h := sha256.New()
	h.Write([]byte("in-camera/short-code/v1\x00"))
	// The lengths keep bytes from moving from one to the other.
	h.Write(binary.BigEndian.AppendUint64(nil, uint64(len(ear))))
	h.Write(ear)
	h.Write(nonce)
	// 64 bits modulo a million: the bias is below 10^-13.
	return fmt.Sprintf("%06d", binary.BigEndian.Uint64(h.Sum(nil))%1_000_000)
}
