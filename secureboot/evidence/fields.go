// SPDX-License-Identifier: Apache-2.0

package evidence

import (
	"bytes"
	"fmt"
	"slices"

	"github.com/fxamacker/cbor/v2"
)

// fields is a CBOR map that keeps its order. The deterministic order is that of
// the encoded keys; documents of others often have another.
type fields []field

type field struct{ key, value cbor.RawMessage }

// maxFields bounds a map, as the decoder's own limit does.
const maxFields = 256

// UnmarshalCBOR implements [cbor.Unmarshaler]. The decoder has checked that b is
// well formed, and its nesting, but leaves duplicate keys to us.
func (f *fields) UnmarshalCBOR(b []byte) error {
	n, rest, err := mapHead(b)
	if err != nil {
		return err
	}
	all := make(fields, 0, n)
	for range n {
		var e field
		for _, item := range []*cbor.RawMessage{&e.key, &e.value} {
			if rest, err = deepDecoder.UnmarshalFirst(rest, item); err != nil {
				return fmt.Errorf("%w: %w", ErrMalformed, err)
			}
		}
		var key any
		if err := deepDecoder.Unmarshal(e.key, &key); err != nil {
			return fmt.Errorf("%w: %w", ErrMalformed, err)
		}
		// In one spelling, equal keys have equal bytes.
		if again, err := encode(key); err != nil || !bytes.Equal(again, e.key) || all.get(e.key) != nil {
			return fmt.Errorf("%w: key of a map", ErrMalformed)
		}
		all = append(all, e)
	}
	if len(rest) != 0 {
		return fmt.Errorf("%w: map", ErrMalformed)
	}
	*f = all
	return nil
}

// mapHead reads the head of a map of definite length (RFC 8949, Section 3.1).
func mapHead(b []byte) (n int, rest []byte, err error) {
	if len(b) == 0 || b[0]>>5 != 5 {
		return 0, nil, fmt.Errorf("%w: no map", ErrMalformed)
	}
	switch low := b[0] & 0x1f; {
	case low < 24:
		n, rest = int(low), b[1:]
	case low == 24 && len(b) > 1:
		n, rest = int(b[1]), b[2:]
	default:
		return 0, nil, fmt.Errorf("%w: map of more than %d", ErrMalformed, maxFields-1)
	}
	return n, rest, nil
}

// MarshalCBOR implements [cbor.Marshaler].
func (f fields) MarshalCBOR() ([]byte, error) {
	if f == nil {
		return []byte{0xf6}, nil // null
	}
	if len(f) >= maxFields {
		return nil, ErrTooLarge
	}
	b := []byte{5<<5 | 24, byte(len(f))}
	if len(f) < 24 {
		b = []byte{5<<5 | byte(len(f))}
	}
	for _, e := range f {
		b = append(append(b, e.key...), e.value...)
	}
	return b, nil
}

// get returns the value under an encoded key, or nil.
func (f fields) get(key []byte) cbor.RawMessage {
	for _, e := range f {
		if bytes.Equal(e.key, key) {
			return e.value
		}
	}
	return nil
}

// at returns the value under an integer, or nil.
func (f fields) at(label int) cbor.RawMessage {
	key, err := encode(label)
	if err != nil {
		return nil
	}
	return f.get(key)
}

// take decodes the value under label into v, if it is there.
func (f fields) take(label int, v any) error {
	raw := f.at(label)
	if raw == nil {
		return nil
	}
	return decode(deepDecoder, raw, MaxReferences, v)
}

// with returns a copy of f that has v under label: in its old place, or else in
// deterministic order. A v that is a nil slice was not there and is not added.
func (f fields) with(label int, v any) (fields, error) {
	key, err := encode(label)
	if err != nil {
		return nil, err
	}
	value, err := encode(v)
	if err != nil {
		return nil, err
	}
	i := slices.IndexFunc(f, func(e field) bool { return bytes.Equal(e.key, key) })
	if i >= 0 {
		all := slices.Clone(f)
		all[i].value = value
		return all, nil
	}
	if value[0] == 0xf6 { // null
		return f, nil
	}
	i, _ = slices.BinarySearchFunc(f, key, func(e field, key []byte) int { return bytes.Compare(e.key, key) })
	return slices.Insert(slices.Clone(f), i, field{key, value}), nil
}
