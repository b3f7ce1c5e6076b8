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
		pin, err := v.pin() // before there is an identity nothing else tells the verifier from another
		if err != nil {
			return err
		}
		var ticket client.Ticket
		if *voucher != "" {
			if ticket.Voucher, err = box.ReadUpTo(*voucher, 4<<10); err != nil {
				return err
			}
		} else if line, err := k.in.ReadString('\n'); line != "" { // not an argument, which all on the box can read
			ticket.Code = strings.TrimSpace(line)
		} else if err != nil {
			return fmt.Errorf("%w: the activation code on standard input, or -voucher", errUsage)
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
		m := &client.Member{Room: b.Room(&c.Trust), Path: filepath.Join(c.Identity, box.IdentityFile), Verifier: v.url, Key: pin}
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
