// SPDX-License-Identifier: Apache-2.0

package eventlog

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math"
)

// specSignature begins the data of the first record of a crypto-agile log
// (PFP, Section 10.4.5.1). A log that begins with anything else has SHA-1 form.
const specSignature = "Spec ID Event03\x00"

// maxAlgs bounds the algorithms of a log: a TPM has at most a few banks.
const maxAlgs = 8

// specID is the first record of a crypto-agile log.
type specID struct {
	platform uint32
	version  [3]byte // minor, major, errata as they stand in the log
	uintn    byte
	algs     []algSize
	vendor   []byte
}

type algSize struct {
	id   Algorithm
	size int // bytes
}

// size returns the length of the algorithm's digests in this log.
func (s *specID) size(id Algorithm) (int, bool) {
	for _, a := range s.algs {
		if a.id == id {
			return a.size, true
		}
	}
	return 0, false
}

// Parse reads a binary log, in crypto-agile or in SHA-1 form. The log keeps b,
// which must not change any more. Errors wrap [ErrMalformed].
func Parse(b []byte) (*Log, error) {
	l, err := parse(b)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	return l, nil
}

func parse(b []byte) (*Log, error) {
	if len(b) > MaxLog {
		return nil, fmt.Errorf("%d bytes, more than %d", len(b), MaxLog)
	}
	r := &reader{b: b}
	first, err := r.event1(1)
	if err != nil {
		return nil, fmt.Errorf("first record: %w", err)
	}
	l := &Log{}
	if first.Type == NoAction && bytes.HasPrefix(first.Data, []byte(specSignature)) {
		if l.spec, err = parseSpecID(first); err != nil {
			return nil, fmt.Errorf("spec id record: %w", err)
		}
	} else {
		l.Events = append(l.Events, first)
	}
	for len(r.b) > 0 {
		num := len(l.Events) + 1
		if num > MaxEvents {
			return nil, fmt.Errorf("more than %d events", MaxEvents)
		}
		var e Event
		if l.spec != nil {
			e, err = r.event2(num, l.spec)
		} else {
			e, err = r.event1(num)
		}
		if err != nil {
			return nil, fmt.Errorf("event %d at byte %d: %w", num, len(b)-len(r.b), err)
		}
		l.Events = append(l.Events, e)
	}
	return l, nil
}

// parseSpecID reads the record that fixes the digest sizes. All of it must be
// there: the published specid-vendordata.bin says that 4 bytes of vendor info
// follow, but its own event size ends before them, and is refused.
func parseSpecID(e Event) (*specID, error) {
	if e.PCR != 0 || !isZero(e.Digests[0].Sum) {
		return nil, fmt.Errorf("extends a PCR")
	}
	r := &reader{b: e.Data[len(specSignature):]}
	s := &specID{platform: r.u32()}
	copy(s.version[:], r.bytes(len(s.version)))
	if s.version[1] != 2 && !r.short {
		return nil, fmt.Errorf("version %d", s.version[1])
	}
	s.uintn = r.u8()
	n := r.u32()
	if n == 0 || n > maxAlgs {
		return nil, fmt.Errorf("%d algorithms", n)
	}
	for range n {
		a := algSize{Algorithm(r.u16()), int(r.u16())}
		if _, again := s.size(a.id); again {
			return nil, fmt.Errorf("algorithm %#04x twice", uint16(a.id))
		}
		// The largest digest is SHA-512's; nothing shorter than SHA-1 was ever a bank.
		if known := a.id.size(); a.size < 20 || a.size > 64 || known != 0 && known != a.size {
			return nil, fmt.Errorf("algorithm %#04x with digests of %d bytes", uint16(a.id), a.size)
		}
		s.algs = append(s.algs, a)
	}
	s.vendor = r.bytes(int(r.u8()))
	if r.short || len(r.b) != 0 {
		return nil, fmt.Errorf("length does not fit its content")
	}
	return s, nil
}

func isZero(b []byte) bool {
	for _, c := range b {
		if c != 0 {
			return false
		}
	}
	return true
}

// reader takes little-endian values off b. Past the end it yields zeros and
// remembers that it fell short.
type reader struct {
	b     []byte
	short bool
}

func (r *reader) bytes(n int) []byte {
	if n > len(r.b) {
		r.b, r.short = nil, true
		return nil
	}
	b := r.b[:n:n]
	r.b = r.b[n:]
	return b
}

func (r *reader) u8() (v byte) {
	if b := r.bytes(1); b != nil {
		v = b[0]
	}
	return v
}

func (r *reader) u16() (v uint16) {
	if b := r.bytes(2); b != nil {
		v = binary.LittleEndian.Uint16(b)
	}
	return v
}

func (r *reader) u32() (v uint32) {
	if b := r.bytes(4); b != nil {
		v = binary.LittleEndian.Uint32(b)
	}
	return v
}

// event1 reads TCG_PCClientPCREvent, the SHA-1 form:
//
//	pcr u32 | type u32 | SHA-1 | size u32 | data
func (r *reader) event1(num int) (Event, error) {
	pcr, typ := r.u32(), Type(r.u32())
	sum := r.bytes(SHA1.size())
	return r.finish(Event{Num: num, Type: typ, Digests: []Digest{{SHA1, sum}}}, pcr)
}

// event2 reads TCG_PCR_EVENT2:
//
//	pcr u32 | type u32 | count u32 | count * (algorithm u16, digest) | size u32 | data
func (r *reader) event2(num int, spec *specID) (Event, error) {
	pcr, e := r.u32(), Event{Num: num, Type: Type(r.u32())}
	n := r.u32()
	if int64(n) > int64(len(spec.algs)) {
		return Event{}, fmt.Errorf("%d digests, of %d algorithms", n, len(spec.algs))
	}
	for range n {
		id := Algorithm(r.u16())
		if r.short {
			break
		}
		size, ok := spec.size(id)
		if !ok {
			return Event{}, fmt.Errorf("algorithm %#04x is not in the spec id record", uint16(id))
		}
		for _, d := range e.Digests {
			if d.Algorithm == id {
				return Event{}, fmt.Errorf("algorithm %#04x twice", uint16(id))
			}
		}
		e.Digests = append(e.Digests, Digest{id, r.bytes(size)})
	}
	return r.finish(e, pcr)
}

// finish reads the data of an event and checks its PCR.
func (r *reader) finish(e Event, pcr uint32) (Event, error) {
	size := r.u32()
	switch {
	case r.short:
		return Event{}, fmt.Errorf("cut short")
	case size > MaxData:
		return Event{}, fmt.Errorf("%d bytes of data, more than %d", size, MaxData)
	case pcr == math.MaxUint32 && e.Type == NoAction:
		e.PCR = -1
	case pcr >= NumPCRs:
		return Event{}, fmt.Errorf("PCR %d", pcr)
	default:
		e.PCR = int(pcr)
	}
	if e.Data = r.bytes(int(size)); r.short {
		return Event{}, fmt.Errorf("data cut short")
	}
	return e, nil
}
