// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"incamera/secureboot/attest"
	"incamera/secureboot/enrol/client"
	"incamera/secureboot/evidence"
	"incamera/secureboot/provision"
	"incamera/secureboot/seal"
	"incamera/secureboot/tpm"
)

// A boxConfig is the members of roomd's configuration that are about the TPM.
// The others are roomd's, which refuses those that nobody knows.
type boxConfig struct {
	Version  int    `json:"version"`
	TPM      string `json:"tpm"`
	Identity string `json:"identity"`
	Trust    struct {
		Policies  string `json:"policies"`
		Root      string `json:"root"`
		Store     string `json:"store"`
		Serial    string `json:"serial"`
		Firmware  string `json:"firmware_log"`
		Phases    string `json:"phase_log"`
		Board     string `json:"board"`
		Software  string `json:"software"`
		Version   string `json:"version"`
		BootCount uint64 `json:"boot_count"`
	} `json:"trust"`
}

// identityFile is where roomd looks.
const identityFile = "enrolment.json"

func (k *call) config() *string {
	return k.String("config", "/etc/in-camera/room.json", "`file` that says which room this is")
}

func readConfig(path string) (*boxConfig, error) {
	b, err := readUpTo(path, 256<<10)
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
	for _, p := range []*string{&c.Identity, &c.Trust.Policies, &c.Trust.Root, &c.Trust.Store, &c.Trust.Firmware, &c.Trust.Phases} {
		if *p != "" && !filepath.IsAbs(*p) {
			*p = filepath.Join(filepath.Dir(path), *p)
		}
	}
	return c, nil
}

// rootGeneration is that of the one root there is.
const rootGeneration = 1

func (c *boxConfig) root() (seal.RootKey, error) {
	b, err := readUpTo(c.Trust.Root, 64<<10)
	if err != nil {
		return seal.RootKey{}, err
	}
	block, _ := pem.Decode(b)
	if block == nil {
		return seal.RootKey{}, fmt.Errorf("%s: no key in PEM", c.Trust.Root)
	}
	key, err := x509.ParsePKIXPublicKey(block.Bytes)
	if err != nil {
		return seal.RootKey{}, fmt.Errorf("%s: %w", c.Trust.Root, err)
	}
	public, ok := key.(*ecdsa.PublicKey)
	if !ok {
		return seal.RootKey{}, fmt.Errorf("%s: no elliptic-curve key", c.Trust.Root)
	}
	return seal.RootKey{Generation: rootGeneration, Key: public}, nil
}

func (c *boxConfig) policies(root seal.RootKey) (*seal.Policies, error) {
	b, err := readUpTo(c.Trust.Policies, 256<<10)
	if err != nil {
		return nil, err
	}
	p, err := seal.ParsePolicies(b)
	if err != nil {
		return nil, err
	}
	return p, p.Verify(root)
}

// open opens the TPM that the configuration names: by name, never by fallback.
func (c *boxConfig) open(ctx context.Context) (*tpm.TPM, error) {
	if c.TPM == "" || c.TPM == "none" {
		return nil, errors.New("the configuration says that this room has no TPM")
	}
	return tpm.Open(ctx, c.TPM)
}

// room is the provisioned box as a member of a site.
func (c *boxConfig) room(t *tpm.TPM) (client.Room, error) {
	root, err := c.root()
	if err != nil {
		return client.Room{}, err
	}
	policies, err := c.policies(root)
	if err != nil {
		return client.Room{}, err
	}
	store, err := seal.OpenStore(c.Trust.Store)
	if err != nil {
		return client.Room{}, err
	}
	defer func() { _ = store.Close() }() // only read from
	keys, err := provision.Open(t, store, root.Generation)
	if err != nil {
		return client.Room{}, fmt.Errorf("not provisioned: %w", err)
	}
	if !keys.Complete {
		return client.Room{}, errors.New("provisioning was cut short: roomctl provision goes on with it")
	}
	ldevID, _, err := store.Key(t, keys.SRK, provision.LDevID, policies)
	if err != nil {
		return client.Room{}, err
	}
	leaf, _, err := store.Key(t, keys.SRK, provision.Leaf, policies)
	if err != nil {
		return client.Room{}, err
	}
	r := client.Room{SRKName: keys.SRK.Name.Buffer, Identity: ldevID, Leaf: leaf, Serial: c.Trust.Serial, Soft: t.Soft()}
	r.Attest = &attest.Room{
		TPM: t, EK: keys.EK, AK: keys.AK, LDevID: ldevID, Board: c.Trust.Board, OEMBoot: true,
		Debug: evidence.DebugDisabledPermanently, BootCount: c.Trust.BootCount, Name: c.Trust.Software, Version: c.Trust.Version,
		Logs: func() (firmware, phases []byte, err error) {
			if firmware, err = readUpTo(c.Trust.Firmware, 192<<10); err == nil {
				phases, err = readUpTo(c.Trust.Phases, 192<<10)
			}
			return firmware, phases, err
		},
	}
	for _, rule := range evidence.DefaultRules() {
		r.Attest.PCRs = append(r.Attest.PCRs, rule.PCR)
	}
	index := tpm.IndexCertP256
	if keys.EK.Handle == tpm.HandleEKP384 {
		index = tpm.IndexCertP384
	}
	cert, err := tpm.EKCertificate(t, index)
	switch {
	case err == nil:
		r.EKChain = [][]byte{cert}
	case !errors.Is(err, tpm.ErrAbsent):
		return client.Room{}, err
	}
	return r, nil
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
			if ticket.Voucher, err = readUpTo(*voucher, 4<<10); err != nil {
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
		room, err := c.room(t)
		if err != nil {
			return err
		}
		m := &client.Member{Room: room, Path: filepath.Join(c.Identity, identityFile), Verifier: v.url, Key: pin}
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
		id, err := client.ReadIdentity(filepath.Join(c.Identity, identityFile))
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
