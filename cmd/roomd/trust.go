// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"

	"incamera/cmd/internal/box"
	"incamera/media/e2ee"
	"incamera/secureboot/attest"
	"incamera/secureboot/enrol/client"
	"incamera/secureboot/evidence"
)

// A trustConfig is what a room with a TPM must know. Paths are relative to the
// folder of the configuration.
type trustConfig struct {
	// Address is where anyone may challenge the room, over HTTPS.
	Address string `json:"address"`
	// Mode is whom this room's meetings take: "attested-only", or "flagged",
	// which lets every room of the site in and shows it as it is.
	Mode string `json:"mode"`

	box.Config

	// Join has the room enrol itself where it has no identity yet.
	Join *joinConfig `json:"join,omitempty"`
}

// checkTrust checks what belongs to the TPM. That there is none is written out,
// as all hardware is.
func (c *config) checkTrust() error {
	t := c.Trust
	switch {
	case c.TPM == "":
		return errors.New(`tpm must be named, if only "none"`)
	case c.TPM == "none" && t == nil:
		return nil
	case c.TPM == "none":
		return errors.New("trust: of no use without a TPM")
	case t == nil:
		return errors.New("trust: missing; a room with a TPM proves its software")
	case t.Policies == "" || t.Root == "" || t.Store == "":
		return errors.New("trust: policies, root and store must be named")
	case !strings.HasPrefix(c.TPM, "sim:") && (t.Firmware == "" || t.Phases == ""):
		return errors.New("trust: firmware_log and phase_log must be named")
	}
	if err := t.Check(); err != nil {
		return fmt.Errorf("trust: %w", err)
	}
	if _, ok := modes[t.Mode]; !ok {
		return fmt.Errorf("trust: mode %q: attested-only, or flagged", t.Mode)
	}
	if _, _, err := net.SplitHostPort(t.Address); err != nil {
		return fmt.Errorf("trust: address: %w", err)
	}
	return nil
}

// A joinConfig is what staff give a box that is to become a room.
type joinConfig struct {
	Verifier string `json:"verifier"`     // https://host:port
	Key      string `json:"verifier_key"` // SHA-256 of its TLS key, hexadecimal
	Code     string `json:"code"`         // the activation code
}

var modes = map[string]e2ee.Mode{"attested-only": e2ee.AttestedOnly, "flagged": e2ee.Flagged}

// A roomBox is the box that this room is in.
type roomBox struct {
	*box.Box
	// exchange has a simulated box start other software once it is enrolled;
	// nil for all others.
	exchange func() error
}

// member is the box as the site's verifier knows it.
func (b *roomBox) member(c config, pin [32]byte, verifier string) *client.Member {
	return &client.Member{
		Room: b.Room(&c.Trust.Config), Path: filepath.Join(c.Identity, box.IdentityFile), Verifier: verifier, Key: pin,
	}
}

// enrolled returns the room's identity, enrolling it first if it has a ticket
// and none yet. It waits as long as staff take to admit the room.
func (b *roomBox) enrolled(ctx context.Context, c config, log *slog.Logger) (*client.Identity, *client.Member, error) {
	path := filepath.Join(c.Identity, box.IdentityFile)
	id, err := client.ReadIdentity(path)
	if errors.Is(err, client.ErrNotEnrolled) {
		return b.join(ctx, c, log)
	} else if err != nil {
		return nil, nil, err
	}
	m, err := b.memberOf(c, id)
	return id, m, err
}

// memberOf is the box as a member of the site that gave it an identity.
func (b *roomBox) memberOf(c config, id *client.Identity) (*client.Member, error) {
	pin, err := hex.DecodeString(id.VerifierKey)
	if err != nil || len(pin) != sha256.Size {
		return nil, errors.New("identity: damaged verifier key")
	}
	return b.member(c, [32]byte(pin), id.Verifier), nil
}

// admissionStep is how often a room asks whether staff have admitted it.
const admissionStep = 500 * time.Millisecond

