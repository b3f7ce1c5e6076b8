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
	"incamera/media/call"
	"incamera/media/e2ee"
	"incamera/secureboot/attest"
	"incamera/secureboot/enrol/client"
)

const (
	// revocationStep is how often a room asks what the site has withdrawn: a
	// revoked room loses its seat in a running meeting within this time.
	revocationStep = 15 * time.Second
	// renewalStep is how often it looks whether its certificates are to be
	// renewed, and afterRestart tries again what failed.
	renewalStep = 10 * time.Minute
	siteTimeout = 10 * time.Second
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

// newStanding opens the box, enrols it if that is to be done, and brings its
// certificates up to date.
func newStanding(ctx context.Context, c config, log *slog.Logger) (*standing, error) {
	b, err := openBox(ctx, c, log)
	if err != nil {
		return nil, fmt.Errorf("trust: %w", err)
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
func (s *standing) parts(c config, engine *call.Engine) []supervise.Part {
	serve := func(ctx context.Context, ln net.Listener) error {
		return serveHTTPS(ctx, ln, tls.Certificate{Certificate: s.id.TLS, PrivateKey: s.box.LDevID},
			attest.Handler(s.member.Room.Attest, s.box.Leaf, s.log.With("part", "attestation")))
	}
	return []supervise.Part{
		listening("attestation", c.Trust.Address, serve),
		{Name: "site", Run: running(func(ctx context.Context) error { return s.follow(ctx, engine) })},
	}
}

// follow keeps up with the site until ctx ends: what it withdraws, and the
// room's own certificates. A verifier that is out of reach stops nothing.
func (s *standing) follow(ctx context.Context, engine *call.Engine) error {
	pin, err := client.New(s.member.Verifier, client.WithKey(s.member.Key))
	if err != nil {
		return err
	}
	defer pin.Close()
	var noteKey string
	renewal := time.Now().Add(renewalStep)
	for {
		if err := s.revocations(ctx, pin, &noteKey, engine); err != nil && ctx.Err() == nil {
			s.log.Debug("the site's revocations are not known", "err", err)
		}
		if now := time.Now(); now.After(renewal) {
			renewal = now.Add(renewalStep)
			if due, err := client.Due(s.id, now); err == nil && due {
				s.renew(ctx)
			}
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(revocationStep):
		}
	}
}

func (s *standing) revocations(ctx context.Context, c *client.Client, noteKey *string, engine *call.Engine) error {
	ctx, cancel := context.WithTimeout(ctx, siteTimeout)
	defer cancel()
	if *noteKey == "" {
		info, err := c.Site(ctx)
		if err != nil {
			return err
		}
		*noteKey = info.NoteKey
	}
	list, err := c.Revocations(ctx, *noteKey)
	if err != nil {
		return err
	}
	if old := s.judge.revoked.Swap(&list); old == nil ||
		len(old.AKs) != len(list.AKs) || len(old.Certificates) != len(list.Certificates) || len(old.Versions) != len(list.Versions) {
		return engine.Reappraise(ctx)
	}
	return nil
}

// renew fetches new certificates. The room uses them from its next start on:
// connections and meetings that are under way rest on the present ones.
func (s *standing) renew(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, siteTimeout)
	defer cancel()
	if _, err := s.member.Renew(ctx, s.id); err != nil {
		s.log.Warn("certificates were not renewed", "err", err)
		return
	}
	s.log.Info("certificates renewed")
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
