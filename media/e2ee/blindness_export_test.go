// SPDX-License-Identifier: Apache-2.0

package e2ee

import "crypto/sha256"

// HoldsBaseKey reports whether the base key of an epoch that k has now occurs
// in record. The keyring keeps only a digest of it, which is enough to tell.
func HoldsBaseKey(k *Keyring, record []byte) bool {
	s := k.state.Load()
	for i := 0; i+baseKeySize <= len(record); i++ {
		digest := sha256.Sum256(record[i : i+baseKeySize])
		for _, e := range s.epochs {
			if e != nil && e.digest == digest {
				return true
			}
		}
	}
	return false
}
