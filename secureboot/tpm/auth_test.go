// SPDX-License-Identifier: Apache-2.0

package tpm

import (
	"bytes"
	"testing"
)

func TestNewAuth(t *testing.T) {
	seen := make(map[byte]bool)
	for range 1000 {
		v := NewAuth()
		if len(v) != AuthSize || bytes.IndexByte(v, 0) >= 0 {
			t.Fatalf("%x", v)
		}
		for _, b := range v {
			seen[b] = true
		}
	}
	if len(seen) != 255 {
		t.Errorf("%d different bytes in 32,000; want all 255", len(seen))
	}
}
