// SPDX-License-Identifier: Apache-2.0

//go:build simtpm && cgo

package main

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-tpm/tpm2"

	"incamera/secureboot/enrol"
	"incamera/secureboot/enrol/client"
	"incamera/secureboot/enrol/enroltest"
	"incamera/secureboot/evidence"
	"incamera/secureboot/tpm"
)

// A softRoom signs in this process what a TPM would: a benchmark of the verifier
// must not wait for ten thousand chips.
type softRoom struct {
	id         string
	ak, ldevid *ecdsa.PrivateKey
	akName     []byte
	device     evidence.Device
}

func newSoftRoom(b *testing.B, n int, pcr15 [32]byte, policy []byte) *softRoom {
	b.Helper()
	r := &softRoom{id: fmt.Sprintf("room-%d", n), ak: enroltest.NewKey(b), ldevid: enroltest.NewKey(b)}
	public := tpm.AKTemplate
	point, err := r.ak.PublicKey.Bytes() // 4, X, Y
	if err != nil {
		b.Fatal(err)
	}
	public.Unique = tpm2.NewTPMUPublicID(tpm2.TPMAlgECC, &tpm2.TPMSECCPoint{
		X: tpm2.TPM2BECCParameter{Buffer: point[1:33]}, Y: tpm2.TPM2BECCParameter{Buffer: point[33:]},
	})
	name, err := tpm2.ObjectName(&public)
	if err != nil {
		b.Fatal(err)
	}
	r.akName = name.Buffer
	r.device = evidence.Device{
		EKName: fmt.Appendf(nil, "name of the EK of room %10d", n), AK: tpm2.Marshal(public), LDevID: spkiOf(b, &r.ldevid.PublicKey),
		KeyPolicy: policy, Board: enroltest.Board, EKCertified: true, ResetCount: 1, BootCount: 1, LastReset: 1, PCR15: pcr15,
	}
	return r
}

// A boot is what all rooms measured.
type boot struct {
	firmware, phases []byte
	digest           [32]byte
	selection        tpm2.TPMLPCRSelection
	version          string
}

func (r *softRoom) evidence(b *testing.B, nonce []byte, o boot) []byte {
	c := evidence.Claims{
		Nonce: nonce, UEID: evidence.UEID(r.device.EKName), Board: enroltest.Board, OEMBoot: true,
		Debug: evidence.DebugDisabledPermanently, BootCount: 1, Name: "In Camera", Version: o.version,
	}
	data, err := evidence.QualifyingData(nonce, r.device.LDevID, c)
	if err != nil {
		b.Error(err)
		return nil
	}
	attest := tpm2.Marshal(tpm2.TPMSAttest{
		Magic: tpm2.TPMGeneratedValue, Type: tpm2.TPMSTAttestQuote, QualifiedSigner: tpm2.TPM2BName{Buffer: r.akName},
		ExtraData: tpm2.TPM2BData{Buffer: data[:]}, ClockInfo: tpm2.TPMSClockInfo{ResetCount: 1, Safe: true},
		Attested: tpm2.NewTPMUAttest(tpm2.TPMSTAttestQuote, &tpm2.TPMSQuoteInfo{
			PCRSelect: o.selection, PCRDigest: tpm2.TPM2BDigest{Buffer: o.digest[:]},
		}),
	})
	digest := sha256.Sum256(attest)
	x, y, err := ecdsa.Sign(rand.Reader, r.ak, digest[:])
	if err != nil {
		b.Error(err)
		return nil
	}
	c.Quote = evidence.Quote{
		Attest: attest, AKName: r.akName, Log: o.firmware, Phases: o.phases,
		Signature: tpm2.Marshal(tpm2.TPMTSignature{
			SigAlg: tpm2.TPMAlgECDSA,
			Signature: tpm2.NewTPMUSignature(tpm2.TPMAlgECDSA, &tpm2.TPMSSignatureECC{
				Hash:       tpm2.TPMAlgSHA256,
				SignatureR: tpm2.TPM2BECCParameter{Buffer: x.FillBytes(make([]byte, 32))},
				SignatureS: tpm2.TPM2BECCParameter{Buffer: y.FillBytes(make([]byte, 32))},
			}),
		}),
	}
	cmw, err := evidence.Sign(c, r.ldevid)
	if err != nil {
		b.Error(err)
	}
	return cmw
}

