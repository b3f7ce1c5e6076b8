// SPDX-License-Identifier: Apache-2.0

package sound

import (
	"encoding/binary"
	"math"
	"sync/atomic"
)

// A ring hands samples from one goroutine or thread to another without locks.
// Its length is a power of two.
type ring struct {
	samples []float32
	written atomic.Uint64 // moved by the writer alone
	read    atomic.Uint64 // moved by the reader alone
}

func newRing(length int) *ring { return &ring{samples: make([]float32, length)} }

func (r *ring) held() int { return int(r.written.Load() - r.read.Load()) }
func (r *ring) free() int { return len(r.samples) - r.held() }

func (r *ring) slot(at uint64) *float32 { return &r.samples[at&uint64(len(r.samples)-1)] }

// push appends all samples; the caller has seen that they have room.
func (r *ring) push(samples []float32) {
	at := r.written.Load()
	for i, v := range samples {
		*r.slot(at + uint64(i)) = v
	}
	r.written.Store(at + uint64(len(samples)))
}

// pop takes len(samples) samples; the caller has seen that they are there.
func (r *ring) pop(samples []float32) {
	at := r.read.Load()
	for i := range samples {
		samples[i] = *r.slot(at + uint64(i))
	}
	r.read.Store(at + uint64(len(samples)))
}

// skip forgets the oldest n samples.
func (r *ring) skip(n int) { r.read.Add(uint64(n)) }

// pushBytes appends samples of float32 in the order of little-endian machines,
// which is how miniaudio hands them over on all of ours, as far as there is
// room, and returns how many were left out.
func (r *ring) pushBytes(b []byte) (left int) {
	n := len(b) / 4
	take := min(n, r.free())
	at := r.written.Load()
	for i := range take {
		*r.slot(at + uint64(i)) = math.Float32frombits(binary.LittleEndian.Uint32(b[4*i:]))
	}
	r.written.Store(at + uint64(take))
	return n - take
}

// popBytes fills b, with silence at the end if need be, and returns how many
// samples were missing.
func (r *ring) popBytes(b []byte) (missing int) {
	n := len(b) / 4
	take := min(n, r.held())
	at := r.read.Load()
	for i := range take {
		binary.LittleEndian.PutUint32(b[4*i:], math.Float32bits(*r.slot(at + uint64(i))))
	}
	r.read.Store(at + uint64(take))
	clear(b[4*take:])
	return n - take
}
