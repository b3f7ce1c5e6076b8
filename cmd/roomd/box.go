// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"

	"incamera/secureboot/provision"
	"incamera/secureboot/seal"
	"incamera/secureboot/tpm"
)

const (
	maxPolicies = 256 << 10
	maxLog      = 192 << 10 // package eventlog's own limit
)

// openBox opens the TPM that the configuration names. A simulated one is a whole
// box: it is made, provisioned and started here.
func openBox(ctx context.Context, c config, log *slog.Logger) (*box, error) {
	if arg, ok := strings.CutPrefix(c.TPM, "sim:"); ok {
		return simulateBox(ctx, c, arg, log)
	}
	t, err := tpm.Open(ctx, c.TPM)
	if err != nil {
		return nil, err
	}
	b, err := provisioned(t, c.Trust)
	if err != nil {
		return nil, errors.Join(err, t.Close())
	}
	b.boots = c.Trust.BootCount
	b.logs = func() (firmware, phases []byte, err error) {
		if firmware, err = readUpTo(c.Trust.Firmware, maxLog); err != nil {
			return nil, nil, err
		}
		phases, err = readUpTo(c.Trust.Phases, maxLog)
		return firmware, phases, err
	}
	return b, nil
}

// provisioned finds what provisioning left in the TPM and in the store. A root
// key that is not the one it was provisioned under opens nothing.
func provisioned(t *tpm.TPM, c *trustConfig) (*box, error) {
	policies, root, err := readRelease(c)
	if err != nil {
		return nil, err
	}
	store, err := seal.OpenStore(c.Store)
	if err != nil {
		return nil, err
	}
	defer func() { _ = store.Close() }() // it was only read
	room, err := provision.Open(t, store, root.Generation)
	if err != nil {
		return nil, fmt.Errorf("not provisioned: %w: run roomctl provision", err)
	}
	if !room.Complete {
		return nil, errors.New("provisioning was cut short: run roomctl provision")
	}
	b := &box{tpm: t, ek: room.EK, ak: room.AK, srk: room.SRK}
	if b.ldevID, _, err = store.Key(t, room.SRK, provision.LDevID, policies); err != nil {
		return nil, err
	}
	if b.leaf, _, err = store.Key(t, room.SRK, provision.Leaf, policies); err != nil {
		return nil, err
	}
	if choice, err := tpm.ChooseEK(t); err == nil {
		if cert, err := tpm.EKCertificate(t, choice.Certificate); err == nil {
			b.ekChain = [][]byte{cert}
		}
	}
	return b, nil
}

// readRelease reads what the running release brings for the TPM to judge.
func readRelease(c *trustConfig) (*seal.Policies, seal.RootKey, error) {
	b, err := readUpTo(c.Policies, maxPolicies)
	if err != nil {
		return nil, seal.RootKey{}, err
	}
	policies, err := seal.ParsePolicies(b)
	if err != nil {
		return nil, seal.RootKey{}, err
	}
	text, err := readUpTo(c.Root, maxPEM)
	if err != nil {
		return nil, seal.RootKey{}, err
	}
	block, _ := pem.Decode(text)
	if block == nil {
		return nil, seal.RootKey{}, fmt.Errorf("%s: no key in PEM", c.Root)
	}
	key, err := x509.ParsePKIXPublicKey(block.Bytes)
	if err != nil {
		return nil, seal.RootKey{}, fmt.Errorf("%s: %w", c.Root, err)
	}
	public, ok := key.(*ecdsa.PublicKey)
	if !ok {
		return nil, seal.RootKey{}, fmt.Errorf("%s: no ECDSA key", c.Root)
	}
	root := seal.RootKey{Generation: 1, Key: public}
	return policies, root, policies.Verify(root)
}

func readUpTo(path string, limit int64) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err != nil {
		return nil, err
	}
	if int64(len(b)) > limit {
		return nil, fmt.Errorf("%s: larger than %d bytes", path, limit)
	}
	return b, nil
}
