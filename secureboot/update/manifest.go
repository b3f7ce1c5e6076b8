// SPDX-License-Identifier: Apache-2.0

package update

import (
	"bytes"
	"errors"
	"fmt"
	"regexp"

	"github.com/fxamacker/cbor/v2"
	"golang.org/x/mod/semver"

	"incamera/secureboot/evidence"
	"incamera/secureboot/measure"
)

// Limits, checked before anything is decoded or written.
const (
	// MaxManifest bounds a signed manifest: reference values, the log, and some.
	MaxManifest = 1 << 20
	// MaxSystem bounds a system image. A slot has 256 MiB today.
	MaxSystem = 1 << 30
	// MaxUKI bounds a unified kernel image: the ESP of 128 MiB holds two.
	MaxUKI = 60 << 20

	maxPolicies = 16 << 10
	maxHistory  = 256 << 10 // hashes of a log of 4,096 releases
)

// A Part is what follows the manifest: a size in bytes and a SHA-256.
type Part struct {
	Size   int64           `cbor:"1,keyasint"`
	SHA256 evidence.Digest `cbor:"2,keyasint"`
}

// A Manifest says what a release is. Delegations and floor raises lie in the
// policies, where the TPM judges them; the hash of the bill of materials in
// the reference values.
type Manifest struct {
	Board      string          `cbor:"2,keyasint"` // hardware and kind of image, such as "qemu-arm64/debian"
	Version    string          `cbor:"3,keyasint"` // semantic, without build metadata
	Rollback   uint64          `cbor:"4,keyasint"` // compared with the floor
	System     Part            `cbor:"5,keyasint"` // first in the bundle
	UKI        Part            `cbor:"6,keyasint"` // second
	VerityRoot evidence.Digest `cbor:"7,keyasint"`
	Policies   []byte          `cbor:"8,keyasint"`  // policies.cbor, see package seal
	References []byte          `cbor:"9,keyasint"`  // signed, see package evidence
	LogProof   []byte          `cbor:"10,keyasint"` // that References is in the log
	// History is the log itself, as [evidence.Log] writes it, at the size of
	// the proof's checkpoint: with it a room checks that the log only grew
	// since the checkpoint that it saw last, whichever that was.
	History []byte `cbor:"11,keyasint"`
	// FloorRaise is the floor once the release has proven itself, or 0. The
	// policies then have the root's signature for it.
	FloorRaise uint64 `cbor:"12,keyasint"`
}

type wireManifest struct {
	Format int `cbor:"1,keyasint"` // 1
	Manifest
}

const format = 1

var (
	encoder = must(cbor.CoreDetEncOptions().EncMode())
	decoder = must(cbor.DecOptions{
		DupMapKey:         cbor.DupMapKeyEnforcedAPF,
		IndefLength:       cbor.IndefLengthForbidden,
		TagsMd:            cbor.TagsForbidden,
		MaxNestedLevels:   5,
		MaxArrayElements:  16,
		MaxMapPairs:       16,
		ExtraReturnErrors: cbor.ExtraDecErrorUnknownField,
		UTF8:              cbor.UTF8RejectInvalid,
		FieldNameMatching: cbor.FieldNameMatchingCaseSensitive,
	}.DecMode())
)

// must is for options fixed at build time.
func must[T any](mode T, err error) T {
	if err != nil {
		panic(err)
	}
	return mode
}

var errSpelling = errors.New("not the deterministic encoding")

// decode refuses every spelling of a value but the deterministic one (RFC 8949,
// Section 4.2.1).
func decode(b []byte, v any) error {
	if err := decoder.Unmarshal(b, v); err != nil {
		return err
	}
	again, err := encoder.Marshal(v)
	if err == nil && !bytes.Equal(again, b) {
		err = errSpelling
	}
	return err
}

func (m *Manifest) marshal() ([]byte, error) {
	if err := m.check(); err != nil {
		return nil, err
	}
	b, err := encoder.Marshal(wireManifest{format, *m})
	if err != nil {
		return nil, fmt.Errorf("update: manifest: %w", err)
	}
	return b, nil
}

func parseManifest(b []byte) (*Manifest, error) {
	var w wireManifest
	if err := decode(b, &w); err != nil {
		return nil, refuse(Malformed, "manifest: %w", err)
	}
	if w.Format != format {
		return nil, refuse(Malformed, "manifest of format %d", w.Format)
	}
	return &w.Manifest, w.check()
}

// check holds what must be true of a manifest alone.
func (m *Manifest) check() error {
	switch {
	case !boards.MatchString(m.Board):
		return refuse(Malformed, "board %.64q", m.Board)
	case !validVersion(m.Version):
		return refuse(Malformed, "version %.64q", m.Version)
	case m.Rollback == 0 || m.Rollback > 1<<62 || m.FloorRaise > m.Rollback:
		return refuse(Malformed, "rollback number %d, floor raised to %d", m.Rollback, m.FloorRaise)
	case m.System.Size < 1 || m.UKI.Size < 1:
		return refuse(Malformed, "an empty part")
	case m.System.Size > MaxSystem || m.UKI.Size > min(MaxUKI, measure.MaxImage):
		return refuse(TooLarge, "parts of %d and %d bytes", m.System.Size, m.UKI.Size)
	case len(m.Policies) == 0 || len(m.References) == 0 || len(m.LogProof) == 0 || len(m.History) == 0:
		return refuse(Malformed, "policies, reference values, log proof or log missing")
	case len(m.Policies) > maxPolicies || len(m.References) > evidence.MaxReferences || len(m.LogProof) > evidence.MaxProof || len(m.History) > maxHistory:
		return refuse(TooLarge, "policies of %d, reference values of %d, proof of %d, log of %d bytes",
			len(m.Policies), len(m.References), len(m.LogProof), len(m.History))
	}
	return nil
}

var (
	boards   = regexp.MustCompile(`^[a-z0-9-]{1,24}(/[a-z0-9-]{1,16})?$`)
	versions = regexp.MustCompile(`^[0-9]{1,6}\.[0-9]{1,6}\.[0-9]{1,6}(-[0-9a-z][0-9a-z.]{0,15})?$`)
)

// validVersion accepts what can be part of a file name on the ESP and what the
// loader and package semver order alike: "+" begins the loader's counter there.
func validVersion(v string) bool { return versions.MatchString(v) && semver.IsValid("v"+v) }

func compareVersions(a, b string) int { return semver.Compare("v"+a, "v"+b) }
