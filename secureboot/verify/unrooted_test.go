// SPDX-License-Identifier: Apache-2.0

//go:build simtpm

package verify

import (
	"testing"

	"incamera/secureboot/evidence"
)

// TestUnrooted has a site accept TPMs without a hardware root: the verdict is
// good, names the failure, makes no claim of hardware, and excuses nothing else.
func TestUnrooted(t *testing.T) {
	r := newRig(t)
	s := r.statement()
	s.device.Soft, s.device.EKCertified = true, false
	s.policy.Unrooted = evidence.Affirming
	result := r.appraise(s)
	wantOnly(t, result, evidence.Affirming, evidence.HWUnrooted, evidence.EKUntrusted)
	if result.Vector[evidence.Hardware] != 0 {
		t.Errorf("claims %d of hardware", result.Vector[evidence.Hardware])
	}
	if _, err := evidence.SignResult(result, newKey(t)); err != nil {
		t.Errorf("the verdict does not encode: %v", err)
	}
	s = r.statement()
	s.device.Soft = true
	s.policy.Unrooted, s.policy.RevokedVersions = evidence.Affirming, []string{version}
	wantOnly(t, r.appraise(s), evidence.Contraindicated, evidence.HWUnrooted, evidence.VersionRevoked)
}
