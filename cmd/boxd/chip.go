// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"path/filepath"

	"incamera/cmd/internal/box"
	"incamera/secureboot/provision"
	"incamera/secureboot/seal"
	"incamera/secureboot/tpm"
	"incamera/secureboot/update"
)

const maxPolicies = 256 << 10

// A chip is the box's TPM, opened for each call: between two, the room has it to
// itself. It implements [update.Floor].
type chip struct {
	uri, run string
	root     seal.RootKey
	rollback uint64 // of the running release
}

// with calls f with the TPM and the keys with which this box was provisioned,
// compared with their recorded names.
func (c chip) with(ctx context.Context, f func(*tpm.TPM, provision.Room) error) error {
	store, err := seal.OpenStore(filepath.Join(c.run, "store"))
	if err != nil {
		return err
	}
	defer func() { _ = store.Close() }() // it is only read
	t, err := tpm.Open(ctx, c.uri)
	if err != nil {
		return err
	}
	room, err := provision.Open(t, store, c.root.Generation)
	if err == nil {
		err = f(t, room)
	}
	return errors.Join(err, t.Close())
}

// Read implements [update.Floor].
func (c chip) Read(ctx context.Context) (floor uint64, err error) {
	err = c.with(ctx, func(t *tpm.TPM, _ provision.Room) (err error) {
		floor, err = seal.Read(ctx, t, c.root, seal.Floor)
		return err
	})
	return floor, err
}

// Raise implements [update.Floor].
func (c chip) Raise(ctx context.Context) error {
	b, err := box.ReadUpTo(filepath.Join(c.run, "policies.cbor"), maxPolicies)
	if err != nil {
		return err
	}
	p, err := seal.ParsePolicies(b)
	if err != nil {
		return err
	}
	if err := p.Verify(c.root); err != nil {
		return err
	}
	return c.with(ctx, func(t *tpm.TPM, room provision.Room) error {
		return update.TPMFloor{TPM: t, SRK: room.SRK, Root: c.root, Policies: p, Rollback: c.rollback}.Raise(ctx)
	})
}

// number is a serial number for a box that has none: the chip's endorsement key
// is the one thing that no other box has.
func (c chip) number(ctx context.Context) (serial string, err error) {
	err = c.with(ctx, func(_ *tpm.TPM, room provision.Room) error {
		sum := sha256.Sum256(room.EK.Name.Buffer)
		serial = "ic-" + hex.EncodeToString(sum[:4])
		return nil
	})
	if err != nil {
		return "", fmt.Errorf("endorsement key: %w", err)
	}
	return serial, nil
}
