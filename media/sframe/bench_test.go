// SPDX-License-Identifier: Apache-2.0

package sframe

import (
	"crypto/aes"
	"crypto/cipher"
	"fmt"
	"slices"
	"testing"
	"time"
)

// TestAllocations keeps sealing and opening off the heap, in every suite and at
// any size.
func TestAllocations(t *testing.T) {
	for _, suite := range suites {
		for _, size := range []int{1, 256, 1 << 10, 12 << 10} {
			t.Run(fmt.Sprintf("suite %d/%d bytes", suite, size), func(t *testing.T) {
				s, r := pair(t, suite, 0x123)
				frame, metadata := make([]byte, size), []byte("mm")
				wire, out := make([]byte, 0, size+s.Overhead()), make([]byte, 0, size)
				var err error
				got := testing.AllocsPerRun(100, func() {
					if wire, err = s.Seal(wire[:0], metadata, frame); err != nil {
						t.Fatal(err)
					}
					if out, err = r.Open(out[:0], metadata, wire); err != nil {
						t.Fatal(err)
					}
					if _, err := r.Open(nil, metadata, wire); err == nil {
						t.Fatal("opened twice")
					}
				})
				if got != 0 {
					t.Errorf("a frame allocates %v times, want 0", got)
				}
			})
		}
	}
}

var benchSizes = []int{256, 1 << 10, 12 << 10, 100 << 10}

func BenchmarkSeal(b *testing.B) {
	for _, size := range benchSizes {
		b.Run(fmt.Sprintf("%d bytes", size), func(b *testing.B) {
			s, _ := pair(b, AES256GCMSHA512, 0x123)
			frame, wire := make([]byte, size), make([]byte, 0, size+s.Overhead())
			b.ReportAllocs()
			b.SetBytes(int64(size))
			for b.Loop() {
				if _, err := s.Seal(wire, []byte("mm"), frame); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkAgainstGCM times sealing and opening beside bare AES-256-GCM over the
// same bytes, frame and associated data, in turn and in one run. It prints the
// medians and their ratio. A "refused" open would be cheaper, so each frame is
// opened by a receiver that has not seen it.
func BenchmarkAgainstGCM(b *testing.B) {
	for _, size := range benchSizes {
		b.Run(fmt.Sprintf("seal/%d bytes", size), func(b *testing.B) {
			s, _ := pair(b, AES256GCMSHA512, 0x123)
			bare := bareGCM(b)
			frame, wire, metadata := make([]byte, size), make([]byte, 0, size+s.Overhead()), []byte("mm")
			nonce, aad := make([]byte, saltSize), make([]byte, 8)
			compare(b, size, func(int) {
				bare.Seal(wire, nonce, frame, aad)
			}, func(int) {
				if _, err := s.Seal(wire, metadata, frame); err != nil {
					b.Fatal(err)
				}
			})
		})
		b.Run(fmt.Sprintf("open/%d bytes", size), func(b *testing.B) {
			s, r := pair(b, AES256GCMSHA512, 0x123)
			bare := bareGCM(b)
			metadata, nonce, aad := []byte("mm"), make([]byte, saltSize), make([]byte, 8)
			out := make([]byte, 0, size)
			sealed, wires := make([][]byte, batch(size)), make([][]byte, batch(size))
			for i := range wires {
				sealed[i] = bare.Seal(nil, nonce, make([]byte, size), aad)
				wires[i] = mustSeal(b, s, "mm", string(make([]byte, size)))
			}
			compare(b, size, func(i int) {
				if _, err := bare.Open(out, nonce, sealed[i], aad); err != nil {
					b.Fatal(err)
				}
			}, func(i int) {
				if i == 0 {
					r.window = window{}
				}
				if _, err := r.Open(out, metadata, wires[i]); err != nil {
					b.Fatal(err)
				}
			})
		})
	}
}

func bareGCM(b *testing.B) cipher.AEAD {
	b.Helper()
	block, err := aes.NewCipher(make([]byte, 32))
	if err != nil {
		b.Fatal(err)
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		b.Fatal(err)
	}
	return aead
}

// batch is how many frames of a size one sample times: some 4 MB.
func batch(size int) int { return max(32, 4<<20/(size+64)) }

// compare times batches of both in turn, at least ten of each, and reports the
// medians for one frame.
func compare(b *testing.B, size int, bare, ours func(i int)) {
	b.Helper()
	n := batch(size)
	sample := func(f func(int)) float64 {
		start := time.Now()
		for i := range n {
			f(i)
		}
		return float64(time.Since(start).Nanoseconds()) / float64(n)
	}
	sample(bare) // warm
	sample(ours)
	var bareNS, oursNS []float64
	round := func() { bareNS, oursNS = append(bareNS, sample(bare)), append(oursNS, sample(ours)) }
	for b.Loop() {
		round()
	}
	for len(bareNS) < 10 {
		round()
	}
	x, y := median(bareNS), median(oursNS)
	b.ReportMetric(0, "ns/op") // a batch of both: no figure of use
	b.ReportMetric(x, "gcm-ns/frame")
	b.ReportMetric(y, "sframe-ns/frame")
	b.ReportMetric(y/x, "ratio")
}

func median(v []float64) float64 {
	slices.Sort(v)
	return (v[len(v)/2] + v[(len(v)-1)/2]) / 2
}
