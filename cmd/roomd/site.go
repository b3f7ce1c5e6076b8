// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"

	"incamera/cmd/internal/supervise"
	"incamera/media/e2ee"
	"incamera/secureboot/attest"
	"incamera/secureboot/enrol/client"
)

// A standing is a room's place in its site: what it proves, what it judges
// others by, and what keeps both fresh.
type standing struct {
	box    *roomBox
	member *client.Member
	id     *client.Identity
	judge  *appraiser
	log    *slog.Logger
}

// newStanding opens the box unless it is open, enrols it if that is to be done,
// and brings its certificates up to date.
func newStanding(ctx context.Context, c config, b *roomBox, log *slog.Logger) (*standing, error) {
	if b == nil {
		var err error
		if b, err = openBox(ctx, c, log); err != nil {
			return nil, fmt.Errorf("trust: %w", err)
		}
	} else if err := c.Trust.Identify(); err != nil {
		return nil, errors.Join(fmt.Errorf("trust: %w", err), b.TPM.Close())
	}
	id, member, err := b.enrolled(ctx, c, log)
	if err == nil && b.exchange != nil {
		if err = b.exchange(); err == nil {
			member = b.member(c, member.Key, member.Verifier)
		}
	}
	if err != nil {
		return nil, errors.Join(err, b.TPM.Close())
	}
	id = current(ctx, member, id, c.Trust.Version, log)
	key, err := x509.ParsePKIXPublicKey(id.ResultKey)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("trust: result key: %w", err), b.TPM.Close())
	}
	return &standing{box: b, member: member, id: id, judge: &appraiser{resultKey: key}, log: log}, nil
}

// close gives the TPM back.
func (s *standing) close() { _ = s.box.TPM.Close() } // nothing is written there

// attestation is what the room brings to meetings.
func (s *standing) attestation(mode string) e2ee.Attestation {
	return e2ee.Attestation{
		Attestor: attestor{s.member.Room.Attest, s.box.Leaf}, Appraiser: s.judge, Mode: modes[mode],
	}
}

// parts are those of the daemon that belong to the room's place in the site.
func (s *standing) parts(c config, f *follower) []supervise.Part {
	serve := func(ctx context.Context, ln net.Listener) error {
		return serveHTTPS(ctx, ln, tls.Certificate{Certificate: s.id.TLS, PrivateKey: s.box.LDevID},
			attest.Handler(s.member.Room.Attest, s.box.Leaf, s.log.With("part", "attestation")))
	}
	return []supervise.Part{
		listening("attestation", c.Trust.Address, serve),
		{Name: "site", Run: running(f.run)},
	}
}

// serveHTTPS serves until ctx ends.
func serveHTTPS(ctx context.Context, ln net.Listener, cert tls.Certificate, h http.Handler) error {
	server := &http.Server{
		Handler: h, ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 10 * time.Second,
		WriteTimeout: 30 * time.Second, IdleTimeout: 30 * time.Second, MaxHeaderBytes: 8 << 10,
		ErrorLog:  slog.NewLogLogger(slog.DiscardHandler, slog.LevelDebug), // of strangers' handshakes
		TLSConfig: &tls.Config{MinVersion: tls.VersionTLS13, Certificates: []tls.Certificate{cert}},
	}
	stop := context.AfterFunc(ctx, func() { _ = server.Close() }) // answers are short
	defer stop()
	err := server.ServeTLS(ln, "", "")
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}
