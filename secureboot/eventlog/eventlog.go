// SPDX-License-Identifier: Apache-2.0

// Package eventlog reads, writes and replays the logs of a measured boot: the
// firmware's log (TCG PC Client Platform Firmware Profile 1.05, "PFP",
// Sections 10.2 to 10.4) and our own log of boot phases, which has the same
// form.
//
// A log is the word of whoever hands it over. That it parses proves nothing: a
// log that was cut, reordered or padded parses as well. Only a replay that
// gives the PCR values of a quote binds it, see [Check]; and even then what it
// binds are the digests of the events that extend a PCR. Of the rest, the data
// of an event is bound only where [Event.Authentic] says so; an event's type,
// and all of an EV_NO_ACTION event, never are.
//
// This package does not judge what was measured: package verify does.
package eventlog

import (
	"crypto/sha256"
	"errors"
	"fmt"
)

// Limits of a log. They are checked before anything is allocated for what they
// limit. Logs of PCs have 9 to 73 KB and up to 120 events.
const (
	MaxLog    = 192 << 10 // bytes
	MaxEvents = 4096      // not counting the Spec ID record
	MaxData   = 64 << 10  // bytes of data of one event
)

// NumPCRs is the number of PCRs of a PC Client TPM.
const NumPCRs = 24

var (
	// ErrMalformed means that bytes are no log, or one beyond the limits.
	ErrMalformed = errors.New("eventlog: malformed log")
	// ErrBank means that the log cannot be replayed for the SHA-256 bank: it
	// is in SHA-1 form, or an event lacks that digest.
	ErrBank = errors.New("eventlog: no SHA-256 digests")
	// ErrMismatch means that the log is not the one of those PCR values.
	ErrMismatch = errors.New("eventlog: log does not replay to the PCRs")
)

// Algorithm is a TPM_ALG_ID (TCG Algorithm Registry, Section 6.10).
type Algorithm uint16

// The hash algorithms whose digest sizes are known.
const (
	SHA1   Algorithm = 0x0004
	SHA256 Algorithm = 0x000b
	SHA384 Algorithm = 0x000c
	SHA512 Algorithm = 0x000d
	SM3    Algorithm = 0x0012
)

// size returns the digest's length in bytes, 0 if the algorithm is unknown.
func (a Algorithm) size() int {
	switch a {
	case SHA1:
		return 20
	case SHA256, SM3:
		return 32
	case SHA384:
		return 48
	case SHA512:
		return 64
	default:
		return 0
	}
}

// Digest is what an event extended into the bank of one algorithm.
type Digest struct {
	Algorithm Algorithm
	Sum       []byte
}

// Event is one record of a log.
type Event struct {
	Num  int  // position in the log; the Spec ID record is 0
	PCR  int  // 0 to 23; -1 for an EV_NO_ACTION that names none (PFP, Section 10.4.5)
	Type Type // not bound by any digest
	// Digests has at most one entry for each algorithm, in the order of the log.
	Digests []Digest
	// Data describes the event. It shares memory with what was parsed.
	Data []byte
}

// SHA256 returns the event's digest in the SHA-256 bank, and whether it has one.
func (e Event) SHA256() (sum [sha256.Size]byte, ok bool) {
	for _, d := range e.Digests {
		if d.Algorithm == SHA256 {
			return [sha256.Size]byte(d.Sum), true
		}
	}
	return sum, false
}

// Authentic reports whether the SHA-256 digest is that of Data, so that a
// replay binds Data, too. Where it is not, the digest is of something else (a
// PE image, a variable as stored, a string without its NUL): judge the digest,
// and only display Data.
func (e Event) Authentic() bool {
	sum, ok := e.SHA256()
	return ok && e.Type != NoAction && sum == sha256.Sum256(e.Data)
}

// String names the event without its data, which is hostile.
func (e Event) String() string {
	return fmt.Sprintf("event %d (PCR %d, %v)", e.Num, e.PCR, e.Type)
}

// Log is a log in the order of its events, without the Spec ID record.
type Log struct {
	Events []Event

	spec *specID // nil in a log of SHA-1 form
}

// New returns an empty log for the SHA-256 bank.
func New() *Log {
	return &Log{spec: &specID{
		version: [3]byte{0, 2, 0}, // minor, major, errata
		uintn:   2,                // PFP, Section 10.4.5.1: 64 bits
		algs:    []algSize{{SHA256, sha256.Size}},
	}}
}

// Add appends an event with that digest in the SHA-256 bank to a log made by
// [New]. The log keeps data.
func (l *Log) Add(pcr int, t Type, digest [sha256.Size]byte, data []byte) {
	l.Events = append(l.Events, Event{
		Num:     len(l.Events) + 1,
		PCR:     pcr,
		Type:    t,
		Digests: []Digest{{SHA256, digest[:]}},
		Data:    data,
	})
}

// Measure adds an event whose digest is that of its data.
func (l *Log) Measure(pcr int, t Type, data []byte) {
	l.Add(pcr, t, sha256.Sum256(data), data)
}
