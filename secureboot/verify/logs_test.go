// SPDX-License-Identifier: Apache-2.0

//go:build simtpm && cgo

package verify

import (
	"crypto/sha256"
	"fmt"
	"strings"
	"testing"

	"incamera/secureboot/eventlog"
	"incamera/secureboot/evidence"
)

// TestTruncatedLog cuts both logs at each event, and between: a cut log parses
// nearly everywhere, and passes nowhere.
func TestTruncatedLog(t *testing.T) {
	r := newRig(t)
	quoted := r.statement()
	r.quote(quoted) // covers registers, not logs: one does for all
	parsed := 0
	for n := range r.firmware.Events {
		l := *r.firmware
		l.Events = l.Events[:n]
		s := *quoted
		s.claims.Quote.Log = l.Encode()
		if _, err := eventlog.Parse(s.claims.Quote.Log); err == nil {
			parsed++
		}
		result := r.appraise(&s)
		if !result.Failed(evidence.LogMismatch) || result.Status != evidence.Contraindicated || result.Release != nil {
			t.Errorf("firmware's log cut to %d events: %+v", n, result.Failures)
		}
	}
	if parsed == 0 {
		t.Error("no cut log parses, so this test shows nothing about replay")
	}
	for n := 1; n < len(r.phases); n += 7 {
		s := *quoted
		s.claims.Quote.Phases = r.phases[:n]
		result := r.appraise(&s)
		if !result.Failed(evidence.LogMismatch) && !result.Failed(evidence.LogMalformed) {
			t.Errorf("log of phases cut to %d bytes: %+v", n, result.Failures)
		}
	}
}

// TestReorderedLog swaps each event with the next of its register, moves it to
// another one, doubles it, and adds one.
func TestReorderedLog(t *testing.T) {
	r := newRig(t)
	quoted := r.statement()
	r.quote(quoted)
	mutate := func(name string, change func([]eventlog.Event) []eventlog.Event) {
		l := *r.firmware
		l.Events = change(append([]eventlog.Event(nil), l.Events...))
		s := *quoted
		s.claims.Quote.Log = l.Encode()
		if result := r.appraise(&s); !result.Failed(evidence.LogMismatch) || result.Status != evidence.Contraindicated {
			t.Errorf("%s: %+v", name, result.Failures)
		}
	}
	swaps := 0
	for i, e := range r.firmware.Events {
		for j := i + 1; j < len(r.firmware.Events); j++ {
			if o := r.firmware.Events[j]; o.PCR == e.PCR && fmt.Sprint(o.Digests) != fmt.Sprint(e.Digests) {
				swaps++
				mutate(fmt.Sprintf("events %d and %d swapped", i, j), func(all []eventlog.Event) []eventlog.Event {
					all[i], all[j] = all[j], all[i]
					return all
				})
				break
			}
		}
		mutate(fmt.Sprintf("event %d moved", i), func(all []eventlog.Event) []eventlog.Event {
			all[i].PCR = (all[i].PCR + 1) % 8
			return all
		})
		mutate(fmt.Sprintf("event %d doubled", i), func(all []eventlog.Event) []eventlog.Event {
			return append(all, all[i])
		})
	}
	if swaps == 0 {
		t.Error("nothing was swapped")
	}
	// A log that only says something else about the same digests replays: then
	// nothing of what it says is believed.
	l := *r.firmware
	l.Events = append([]eventlog.Event(nil), l.Events...)
	l.Events[0].Data = []byte("lies")
	s := r.statement()
	s.claims.Quote.Log = l.Encode()
	wantOnly(t, r.appraise(s), evidence.Affirming)
}

