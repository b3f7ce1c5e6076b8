// SPDX-License-Identifier: Apache-2.0

package evidence

import (
	"fmt"

	"github.com/fxamacker/cbor/v2"
)

// checkEAT holds a claims set against the general rules of RFC 9711, Section 4,
// whatever its profile: types and sizes of the registered claims, down through
// submodules that are claims sets themselves. Claims that it does not know are
// ignored, as Section 3 demands.
func checkEAT(claims []byte) error {
	var all map[any]cbor.RawMessage
	if err := decoder.Unmarshal(claims, &all); err != nil {
		return fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	for label, raw := range all {
		n, ok := label.(uint64) // every registered label is positive
		if !ok {
			continue
		}
		if check, ok := claimRules[n]; ok && !check(raw) {
			return fmt.Errorf("%w: claim %d", ErrMalformed, n)
		}
	}
	return checkSubmods(all[uint64(266)])
}

// claimRules are by label. Rules look at one value.
var claimRules = map[uint64]func(cbor.RawMessage) bool{
	4:   is[int64], // exp, nbf and iat of a CWT: whole seconds in an EAT (Section 4.3.1)
	5:   is[int64],
	6:   is[int64],
	10:  isNonce,
	256: isUEID,
	257: isSUEIDs,
	258: isOEMID,
	259: func(raw cbor.RawMessage) bool { return sized(raw, 1, 32) },
	260: isVersion,
	261: is[uint64],
	262: is[bool],
	263: func(raw cbor.RawMessage) bool {
		var d uint64
		return decoder.Unmarshal(raw, &d) == nil && d <= uint64(DebugDisabledFully)
	},
	265: func(raw cbor.RawMessage) bool { return is[string](raw) || sized(raw, 1, 64) }, // URI or OID
	267: is[uint64],
	268: is[[]byte],
	270: is[string],
	271: isVersion,
}

// is reports whether raw is of the CBOR type that decodes into T.
func is[T bool | int64 | uint64 | string | []byte](raw cbor.RawMessage) bool {
	var v any
	if decoder.Unmarshal(raw, &v) != nil {
		return false
	}
	if _, ok := v.(T); ok {
		return true
	}
	if _, ok := any(*new(T)).(int64); ok { // decodes as uint64 where it is not negative
		_, ok = v.(uint64)
		return ok
	}
	return false
}

func sized(raw cbor.RawMessage, low, high int) bool {
	var b []byte
	return is[[]byte](raw) && decoder.Unmarshal(raw, &b) == nil && len(b) >= low && len(b) <= high
}

func isNonce(raw cbor.RawMessage) bool {
	var several []cbor.RawMessage
	if is[[]byte](raw) || decoder.Unmarshal(raw, &several) != nil {
		return sized(raw, 8, 64)
	}
	for _, one := range several {
		if !sized(one, 8, 64) {
			return false
		}
	}
	return len(several) >= 2
}

// isUEID takes a UEID as the opaque value that it is to whoever reads one
// (Section 4.2.1.3).
func isUEID(raw cbor.RawMessage) bool { return sized(raw, 7, 33) }

func isSUEIDs(raw cbor.RawMessage) bool {
	var all map[string]cbor.RawMessage
	if decoder.Unmarshal(raw, &all) != nil || len(all) == 0 {
		return false
	}
	for _, one := range all {
		if !isUEID(one) {
			return false
		}
	}
	return true
}

func isOEMID(raw cbor.RawMessage) bool {
	return is[int64](raw) || sized(raw, 3, 3) || sized(raw, 16, 16)
}

// isVersion takes a version and perhaps its scheme, a number or a name.
func isVersion(raw cbor.RawMessage) bool {
	var parts []cbor.RawMessage
	if decoder.Unmarshal(raw, &parts) != nil || len(parts) < 1 || len(parts) > 2 || !is[string](parts[0]) {
		return false
	}
	return len(parts) == 1 || is[int64](parts[1]) || is[string](parts[1])
}

// checkSubmods looks into submodules that are claims sets. Nested tokens and
// digests are somebody else's statements (Section 4.2.18).
func checkSubmods(raw cbor.RawMessage) error {
	if raw == nil {
		return nil
	}
	var all map[string]cbor.RawMessage
	if err := decoder.Unmarshal(raw, &all); err != nil || len(all) == 0 {
		return fmt.Errorf("%w: submods", ErrMalformed)
	}
	for _, one := range all {
		var digest []cbor.RawMessage
		switch {
		case is[[]byte](one), is[string](one):
		case decoder.Unmarshal(one, &digest) == nil:
			if len(digest) != 2 || !is[int64](digest[0]) && !is[string](digest[0]) || !is[[]byte](digest[1]) {
				return fmt.Errorf("%w: digest of a submodule", ErrMalformed)
			}
		default:
			if err := checkEAT(one); err != nil {
				return err
			}
		}
	}
	return nil
}
