// SPDX-License-Identifier: Apache-2.0

//go:build simtpm && cgo

package provision

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"testing"

	"github.com/google/go-tpm/tpm2"

	"incamera/secureboot/seal"
	"incamera/secureboot/tpm"
	"incamera/secureboot/tpm/tpmtest"
)

// No secret of provisioning is on the bus: not the state key, nor the owner and
// lockout authorisations.
func TestBusSeesNoSecret(t *testing.T) {
	for name, open := range chips {
		t.Run(name, func(t *testing.T) {
			var bus bytes.Buffer
			chip := open(t, tpm.WithTap(func(command, response []byte) {
				bus.Write(command)
				bus.Write(response)
			}))
			chip.OnlySHA256()
			boot(t, chip, initrd)
			b := newBox(t, newVendor(t))
			room, err := Run(t.Context(), chip, b.store, b.plan())
			if err != nil {
				t.Fatal(err)
			}
			chip.Reset()
			boot(t, chip, ready)
			secrets := map[string][]byte{State: b.disk.key}
			for _, name := range []string{Owner, Lockout} {
				if secrets[name], _, err = b.store.Unseal(t.Context(), chip, room.SRK, name, b.vendor.policies); err != nil {
					t.Fatal(err)
				}
			}
			for name, secret := range secrets {
				if len(secret) != 32 || bytes.Contains(bus.Bytes(), secret) {
					t.Errorf("%s, %d bytes, seen on the bus", name, len(secret))
				}
			}
			// The control: what is no secret was seen.
			if !bytes.Contains(bus.Bytes(), room.SRK.Name.Buffer) {
				t.Error("the tap saw nothing of the SRK; it proves nothing")
			}
		})
	}
}

// A bus that claims that the authorisations are set already does not leave the
// TPM open: the claim comes without the proof.
func TestFalseClaimOfOwner(t *testing.T) {
	for name, bit := range map[string]uint32{Owner: 1 << 0, Lockout: 1 << 2} {
		t.Run(name, func(t *testing.T) {
			lying := false
			chip := tpmtest.Simulator(t, tpm.WithTap(func(command, response []byte) {
				// GetCapability of TPM_PT_PERMANENT, in a session or not: the
				// value follows the property.
				property := binary.BigEndian.AppendUint32(nil, uint32(tpm2.TPMPTPermanent))
				i := bytes.LastIndex(response, property)
				if lying && i >= 0 && bytes.Equal(command[6:10], []byte{0, 0, 1, 0x7A}) {
					value := binary.BigEndian.Uint32(response[i+4:])
					binary.BigEndian.PutUint32(response[i+4:], value|bit)
				}
			}))
			chip.OnlySHA256()
			boot(t, chip, initrd)
			b := newBox(t, newVendor(t))
			// The worst time: a value is sealed and stored, but not set.
			if _, err := Run(t.Context(), chip, untilStored{b.store, name}, b.plan()); !errors.Is(err, errPower) {
				t.Fatal(err)
			}
			plan := b.plan()
			plan.Disk = diskFunc(func(context.Context, seal.Secret) error {
				lying = true // the steps before were honest
				return nil
			})
			if _, err := Run(t.Context(), chip, b.store, plan); err == nil || errors.Is(err, ErrOwned) {
				t.Errorf("Run: %v; want a claim without proof refused", err)
			}
			lying = false
			if err := tpm.FlushAll(chip); err != nil {
				t.Fatal(err)
			}
			set, err := authorisations(chip)
			if err != nil || name == Owner && set.owner || set.lockout {
				t.Errorf("authorisations = %+v, %v", set, err)
			}
			if _, err := Run(t.Context(), chip, b.store, b.plan()); err != nil {
				t.Errorf("Run without the lie: %v", err)
			}
		})
	}
}

// untilStored loses power once a file is stored.
type untilStored struct {
	*seal.Store

	name string
}

func (s untilStored) Put(name string, generation uint8, b []byte) error {
	if err := s.Store.Put(name, generation, b); err != nil || name != s.name {
		return err
	}
	return errPower
}

