// SPDX-License-Identifier: Apache-2.0

package evidence

import (
	"bytes"
	"errors"
	"fmt"

	"github.com/fxamacker/cbor/v2"
)

// Errors of every decoder here. The caller turns them into the codes
// [TooLarge] and [Malformed].
var (
	ErrTooLarge  = errors.New("evidence: too large")
	ErrMalformed = errors.New("evidence: malformed")
)

// ErrSignature means that a signature does not verify under the key given.
var ErrSignature = errors.New("evidence: signature does not verify")

// Limits, checked before anything is decoded.
const (
	// MaxCMW bounds evidence and results, as the verifier's endpoint does.
	MaxCMW = 256 << 10
	// MaxReferences bounds signed reference values: several hundred board
	// events of 100 bytes each.
	MaxReferences = 512 << 10
	// MaxProof bounds a log proof: 64 hashes and a checkpoint with witnesses.
	MaxProof = 16 << 10

	maxLog    = 192 << 10 // the limit of the event log's parser
	maxPhases = 16 << 10
	maxTPM    = 2 << 10 // any one TPM structure: the largest, TPMT_PUBLIC of RSA 4096, is below 1 KiB
	maxText   = 256     // names, versions, descriptions
	maxBoots  = 1 << 40 // so that sums with counts of the TPM, which have 32 bits, do not overflow
)

// Nesting as fxamacker/cbor counts it: arrays, maps and tags.
const (
	maxDepth = 8
	// CoRIM itself nests deeper: a digest lies in map, triples, list, triple,
	// list, measurement, values, digests, digest.
	maxDepthCoRIM = 12
)

var (
	encoder     = must(cbor.CoreDetEncOptions().EncMode())
	decoder     = must(decOptions(maxDepth, cbor.TagsForbidden).DecMode())
	deepDecoder = must(decOptions(maxDepthCoRIM, cbor.TagsAllowed).DecMode())
)

func decOptions(depth int, tags cbor.TagsMode) cbor.DecOptions {
	return cbor.DecOptions{
		DupMapKey:         cbor.DupMapKeyEnforcedAPF,
		IndefLength:       cbor.IndefLengthForbidden,
		TagsMd:            tags,
		MaxNestedLevels:   depth,
		MaxArrayElements:  4096,
		MaxMapPairs:       256,
		ExtraReturnErrors: cbor.ExtraDecErrorUnknownField,
		UTF8:              cbor.UTF8RejectInvalid,
		FieldNameMatching: cbor.FieldNameMatchingCaseSensitive,
	}
}

// must takes the error off a mode whose options are constants of this file.
func must[T any](mode T, err error) T {
	if err != nil {
		panic(err)
	}
	return mode
}

// encode writes v in the core deterministic form (RFC 8949, Section 4.2.1).
func encode(v any) ([]byte, error) {
	b, err := encoder.Marshal(v)
	if err != nil {
		return nil, fmt.Errorf("evidence: encode: %w", err)
	}
	return b, nil
}

// decode reads b into v, at most limit bytes, and refuses every spelling of a
// value but the deterministic one, so that a hash of the bytes is a hash of
// the value.
func decode(mode cbor.DecMode, b []byte, limit int, v any) error {
	if len(b) > limit {
		return ErrTooLarge
	}
	if err := mode.Unmarshal(b, v); err != nil {
		return fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	again, err := encode(v)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	if !bytes.Equal(again, b) {
		return fmt.Errorf("%w: not the deterministic encoding", ErrMalformed)
	}
	return nil
}
