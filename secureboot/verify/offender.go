// SPDX-License-Identifier: Apache-2.0

package verify

import (
	"crypto/sha256"
	"strconv"
	"unicode/utf8"

	"incamera/secureboot/eventlog"
	"incamera/secureboot/evidence"
)

// mismatch refuses a register and names the first event that does not belong.
func (a *appraisal) mismatch(pcr int, why string) {
	if a.measured.events != nil {
		e := a.unlisted(pcr)
		if pcr == pcrPhases {
			e = a.outOfOrder()
		}
		if e != nil {
			a.offend(e, why)
			return
		}
	}
	a.fail(evidence.RefvalMismatch, evidence.Contraindicated,
		&evidence.Event{PCR: pcr, Number: -1, Digest: a.measured.values[pcr]},
		"PCR %d: %s; no single event can be named", pcr, why)
}

// offend refuses because of an event.
func (a *appraisal) offend(e *evidence.Event, why string) {
	a.fail(evidence.RefvalMismatch, evidence.Contraindicated, e, "PCR %d: %s: event %d, %s", e.PCR, why, e.Number, e.Name)
}

// unlisted returns the first event of a register that the reference values do
// not list, or nil.
func (a *appraisal) unlisted(pcr int) *evidence.Event {
	known := map[evidence.Digest]bool{}
	for _, e := range a.chosen.values.Events {
		if e.PCR == pcr {
			known[e.Digest] = true
		}
	}
	if len(known) == 0 && a.word(pcr) != evidence.Events {
		return nil // the reference has values alone: no event is better or worse than another
	}
	for i, e := range a.measured.events {
		if sum, ok := e.SHA256(); e.PCR == pcr && e.Type != eventlog.NoAction && (!ok || !known[sum]) {
			return describe(i, e)
		}
	}
	return nil
}

func (a *appraisal) word(pcr int) evidence.Word {
	for _, r := range a.chosen.values.Profile.Rules {
		if r.PCR == pcr {
			return r.Word
		}
	}
	return ""
}

// outOfOrder returns the first event of PCR 11 that differs from what the image
// and the phases up to the policy's lead to.
func (a *appraisal) outOfOrder() *evidence.Event {
	v := a.chosen.values
	var want []evidence.Digest
	for _, s := range v.Sections {
		want = append(want, sha256.Sum256([]byte(s.Name+"\x00")), s.Digest)
	}
	for _, p := range v.Phases {
		if p.Name != "" {
			want = append(want, sha256.Sum256([]byte(p.Name)))
		}
		if p.Name == a.policy.Phase {
			break
		}
	}
	if len(v.Sections) == 0 { // values alone, as from a result
		return nil
	}
	for i, e := range a.measured.events {
		if e.PCR != pcrPhases || e.Type == eventlog.NoAction {
			continue
		}
		if sum, ok := e.SHA256(); !ok || len(want) == 0 || sum != want[0] {
			return describe(i, e)
		}
		want = want[1:]
	}
	return nil // something is missing at the end
}

// describe names an event for people. Its data is shown only where the digest
// covers it, and quoted.
func describe(i int, e eventlog.Event) *evidence.Event {
	sum, _ := e.SHA256()
	name := e.Type.String()
	if e.Authentic() && len(e.Data) > 0 && utf8.Valid(e.Data) {
		name += " " + strconv.QuoteToASCII(string(e.Data[:min(len(e.Data), 64)]))
	}
	return &evidence.Event{PCR: e.PCR, Number: i, Type: uint32(e.Type), Digest: sum, Name: name}
}
