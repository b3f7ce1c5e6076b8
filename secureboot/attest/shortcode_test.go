// SPDX-License-Identifier: Apache-2.0

package attest

import (
	"bytes"
	"fmt"
	"regexp"
	"testing"
)

func TestShortCode(t *testing.T) {
	ear, nonce := []byte("result"), bytes.Repeat([]byte{7}, NonceSize)
	// By an independent implementation (Python's hashlib), so that other
	// programs can show the same digits.
	if got, want := ShortCode(ear, nonce), "675118"; got != want {
		t.Errorf("ShortCode = %s, want %s", got, want)
	}
	seen := map[string]bool{}
	for i := range 1000 {
		code := ShortCode(fmt.Append(ear, i), nonce)
		if !regexp.MustCompile(`^[0-9]{6}$`).MatchString(code) {
			t.Fatalf("ShortCode = %q, want six digits", code)
		}
		seen[code] = true
	}
	if len(seen) < 990 { // of a million; chance makes one pair in two such runs
		t.Errorf("1000 results have %d codes", len(seen))
	}
	other := bytes.Clone(nonce)
	other[31] ^= 1
	if ShortCode(ear, nonce) == ShortCode(ear, other) {
		t.Error("another nonce, the same digits")
	}
	if ShortCode([]byte("ab"), []byte("c")) == ShortCode([]byte("a"), []byte("bc")) {
		t.Error("a byte moved from the result to the nonce, and the digits are the same")
	}
}
