// SPDX-License-Identifier: Apache-2.0

package verify

import (
	"crypto/sha256"
	"errors"
	"slices"

	"github.com/google/go-tpm/tpm2"

	"incamera/secureboot/eventlog"
	"incamera/secureboot/evidence"
)

// measured is what is known of the quoted registers.
type measured struct {
	values eventlog.PCRs
	quoted []int            // registers whose value is known
	events []eventlog.Event // of both logs; nil if the evidence has the log's hash only
}

// judged returns the quoted registers with the words that they were judged by.
func (m *measured) judged(rules []evidence.Rule) []evidence.Register {
	var all []evidence.Register
	for _, r := range rules {
		if slices.Contains(m.quoted, r.PCR) {
			all = append(all, evidence.Register{PCR: r.PCR, Word: r.Word, Value: m.values[r.PCR]})
		}
	}
	return all
}

// registers does step 4 and the comparison of step 5: the quote has exactly the
// profile's registers, both logs lead to them, and each keeps to its word.
func (a *appraisal) registers() {
	if a.quote == nil {
		return
	}
	rules := evidence.DefaultRules()
	if a.chosen != nil {
		rules = a.chosen.values.Profile.Rules
	}
	quoted, ok := selected(a.quote.PCRSelect)
	if !ok {
		a.refuse(evidence.PCRBank, "quoted in other banks than SHA-256 alone")
		return
	}
	exact := slices.EqualFunc(quoted, rules, func(pcr int, r evidence.Rule) bool { return pcr == r.PCR })
	if !exact {
		a.refuse(evidence.PCRBank, "quoted registers %v are not the profile's", quoted)
	}
	if a.measured = a.replay(quoted); a.measured == nil || a.chosen == nil {
		return
	}
	before := len(a.result.Failures)
	for _, r := range rules {
		if slices.Contains(quoted, r.PCR) {
			a.register(r)
		}
	}
	a.matched = exact && len(a.result.Failures) == before
}

// selected returns the registers of a selection in the SHA-256 bank alone.
func selected(s tpm2.TPMLPCRSelection) ([]int, bool) {
	if len(s.PCRSelections) != 1 || s.PCRSelections[0].Hash != tpm2.TPMAlgSHA256 || len(s.PCRSelections[0].PCRSelect) > 3 {
		return nil, false
	}
	var pcrs []int
	for i, b := range s.PCRSelections[0].PCRSelect {
		for bit := range 8 {
			if b&(1<<bit) != 0 {
				pcrs = append(pcrs, 8*i+bit)
			}
		}
	}
	return pcrs, true
}

// replay returns the values that the quote's digest stands for, or nil.
func (a *appraisal) replay(quoted []int) *measured {
	q := &a.evidence.Quote
	m := &measured{quoted: quoted}
	if q.LogOnlyHashed() {
		if len(q.PCRs) != len(quoted)*sha256.Size {
			a.refuse(evidence.LogMismatch, "%d bytes of values for %d registers", len(q.PCRs), len(quoted))
			return nil
		}
		for i, pcr := range quoted {
			m.values[pcr] = [32]byte(q.PCRs[i*sha256.Size:])
		}
	} else {
		firmware, err := eventlog.Parse(q.Log)
		if err != nil {
			a.refuse(evidence.LogMalformed, "firmware's log: %v", err)
			return nil
		}
		logs := []*eventlog.Log{firmware}
		if len(q.Phases) > 0 {
			phases, err := eventlog.ParsePhases(q.Phases)
			if err != nil {
				a.refuse(evidence.LogMalformed, "log of the phases: %v", err)
				return nil
			}
			logs = append(logs, phases)
		}
		if m.values, err = eventlog.Replay(logs...); err != nil {
			code := evidence.LogMalformed
			if errors.Is(err, eventlog.ErrBank) {
				code = evidence.PCRBank
			}
			a.refuse(code, "event log: %v", err)
			return nil
		}
		for _, l := range logs {
			m.events = append(m.events, l.Events...)
		}
	}
	if sum := m.values.Digest(quoted...); string(sum[:]) != string(a.quote.PCRDigest.Buffer) {
		a.refuse(evidence.LogMismatch, "the event log does not lead to the quoted values")
		return nil
	}
	return m
}

// register applies a word to a register.
func (a *appraisal) register(r evidence.Rule) {
	value := a.measured.values[r.PCR]
	if r.Word == evidence.Zero {
		if value != ([32]byte{}) {
			a.mismatch(r.PCR, "must be untouched")
		}
		return
	}
	if untouched(value) {
		a.refuse(evidence.PCRUnmeasured, "PCR %d: nobody measured", r.PCR)
		return
	}
	switch r.Word {
	case evidence.Any:
		if r.PCR == pcrIdentity && value != a.result.Device.PCR15 {
			a.mismatch(r.PCR, "another system identity than the enrolled one")
		}
	case evidence.Exact:
		if !a.accepted(r.PCR, value) {
			a.mismatch(r.PCR, "differs from the reference")
		}
	case evidence.Events:
		switch {
		case a.measured.events != nil:
			if e := a.unlisted(r.PCR); e != nil {
				a.offend(e, "an event that is not listed")
			}
		case !a.accepted(r.PCR, value):
			a.refuse(evidence.RefvalMismatch, "PCR %d: cannot be judged without the event log", r.PCR)
		}
	case evidence.Zero: // above
	default:
		a.refuse(evidence.RefvalMismatch, "PCR %d: word %q", r.PCR, r.Word)
	}
}

// Registers with a meaning of their own.
const (
	pcrPhases   = eventlog.PCRPhases
	pcrConfig   = 12 // command line
	pcrIdentity = 15
)

// untouched reports whether a register is as after a reset: zeros, the startup
// locality in the last byte of PCR 0, or ones.
func untouched(value [32]byte) bool {
	return [31]byte(value[:]) == [31]byte{} || value == [32]byte(slices.Repeat([]byte{0xff}, 32))
}

// accepted reports whether the reference values list the value.
func (a *appraisal) accepted(pcr int, value [32]byte) bool {
	v := a.chosen.values
	if pcr == pcrPhases {
		if want, ok := v.Phase(a.policy.Phase); ok {
			return want == value
		}
	}
	return slices.Contains(v.Values, evidence.PCRValue{PCR: pcr, Value: value})
}
