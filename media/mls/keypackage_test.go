// SPDX-License-Identifier: Apache-2.0

package mls

import (
	"slices"
	"testing"
)

// TestKeyPackageListsItsExtensions verifies that the leaf of a KeyPackage lists
// the extensions of both, those at random included (Section 10): other stacks
// refuse it otherwise.
func TestKeyPackageListsItsExtensions(t *testing.T) {
	c := testConfig(t, suiteOf(t, 1), "a")
	c.LastResort = true
	for range 64 { // of 15 random types
		k := parsed(t, newBundle(t, c), c.Suite)
		m := k.Member()
		if len(k.Extensions()) < 2 || len(m.Extensions) == 0 {
			t.Fatal("no GREASE")
		}
		for _, e := range slices.Concat(k.Extensions(), m.Extensions) {
			if !slices.Contains(m.Capabilities.Extensions, e.Type) {
				t.Fatalf("extension %#04x is not among the capabilities %#04x", e.Type, m.Capabilities.Extensions)
			}
		}
	}
}