// BenchmarkVerifications has 10,000 enrolled rooms shown to a verifier on SQLite,
// over TLS, by clients on the same processors, which also play the rooms. One
// operation is a challenge and the verdict on its evidence. The figures to look
// at are verifications a second and the 99th percentile of both answers; the
// targets on two cores, 200 a second and 100 ms, are printed beside them.
func BenchmarkVerifications(b *testing.B) {
	const rooms, workers = 10_000, 8
	v := enroltest.NewVendor(b)
	release := v.Release("1.4.0", 7)
	s := newTestSite(b, v)
	s.release(release)
	o := boot{version: release.Version}
	var registers [24][32]byte
	o.firmware, o.phases, registers = func() ([]byte, []byte, [24][32]byte) { f, p, r := release.Logs(b); return f, p, r }()
	bits := make([]byte, 3)
	h := sha256.New()
	for _, rule := range evidence.DefaultRules() {
		bits[rule.PCR/8] |= 1 << (rule.PCR % 8)
		h.Write(registers[rule.PCR][:])
	}
	o.digest = [32]byte(h.Sum(nil))
	o.selection = tpm2.TPMLPCRSelection{PCRSelections: []tpm2.TPMSPCRSelection{{Hash: tpm2.TPMAlgSHA256, PCRSelect: bits}}}
	enrolled := make([]*softRoom, rooms)
	for i := range enrolled {
		enrolled[i] = newSoftRoom(b, i, registers[15], v.KeyPolicy())
	}
	s.insert(b, enrolled)

	var next atomic.Int64
	var mu sync.Mutex
	var challenges, verdicts []time.Duration
	clients := make([]*client.Client, workers)
	for i := range clients {
		clients[i] = s.client()
	}
	verify := func(c *client.Client, r *softRoom) {
		ctx := context.Background()
		began := time.Now()
		challenge, err := c.Challenge(ctx, enrol.ChallengeRequest{Device: r.id})
		if err != nil {
			b.Error(err)
			return
		}
		first := time.Since(began)
		cmw := r.evidence(b, challenge.Nonce, o)
		began = time.Now()
		ear, err := c.Appraise(ctx, challenge.Session, cmw)
		if err != nil {
			b.Error(err)
			return
		}
		second := time.Since(began)
		mu.Lock()
		challenges, verdicts = append(challenges, first), append(verdicts, second)
		mu.Unlock()
		if result, err := evidence.ParseResult(ear, s.service.result.Public()); err != nil || result.Status != evidence.Affirming {
			b.Errorf("verdict %+v, %v", result, err)
		}
	}
	verify(clients[0], enrolled[0]) // connections and caches
	challenges, verdicts = nil, nil
	used := processorTime(b)
	for b.Loop() {
		// A batch, so that the workers do not wait for each other often.
		var wg sync.WaitGroup
		for _, c := range clients {
			wg.Go(func() {
				for range batch {
					verify(c, enrolled[next.Add(1)%rooms])
				}
			})
		}
		wg.Wait()
	}
	n := float64(len(verdicts))
	b.ReportMetric(n/b.Elapsed().Seconds(), "verifications/s")
	b.ReportMetric(p99(challenges), "challenge-p99-ms")
	b.ReportMetric(p99(verdicts), "verdict-p99-ms")
	// Whatever else runs on the computer: both sides of TLS, room and verifier.
	b.ReportMetric(float64((processorTime(b)-used).Microseconds())/1000/n, "cpu-ms/verification")
	b.ReportMetric(200, "target/s")
	b.ReportMetric(100, "target-p99-ms")
	b.ReportMetric(float64(rooms), "rooms")
}

const batch = 25

// processorTime is what this process has used of all processors.
func processorTime(b *testing.B) time.Duration {
	b.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func p99(d []time.Duration) float64 {
	slices.Sort(d)
	return float64(d[len(d)*99/100].Microseconds()) / 1000
}

// insert writes rooms as if they had enrolled.
func (s *testSite) insert(b *testing.B, rooms []*softRoom) {
	b.Helper()
	now := time.Now().UTC()
	err := s.service.store.update(b.Context(), func(t *txn) error {
		for _, r := range rooms {
			rec := &record{
				Room:   enrol.Room{ID: r.id, Name: r.id, Serial: r.id, State: enrol.StateEnrolled, EK: hexHash(r.device.EKName), EKCertified: true, Enrolled: now},
				Device: r.device, AKName: r.akName, Result: bytes.Repeat([]byte{1}, 1500),
			}
			text, err := json.Marshal(rec)
			if err != nil {
				return err
			}
			hash := sha256.Sum256(r.device.LDevID)
			if _, err := t.exec(`INSERT INTO rooms (id, session, secret, state, identity, ek, record) VALUES (?, ?, ?, ?, ?, ?, ?)`,
				r.id, newSession(), []byte{1}, enrol.StateEnrolled, hash[:], rec.Room.EK, text); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		b.Fatal(err)
	}
}
