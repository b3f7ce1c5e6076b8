// SPDX-License-Identifier: Apache-2.0

package verify

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"testing"
	"time"

	"incamera/secureboot/evidence"
)

// BenchmarkAppraise compares a verdict with the three bare ECDSA verifications
// that it cannot do without (LDevID, quote, certify), in turns, so that both
// meet the same machine.
func BenchmarkAppraise(b *testing.B) {
	f := loadFixture(b)
	refs := f.references(b)
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		b.Fatal(err)
	}
	sum := sha256.Sum256(f.Evidence)
	signature, err := ecdsa.SignASN1(rand.Reader, key, sum[:])
	if err != nil {
		b.Fatal(err)
	}
	var whole, bare time.Duration
	b.ReportAllocs()
	for b.Loop() {
		start := time.Now()
		result := Appraise(f.Evidence, f.challenge(), f.Device, refs, Policy{}, f.Now)
		middle := time.Now()
		for range 3 {
			if !ecdsa.VerifyASN1(&key.PublicKey, sum[:], signature) {
				b.Fatal("signature")
			}
		}
		bare += time.Since(middle)
		whole += middle.Sub(start)
		if result.Status != evidence.Affirming {
			b.Fatal(result.Failures)
		}
	}
	n := float64(b.N)
	b.ReportMetric(float64(whole.Nanoseconds())/n, "appraise-ns/op")
	b.ReportMetric(float64(bare.Nanoseconds())/n, "signatures-ns/op")
	b.ReportMetric(float64(whole)/float64(bare), "ratio")
}