// TestPCRZero: a chip that was started and never measured into. The quote is
// genuine, and an empty log replays to it.
func TestPCRZero(t *testing.T) {
	r := newRig(t)
	r.chip.Reset()
	s := r.statement()
	s.claims.BootCount++
	s.claims.Quote.Log, s.claims.Quote.Phases = eventlog.New().Encode(), nil
	result := r.appraise(s)
	wantOnly(t, result, evidence.Contraindicated, evidence.PCRUnmeasured)
	if n := len(result.Failures); n != len(allPCRs) {
		t.Errorf("%d registers refused; want %d", n, len(allPCRs))
	}
	// A reference that lists zeros does not help.
	s = r.statement()
	s.claims.BootCount++
	s.claims.Quote.Log, s.claims.Quote.Phases = eventlog.New().Encode(), nil
	s.values.Values = []evidence.PCRValue{{PCR: 7}, {PCR: 12}}
	for i := range s.values.Phases {
		s.values.Phases[i].PCR11 = evidence.Digest{}
	}
	wantOnly(t, r.appraise(s), evidence.Contraindicated, evidence.PCRUnmeasured)

	for _, value := range [][32]byte{{}, {31: 3}, {31: 4}, [32]byte([]byte(strings.Repeat("\xff", 32)))} {
		if !untouched(value) {
			t.Errorf("%x counts as measured", value)
		}
	}
	if untouched([32]byte{0: 1}) || untouched(sha256.Sum256(nil)) {
		t.Error("a measured register counts as untouched")
	}
}

// TestOffender: a mismatch names the first event that does not belong.
func TestOffender(t *testing.T) {
	r := newRig(t)
	for _, tt := range []struct {
		name   string
		change func(*evidence.ReferenceValues)
		pcr    int
		event  string // in what is shown
	}{
		{"another initrd", func(v *evidence.ReferenceValues) {
			v.Sections = append([]evidence.Section(nil), v.Sections...)
			v.Sections[2].Digest[0] ^= 1
			v.Phases = otherPhases(v.Phases)
		}, 11, "EV_IPL"},
		{"firmware's volume", func(v *evidence.ReferenceValues) {
			v.Events = append([]evidence.BoardEvent{v.Events[0]}, v.Events[2:]...)
		}, 0, "EV_EFI_PLATFORM_FIRMWARE_BLOB"},
		{"keys", func(v *evidence.ReferenceValues) {
			v.Values = v.Values[1:]
			v.Events = append(v.Events, evidence.BoardEvent{PCR: 7, Digest: sha256.Sum256(secureBoot), Name: "known"})
		}, 7, "EV_EFI_VARIABLE_AUTHORITY"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := r.statement()
			tt.change(&s.values)
			result := r.appraise(s)
			wantOnly(t, result, evidence.Contraindicated, evidence.RefvalMismatch)
			e := result.Offender()
			if e == nil || e.PCR != tt.pcr || !strings.Contains(e.Name, tt.event) {
				t.Fatalf("offender %+v; want PCR %d, %s", e, tt.pcr, tt.event)
			}
			if got := r.firmware.Events[e.Number]; got.PCR != e.PCR || string(got.Digests[0].Sum) != string(e.Digest[:]) {
				t.Errorf("event %d of the log is %v", e.Number, got)
			}
		})
	}
	s := r.statement() // a phase too many, found in the second log
	s.policy.Phase = "leave-initrd"
	result := r.appraise(s)
	if e := result.Offender(); e == nil || e.Number < len(r.firmware.Events) || !strings.Contains(e.Name, `"sysinit"`) {
		t.Errorf("offender %+v; want the phase sysinit", e)
	}
}

// TestRollback: an older release, genuine, signed and logged.
func TestRollback(t *testing.T) {
	r := newRig(t)
	for minimum, ok := range map[uint64]bool{0: true, 7: true, 8: false} {
		s := r.statement()
		s.policy.Minimum = minimum
		result := r.appraise(s)
		if ok {
			wantOnly(t, result, evidence.Affirming)
			continue
		}
		wantOnly(t, result, evidence.Contraindicated, evidence.Rollback)
		if result.Release == nil || result.Release.Version != version {
			t.Error("the verdict does not say which release it is")
		}
	}
	// It cannot pass for a newer one, whose reference values exist as well.
	s := r.statement()
	s.policy.Minimum = 8
	s.claims.Version = "1.5.0"
	s.values.Version, s.values.Rollback, s.values.Phases = "1.5.0", 8, otherPhases(s.values.Phases)
	wantOnly(t, r.appraise(s), evidence.Contraindicated, evidence.RefvalMismatch)
}

