// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"crypto/tls"
	"encoding/hex"
	"fmt"
	"os"
	"strings"
	"time"

	"incamera/cmd/internal/box"
	"incamera/secureboot/enrol"
	"incamera/secureboot/enrol/client"
	"incamera/secureboot/evidence"
)

// A verifier is the flags that say which verifier, and who asks.
type verifier struct{ url, key, token, cert, certKey string }

func (k *call) verifier() *verifier {
	v := &verifier{}
	k.StringVar(&v.url, "verifier", "", "`URL` of the verifier, https://host:port")
	k.StringVar(&v.key, "key", "", "SHA-256 of the verifier's TLS key, hexadecimal; without it, the system's CAs are asked")
	k.StringVar(&v.token, "token", "", "`file` with the token of a member of staff")
	k.StringVar(&v.cert, "cert", "", "`file` with the certificate of a member of staff, PEM")
	k.StringVar(&v.certKey, "cert-key", "", "`file` with its key, PEM")
	return v
}

func (v *verifier) pin() ([32]byte, error) {
	b, err := hex.DecodeString(v.key)
	if err != nil || len(b) != 32 {
		return [32]byte{}, fmt.Errorf("%w: -key: 64 hexadecimal digits", errUsage)
	}
	return [32]byte(b), nil
}

func (v *verifier) open() (*client.Client, error) {
	if v.url == "" {
		return nil, fmt.Errorf("%w: -verifier is missing", errUsage)
	}
	var options []client.Option
	if v.key != "" {
		pin, err := v.pin()
		if err != nil {
			return nil, err
		}
		options = append(options, client.WithKey(pin))
	}
	if v.token != "" {
		b, err := box.ReadUpTo(v.token, 1<<10)
		if err != nil {
			return nil, err
		}
		options = append(options, client.WithToken(strings.TrimSpace(string(b))))
	}
	if v.cert != "" {
		cert, err := tls.LoadX509KeyPair(v.cert, v.certKey)
		if err != nil {
			return nil, err
		}
		options = append(options, client.WithCertificate(cert))
	}
	return client.New(v.url, options...)
}

// staffed reports whether somebody of staff asks.
func (v *verifier) staffed() bool { return v.token != "" || v.cert != "" }

func setRooms(k *call) func(context.Context) error {
	v := k.verifier()
	return func(ctx context.Context) error {
		c, err := v.open()
		if err != nil {
			return err
		}
		defer c.Close()
		rooms, err := c.Rooms(ctx)
		if err != nil {
			return err
		}
		var b strings.Builder
		for _, r := range rooms {
			fmt.Fprintf(&b, "%-20s %-9s %-16s %-10s %s\n", r.ID, r.State, r.Status, r.Firmware, r.Name)
		}
		return k.print(rooms, "%s", b.String())
	}
}

func setCode(k *call) func(context.Context) error {
	v := k.verifier()
	var r enrol.CodeRequest
	k.StringVar(&r.Serial, "serial", "", "serial `number` of the box")
	k.StringVar(&r.Room, "room", "", "`id` that the room will have")
	k.StringVar(&r.Name, "name", "", "`name` as panels show it")
	voucher := k.String("voucher", "", "`file` to write a voucher to, in place of a code")
	return func(ctx context.Context) error {
		c, err := v.open()
		if err != nil {
			return err
		}
		defer c.Close()
		r.Voucher = *voucher != ""
		rsp, err := c.Code(ctx, r)
		if err != nil {
			return err
		}
		if r.Voucher {
			if err := os.WriteFile(*voucher, rsp.Voucher, 0o600); err != nil {
				return err
			}
			return k.print(rsp, "voucher in %s, until %s\nverifier key %s\n", *voucher, rsp.Expires.Format(time.RFC3339), rsp.VerifierKey)
		}
		return k.print(rsp, "code %s, once, until %s\nverifier key %s\n", rsp.Code, rsp.Expires.Format(time.RFC3339), rsp.VerifierKey)
	}
}

// setAct makes a command that does one thing to what its word names.
func setAct(k *call, act func(context.Context, *client.Client, string) error, done string) func(context.Context) error {
	v := k.verifier()
	return func(ctx context.Context) error {
		c, err := v.open()
		if err != nil {
			return err
		}
		defer c.Close()
		if err := act(ctx, c, k.Arg(0)); err != nil {
			return err
		}
		return k.print(map[string]string{done: k.Arg(0)}, "%s: %s\n", k.Arg(0), done)
	}
}

func setApprove(k *call) func(context.Context) error {
	return setAct(k, func(ctx context.Context, c *client.Client, room string) error { return c.Admit(ctx, room) }, "admitted")
}

func setRevoke(k *call) func(context.Context) error {
	return setAct(k, func(ctx context.Context, c *client.Client, room string) error { return c.Revoke(ctx, room) }, "revoked")
}

func setApproveChip(k *call) func(context.Context) error {
	note := k.String("note", "", "where you have the hash from")
	return setAct(k, func(ctx context.Context, c *client.Client, hash string) error {
		return c.ApproveEK(ctx, enrol.EKRequest{EK: hash, Note: *note})
	}, "approved")
}

func setReferenceAdd(k *call) func(context.Context) error {
	v := k.verifier()
	document := k.String("document", "", "`file` with signed reference values")
	proof := k.String("proof", "", "`file` with the proof that they are in the log")
	consistency := k.String("consistency", "", "`file` with hashes of 32 bytes each, from the checkpoint that the verifier keeps")
	return func(ctx context.Context) error {
		var d enrol.ReferenceDocument
		var err error
		if d.Document, err = box.ReadUpTo(*document, evidence.MaxReferences); err != nil {
			return err
		}
		if d.Proof, err = box.ReadUpTo(*proof, evidence.MaxProof); err != nil {
			return err
		}
		if *consistency != "" {
			b, err := box.ReadUpTo(*consistency, 64*32)
			if err != nil {
				return err
			}
			if len(b)%32 != 0 {
				return fmt.Errorf("%s: not hashes of 32 bytes", *consistency)
			}
			for ; len(b) > 0; b = b[32:] {
				d.Consistency = append(d.Consistency, b[:32])
			}
		}
		c, err := v.open()
		if err != nil {
			return err
		}
		defer c.Close()
		if err := c.AddReference(ctx, d); err != nil {
			return err
		}
		return k.print(map[string]string{"added": *document}, "%s: added\n", *document)
	}
}

func setReferenceList(k *call) func(context.Context) error {
	v := k.verifier()
	return func(ctx context.Context) error {
		c, err := v.open()
		if err != nil {
			return err
		}
		defer c.Close()
		list, err := c.References(ctx)
		if err != nil {
			return err
		}
		var b strings.Builder
		for _, r := range list {
			state := ""
			if r.Revoked {
				state = "revoked"
			}
			fmt.Fprintf(&b, "%-12s %-16s %6d %s %s\n", r.Version, r.Board, r.Rollback, r.SHA256, state)
		}
		return k.print(list, "%s", b.String())
	}
}
