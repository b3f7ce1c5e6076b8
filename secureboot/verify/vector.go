// SPDX-License-Identifier: Apache-2.0

package verify

import "incamera/secureboot/evidence"

// Trustworthiness claims (draft-ietf-rats-ar4si, Section 2.3.4).
const (
	claimGood         = 2  // recognised, approved, genuine
	claimApprovedBoot = 3  // executables: known good at boot; later ones are not measured
	claimUnsafe       = 32 // passed, with a reservation
	claimBad          = 96
	claimUnrecognised = 97 // of an identity
	claimBadCrypto    = 99
)

// vector sums up per category. What was not established makes no claim.
func (a *appraisal) vector() evidence.Vector {
	var v evidence.Vector
	if a.genuine {
		v[evidence.InstanceIdentity], v[evidence.Hardware] = claimGood, claimGood
	}
	if a.genuine && a.matched {
		v[evidence.Configuration], v[evidence.FileSystem] = claimGood, claimGood
		v[evidence.Executables] = claimApprovedBoot
	}
	for _, f := range a.result.Failures {
		if category, _ := meaning(f.Code); f.Status == evidence.Affirming {
			v[category] = 0 // accepted is not established
		}
	}
	for _, f := range a.result.Failures {
		if f.Status == evidence.Affirming {
			continue
		}
		category, claim := meaning(f.Code)
		if f.Status == evidence.Warning {
			claim = claimUnsafe
		}
		v[category] = max(v[category], claim)
	}
	return v
}

// meaning returns the category that a refusal belongs to, and its claim there.
func meaning(code evidence.Code) (category int, claim int8) {
	switch code {
	case evidence.TooLarge, evidence.Malformed, evidence.NonceUnknown, evidence.NonceExpired, evidence.NonceUsed,
		evidence.SigInvalid, evidence.MagicInvalid:
		return evidence.InstanceIdentity, claimBadCrypto
	case evidence.EKMismatch, evidence.AKUnknown, evidence.AKRevoked, evidence.AKTemplate, evidence.TPMCleared,
		evidence.CodeInvalid, evidence.NotAdmitted:
		return evidence.InstanceIdentity, claimUnrecognised
	case evidence.EKUntrusted, evidence.HWUnrooted, evidence.PCRUnmeasured, evidence.PCRBank, evidence.ResetAnomaly:
		return evidence.Hardware, claimBad
	case evidence.VersionRevoked, evidence.Rollback, evidence.DebugImage:
		return evidence.Configuration, claimBad
	case evidence.LogMalformed, evidence.LogMismatch, evidence.RefvalMissing, evidence.RefvalMismatch, evidence.RefvalUnlogged:
		return evidence.Executables, claimBad
	}
	return evidence.Executables, claimBad
}
