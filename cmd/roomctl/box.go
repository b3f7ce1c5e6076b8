// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"incamera/cmd/internal/box"
	"incamera/secureboot/enrol"
	"incamera/secureboot/enrol/client"
	"incamera/secureboot/tpm"
)

// A boxConfig is the members of roomd's configuration that are about the TPM.
// The others are roomd's, which refuses those that nobody knows.
type boxConfig struct {
	Version  int        `json:"version"`
	TPM      string     `json:"tpm"`
	Identity string     `json:"identity"`
	Trust    box.Config `json:"trust"`
}

func (k *call) config() *string {
	return k.String("config", "/etc/in-camera/room.json", "`file` that says which room this is")
}

func readConfig(path string) (*boxConfig, error) {
	b, err := box.ReadUpTo(path, 256<<10)
	if err != nil {
		return nil, err
	}
	c := new(boxConfig)
	if err := json.Unmarshal(b, c); err != nil {
		return nil, fmt.Errorf("configuration %s: %w", path, err)
	}
	if c.Version != 1 || c.Identity == "" {
		return nil, fmt.Errorf("configuration %s: no room of version 1", path)
	}
	dir := filepath.Dir(path)
	c.Trust.Resolve(dir)
	if !filepath.IsAbs(c.Identity) {
		c.Identity = filepath.Join(dir, c.Identity)
	}
	return c, nil
}

// open opens the TPM that the configuration names: by name, never by fallback.
func (c *boxConfig) open(ctx context.Context) (*tpm.TPM, error) {
	if c.TPM == "" || c.TPM == "none" {
		return nil, errors.New("the configuration says that this room has no TPM")
	}
	return tpm.Open(ctx, c.TPM)
}

func setEnrol(k *call) func(context.Context) error {
	config, v := k.config(), k.verifier()
	voucher := k.String("voucher", "", "`file` with a voucher, in place of a code")
	wait := k.Bool("wait", false, "wait until staff have admitted the room")
	return func(ctx context.Context) error {
		c, err := readConfig(*config)
		if err != nil {
			return err
		}
		m := &client.Member{Path: filepath.Join(c.Identity, box.IdentityFile)}
		ticket, err := k.ticket(v, *voucher, m)
		if err != nil {
			return err
		}
		t, err := c.open(ctx)
		if err != nil {
			return err
		}
		defer func() { _ = t.Close() }() // nothing is under way
		b, err := box.Provisioned(t, &c.Trust)
		if err != nil {
			return err
		}
		m.Room = b.Room(&c.Trust)
		id, err := m.Join(ctx, ticket)
		for *wait && (errors.Is(err, client.ErrWaiting) || errors.Is(err, client.ErrUnavailable)) {
			select {
			case <-ctx.Done():
				return err
			case <-time.After(5 * time.Second):
			}
			id, err = m.Join(ctx, client.Ticket{})
		}
		if err != nil {
			return err
		}
		return k.print(id, "enrolled: %s, %q\n", id.Room, id.Name)
	}
}

// ticket reads what lets the box begin, and tells m which verifier is meant. The
// code or invitation is no argument, which all on the box could read.
func (k *call) ticket(v *verifier, voucher string, m *client.Member) (client.Ticket, error) {
	var line string
	if voucher == "" {
		var err error
		if line, err = k.in.ReadString('\n'); line == "" && err != nil {
			return client.Ticket{}, fmt.Errorf("%w: the invitation or activation code on standard input, or -voucher", errUsage)
		}
		if i, err := enrol.ParseInvitation(line); err == nil {
			m.Verifier, m.Key = i.Verifier, i.Key
			return client.Ticket{Code: i.Code.Text()}, nil
		}
	}
	// Before there is an identity nothing but the key tells the verifier from another.
	var err error
	if m.Key, err = v.pin(); err != nil {
		return client.Ticket{}, err
	}
	if m.Verifier = v.url; voucher == "" {
		return client.Ticket{Code: strings.TrimSpace(line)}, nil
	}
	b, err := box.ReadUpTo(voucher, 4<<10)
	return client.Ticket{Voucher: b}, err
}

func setIdentity(k *call) func(context.Context) error {
	config := k.config()
	return func(context.Context) error {
		c, err := readConfig(*config)
		if err != nil {
			return err
		}
		id, err := client.ReadIdentity(filepath.Join(c.Identity, box.IdentityFile))
		if err != nil {
			return err
		}
		until, err := id.NotAfter()
		if err != nil {
			return err
		}
		root, err := x509.ParseCertificate(id.Root)
		if err != nil {
			return err
		}
		return k.print(id, "room      %s\nname      %s\nsite      %s\nverifier  %s\nkey       %s\nuntil     %s\n",
			id.Room, id.Name, strings.Join(root.Subject.Organization, " "), id.Verifier, id.VerifierKey, until.Format(time.RFC3339))
	}
}
