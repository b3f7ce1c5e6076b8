// SPDX-License-Identifier: Apache-2.0

package evidence

import (
	"bytes"
	"cmp"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// A Digest is a SHA-256 value. Its text form is lower-case hexadecimal.
type Digest [32]byte

// String returns the text form.
func (d Digest) String() string { return hex.EncodeToString(d[:]) }

// MarshalText writes the text form.
func (d Digest) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// UnmarshalText reads the text form, in lower case only.
func (d *Digest) UnmarshalText(text []byte) error {
	b, err := hex.DecodeString(string(text))
	if err != nil || len(b) != len(d) || strings.ToLower(string(text)) != string(text) {
		return fmt.Errorf("%w: digest", ErrMalformed)
	}
	*d = Digest(b)
	return nil
}

// A Word is the rule for one platform configuration register.
type Word string

// The words. All-zero and all-FF values are refused under any word but [Zero].
const (
	Exact  Word = "exact"  // equals the reference
	Events Word = "events" // every event is listed
	Zero   Word = "zero"   // must be untouched
	Any    Word = "any"    // must replay; content not judged, but for PCR 15, which equals the enrolled value
)

// A Rule gives a register its word.
type Rule struct {
	PCR  int  `json:"pcr"`
	Word Word `json:"word"`
}

// A BoardProfile says what a board measures, and how far that can be trusted.
type BoardProfile struct {
	// Rules has one rule for each register that is quoted, in ascending order.
	Rules []Rule `json:"rules"`
	// FirstStage names the first code that measures, VerifiedBy what verified
	// it. The latter empty, nothing did: no verdict is better than a warning.
	FirstStage string `json:"first_stage"`
	VerifiedBy string `json:"verified_by,omitempty"`
}

// DefaultRules returns the table of a UEFI board.
func DefaultRules() []Rule {
	return []Rule{
		{0, Events},
		{1, Any},
		{2, Any},
		{3, Any},
		{4, Events},
		{5, Any},
		{6, Any},
		{7, Exact},
		{11, Exact},
		{12, Exact},
		{15, Any},
	}
}

// A Section is a measured section of the unified kernel image.
type Section struct {
	Name   string `json:"name"`   // with its dot
	Digest Digest `json:"sha256"` // of the content
}

// A Phase is the value of PCR 11 once a boot phase was measured.
type Phase struct {
	Name  string `json:"name"` // such as "ready"; "" before the first phase
	PCR11 Digest `json:"pcr11"`
}

// A PCRValue is an accepted value of a register under [Exact]. A register may
// have several.
type PCRValue struct {
	PCR   int    `json:"pcr"`
	Value Digest `json:"sha256"`
}

// A BoardEvent is an accepted event of a register under [Events]. For registers
// under other words it only helps to name the first offending event.
type BoardEvent struct {
	PCR    int    `json:"pcr"`
	Digest Digest `json:"sha256"` // as extended
	Name   string `json:"name"`   // for people
}

// ReferenceValues say what a release looks like on a board. A build writes
// them; the JSON form is their twin for people and has the same content.
type ReferenceValues struct {
	Board       string       `json:"board"`
	Version     string       `json:"version"`  // of the release, a semantic version
	Rollback    uint64       `json:"rollback"` // compared with the floor and the site's minimum
	Commit      string       `json:"commit"`   // of the source, hexadecimal
	SBOM        Digest       `json:"sbom_sha256"`
	VerityRoot  Digest       `json:"verity_root"`
	CommandLine string       `json:"command_line"` // of the image's .cmdline section
	Sections    []Section    `json:"sections"`     // in the order measured
	Phases      []Phase      `json:"phases"`       // in the order measured
	Values      []PCRValue   `json:"values"`       // ascending by register
	Events      []BoardEvent `json:"events"`       // ascending by register
	Profile     BoardProfile `json:"profile"`
}

// Phase returns the value of PCR 11 in the phase called name.
func (r *ReferenceValues) Phase(name string) (Digest, bool) {
	for _, p := range r.Phases {
		if p.Name == name {
			return p.PCR11, true
		}
	}
	return Digest{}, false
}

// JSON returns the twin, indented, the same bytes for the same values.
func (r *ReferenceValues) JSON() ([]byte, error) {
	if err := r.check(); err != nil {
		return nil, err
	}
	b, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("evidence: encode: %w", err)
	}
	return append(b, '\n'), nil
}

// ParseReferencesJSON reads the twin, in the exact form that JSON writes.
func ParseReferencesJSON(b []byte) (*ReferenceValues, error) {
	if len(b) > MaxReferences {
		return nil, ErrTooLarge
	}
	r := new(ReferenceValues)
	if err := json.Unmarshal(b, r); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	again, err := r.JSON()
	if err != nil {
		return nil, err
	}
	if !bytes.Equal(again, b) {
		return nil, fmt.Errorf("%w: not the form in which it is written", ErrMalformed)
	}
	return r, nil
}

