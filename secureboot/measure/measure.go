// SPDX-License-Identifier: Apache-2.0

// Package measure says in advance what a start with a unified kernel image
// (UKI) will measure: the PCRs of its sections, of its phases and of its
// command line, and the digest by which firmware measures the image itself. It
// also writes UKIs, so that the build predicts from the bytes that it ships.
//
// What it predicts for is systemd-stub 254 and systemd-boot 254 as firmware.md
// has them; it reads UKIs as hostile input. It does not read logs (package
// eventlog) and judges nothing (package verify).
package measure

import (
	"crypto/sha256"

	"incamera/secureboot/eventlog"
)

// The phases of a start, in order, extended into PCR 11 after the sections.
const (
	EnterInitrd = "enter-initrd"
	LeaveInitrd = "leave-initrd"
	Sysinit     = "sysinit"
	Ready       = "ready"
)

// Phases returns the phases in the order of a start.
func Phases() []string { return []string{EnterInitrd, LeaveInitrd, Sysinit, Ready} }

// order is the order in which systemd-stub measures sections, whatever their
// order in the file. Signatures of PCR values cannot be measured into that PCR.
var order = []string{".linux", ".osrel", ".cmdline", ".initrd", ".splash", ".dtb", ".uname", ".sbat", ".pcrpkey"}

// Event is something that the stub or the boot loader extends: a digest, and
// the data that it is of.
type Event struct {
	PCR    int
	Digest [sha256.Size]byte
	Name   string // what is measured, such as ".osrel" or ".osrel content"
}

// Measured returns the sections that the stub measures, in the order in which it
// does.
func Measured(sections []Section) []Section {
	var measured []Section
	for _, name := range order {
		for _, s := range sections {
			if s.Name == name {
				measured = append(measured, s)
			}
		}
	}
	return measured
}

// SectionEvents returns what the stub extends into PCR 11, in order: for each
// section that is there, its name with a NUL, then its content. Sections that
// the stub does not measure are passed over.
func SectionEvents(sections []Section) []Event {
	var events []Event
	for _, s := range Measured(sections) {
		events = append(events,
			Event{eventlog.PCRPhases, sha256.Sum256([]byte(s.Name + "\x00")), s.Name},
			Event{eventlog.PCRPhases, sha256.Sum256(s.Data), s.Name + " content"})
	}
	return events
}

// PCR11 returns the value of PCR 11 in the SHA-256 bank after a start with
// these sections has reached the last of phases. The order of sections does not
// matter, that of phases does. No name may come twice: [Sections] sees to that.
func PCR11(sections []Section, phases ...string) [sha256.Size]byte {
	var p eventlog.PCRs
	for _, e := range SectionEvents(sections) {
		p.Extend(e.PCR, e.Digest)
	}
	for _, word := range phases {
		p.Extend(eventlog.PCRPhases, sha256.Sum256([]byte(word)))
	}
	return p[eventlog.PCRPhases]
}

// PCRCommandLine is the PCR of the kernel's command line.
const PCRCommandLine = 12

// CommandLineEvent returns the one event that systemd-boot extends into PCR 12
// for a UKI that it starts: the embedded command line in UTF-16 with its NUL.
// With Secure Boot off the stub extends the same once more.
func CommandLineEvent(cmdline string) Event {
	return Event{PCRCommandLine, sha256.Sum256(eventlog.UTF16(cmdline)), "command line"}
}

// PCR12 returns the value of PCR 12 after a start with Secure Boot on.
func PCR12(cmdline string) [sha256.Size]byte {
	var p eventlog.PCRs
	e := CommandLineEvent(cmdline)
	p.Extend(e.PCR, e.Digest)
	return p[PCRCommandLine]
}
