// SPDX-License-Identifier: Apache-2.0

package e2ee

import (
	"bytes"
	"crypto/pbkdf2"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"strings"
)

const (
	// codeRounds makes the search for two groups with one code 2^17 times
	// dearer, and costs an honest room some 50 ms once per epoch.
	codeRounds = 1 << 17
	// codeBytes is 6 numbers of 5 bytes, pairwiseBytes 9: with 40 bits a number
	// modulo 100,000 is as good as even.
	codeBytes     = 30
	pairwiseBytes = 45
)

// securityCode returns the 30 digits that are the same on every panel of an
// honest meeting.
func securityCode(epochAuthenticator, groupID []byte) (string, error) {
	return digits(epochAuthenticator, "In Camera code 1"+string(groupID), codeBytes)
}

// PairwiseCode returns 45 digits that two rooms have in common as long as both
// keep name and signature key, in this meeting and in others. Whoever compared
// it may pin the key: [Session.Pin]. It takes some 100 ms.
func PairwiseCode(a, b Member) (string, error) {
	x, y := fingerprint(a), fingerprint(b)
	if bytes.Compare(x, y) > 0 {
		x, y = y, x
	}
	return digits(append(x, y...), "In Camera pairwise code 1", pairwiseBytes)
}

// fingerprint is SHA-256 of name and signature key, each behind its length.
func fingerprint(m Member) []byte {
	var b []byte
	for _, part := range []string{m.Name, string(m.SignatureKey)} {
		b = binary.BigEndian.AppendUint32(b, uint32(len(part)))
		b = append(b, part...)
	}
	sum := sha256.Sum256(b)
	return sum[:]
}

// digits stretches a secret and reads the result as big-endian numbers of five
// bytes, each modulo 100,000.
func digits(secret []byte, salt string, size int) (string, error) {
	b, err := pbkdf2.Key(sha256.New, string(secret), []byte(salt), codeRounds, size)
	if err != nil {
		return "", fmt.Errorf("e2ee: security code: %w", err)
	}
	var out strings.Builder
	for ; len(b) >= 5; b = b[5:] {
		var n uint64
		for _, c := range b[:5] {
			n = n<<8 | uint64(c)
		}
		fmt.Fprintf(&out, "%05d", n%100_000)
	}
	return out.String(), nil
}
