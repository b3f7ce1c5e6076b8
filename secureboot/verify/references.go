// SPDX-License-Identifier: Apache-2.0

package verify

import (
	"crypto"
	"crypto/sha256"
	"errors"
	"fmt"

	"golang.org/x/mod/sumdb/note"

	"incamera/secureboot/evidence"
)

// A Document is a release's reference values as shipped.
type Document struct {
	Signed []byte // CoRIM
	Proof  []byte // that it is in the log; nil: it is not
}

// A Signer is a key that may sign reference values.
type Signer struct {
	Key crypto.PublicKey
	// Debug means that the key signs images for developers: a room that runs one
	// is refused, but by name.
	Debug bool
}

// Trust says whose reference values count.
type Trust struct {
	Signers []Signer
	Log     []note.Verifier // the log first, then the witnesses that the site demands
}

// References are the reference values that rooms are compared with. The zero
// value has none, so that every room is refused. They do not change and may be
// shared by goroutines.
type References struct{ sets []reference }

type reference struct {
	values   *evidence.ReferenceValues
	hash     evidence.Digest // of the signed document
	debug    bool            // signed by a key for developers
	unlogged string          // why the document is not known to be in the log; "" if it is
}

// LoadReferences verifies documents. It returns those whose signature holds, and
// an error that names the others. One that is not proven to be in the log
// stays, marked, so that a verdict can say why it does not count.
func LoadReferences(t Trust, documents ...Document) (References, error) {
	var r References
	var errs []error
	for i, d := range documents {
		set, err := loadReference(t, d)
		if err != nil {
			errs = append(errs, fmt.Errorf("verify: reference values %d: %w", i, err))
			continue
		}
		r.sets = append(r.sets, set)
	}
	return r, errors.Join(errs...)
}

func loadReference(t Trust, d Document) (reference, error) {
	err := evidence.ErrSignature // with no key at all
	for _, s := range t.Signers {
		var values *evidence.ReferenceValues
		if values, err = evidence.ParseReferences(d.Signed, s.Key); err == nil {
			return reference{
				values: values, hash: sha256.Sum256(d.Signed), debug: s.Debug, unlogged: checkLogged(t.Log, d),
			}, nil
		}
		if !errors.Is(err, evidence.ErrSignature) {
			break
		}
	}
	return reference{}, err
}

// checkLogged returns why a document is not in the log, or "".
func checkLogged(log []note.Verifier, d Document) string {
	if len(d.Proof) == 0 {
		return "no proof that they are in the public log"
	}
	p, err := evidence.ParseProof(d.Proof)
	if err == nil {
		_, err = p.Verify(d.Signed, log...)
	}
	if err != nil {
		return err.Error()
	}
	return ""
}

// Values returns the reference values, each as its build wrote it, for display.
func (r References) Values() []evidence.ReferenceValues {
	all := make([]evidence.ReferenceValues, len(r.sets))
	for i := range r.sets {
		all[i] = *r.sets[i].values
	}
	return all
}

// ErrRefused means that a result does not admit its room.
var ErrRefused = errors.New("verify: the verifier refused the room")

// FromResult returns what a peer needs to appraise a room's fresh evidence when
// all it holds is the result in the room's certificate, whose signature was
// verified when it was parsed: the room's keys and counters, and the registers
// that the verifier judged good, as exact values. Whoever uses it trusts the
// verifier for what the values mean. It returns [ErrRefused] if the result
// does not admit the room.
func FromResult(result *evidence.Result) (evidence.Device, References, error) {
	if result.Status != evidence.Affirming && result.Status != evidence.Warning ||
		result.Release == nil || result.State == nil {
		return evidence.Device{}, References{}, ErrRefused
	}
	v := &evidence.ReferenceValues{
		Board: result.Device.Board, Version: result.Release.Version, Rollback: result.Release.Rollback,
		Profile: evidence.BoardProfile{FirstStage: result.Release.FirstStage, VerifiedBy: result.Release.VerifiedBy},
	}
	for _, g := range result.State.Registers {
		word := g.Word
		switch word {
		case evidence.Any, evidence.Zero:
		case evidence.Exact, evidence.Events:
			word = evidence.Exact
		default:
			return evidence.Device{}, References{}, fmt.Errorf("%w: word of register %d", evidence.ErrMalformed, g.PCR)
		}
		v.Profile.Rules = append(v.Profile.Rules, evidence.Rule{PCR: g.PCR, Word: word})
		if word == evidence.Exact {
			v.Values = append(v.Values, evidence.PCRValue{PCR: g.PCR, Value: g.Value})
		}
	}
	if len(v.Values) == 0 {
		return evidence.Device{}, References{}, fmt.Errorf("%w: a result without registers", evidence.ErrMalformed)
	}
	return result.Device, References{sets: []reference{{values: v, hash: result.References}}}, nil
}

// reference does step 5 but for the comparison: it picks the reference values
// of this board and version.
func (a *appraisal) reference(r References) {
	e, d := a.evidence, &a.result.Device
	if e.Board != d.Board {
		a.refuse(evidence.RefvalMismatch, "the room says that it is a %q, but a %q is enrolled", e.Board, d.Board)
	}
	for i := range r.sets {
		if s := &r.sets[i]; s.values.Board == d.Board && s.values.Version == e.Version {
			if a.chosen == nil || a.chosen.unlogged != "" && s.unlogged == "" { // the same release, logged since
				a.chosen = s
			}
		}
	}
	if a.chosen == nil {
		a.refuse(evidence.RefvalMissing, "no reference values for release %q on board %q", e.Version, d.Board)
		return
	}
	a.result.References = a.chosen.hash
	if a.chosen.unlogged != "" {
		a.refuse(evidence.RefvalUnlogged, "reference values: %s", a.chosen.unlogged)
	}
}
