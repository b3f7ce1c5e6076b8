// SPDX-License-Identifier: Apache-2.0

package evidence

import (
	"fmt"
	"time"
)

// submodule is our label of the one appraisal in a result.
const submodule = "room"

type wireResult struct {
	Issued   int64                    `cbor:"6,keyasint"`
	Profile  string                   `cbor:"265,keyasint"`
	Submods  map[string]wireAppraisal `cbor:"266,keyasint"`
	Verifier wireVerifier             `cbor:"1004,keyasint"`
}

type wireVerifier struct {
	Developer string `cbor:"0,keyasint"`
	Build     string `cbor:"1,keyasint"`
}

type wireAppraisal struct {
	Nonce      []byte         `cbor:"10,keyasint,omitempty"`
	Profile    string         `cbor:"265,keyasint"`
	Status     Status         `cbor:"1000,keyasint"`
	Vector     map[uint8]int8 `cbor:"1001,keyasint"`
	Policies   []string       `cbor:"1003,keyasint"`
	Failures   []wireFailure  `cbor:"-70010,keyasint,omitempty"`
	Device     Device         `cbor:"-70011,keyasint"`
	Release    *wireRelease   `cbor:"-70012,keyasint,omitempty"`
	Evidence   Digest         `cbor:"-70013,keyasint"`
	References *Digest        `cbor:"-70014,keyasint,omitempty"`
	State      *wireState     `cbor:"-70015,keyasint,omitempty"`
}

type wireFailure struct {
	Code   Code       `cbor:"1,keyasint"`
	Status Status     `cbor:"2,keyasint"`
	Detail string     `cbor:"3,keyasint"`
	Event  *wireEvent `cbor:"4,keyasint,omitempty"`
}

type wireEvent struct {
	_           struct{} `cbor:",toarray"`
	PCR, Number int
	Type        uint32
	Digest      Digest
	Name        string
}

type wireRelease struct {
	_          struct{} `cbor:",toarray"`
	Version    string
	Rollback   uint64
	FirstStage string
	VerifiedBy string
}

type wireState struct {
	_                        struct{} `cbor:",toarray"`
	ResetCount, RestartCount uint32
	Safe                     bool
	BootCount                uint64
	Registers                []wireRegister
}

type wireRegister struct {
	_     struct{} `cbor:",toarray"`
	PCR   int
	Word  Word
	Value Digest
}

func (r *Result) wire() wireResult {
	a := wireAppraisal{
		Nonce: r.Nonce, Profile: Profile, Status: r.Status, Vector: map[uint8]int8{}, Policies: []string{r.PolicyID},
		Device: r.Device, Evidence: r.Evidence,
	}
	for i, v := range r.Vector {
		if v != 0 {
			a.Vector[uint8(i)] = v
		}
	}
	for _, f := range r.Failures {
		w := wireFailure{Code: f.Code, Status: f.Status, Detail: f.Detail}
		if e := f.Event; e != nil {
			w.Event = &wireEvent{PCR: e.PCR, Number: e.Number, Type: e.Type, Digest: e.Digest, Name: e.Name}
		}
		a.Failures = append(a.Failures, w)
	}
	if r.References != (Digest{}) {
		a.References = &r.References
	}
	if l := r.Release; l != nil {
		a.Release = &wireRelease{Version: l.Version, Rollback: l.Rollback, FirstStage: l.FirstStage, VerifiedBy: l.VerifiedBy}
	}
	if s := r.State; s != nil {
		a.State = &wireState{
			ResetCount: s.ResetCount, RestartCount: s.RestartCount, Safe: s.Safe, BootCount: s.BootCount,
			Registers: []wireRegister{},
		}
		for _, g := range s.Registers {
			a.State.Registers = append(a.State.Registers, wireRegister{PCR: g.PCR, Word: g.Word, Value: g.Value})
		}
	}
	return wireResult{
		Issued: r.Issued.Unix(), Profile: earProfile, Submods: map[string]wireAppraisal{submodule: a},
		Verifier: wireVerifier{Developer: r.Developer, Build: r.Build},
	}
}

