// SPDX-License-Identifier: Apache-2.0

package e2ee

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"incamera/media/mls"
)

// DefaultSuite is the cipher suite of a meeting: hybrid post-quantum, with
// P-256 signatures, which a TPM can make.
const DefaultSuite = mls.MLKEM768P256AES256GCMSHA384P256

// DefaultRotation is how often a room renews its keys: an attacker that read a
// room's memory loses the meeting after that time.
const DefaultRotation = 10 * time.Minute

// ErrClassical means that a suite without a post-quantum half was asked for or
// offered, and the configuration refuses those.
var ErrClassical = errors.New("e2ee: classical cipher suite refused")

// Config is what a room brings to a meeting. Signer, Chain, Sites and, but for
// [Session.Candidate], Delivery and Observer are required.
type Config struct {
	Suite          mls.CipherSuite // 0 means DefaultSuite
	AllowClassical bool            // takes suites without a post-quantum half, too

	Signer mls.Signer     // the room's signature key; its certificate is Chain[0]
	Chain  [][]byte       // the room's certificate (DER) and the CAs above it, without the last
	Sites  *x509.CertPool // the CAs of the sites whose rooms may take part

	Delivery Delivery
	Observer Observer

	Attestation Attestation // the zero value proves nothing and judges nobody

	Pins []Pin // rooms whose pairwise code was compared in the past; names differ

	Now      func() time.Time // for the dates of certificates; nil means time.Now
	Rotation time.Duration    // how often keys are renewed; 0 means DefaultRotation, less than 0 never
	Log      *slog.Logger     // nil means silent
}

// A Delivery carries messages to the other members. What it is given returns
// through [Session.Deliver], in the one order that all members see. Its methods
// are called from goroutines of [Session.Run], never two of one method at once.
type Delivery interface {
	// Commit submits the commit that ends an epoch, with a Welcome for the room
	// that it adds. Without an error the commit holds the epoch's slot and the
	// Welcome may go out. It returns an error wrapping [ErrStale] if another
	// commit holds it. After any other error, which includes the cause of ctx,
	// the outcome is open, and the same commit may be submitted again.
	Commit(ctx context.Context, epoch uint64, commit []byte, welcomes []Welcome) error
	// Send submits an application message.
	Send(ctx context.Context, msg []byte) error
}

// ErrStale is what [Delivery.Commit] returns if another commit holds the slot.
// The session processes that one and tries again.
var ErrStale = errors.New("e2ee: another commit holds the epoch")

// A Welcome lets one room into the meeting.
type Welcome struct {
	To      string // what the caller of [Session.Add] named it
	Message []byte
}

// An Observer hears what happens in a session. It is called from the goroutine
// of [Session.Run] and must not block, nor call a method of the session that
// waits.
type Observer interface {
	// Epoch reports the first epoch and then each that a commit began. The
	// frames of its members open from now on.
	Epoch(e Epoch)
	// Code reports the security code of an epoch, 30 digits, some time after it
	// began; none comes for an epoch that has already passed.
	Code(epoch uint64, code string)
	// Verdicts reports that the verdicts of members of the newest epoch changed.
	Verdicts(e Epoch)
	// Message reports what a member sent with Broadcast.
	Message(from Member, payload []byte)
}

// settings is a checked Config.
type settings struct {
	Config
	suite *mls.Suite
	auth  authenticator
	// next is what the evidence in the next leaf is bound to. Whoever makes the
	// leaf sets it: the Joiner, then the goroutine of Run.
	next bond
}

func (c Config) check() (*settings, error) {
	if c.Suite == 0 {
		c.Suite = DefaultSuite
	}
	suite, err := mls.SuiteByID(c.Suite)
	if err != nil {
		return nil, fmt.Errorf("e2ee: %w", err)
	}
	if !suite.Hybrid() && !c.AllowClassical {
		return nil, fmt.Errorf("%w: %s", ErrClassical, suite)
	}
	if c.Signer == nil || len(c.Chain) == 0 || c.Sites == nil {
		return nil, errors.New("e2ee: configuration lacks a signer, its certificate or the sites' CAs")
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Rotation == 0 {
		c.Rotation = DefaultRotation
	}
	if c.Attestation.MaxAge == 0 {
		c.Attestation.MaxAge = DefaultMaxAge
	}
	if c.Attestation.Mode == AttestedOnly && (c.Attestation.Attestor == nil || c.Attestation.Appraiser == nil) {
		return nil, errors.New("e2ee: a meeting of attested rooms only, but no Attestor or no Appraiser")
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	return &settings{Config: c, suite: suite, auth: authenticator{c.Sites}}, nil
}

// group is what package mls needs.
func (s *settings) group() mls.Config {
	return mls.Config{
		Suite:         s.suite,
		Signer:        s.Signer,
		Credential:    mls.Credential{Type: mls.X509Credential, Certificates: s.Chain},
		Authenticator: s.auth,
		Now:           s.Now,
		LeafData:      s.leafData,
	}
}

// candidate verifies a KeyPackage and its credential, dates included.
func (s *settings) candidate(message []byte) (*mls.KeyPackage, Member, error) {
	kp, err := mls.ParseKeyPackage(message)
	if err != nil {
		return nil, Member{}, fmt.Errorf("e2ee: %w", err)
	}
	if kp.Suite() != s.suite.ID() {
		if other, err := mls.SuiteByID(kp.Suite()); err == nil && !other.Hybrid() && !s.AllowClassical {
			return nil, Member{}, fmt.Errorf("%w: %s", ErrClassical, other)
		}
		return nil, Member{}, fmt.Errorf("%w: KeyPackage of suite %#04x", ErrPolicy, uint16(kp.Suite()))
	}
	if err := s.auth.verify(kp.Credential(), s.Now()); err != nil {
		return nil, Member{}, err
	}
	m, _, err := newMember(kp.Member())
	return kp, m, err
}
