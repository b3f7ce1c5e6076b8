// SPDX-License-Identifier: Apache-2.0

//go:build simtpm && cgo && !release

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"

	"incamera/cmd/internal/box"
	"incamera/secureboot/measure/simboot"
	"incamera/secureboot/provision"
	"incamera/secureboot/seal"
	"incamera/secureboot/tpm"
)

// A simulated box is a new chip each time that the program starts, named in the
// configuration as
//
//	tpm  sim:FOLDER           has started the release in FOLDER: loader.efi, uki.efi
//	     sim:FOLDER,FOLDER    has started the first one, and once it is enrolled
//	                          starts the second: software that was exchanged later
//
// Nothing is started: what would be measured is measured.
func simulateBox(ctx context.Context, c config, arg string, log *slog.Logger) (*roomBox, error) {
	folders := strings.Split(arg, ",")
	if len(folders) > 2 || folders[0] == "" {
		return nil, fmt.Errorf("tpm: %q: sim:FOLDER or sim:FOLDER,FOLDER", c.TPM)
	}
	t, err := tpm.Open(ctx, "sim:")
	if err != nil {
		return nil, err
	}
	err = tpm.AllocateSHA256(t)
	if err == nil {
		err = t.PowerCycle()
	}
	if err != nil {
		return nil, errors.Join(err, t.Close())
	}
	b, err := startBox(ctx, t, c.Trust, folders[0], log)
	if err != nil {
		return nil, errors.Join(err, t.Close())
	}
	if len(folders) == 2 {
		b.exchange = func() error {
			if err := t.PowerCycle(); err != nil {
				return err
			}
			log.Warn("the box has started other software", "folder", folders[1])
			return start(b.Box, folders[1], nil)
		}
	}
	return b, nil
}

const maxImage = 64 << 20

// words are the phases of a start after the first.
var words = []string{"leave-initrd", "sysinit", "ready"}

func startBox(ctx context.Context, t *tpm.TPM, c *trustConfig, folder string, log *slog.Logger) (*roomBox, error) {
	policies, root, err := c.Release()
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(c.Store, 0o700); err != nil {
		return nil, err
	}
	first := &box.Box{TPM: t}
	err = start(first, folder, func() error {
		store, err := seal.OpenStore(c.Store)
		if err != nil {
			return err
		}
		defer func() { _ = store.Close() }() // what is written is synced by then
		_, err = provision.Run(ctx, t, store, provision.Plan{
			Root: root, Policies: policies, Version: 1, PolicyKey: 1,
			Disk: &memoryDisk{}, Keeper: attentive{}, Log: log.With("part", "provision"),
		})
		return err
	})
	if err != nil {
		return nil, err
	}
	b, err := box.Provisioned(t, &c.Config)
	if err != nil {
		return nil, err
	}
	b.Logs, b.BootCount = first.Logs, first.BootCount
	return &roomBox{Box: b}, nil
}

// start measures a release, and calls early in its phase enter-initrd.
func start(b *box.Box, folder string, early func() error) error {
	loader, err := box.ReadUpTo(filepath.Join(folder, "loader.efi"), maxImage)
	if err != nil {
		return err
	}
	uki, err := box.ReadUpTo(filepath.Join(folder, "uki.efi"), maxImage)
	if err != nil {
		return err
	}
	m, err := simboot.Start(b.TPM, simboot.Typical(loader, uki))
	if err != nil {
		return err
	}
	if err := m.Extend(simboot.PCRIdentity, "machine-id:simulated"); err != nil {
		return err
	}
	if err := m.Extend(11, "enter-initrd"); err != nil {
		return err
	}
	if early != nil {
		if err := early(); err != nil {
			return err
		}
	}
	for _, word := range words {
		if err := m.Extend(11, word); err != nil {
			return err
		}
	}
	b.BootCount++
	b.Logs = func() (firmware, phases []byte, err error) {
		firmware, phases = m.Logs()
		return firmware, phases, nil
	}
	return nil
}

// A memoryDisk stands for the partition that the state key opens.
type memoryDisk struct{ key []byte }

func (d *memoryDisk) Adopt(_ context.Context, key seal.Secret) error {
	if d.key != nil && !bytes.Equal(d.key, key) {
		return errors.New("another key opens the partition")
	}
	d.key = bytes.Clone(key)
	return nil
}

// attentive is a person who copies the recovery key right. In the demo there is
// nothing to recover.
type attentive struct{}

func (attentive) Keep(_ context.Context, key seal.RecoveryKey) (seal.RecoveryKey, error) {
	return key, nil
}
