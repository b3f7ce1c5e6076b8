// SPDX-License-Identifier: Apache-2.0

//go:build simtpm

package tpmtest

import "incamera/secureboot/tpm"

// OnlySHA256 leaves the chip one PCR bank, as a maker or firmware does, and
// resets it. Both software TPMs come with several.
func (c *Chip) OnlySHA256() {
	c.t.Helper()
	if err := tpm.AllocateSHA256(c); err != nil {
		c.t.Fatal(err)
	}
	c.Reset()
}