type diskFunc func(context.Context, seal.Secret) error

func (f diskFunc) Adopt(ctx context.Context, key seal.Secret) error { return f(ctx, key) }

// After LockPlatform nobody clears the TPM until the next reset, from when the
// authorisation is empty again.
func TestLockPlatform(t *testing.T) {
	onBoth(t, func(t *testing.T, chip *tpmtest.Chip) {
		srk, err := tpm.Persist(chip, tpm2.TPMRHOwner, tpm.SRKTemplate, tpm.HandleSRK)
		if err != nil {
			t.Fatal(err)
		}
		use := func() error {
			_, err := tpm2.HierarchyChangeAuth{ // to what it is
				AuthHandle: tpm2.AuthHandle{Handle: tpm2.TPMRHPlatform, Auth: tpm2.PasswordAuth(nil)},
			}.Execute(chip)
			return err
		}
		if err := use(); err != nil {
			t.Fatalf("before: %v; want an open platform", err)
		}
		for range 2 { // firmware may have done it already
			if err := LockPlatform(t.Context(), chip, srk); err != nil {
				t.Fatal(err)
			}
		}
		if err := use(); !errors.Is(err, tpm2.TPMRCBadAuth) {
			t.Errorf("platform after LockPlatform: %v; want BAD_AUTH", err)
		}
		_, err = tpm2.Clear{AuthHandle: tpm2.AuthHandle{Handle: tpm2.TPMRHPlatform, Auth: tpm2.PasswordAuth(nil)}}.Execute(chip)
		if !errors.Is(err, tpm2.TPMRCBadAuth) {
			t.Errorf("TPM2_Clear after LockPlatform: %v; want BAD_AUTH", err)
		}
		tpmtest.Empty(t, chip)
		chip.Reset()
		if err := use(); err != nil {
			t.Errorf("after a reset: %v; want an open platform", err)
		}
		if _, err := tpm.Pinned(chip, tpm.HandleSRK, srk.Name.Buffer); err != nil {
			t.Errorf("the TPM was cleared: %v", err)
		}
	})
}

// A counted guess is counted for ever.
func TestGuesses(t *testing.T) {
	chip := tpmtest.Swtpm(t)
	if err := defineGuesses(chip); err != nil {
		t.Fatal(err)
	}
	g := NewGuesses(chip)
	start, err := g.Count(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for i := range uint64(3) {
		if n, err := g.Add(t.Context()); err != nil || n != start+i+1 {
			t.Errorf("Add = %d, %v; want %d", n, err, start+i+1)
		}
		chip.PowerCut()
		if n, err := g.Count(t.Context()); err != nil || n != start+i+1 {
			t.Errorf("Count after a power cut = %d, %v; want %d", n, err, start+i+1)
		}
	}
	// Deleted and defined again, it does not forget either.
	index, _, err := guessesHandle(true)
	if err != nil {
		t.Fatal(err)
	}
	owner := tpm2.AuthHandle{Handle: tpm2.TPMRHOwner, Auth: tpm2.PasswordAuth(nil)}
	if _, err := (tpm2.NVUndefineSpace{AuthHandle: owner, NVIndex: index}).Execute(chip); err != nil {
		t.Fatal(err)
	}
	if err := defineGuesses(chip); err != nil {
		t.Fatal(err)
	}
	if n, err := g.Count(t.Context()); err != nil || n <= start+3 {
		t.Errorf("Count of a new index = %d, %v; want more than %d", n, err, start+3)
	}
}

// The keys of a chip whose maker certified its P-384 EK.
func TestCertifiedChip(t *testing.T) {
	chip, _ := tpmtest.Certified(t)
	boot(t, chip, initrd)
	b := newBox(t, newVendor(t))
	room, err := Run(t.Context(), chip, b.store, b.plan())
	if err != nil {
		t.Fatal(err)
	}
	if room.EK.Handle != tpm.HandleEKP384 || room.EK.Public.NameAlg != tpm2.TPMAlgSHA384 {
		t.Errorf("EK at %#x; want the one that is certified", room.EK.Handle)
	}
	b.verify(t, chip)
}
