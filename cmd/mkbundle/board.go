// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"

	"incamera/secureboot/eventlog"
	"incamera/secureboot/evidence"
	"incamera/secureboot/measure"
)

// A board is what the build knows of a board: its profile, and what its
// firmware may measure.
type board struct {
	Board      string                `json:"board"`
	FirstStage string                `json:"first_stage"` // the first code that measures
	VerifiedBy string                `json:"verified_by"` // what verified it; "" if nothing did
	Rules      []evidence.Rule       `json:"rules"`       // none: those of a UEFI board
	Values     []evidence.PCRValue   `json:"values"`
	Events     []evidence.BoardEvent `json:"events"`
}

// maxBoard bounds the file of a board: some hundred events.
const maxBoard = 256 << 10

func readBoard(path string) (*board, error) {
	b, err := read(path, maxBoard)
	if err != nil {
		return nil, err
	}
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	p := new(board)
	if err := d.Decode(p); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("%s: more than one value", path)
	}
	if p.Rules == nil {
		p.Rules = evidence.DefaultRules()
	}
	for _, r := range p.Rules {
		if r.PCR < 0 || r.PCR >= eventlog.NumPCRs {
			return nil, fmt.Errorf("%s: rule for PCR %d", path, r.PCR)
		}
	}
	return p, nil
}

func (b *board) word(pcr int) evidence.Word {
	for _, r := range b.Rules {
		if r.PCR == pcr {
			return r.Word
		}
	}
	return ""
}

// learn takes from the firmware's log of a known good board what the build
// cannot compute: the events and values that do not come from the image.
func (b *board) learn(path string) error {
	raw, err := read(path, eventlog.MaxLog)
	if err != nil {
		return err
	}
	l, err := eventlog.Parse(raw)
	if err != nil {
		return err
	}
	pcrs, err := eventlog.Replay(l)
	if err != nil {
		return err
	}
	learnt := 0
	for _, r := range b.Rules {
		if r.PCR == measure.PCRBoot || r.PCR > 7 {
			continue // of the image: predicted, so that no log can add to them
		}
		switch r.Word {
		case evidence.Exact:
			b.Values = append(b.Values, evidence.PCRValue{PCR: r.PCR, Value: pcrs[r.PCR]})
			learnt++
		case evidence.Events:
			for _, e := range l.Events {
				sum, ok := e.SHA256()
				if ok && e.PCR == r.PCR && e.Type != eventlog.NoAction {
					b.Events = append(b.Events, evidence.BoardEvent{PCR: e.PCR, Digest: sum, Name: e.Type.String()})
					learnt++
				}
			}
		case evidence.Zero, evidence.Any:
		default:
			return fmt.Errorf("PCR %d has the word %q", r.PCR, r.Word)
		}
	}
	if learnt == 0 {
		return errors.New("nothing in the log is of use for this board")
	}
	return nil
}

// predicted adds what the image will measure, under the board's words.
func (b *board) predicted(boot []measure.Event, pcr int, value [32]byte) {
	var p eventlog.PCRs
	for _, e := range boot {
		p.Extend(e.PCR, e.Digest)
		if b.word(e.PCR) == evidence.Events {
			b.Events = append(b.Events, evidence.BoardEvent{PCR: e.PCR, Digest: e.Digest, Name: e.Name})
		}
	}
	p[pcr] = value
	for _, i := range []int{measure.PCRBoot, pcr} {
		if b.word(i) == evidence.Exact {
			b.Values = append(b.Values, evidence.PCRValue{PCR: i, Value: p[i]})
		}
	}
}

// complete sorts, drops what comes twice, and refuses a board of which a
// register would have to equal something that nobody gave.
func (b *board) complete() error {
	slices.SortFunc(b.Values, func(x, y evidence.PCRValue) int {
		return cmp.Or(cmp.Compare(x.PCR, y.PCR), bytes.Compare(x.Value[:], y.Value[:]))
	})
	b.Values = slices.Compact(b.Values)
	slices.SortStableFunc(b.Events, func(x, y evidence.BoardEvent) int {
		return cmp.Or(cmp.Compare(x.PCR, y.PCR), bytes.Compare(x.Digest[:], y.Digest[:]), cmp.Compare(x.Name, y.Name))
	})
	b.Events = slices.CompactFunc(b.Events, func(x, y evidence.BoardEvent) bool { return x.PCR == y.PCR && x.Digest == y.Digest })
	for _, r := range b.Rules {
		hasValue := slices.ContainsFunc(b.Values, func(v evidence.PCRValue) bool { return v.PCR == r.PCR })
		hasEvent := slices.ContainsFunc(b.Events, func(e evidence.BoardEvent) bool { return e.PCR == r.PCR })
		switch {
		case r.Word == evidence.Exact && r.PCR != eventlog.PCRPhases && !hasValue:
			return fmt.Errorf("PCR %d must be exact, and neither the board's values nor a -board-log has one", r.PCR)
		case r.Word == evidence.Events && !hasEvent:
			return fmt.Errorf("every event of PCR %d must be listed, and neither the board's events nor a -board-log has one", r.PCR)
		}
	}
	return nil
}