func (b *roomBox) join(ctx context.Context, c config, log *slog.Logger) (*client.Identity, *client.Member, error) {
	j := c.Trust.Join
	if j == nil {
		return nil, nil, fmt.Errorf("%w: enrol it with roomctl enrol, or give it a ticket as trust.join", client.ErrNotEnrolled)
	}
	pin, err := hex.DecodeString(j.Key)
	if err != nil || len(pin) != sha256.Size {
		return nil, nil, errors.New("trust: join: verifier_key: 64 hexadecimal digits")
	}
	if err := os.MkdirAll(c.Identity, 0o700); err != nil {
		return nil, nil, fmt.Errorf("identity: %w", err)
	}
	m := b.member(c, [32]byte(pin), j.Verifier)
	for told := false; ; told = true {
		id, err := m.Join(ctx, client.Ticket{Code: j.Code})
		switch {
		case err == nil:
			log.Info("enrolled", "room", id.Room, "verifier", id.Verifier)
			return id, m, nil
		case errors.Is(err, client.ErrWaiting), errors.Is(err, client.ErrUnavailable), unlisted(err):
			if !told {
				log.Info("waits for the site to admit the room", "verifier", j.Verifier, "ek", b.Chip(), "err", err)
			}
		default:
			return nil, nil, fmt.Errorf("enrolment: %w%s", err, reasons(ctx, m, err))
		}
		select {
		case <-ctx.Done():
			return nil, nil, context.Cause(ctx)
		case <-time.After(admissionStep):
		}
	}
}

// reasons lists what the verifier found wrong, if it refused the room.
func reasons(ctx context.Context, m *client.Member, err error) string {
	refused, ok := errors.AsType[*client.Refusal](err)
	if !ok {
		return ""
	}
	c, err := client.New(m.Verifier, client.WithKey(m.Key))
	if err != nil {
		return ""
	}
	defer c.Close()
	site, err := c.Site(ctx)
	if err != nil {
		return ""
	}
	key, err := x509.ParsePKIXPublicKey(site.ResultKey)
	if err != nil {
		return ""
	}
	result, err := evidence.ParseResult(refused.Result, key)
	if err != nil {
		return ""
	}
	var text strings.Builder
	for _, f := range result.Failures {
		if f.Status == evidence.Contraindicated {
			fmt.Fprintf(&text, ": %s (%s)", f.Code, f.Detail)
		}
	}
	return text.String()
}

// unlisted reports whether the verifier knows nobody who vouches for the chip.
// Staff may list it, by the hash that the room logs.
func unlisted(err error) bool {
	p, ok := errors.AsType[*client.Problem](err)
	return ok && p.Code == string(evidence.EKUntrusted)
}

// renewFor bounds the first renewal: a verifier that is out of reach must not
// keep a room from meeting.
const renewFor = 5 * time.Second

// current renews the certificates where they speak of another release than the
// one that runs: after an update no peer could accept this room's quotes. What
// fails is logged; the room goes on with what it has.
func current(ctx context.Context, m *client.Member, id *client.Identity, running string, log *slog.Logger) *client.Identity {
	result, err := resultIn(id.MLS[0], id.ResultKey)
	due, dueErr := client.Due(id, time.Now())
	if err == nil && dueErr == nil && !due && result.Release != nil && result.Release.Version == running {
		return id
	}
	ctx, cancel := context.WithTimeout(ctx, renewFor)
	defer cancel()
	renewed, err := m.Renew(ctx, id)
	if err != nil {
		log.Warn("certificates were not renewed", "err", err)
		return id
	}
	return renewed
}

// resultIn returns the verifier's result in a certificate.
func resultIn(der, resultKey []byte) (*evidence.Result, error) {
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, err
	}
	statement, err := evidence.FromCertificate(cert)
	if err != nil {
		return nil, err
	}
	key, err := x509.ParsePKIXPublicKey(resultKey)
	if err != nil {
		return nil, err
	}
	return evidence.ParseResult(statement, key)
}

// identity is the room's identity where its keys are in the TPM.
func (b *roomBox) identity(id *client.Identity) (*identity, error) {
	root, err := x509.ParseCertificate(id.Root)
	if err != nil {
		return nil, fmt.Errorf("identity: root: %w", err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(root)
	return &identity{
		site: pool, chain: id.MLS, key: b.Leaf,
		tls: tls.Certificate{Certificate: id.TLS, PrivateKey: b.LDevID},
	}, nil
}

// attestor implements [e2ee.Attestor]: the logs stay out, since a peer compares
// registers with those that the site's verifier judged.
type attestor struct {
	room *attest.Room
	leaf attest.Key
}

func (a attestor) Evidence(ctx context.Context, binding [32]byte) ([]byte, error) {
	return a.room.Evidence(ctx, attest.Statement{Nonce: binding[:], Key: a.leaf, Compact: true})
}
