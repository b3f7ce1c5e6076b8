// SPDX-License-Identifier: Apache-2.0

package mls

import (
	"encoding/binary"
	"math/bits"
)

// The presentation language of TLS with the variable-size vectors of Section
// 2.1.2. Every value has one encoding and the reader takes no other.

// A reader decodes from its bytes and stops at its first error. What it
// returns shares memory with its input.
type reader struct {
	b   []byte
	err error
}

func (r *reader) fail(format string, a ...any) {
	if r.err == nil {
		r.err = malformed(format, a...)
	}
	r.b = nil
}

// limit fails with ErrLimit instead of ErrMalformed.
func (r *reader) limit(what string) {
	if r.err == nil {
		r.err = errLimit(what)
	}
	r.b = nil
}

func errLimit(what string) error { return wrap(ErrLimit, what) }

// take returns the next n bytes, or nil after an error.
func (r *reader) take(n int) []byte {
	if n < 0 || n > len(r.b) {
		r.fail("%d bytes wanted, %d left", n, len(r.b))
		return nil
	}
	out := r.b[:n:n]
	r.b = r.b[n:]
	return out
}

func (r *reader) u8() uint8 {
	if b := r.take(1); b != nil {
		return b[0]
	}
	return 0
}

func (r *reader) u16() uint16 {
	if b := r.take(2); b != nil {
		return binary.BigEndian.Uint16(b)
	}
	return 0
}

func (r *reader) u32() uint32 {
	if b := r.take(4); b != nil {
		return binary.BigEndian.Uint32(b)
	}
	return 0
}

func (r *reader) u64() uint64 {
	if b := r.take(8); b != nil {
		return binary.BigEndian.Uint64(b)
	}
	return 0
}

// size reads the length in front of a vector. Prefix 11 is reserved and a
// length in more bytes than it needs is refused (Section 2.1.2).
func (r *reader) size() int {
	first := r.u8()
	if r.err != nil {
		return 0
	}
	n := uint32(first & 0x3f)
	more := 0
	switch first >> 6 {
	case 1:
		more = 1
	case 2:
		more = 3
	case 3:
		r.fail("length with prefix 11")
		return 0
	}
	for _, b := range r.take(more) {
		n = n<<8 | uint32(b)
	}
	if r.err == nil && sizeLen(n) != 1+more {
		r.fail("length %d in %d bytes", n, 1+more)
		return 0
	}
	return int(n)
}

// vec reads opaque<V> of at most limit bytes.
func (r *reader) vec(limit int) []byte {
	n := r.size()
	if r.err == nil && n > limit {
		r.limit("vector too long")
		return nil
	}
	return r.take(n)
}

// optional reads the presence octet of optional<T> (Section 2.1.1).
func (r *reader) optional() bool {
	switch r.u8() {
	case 0:
		return false
	case 1:
		return r.err == nil
	}
	r.fail("presence octet is neither 0 nor 1")
	return false
}

// end returns the reader's error, or one for bytes that are left over.
func (r *reader) end() error {
	if r.err == nil && len(r.b) != 0 {
		r.fail("%d trailing bytes", len(r.b))
	}
	return r.err
}

// list reads T<V> of at most limit elements in at most size bytes.
func list[T any](r *reader, size, limit int, decode func(*reader) T) []T {
	sub := reader{b: r.vec(size), err: r.err}
	var out []T
	for sub.err == nil && len(sub.b) > 0 {
		if len(out) == limit {
			sub.limit("too many elements")
			break
		}
		left := len(sub.b)
		v := decode(&sub)
		if sub.err != nil {
			break
		}
		if out == nil { // as many more as there are if all are of one size
			out = make([]T, 0, 1+min(limit-1, len(sub.b)/max(left-len(sub.b), 1)))
		}
		out = append(out, v)
	}
	if sub.err != nil {
		r.err, r.b = sub.err, nil
		return nil
	}
	return out
}

// decodeAll decodes b as one T and nothing else.
func decodeAll[T any](b []byte, decode func(*reader) T) (T, error) {
	r := &reader{b: b}
	v := decode(r)
	if err := r.end(); err != nil {
		var zero T
		return zero, err
	}
	return v, nil
}

// sizeLen returns in how many bytes a length is written.
func sizeLen(n uint32) int {
	switch w := bits.Len32(n); {
	case w <= 6:
		return 1
	case w <= 14:
		return 2
	case w <= 30:
		return 4
	}
	return 0 // no vector is that long: callers are bounded far below 2^30
}

func appendU16(b []byte, v uint16) []byte { return binary.BigEndian.AppendUint16(b, v) }
func appendU32(b []byte, v uint32) []byte { return binary.BigEndian.AppendUint32(b, v) }
func appendU64(b []byte, v uint64) []byte { return binary.BigEndian.AppendUint64(b, v) }

func appendSize(b []byte, n int) []byte {
	switch sizeLen(uint32(n)) {
	case 1:
		return append(b, byte(n))
	case 2:
		return appendU16(b, uint16(n)|0x4000)
	}
	return appendU32(b, uint32(n)|0x8000_0000)
}

// appendVec appends opaque<V>.
func appendVec[T ~[]byte | ~string](b []byte, v T) []byte {
	return append(appendSize(b, len(v)), v...)
}

// appendNested appends as a vector what body appends.
func appendNested(b []byte, body func([]byte) []byte) []byte {
	start := len(b)
	b = body(b)
	n := len(b) - start
	var head [4]byte
	h := appendSize(head[:0], n)
	b = append(b, h...)
	copy(b[start+len(h):], b[start:start+n])
	copy(b[start:], h)
	return b
}

// appendList appends T<V>.
func appendList[T any](b []byte, items []T, each func([]byte, T) []byte) []byte {
	return appendNested(b, func(b []byte) []byte {
		for _, v := range items {
			b = each(b, v)
		}
		return b
	})
}

// appendOptional appends the presence octet of optional<T>.
func appendOptional(b []byte, present bool) []byte {
	if present {
		return append(b, 1)
	}
	return append(b, 0)
}

// unsupported fails with ErrUnsupported: the bytes may be well formed, but
// their length depends on what this package does not know.
func (r *reader) unsupported(what string) {
	if r.err == nil {
		r.err = wrap(ErrUnsupported, what)
	}
	r.b = nil
}
