// SPDX-License-Identifier: Apache-2.0

package main

import (
	"cmp"
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

// asking makes a command that asks the verifier which its flags name.
func (k *call) asking(ask func(context.Context, *client.Client) error) func(context.Context) error {
	v := k.verifier()
	return func(ctx context.Context) error { return v.ask(ctx, ask) }
}

func (v *verifier) ask(ctx context.Context, ask func(context.Context, *client.Client) error) error {
	c, err := v.open()
	if err != nil {
		return err
	}
	defer c.Close()
	return ask(ctx, c)
}

// staffed reports whether somebody of staff asks.
func (v *verifier) staffed() bool { return v.token != "" || v.cert != "" }

func setRooms(k *call) func(context.Context) error {
	return k.asking(func(ctx context.Context, c *client.Client) error {
		rooms, err := c.Rooms(ctx)
		if err != nil {
			return err
		}
		var b strings.Builder
		for _, r := range rooms {
			fmt.Fprintf(&b, "%-20s %-9s %-16s %-10s %s\n", r.ID, r.State, r.Status, r.Firmware, r.Name)
		}
		return k.print(rooms, "%s", b.String())
	})
}

// A handout is what code prints. Invitation is the line that a box's set-up page
// takes; a voucher has none.
type handout struct {
	enrol.CodeResponse
	Invitation string `json:"invitation,omitempty"`
}

func setCode(k *call) func(context.Context) error {
	v := k.verifier()
	var r enrol.CodeRequest
	k.StringVar(&r.Serial, "serial", "", "serial `number` of the box")
	k.StringVar(&r.Room, "room", "", "`id` that the room will have")
	k.StringVar(&r.Name, "name", "", "`name` as panels show it")
	k.StringVar(&r.Address, "address", "", "where other rooms will reach the room's relay, `host:port`; without it, its name in the site's domain")
	reached := k.String("reached-at", "", "`URL` of the verifier as the room reaches it; without it, that of -verifier")
	voucher := k.String("voucher", "", "`file` to write a voucher to, in place of a code")
	return func(ctx context.Context) error {
		r.Voucher = *voucher != ""
		url := strings.TrimSuffix(cmp.Or(*reached, v.url), "/")
		if _, err := enrol.NewInvitation(url, [32]byte{}, enrol.NewCode()); err != nil && !r.Voucher {
			return fmt.Errorf("%w: %w", errUsage, err) // before there is a code that nobody sees
		}
		return v.ask(ctx, func(ctx context.Context, c *client.Client) error {
			rsp, err := c.Code(ctx, r)
			if err != nil {
				return err
			}
			until := rsp.Expires.Format(time.RFC3339)
			if r.Voucher {
				if err := os.WriteFile(*voucher, rsp.Voucher, 0o600); err != nil {
					return err
				}
				return k.print(rsp, "voucher in %s, until %s\nverifier key %s\n", *voucher, until, rsp.VerifierKey)
			}
			line, err := invitation(url, rsp)
			if err != nil {
				return err
			}
			return k.print(handout{rsp, line}, "code %s, once, until %s\nverifier key %s\ninvitation, for the page with which the box is set up:\n%s\n",
				rsp.Code, until, rsp.VerifierKey, line)
		})
	}
}

func invitation(url string, rsp enrol.CodeResponse) (string, error) {
	code, err := enrol.ParseCode(rsp.Code)
	if err != nil {
		return "", err
	}
	key, err := (&verifier{key: rsp.VerifierKey}).pin()
	if err != nil {
		return "", err
	}
	i, err := enrol.NewInvitation(url, key, code)
	if err != nil {
		return "", err
	}
	return i.String(), nil
}

// setAct makes a command that does one thing to what its word names.
func setAct(k *call, act func(context.Context, *client.Client, string) error, done string) func(context.Context) error {
	return k.asking(func(ctx context.Context, c *client.Client) error {
		if err := act(ctx, c, k.Arg(0)); err != nil {
			return err
		}
		return k.print(map[string]string{done: k.Arg(0)}, "%s: %s\n", k.Arg(0), done)
	})
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
