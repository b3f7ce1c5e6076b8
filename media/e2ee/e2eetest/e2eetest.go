// SPDX-License-Identifier: Apache-2.0

// Package e2eetest stands for TPMs and verifiers where only what a meeting makes
// of evidence counts: here evidence is the room, the firmware and the nonce in
// clear. What real evidence proves is package secureboot/verify's.
package e2eetest

import (
	"bytes"
	"context"
	"crypto/x509"
	"slices"
	"strings"
	"sync"

	"incamera/media/e2ee"
)

// Released is the firmware that an [Appraiser] finds good, Old one on which it
// has a reservation. Any other is refused.
const (
	Released = "released"
	Old      = "old"
)

// A Box makes evidence. It implements [e2ee.Attestor].
type Box struct {
	Room, Firmware string

	mu     sync.Mutex
	nonces [][32]byte
	broken error
}

// Evidence implements [e2ee.Attestor].
func (b *Box) Evidence(_ context.Context, binding [32]byte) ([]byte, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.nonces = append(b.nonces, binding)
	return Statement(b.Room, b.Firmware, binding), b.broken
}

// Quotes returns the nonces of all evidence so far.
func (b *Box) Quotes() [][32]byte {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(b.nonces)
}

// Break has Evidence return err from now on.
func (b *Box) Break(err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.broken = err
}

// Statement is the evidence of a room.
func Statement(room, firmware string, nonce [32]byte) []byte {
	return append([]byte(room+"|"+firmware+"|"), nonce[:]...)
}

// An Appraiser implements [e2ee.Appraiser] for one room.
type Appraiser struct {
	mu      sync.Mutex
	revoked string
}

// Revoke withdraws a room by its name.
func (a *Appraiser) Revoke(room string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.revoked = room
}

// Bound implements [e2ee.Appraiser].
func (a *Appraiser) Bound(evidence []byte, binding [32]byte) bool {
	parts := bytes.SplitN(evidence, []byte("|"), 3)
	return len(parts) == 3 && bytes.Equal(parts[2], binding[:])
}

// Appraise implements [e2ee.Appraiser].
func (a *Appraiser) Appraise(chain [][]byte, evidence []byte, _ [32]byte) e2ee.Verdict {
	a.mu.Lock()
	defer a.mu.Unlock()
	cert, err := x509.ParseCertificate(chain[0])
	parts := strings.SplitN(string(evidence), "|", 3)
	switch {
	case err != nil || parts[0] != cert.Subject.CommonName:
		return e2ee.Verdict{Tier: e2ee.Contraindicated, Reason: "ak_unknown"}
	case parts[0] == a.revoked:
		return e2ee.Verdict{Tier: e2ee.Contraindicated, Reason: "ak_revoked", Revoked: true}
	case parts[1] == Old:
		return e2ee.Verdict{Tier: e2ee.Warning, Release: parts[1], Reason: "version_old"}
	case parts[1] != Released:
		return e2ee.Verdict{Tier: e2ee.Contraindicated, Release: parts[1], Reason: "refval_mismatch"}
	}
	return e2ee.Verdict{Tier: e2ee.Affirming, Release: parts[1]}
}

// Attested gives a room's configuration a box with a firmware, and an appraiser.
func Attested(c *e2ee.Config, room string, mode e2ee.Mode, firmware string) (*Box, *Appraiser) {
	b, a := &Box{Room: room, Firmware: firmware}, &Appraiser{}
	c.Attestation = e2ee.Attestation{Attestor: b, Appraiser: a, Mode: mode}
	return b, a
}
