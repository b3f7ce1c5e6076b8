// SPDX-License-Identifier: Apache-2.0

//go:build simtpm && cgo && !release

package demo

import (
	"context"
	"crypto/ecdsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"incamera/secureboot/enrol"
	"incamera/secureboot/seal"
)

// Give gives a room a box of its own: a simulated TPM that has started the
// release, or, if altered, starts the other build once it is enrolled. The
// security staff issue it a code.
func (t *Trust) Give(ctx context.Context, r *Room, mode string, altered bool, address string) error {
	ticket, err := t.staff.Code(ctx, enrol.CodeRequest{Serial: "DEMO-" + r.ID, Room: r.ID, Name: r.Name, Address: r.Relay})
	if err != nil {
		return err
	}
	r.tpm = "sim:" + filepath.Join(t.dir, "released")
	if altered {
		r.tpm += "," + filepath.Join(t.dir, "altered")
	}
	r.trust = map[string]any{
		"address": address, "mode": mode, "serial": "DEMO-" + r.ID,
		"policies": filepath.Join(t.dir, "policies.cbor"), "root": filepath.Join(t.dir, "keys", "root.pub"), "store": "store",
		"board": board, "software": "In Camera", "version": release,
		"join": map[string]any{"verifier": t.Verifier, "verifier_key": ticket.VerifierKey, "code": ticket.Code},
	}
	r.Attestation = "https://" + address
	return nil
}

// Invite is what security staff send to whoever sets a room up: one line. The
// room's relay will be reached at address.
func (t *Trust) Invite(ctx context.Context, serial, room, name, address string) (string, error) {
	ticket, err := t.staff.Code(ctx, enrol.CodeRequest{Serial: serial, Room: room, Name: name, Address: address})
	if err != nil {
		return "", err
	}
	code, err := enrol.ParseCode(ticket.Code)
	if err != nil {
		return "", err
	}
	i, err := enrol.NewInvitation(t.Verifier, t.pin, code)
	return i.String(), err
}

// List has security staff list a chip by the hash that the box shows.
func (t *Trust) List(ctx context.Context, ek string) error {
	return t.staff.ApproveEK(ctx, enrol.EKRequest{EK: ek, Note: "read off the box"})
}

// Let has security staff admit a room.
func (t *Trust) Let(ctx context.Context, room string) error { return t.staff.Admit(ctx, room) }

// Approve has staff put a bundle into the verifier and let rooms have it.
func (t *Trust) Approve(ctx context.Context, bundle io.Reader) (enrol.BundleEntry, error) {
	e, err := t.staff.AddBundle(ctx, bundle)
	if err != nil {
		return e, err
	}
	return e, t.staff.ApproveBundle(ctx, e.Board, e.Version)
}

// patience bounds the enrolment of a room.
const patience = 60 * time.Second

// Admit does what security staff do for each new room: they list its chip, which
// has no maker's certificate, by the hash that the box shows, and admit it.
func (t *Trust) Admit(ctx context.Context, r *Room) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	listed := false
	for {
		if ek := shownEK(r); ek != "" && !listed {
			if err := t.staff.ApproveEK(ctx, enrol.EKRequest{EK: ek, Note: "read off the demo's box"}); err != nil {
				return err
			}
			listed = true
		}
		rooms, err := t.staff.Rooms(ctx)
		if err != nil {
			return err
		}
		for _, known := range rooms {
			if known.ID != r.ID {
				continue
			}
			switch known.State {
			case enrol.StateWaiting:
				if err := t.staff.Admit(ctx, r.ID); err != nil {
					return err
				}
			case enrol.StateEnrolled:
				return nil
			}
		}
		select {
		case <-r.done:
			return fmt.Errorf("%s ended:\n%s", r.Name, r.Log())
		case <-ctx.Done():
			return fmt.Errorf("%s was not enrolled: %w\n%s", r.Name, context.Cause(ctx), r.Log())
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// Verify is how security staff challenge a room: the arguments of roomctl.
func (t *Trust) Verify(r *Room) []string {
	return []string{
		"verify", r.ID, "-room", r.Attestation, "-verifier", t.Verifier, "-key", hex.EncodeToString(t.pin[:]),
		"-token", filepath.Join(t.dir, tokenFile),
	}
}

// tokenFile holds the token of the security staff.
const tokenFile = "token"

// Revoke withdraws a room.
func (t *Trust) Revoke(ctx context.Context, r *Room) error { return t.staff.Revoke(ctx, r.ID) }

// shownEK reads the hash of the chip's endorsement key from the room's log.
func shownEK(r *Room) string {
	b, err := os.ReadFile(filepath.Join(r.Dir, "log.jsonl"))
	if err != nil {
		return ""
	}
	for line := range strings.SplitSeq(string(b), "\n") {
		var entry struct {
			EK string `json:"ek"`
		}
		if json.Unmarshal([]byte(line), &entry) == nil && entry.EK != "" {
			return entry.EK
		}
	}
	return ""
}

func readRoot(path string) (seal.RootKey, error) {
	der, err := readBlock(path)
	if err != nil {
		return seal.RootKey{}, err
	}
	key, err := x509.ParsePKIXPublicKey(der)
	if err != nil {
		return seal.RootKey{}, err
	}
	public, ok := key.(*ecdsa.PublicKey)
	if !ok {
		return seal.RootKey{}, errors.New("root key: not ECDSA")
	}
	return seal.RootKey{Generation: 1, Key: public}, nil
}

// verifierPin is the hash of the verifier's TLS key.
func verifierPin(path string) ([32]byte, error) {
	der, err := readBlock(path)
	if err != nil {
		return [32]byte{}, err
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return [32]byte{}, err
	}
	return sha256.Sum256(cert.RawSubjectPublicKeyInfo), nil
}

func readBlock(path string) ([]byte, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	block, _ := pem.Decode(b)
	if block == nil {
		return nil, fmt.Errorf("%s: no PEM", path)
	}
	return block.Bytes, nil
}