// check holds what must be true of reference values in any encoding.
func (r *ReferenceValues) check() error {
	switch commit, err := hex.DecodeString(r.Commit); {
	case !plain(r.Board) || len(r.Board) > 32 || !plain(r.Version):
		return fmt.Errorf("%w: board or version", ErrMalformed)
	case err != nil || len(commit) < 20 || len(commit) > 32 || strings.ToLower(r.Commit) != r.Commit:
		return fmt.Errorf("%w: commit", ErrMalformed)
	case len(r.CommandLine) > 4<<10 || r.CommandLine != "" && !plainLine(r.CommandLine):
		return fmt.Errorf("%w: command line", ErrMalformed)
	case len(r.Sections) > 32 || len(r.Phases) > 16 || len(r.Values) > 256 || len(r.Events) > 2048:
		return fmt.Errorf("%w: reference values", ErrTooLarge)
	case len(r.Phases) == 0:
		return fmt.Errorf("%w: no value of PCR 11", ErrMalformed)
	}
	names := map[string]bool{}
	for _, s := range r.Sections {
		if !plain(s.Name) || len(s.Name) > 32 || strings.Contains(s.Name, "/") || names[s.Name] {
			return fmt.Errorf("%w: section", ErrMalformed)
		}
		names[s.Name] = true
	}
	phases := map[string]bool{}
	for _, p := range r.Phases {
		if p.Name != "" && !plain(p.Name) || len(p.Name) > 32 || strings.Contains(p.Name, "/") || phases[p.Name] {
			return fmt.Errorf("%w: phase", ErrMalformed)
		}
		phases[p.Name] = true
	}
	for _, v := range r.Values {
		if v.PCR < 0 || v.PCR > 23 || v.PCR == 11 {
			return fmt.Errorf("%w: value of PCR %d", ErrMalformed, v.PCR)
		}
	}
	for _, e := range r.Events {
		if e.PCR < 0 || e.PCR > 23 || !plain(e.Name) {
			return fmt.Errorf("%w: event of PCR %d", ErrMalformed, e.PCR)
		}
	}
	if !slices.IsSortedFunc(r.Values, func(a, b PCRValue) int { return cmp.Compare(a.PCR, b.PCR) }) ||
		!slices.IsSortedFunc(r.Events, func(a, b BoardEvent) int { return cmp.Compare(a.PCR, b.PCR) }) {
		return fmt.Errorf("%w: registers not in ascending order", ErrMalformed)
	}
	return r.Profile.check()
}

func (p *BoardProfile) check() error {
	if !plain(p.FirstStage) || p.VerifiedBy != "" && !plain(p.VerifiedBy) {
		return fmt.Errorf("%w: first measuring stage", ErrMalformed)
	}
	last := -1
	for _, r := range p.Rules {
		switch {
		case r.PCR <= last || r.PCR > 23:
			return fmt.Errorf("%w: rules not in ascending order", ErrMalformed)
		case !slices.Contains([]Word{Exact, Events, Zero, Any}, r.Word):
			return fmt.Errorf("%w: word %.16q", ErrMalformed, r.Word)
		case r.PCR == 11 && r.Word != Exact:
			return fmt.Errorf("%w: PCR 11 must be exact", ErrMalformed) // it alone names the release
		}
		last = r.PCR
	}
	if !slices.Contains(p.Rules, Rule{11, Exact}) {
		return fmt.Errorf("%w: no rule for PCR 11", ErrMalformed)
	}
	return nil
}

// plainLine is plain for texts as long as a command line.
func plainLine(s string) bool {
	for len(s) > maxText {
		cut := maxText
		for cut > 0 && s[cut]&0xc0 == 0x80 { // inside a character
			cut--
		}
		if !plain(s[:cut]) {
			return false
		}
		s = s[cut:]
	}
	return s == "" || plain(s)
}

// The keys under which CoRIM holds the parts; texts, so that people who read the
// document with other tools see what is meant.
const (
	keyRelease     = "release"
	keyCommit      = "commit"
	keySBOM        = "sbom"
	keyVerityRoot  = "verity-root"
	keyCommandLine = "command-line"
	keyProfile     = "profile"
	keySection     = "section/"
	keyPhase       = "pcr11/"
	keyValue       = "value/" // register, then number
	keyEvent       = "event/" // register, then number
)

func numbered(prefix string, pcr, n int) string {
	return prefix + strconv.Itoa(pcr) + "/" + strconv.Itoa(n)
}