// TestEmptyReferences: nothing to compare with refuses everyone.
func TestEmptyReferences(t *testing.T) {
	r := newRig(t)
	s := r.statement()
	cmw := r.sign(s)
	for name, refs := range map[string]References{"zero value": {}, "loaded": load(t, Trust{Signers: s.trust.Signers, Log: s.trust.Log})} {
		result := Appraise(cmw, s.challenge, s.device, refs, s.policy, s.now)
		wantOnly(t, result, evidence.Contraindicated, evidence.RefvalMissing)
		if result.Release != nil {
			t.Errorf("%s: a release without reference values", name)
		}
	}
	// A document that nobody trusted signed is as good as none.
	signed, err := evidence.SignReferences(s.values, newKey(t))
	if err != nil {
		t.Fatal(err)
	}
	refs, err := LoadReferences(s.trust, Document{Signed: signed, Proof: r.prove(signed)})
	if err == nil {
		t.Error("LoadReferences takes a foreign signature")
	}
	wantOnly(t, Appraise(cmw, s.challenge, s.device, refs, s.policy, s.now), evidence.Contraindicated, evidence.RefvalMissing)
	if refs, err = LoadReferences(Trust{}, Document{Signed: signed}); err == nil || len(refs.Values()) != 0 {
		t.Error("LoadReferences without signers takes a document")
	}
}

func load(t *testing.T, trust Trust) References {
	t.Helper()
	refs, err := LoadReferences(trust)
	if err != nil {
		t.Fatal(err)
	}
	return refs
}

// TestDebugImage: an image with a shell is refused by what was measured, though
// it claims to be closed and its reference values are signed and logged.
func TestDebugImage(t *testing.T) {
	r := newRig(t)
	r.chip.Reset()
	r.boot(commandLine + " systemd.debug_shell")
	s := r.statement()
	s.claims.BootCount++
	result := r.appraise(s)
	wantOnly(t, result, evidence.Contraindicated, evidence.DebugImage)
	if e := result.Offender(); e == nil || e.PCR != 12 {
		t.Errorf("offender %+v; want the command line", e)
	}
	// By its image's command line, where firmware measured none.
	r.chip.Reset()
	r.boot(commandLine)
	s = r.statement()
	s.claims.BootCount += 2
	s.values.CommandLine += " rd.break=pre-mount"
	wantOnly(t, r.appraise(s), evidence.Contraindicated, evidence.DebugImage)

	// What a log merely says of a digest is no command line.
	l := *r.firmware
	l.Events = append([]eventlog.Event(nil), l.Events...)
	for i, e := range l.Events {
		if e.PCR == 12 {
			l.Events[i].Data = eventlog.UTF16("init=/bin/sh")
		}
	}
	s = r.statement()
	s.claims.BootCount += 2
	s.claims.Quote.Log = l.Encode()
	wantOnly(t, r.appraise(s), evidence.Affirming)

	for line, want := range map[string]bool{
		commandLine: false, "": false, "console=ttyS0 quiet incamera.roothash=init": false, "init=/bin/sh": true, "rdinit=/sh": true,
		"quiet single": true, "systemd.unit=rescue.target": true, "systemd.unit=multi-user.target": false,
		"rd.systemd.debug-shell=1": true, "incamera.debug": true, "kgdboc=ttyS0": true,
	} {
		if opensShell(line) != want {
			t.Errorf("opensShell(%q) = %v; want %v", line, !want, want)
		}
	}
}
