// SPDX-License-Identifier: Apache-2.0

package verify

import (
	"slices"
	"strings"
	"unicode/utf16"

	"incamera/secureboot/evidence"
)

// release does step 6: the release is one that the site admits, and closed.
func (a *appraisal) release() {
	e := a.evidence
	if slices.Contains(a.policy.RevokedVersions, e.Version) {
		a.refuse(evidence.VersionRevoked, "release %q was withdrawn", e.Version)
	}
	if a.chosen != nil && a.chosen.values.Rollback < a.policy.Minimum {
		a.refuse(evidence.Rollback, "release %q has number %d, the site's minimum is %d",
			e.Version, a.chosen.values.Rollback, a.policy.Minimum)
	}
	// The claim binds nobody; what was measured does.
	if e.Debug == evidence.DebugEnabled {
		a.refuse(evidence.DebugImage, "the room says that debugging is enabled")
	}
	if a.chosen != nil && a.chosen.debug {
		a.refuse(evidence.DebugImage, "signed by a key for developers")
	}
	if a.chosen != nil && opensShell(a.chosen.values.CommandLine) {
		a.refuse(evidence.DebugImage, "the image's command line opens a shell")
	}
	if a.measured == nil {
		return
	}
	for i, ev := range a.measured.events {
		if ev.PCR == pcrConfig && ev.Authentic() && opensShell(fromUTF16(ev.Data)) {
			a.fail(evidence.DebugImage, evidence.Contraindicated, describe(i, ev), "the measured command line opens a shell")
		}
	}
}

// opensShell reports whether a kernel command line has a word that gives who
// stands before the box a shell, or replaces our init.
func opensShell(line string) bool {
	for word := range strings.FieldsSeq(line) {
		key, value, _ := strings.Cut(word, "=")
		switch strings.ReplaceAll(key, "_", "-") { // the kernel and systemd take both
		case "systemd.debug-shell", "rd.systemd.debug-shell", "rd.break", "rd.shell", "rd.emergency", "single", "s", "S",
			"1", "emergency", "rescue", "init", "rdinit", "systemd.default-debug-tty", "kgdboc", "kgdbwait":
			return true
		case "systemd.unit", "rd.systemd.unit":
			if value != "multi-user.target" {
				return true
			}
		case "incamera.debug":
			return true
		}
	}
	return false
}

// fromUTF16 reads little-endian UTF-16, with or without a NUL at the end, as
// boot loaders log command lines.
func fromUTF16(b []byte) string {
	units := make([]uint16, 0, len(b)/2)
	for i := 0; i+1 < len(b); i += 2 {
		units = append(units, uint16(b[i])|uint16(b[i+1])<<8)
	}
	return strings.TrimRight(string(utf16.Decode(units)), "\x00")
}

// counters does step 7: how often the TPM started, beside how often the room did.
func (a *appraisal) counters() {
	if a.attest == nil {
		return
	}
	d, clock := &a.result.Device, a.attest.ClockInfo
	if clock.RestartCount != 0 {
		// TPM2_Startup after a suspend, or with its state restored: rooms do
		// neither, and the registers need not be of one start.
		a.refuse(evidence.ResetAnomaly, "the TPM was resumed %d times since its reset; rooms never suspend", clock.RestartCount)
	}
	if last := max(d.ResetCount, d.LastReset); clock.ResetCount < last {
		a.refuse(evidence.TPMCleared, "the TPM counts %d resets, and counted %d before", clock.ResetCount, last)
	}
	// Resets without a start of the system: someone may have reset the TPM alone
	// and replayed the measurements. A power cut before the initrd adds one, too.
	had, has := uint64(d.ResetCount)+a.evidence.BootCount, uint64(clock.ResetCount)+d.BootCount
	if has > had {
		status := evidence.Contraindicated
		if a.policy.ResetAnomaly == evidence.Warning {
			status = evidence.Warning
		}
		a.fail(evidence.ResetAnomaly, status, nil, "the TPM was reset %d times more than the room started", has-had)
	}
}

// roots does step 8: what no verdict better than a warning can rest on, unless
// the site says that it accepts that.
func (a *appraisal) roots() {
	status := evidence.Warning
	if a.policy.Unrooted == evidence.Affirming {
		status = evidence.Affirming
	}
	note := func(code evidence.Code, what string) { a.fail(code, status, nil, "%s", what) }
	d := &a.result.Device
	if d.Soft {
		note(evidence.HWUnrooted, "the TPM is a program: no hardware root")
	}
	if !d.EKCertified {
		note(evidence.EKUntrusted, "no maker known to the site vouches for the TPM")
	}
	if a.chosen != nil && a.chosen.values.Profile.VerifiedBy == "" {
		note(evidence.HWUnrooted, "nothing verified the first stage that measures")
	}
}
