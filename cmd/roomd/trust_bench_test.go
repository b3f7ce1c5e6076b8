// SPDX-License-Identifier: Apache-2.0

//go:build simtpm && cgo && !release

package main

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/x509"
	"testing"
	"time"

	"incamera/media/e2ee"
	"incamera/media/mls"
	"incamera/secureboot/attest"
	"incamera/secureboot/enrol"
	"incamera/secureboot/enrol/enroltest"
	"incamera/secureboot/evidence"
	"incamera/secureboot/tpm/tpmtest"
	"incamera/secureboot/verify"
)

// BenchmarkAttested says what a TPM, here swtpm, has to do for a meeting: its
// commands for what a room knocks with and for a commit, with evidence in the
// leaf and without, and how much longer it takes. Figures of a software TPM say
// nothing about a chip; the numbers of commands do.
func BenchmarkAttested(b *testing.B) {
	config, chip, handle := attestedRoom(b)
	plain := config
	plain.Attestation = e2ee.Attestation{}
	for _, kind := range []struct {
		name string
		do   func(e2ee.Config)
	}{
		{"join", func(c e2ee.Config) {
			j, err := e2ee.NewJoiner(b.Context(), c, handle)
			if err != nil {
				b.Fatal(err)
			}
			j.Destroy()
		}},
		{"commit", commits(b)},
	} {
		b.Run(kind.name, func(b *testing.B) {
			var with, without time.Duration
			var commands, bare uint64
			kind.do(config) // tickets and certified keys are cached from here on
			kind.do(plain)
			for b.Loop() {
				began, before := time.Now(), chip.Commands()
				kind.do(config)
				with, commands = with+time.Since(began), chip.Commands()-before
				b.StopTimer()
				began, before = time.Now(), chip.Commands()
				kind.do(plain)
				without, bare = without+time.Since(began), chip.Commands()-before
				b.StartTimer()
			}
			b.ReportMetric(float64(commands), "tpm-commands")
			b.ReportMetric(float64(bare), "tpm-commands-unattested")
			b.ReportMetric(float64(with)/float64(without), "ratio")
		})
	}
}

// commits returns what lets a room that is alone in its meeting renew its keys.
func commits(b *testing.B) func(e2ee.Config) {
	sessions := map[bool]*e2ee.Session{}
	return func(c e2ee.Config) {
		attested := c.Attestation.Attestor != nil
		s := sessions[attested]
		if s == nil {
			post := &echo{back: make(chan []byte, 8)}
			c.Delivery, c.Observer, c.Rotation = post, post, -1
			var err error
			if s, err = e2ee.Create(b.Context(), c, bytes.Repeat([]byte{1}, 16)); err != nil {
				b.Fatal(err)
			}
			sessions[attested] = s
			ctx, cancel := context.WithCancel(context.Background())
			b.Cleanup(cancel)
			go func() { _ = s.Run(ctx) }() // ends with ctx
			go post.deliver(ctx, s)
		}
		if err := s.Rotate(b.Context()); err != nil {
			b.Fatal(err)
		}
	}
}

// An echo is a relay with one room: what that sends comes back.
type echo struct{ back chan []byte }

func (e *echo) Commit(_ context.Context, _ uint64, commit []byte, _ []e2ee.Welcome) error {
	e.back <- commit
	return nil
}
func (*echo) Send(context.Context, []byte) error { return nil }
func (*echo) Epoch(e2ee.Epoch)                   {}
func (*echo) Verdicts(e2ee.Epoch)                {}
func (*echo) Code(uint64, string)                {}
func (*echo) Message(e2ee.Member, []byte)        {}

func (e *echo) deliver(ctx context.Context, s *e2ee.Session) {
	for {
		select {
		case m := <-e.back:
			_ = s.Deliver(ctx, m) // Rotate says what went wrong
		case <-ctx.Done():
			return
		}
	}
}

// attestedRoom is a room whose keys are in a swtpm and whose certificate carries
// a verdict, and the handle of some epoch.
func attestedRoom(b *testing.B) (config e2ee.Config, chip *tpmtest.Chip, handle []byte) {
	b.Helper()
	vendor := enroltest.NewVendor(b)
	release := vendor.Release("1.0.0", 1)
	chip = tpmtest.Swtpm(b)
	box := enroltest.NewBox(b, chip, vendor, release)
	now := time.Now()
	site := enrol.Site{Name: "Maison", Domain: "maison.example"}
	rootKey, issuingKey, resultKey := enroltest.NewKey(b), enroltest.NewKey(b), enroltest.NewKey(b)
	root, err := enrol.NewRoot(site, rootKey, now)
	if err != nil {
		b.Fatal(err)
	}
	issuing, err := enrol.NewIssuing(site, root, rootKey, issuingKey.Public(), now)
	if err != nil {
		b.Fatal(err)
	}
	authority, err := enrol.NewAuthority(root, issuing, issuingKey)
	if err != nil {
		b.Fatal(err)
	}
	nonce := bytes.Repeat([]byte{7}, attest.NonceSize)
	cmw, err := box.Attest.Evidence(b.Context(), attest.Statement{Nonce: nonce})
	if err != nil {
		b.Fatal(err)
	}
	spki, err := x509.MarshalPKIXPublicKey(box.LDevID.Public())
	if err != nil {
		b.Fatal(err)
	}
	result := verify.Appraise(cmw, verify.Challenge{Nonce: nonce, SPKI: spki, Issued: now}, box.Device(vendor),
		vendor.References(release), verify.Policy{ID: "bench", Developer: "In Camera", Build: "bench"}, now)
	ear, err := evidence.SignResult(result, resultKey)
	if err != nil || result.Status != evidence.Affirming {
		b.Fatal(err, result.Failures)
	}
	key, ok := box.Leaf.Public().(*ecdsa.PublicKey)
	if !ok {
		b.Fatal("no ECDSA key")
	}
	chain, err := authority.Issue(enrol.Grant{Room: "vauban", Name: "Vauban", Use: enrol.UseLeaf, Key: key, Result: ear, Life: time.Hour}, now)
	if err != nil {
		b.Fatal(err)
	}
	signer, err := mls.SignerFrom(box.Leaf)
	if err != nil {
		b.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(root)
	config = e2ee.Config{
		Signer: signer, Chain: chain, Sites: pool,
		Attestation: e2ee.Attestation{
			Attestor: attestor{box.Attest, box.Leaf}, Appraiser: &appraiser{resultKey: resultKey.Public()}, Mode: e2ee.AttestedOnly,
		},
	}
	post := &echo{back: make(chan []byte, 8)}
	config.Delivery, config.Observer = post, post
	s, err := e2ee.Create(b.Context(), config, bytes.Repeat([]byte{2}, 16))
	if err != nil {
		b.Fatal(err)
	}
	return config, chip, s.Epoch().Handle()
}