func decodeResult(s *sign1) (*Result, error) {
	if len(s.message.Headers.Protected) != 1 {
		return nil, fmt.Errorf("%w: protected header", ErrMalformed)
	}
	var w wireResult
	if err := decode(decoder, s.message.Payload, MaxCMW, &w); err != nil {
		return nil, err
	}
	a, ok := w.Submods[submodule]
	if !ok || len(w.Submods) != 1 || w.Profile != earProfile || a.Profile != Profile || len(a.Policies) != 1 {
		return nil, fmt.Errorf("%w: EAR of another profile", ErrMalformed)
	}
	r := &Result{
		Issued: time.Unix(w.Issued, 0).UTC(), Developer: w.Verifier.Developer, Build: w.Verifier.Build,
		PolicyID: a.Policies[0], Nonce: a.Nonce, Status: a.Status, Evidence: a.Evidence, Device: a.Device,
	}
	for i, v := range a.Vector {
		if int(i) >= len(r.Vector) || v == 0 {
			return nil, fmt.Errorf("%w: trustworthiness vector", ErrMalformed)
		}
		r.Vector[i] = v
	}
	for _, f := range a.Failures {
		g := Failure{Code: f.Code, Status: f.Status, Detail: f.Detail}
		if e := f.Event; e != nil {
			g.Event = &Event{PCR: e.PCR, Number: e.Number, Type: e.Type, Digest: e.Digest, Name: e.Name}
		}
		r.Failures = append(r.Failures, g)
	}
	if a.References != nil {
		if r.References = *a.References; r.References == (Digest{}) {
			return nil, fmt.Errorf("%w: hash of reference values", ErrMalformed)
		}
	}
	if l := a.Release; l != nil {
		r.Release = &Release{Version: l.Version, Rollback: l.Rollback, FirstStage: l.FirstStage, VerifiedBy: l.VerifiedBy}
	}
	if s := a.State; s != nil {
		r.State = &State{ResetCount: s.ResetCount, RestartCount: s.RestartCount, Safe: s.Safe, BootCount: s.BootCount}
		for _, g := range s.Registers {
			r.State.Registers = append(r.State.Registers, Register{PCR: g.PCR, Word: g.Word, Value: g.Value})
		}
	}
	return r, r.check()
}

// check holds the rules of the draft and of our profile for both directions.
func (r *Result) check() error {
	worst := Affirming
	for _, f := range r.Failures {
		if f.Status != Affirming && f.Status != Warning && f.Status != Contraindicated || len(f.Code) > 32 || len(f.Detail) > 2*maxText {
			return fmt.Errorf("%w: failed check", ErrMalformed)
		}
		if f.Event != nil && (f.Event.PCR < 0 || f.Event.PCR > 23 || len(f.Event.Name) > 2*maxText) {
			return fmt.Errorf("%w: offending event", ErrMalformed)
		}
		worst = max(worst, f.Status)
	}
	for _, v := range r.Vector {
		worst = max(worst, tier(v))
	}
	switch {
	case r.Status != Affirming && r.Status != Warning && r.Status != Contraindicated:
		return fmt.Errorf("%w: status %d", ErrMalformed, r.Status)
	case r.Status < worst: // draft-ietf-rats-ear-04, Section 3.1
		return fmt.Errorf("%w: status better than what it rests on", ErrMalformed)
	case r.Status != Contraindicated && (r.Release == nil || r.State == nil || r.References == (Digest{})):
		return fmt.Errorf("%w: verdict without release", ErrMalformed)
	case len(r.Failures) > 128, len(r.Nonce) > 64, len(r.Developer)+len(r.Build)+len(r.PolicyID) > 3*maxText:
		return fmt.Errorf("%w: result", ErrTooLarge)
	case r.Release != nil && (!plain(r.Release.Version) || len(r.Release.FirstStage)+len(r.Release.VerifiedBy) > 2*maxText):
		return fmt.Errorf("%w: release", ErrMalformed)
	}
	if r.State != nil {
		last := -1
		for _, g := range r.State.Registers {
			if g.PCR <= last || g.PCR > 23 {
				return fmt.Errorf("%w: registers", ErrMalformed)
			}
			last = g.PCR
		}
	}
	return r.Device.check(r.Status == Contraindicated)
}

// check lets a refused device be incomplete, since that may be why.
func (d *Device) check(refused bool) error {
	switch {
	case len(d.EKName) > maxTPM || len(d.AK) > maxTPM || len(d.LDevID) > maxTPM || len(d.KeyPolicy) > 64 || len(d.Board) > 32:
		return fmt.Errorf("%w: device", ErrTooLarge)
	case !refused && (len(d.EKName) == 0 || len(d.AK) == 0 || len(d.LDevID) == 0 || !plain(d.Board)):
		return fmt.Errorf("%w: device", ErrMalformed)
	}
	return nil
}

// tier maps a trustworthiness claim to its tier (AR4SI, Section 2.3.2).
func tier(v int8) Status {
	switch {
	case v >= -1 && v <= 1:
		return None
	case v >= -32 && v <= 31:
		return Affirming
	case v >= -96 && v <= 95:
		return Warning
	}
	return Contraindicated
}
