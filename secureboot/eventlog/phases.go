// SPDX-License-Identifier: Apache-2.0

package eventlog

import (
	"crypto/sha256"
	"fmt"
)

// The firmware's log ends when firmware hands over to the kernel. What our init
// and its units extend afterwards goes into a log of its own, the phase log: a
// crypto-agile log as above, with SHA-256 alone, to which records are appended.
// systemd writes JSON there. We write both ends, so one format with one parser
// is enough, and foreign tools read it, too.
//
// It is narrower than the firmware's: every record is an EV_IPL in a PCR that
// is the system's (8 to 15), its data is a word, and its digest is that of the
// word, so that a replay binds all of it.

// PCRPhases is the PCR of the boot phases, which also holds the UKI's sections.
const PCRPhases = 11

const (
	maxPhases = 64  // records; a start has 4 phases and a few identities
	maxWord   = 256 // bytes
)

// PhaseHeader returns the bytes that a phase log begins with.
func PhaseHeader() []byte { return New().Encode() }

// PhaseRecord returns the record that says that word was extended into a PCR,
// to be appended to the phase log, and the digest to extend. It refuses what
// [ParsePhases] would refuse.
func PhaseRecord(pcr int, word string) (record []byte, digest [sha256.Size]byte, err error) {
	digest = sha256.Sum256([]byte(word))
	e := Event{PCR: pcr, Type: IPL, Digests: []Digest{{SHA256, digest[:]}}, Data: []byte(word)}
	if err := checkPhase(e); err != nil {
		return nil, digest, fmt.Errorf("eventlog: phase record: %w", err)
	}
	return appendEvent2(nil, e), digest, nil
}

// ParsePhases reads a phase log. Errors wrap [ErrMalformed].
func ParsePhases(b []byte) (*Log, error) {
	l, err := Parse(b)
	if err != nil {
		return nil, err
	}
	if l.spec == nil || len(l.spec.algs) != 1 || l.spec.algs[0].id != SHA256 || len(l.spec.vendor) != 0 {
		return nil, fmt.Errorf("%w: not a phase log", ErrMalformed)
	}
	if len(l.Events) > maxPhases {
		return nil, fmt.Errorf("%w: phase log: more than %d records", ErrMalformed, maxPhases)
	}
	for _, e := range l.Events {
		if err := checkPhase(e); err != nil {
			return nil, fmt.Errorf("%w: phase log: %v: %w", ErrMalformed, e, err)
		}
	}
	return l, nil
}

func checkPhase(e Event) error {
	switch {
	case e.Type != IPL || !e.Authentic():
		return fmt.Errorf("not the digest of a word")
	case e.PCR < 8 || e.PCR > 15: // below is firmware's, above anyone may reset
		return fmt.Errorf("PCR %d", e.PCR)
	case len(e.Data) == 0 || len(e.Data) > maxWord:
		return fmt.Errorf("word of %d bytes", len(e.Data))
	}
	for _, c := range e.Data {
		if c < '!' || c > '~' {
			return fmt.Errorf("word is not printable")
		}
	}
	return nil
}

// Words returns the words that the log has for a PCR, in order.
func (l *Log) Words(pcr int) []string {
	var words []string
	for _, e := range l.Events {
		if e.PCR == pcr {
			words = append(words, string(e.Data))
		}
	}
	return words
}
