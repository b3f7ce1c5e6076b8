// SPDX-License-Identifier: Apache-2.0

package evidence

// A Code says which check failed. Verdicts and the problem documents of the
// verifier share the list. A code is never renamed and never given another
// meaning.
type Code string

// The codes, in the order in which a room meets the checks.
const (
	TooLarge  Code = "too_large" // more bytes than the limit
	Malformed Code = "malformed" // not in the form prescribed, or in a second spelling

	NonceUnknown Code = "nonce_unknown" // answers no challenge of ours
	NonceExpired Code = "nonce_expired" // answered too late
	NonceUsed    Code = "nonce_used"    // answered twice

	EKUntrusted Code = "ek_untrusted" // no certificate of a known maker vouches for the TPM
	EKMismatch  Code = "ek_mismatch"  // another TPM than the enrolled one
	AKUnknown   Code = "ak_unknown"   // no attestation key was enrolled, or another one
	AKRevoked   Code = "ak_revoked"   // the attestation key was withdrawn
	AKTemplate  Code = "ak_template"  // a key without the attributes prescribed

	SigInvalid   Code = "sig_invalid"   // a signature, or what it covers, is wrong
	MagicInvalid Code = "magic_invalid" // the statement was not made inside a TPM

	PCRBank       Code = "pcr_bank"       // other registers than the profile's
	PCRUnmeasured Code = "pcr_unmeasured" // nobody measured: the register is as after a reset
	LogMalformed  Code = "log_malformed"  // the event log does not parse
	LogMismatch   Code = "log_mismatch"   // the event log does not lead to the quoted values

	RefvalMissing  Code = "refval_missing"  // nothing to compare with
	RefvalMismatch Code = "refval_mismatch" // differs from the reference or from what was enrolled
	RefvalUnlogged Code = "refval_unlogged" // the reference is not in the public log
	VersionRevoked Code = "version_revoked" // the release was withdrawn
	Rollback       Code = "rollback"        // older than the site's minimum
	DebugImage     Code = "debug_image"     // open for debugging

	ResetAnomaly Code = "reset_anomaly" // the TPM restarted more often than the room
	TPMCleared   Code = "tpm_cleared"   // the TPM restarted less often than it had already
	HWUnrooted   Code = "hw_unrooted"   // no hardware stands behind the statement

	CodeInvalid Code = "code_invalid" // activation code or voucher: the verifier's, not of a verdict
	NotAdmitted Code = "not_admitted" // waits for the security staff: the verifier's, not of a verdict
)

// Codes returns all codes, in the order above.
func Codes() []Code {
	return []Code{
		TooLarge, Malformed, NonceUnknown, NonceExpired, NonceUsed, EKUntrusted, EKMismatch, AKUnknown, AKRevoked,
		AKTemplate, SigInvalid, MagicInvalid, PCRBank, PCRUnmeasured, LogMalformed, LogMismatch, RefvalMissing,
		RefvalMismatch, RefvalUnlogged, VersionRevoked, Rollback, DebugImage, ResetAnomaly, TPMCleared, HWUnrooted,
		CodeInvalid, NotAdmitted,
	}
}
