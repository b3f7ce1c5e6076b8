// SPDX-License-Identifier: Apache-2.0

//go:build simtpm && cgo

package provision

import (
	"bytes"
	"errors"
	"maps"
	"os"
	"slices"
	"testing"

	"github.com/google/go-tpm/tpm2"

	"incamera/secureboot/seal"
	"incamera/secureboot/tpm"
	"incamera/secureboot/tpm/tpmtest"
)

func TestRun(t *testing.T) {
	onBoth(t, func(t *testing.T, chip *tpmtest.Chip) {
		boot(t, chip, initrd)
		b := newBox(t, newVendor(t))
		before := chip.Commands()
		room, err := Run(t.Context(), chip, b.store, b.plan())
		if err != nil {
			t.Fatal(err)
		}
		t.Logf("provisioning took %d TPM commands", chip.Commands()-before)
		if b.escrow.asked != 1 {
			t.Errorf("the recovery key was given out %d times; want once", b.escrow.asked)
		}
		files := b.files(t)
		if len(files) != 8 {
			t.Errorf("files %q; want all eight", slices.Sorted(maps.Keys(files)))
		}

		// Again, and in a later phase, it changes nothing.
		for _, phases := range [][]string{initrd, ready} {
			chip.Reset()
			boot(t, chip, phases)
			again, err := Run(t.Context(), chip, b.store, b.plan())
			if err != nil || !bytes.Equal(again.SRK.Name.Buffer, room.SRK.Name.Buffer) {
				t.Errorf("Run again: %v", err)
			}
			if !maps.EqualFunc(files, b.files(t), bytes.Equal) || b.escrow.asked != 1 {
				t.Error("Run again changed something")
			}
		}
		chip.Reset()
		boot(t, chip, initrd)
		b.verify(t, chip)
	})
}

// Each refusal leaves the disk alone and, but for those that come late, the TPM
// and the store as they were.
func TestRefusals(t *testing.T) {
	setAuth := func(hierarchy tpm2.TPMHandle) func(*testing.T, *tpmtest.Chip, *Plan) {
		return func(t *testing.T, chip *tpmtest.Chip, _ *Plan) {
			t.Helper()
			_, err := tpm2.HierarchyChangeAuth{
				AuthHandle: tpm2.AuthHandle{Handle: hierarchy, Auth: tpm2.PasswordAuth(nil)},
				NewAuth:    tpm2.TPM2BAuth{Buffer: []byte("someone")},
			}.Execute(chip)
			if err != nil {
				t.Fatal(err)
			}
		}
	}
	for _, c := range []struct {
		name    string
		prepare func(*testing.T, *tpmtest.Chip, *Plan)
		want    error
		files   int // in the store afterwards
	}{
		{"owner authorisation set", setAuth(tpm2.TPMRHOwner), ErrOwned, 0},
		{"lockout authorisation set", setAuth(tpm2.TPMRHLockout), ErrOwned, 0},
		{"endorsement authorisation set", setAuth(tpm2.TPMRHEndorsement), ErrOwned, 0},
		{"nothing measured", func(t *testing.T, chip *tpmtest.Chip, _ *Plan) {
			chip.Reset()
			for _, event := range []string{image, "enter-initrd"} {
				measure(t, chip, 11, event)
			}
		}, ErrUnmeasured, 0},
		{"phase over", func(t *testing.T, chip *tpmtest.Chip, _ *Plan) {
			measure(t, chip, 11, "leave-initrd")
		}, seal.ErrNotApproved, 2},
		{"another vendor's policies", func(t *testing.T, _ *tpmtest.Chip, p *Plan) {
			p.Policies = newVendor(t).policies
		}, seal.ErrPolicies, 1},
		{"SRK of another template", func(t *testing.T, chip *tpmtest.Chip, _ *Plan) {
			if _, err := tpm.Persist(chip, tpm2.TPMRHOwner, tpm2.RSASRKTemplate, tpm.HandleSRK); err != nil {
				t.Fatal(err)
			}
		}, tpm.ErrForeignKey, 0},
		{"guesses' index in use", func(t *testing.T, chip *tpmtest.Chip, _ *Plan) {
			public := guessesPublic(false)
			public.Attributes.NoDA = false
			_, err := tpm2.NVDefineSpace{
				AuthHandle: tpm2.AuthHandle{Handle: tpm2.TPMRHOwner, Auth: tpm2.PasswordAuth(nil)},
				PublicInfo: tpm2.New2B(public),
			}.Execute(chip)
			if err != nil {
				t.Fatal(err)
			}
		}, seal.ErrTaken, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			onBoth(t, func(t *testing.T, chip *tpmtest.Chip) {
				boot(t, chip, initrd)
				b := newBox(t, newVendor(t))
				p := b.plan()
				c.prepare(t, chip, &p)
				if _, err := Run(t.Context(), chip, b.store, p); !errors.Is(err, c.want) {
					t.Errorf("Run: %v; want %v", err, c.want)
				}
				if b.disk.key != nil || b.escrow.asked != 0 {
					t.Error("the disk has a key, or the escrow has")
				}
				if n := len(b.files(t)); n != c.files {
					t.Errorf("%d files in the store; want %d", n, c.files)
				}
				tpmtest.Empty(t, chip)
			})
		})
	}
}

// A bank that firmware leaves alone could be filled later with a good-looking
// boot. Both software TPMs come with several banks.
func TestBankThatNobodyExtends(t *testing.T) {
	for name, open := range chips {
		t.Run(name, func(t *testing.T) {
			chip := open(t)
			boot(t, chip, initrd) // SHA-256 alone
			b := newBox(t, newVendor(t))
			if _, err := Run(t.Context(), chip, b.store, b.plan()); !errors.Is(err, ErrBanks) {
				t.Errorf("Run: %v; want ErrBanks", err)
			}
			// Several banks will do if all are extended: TPM2_PCR_Event does.
			chip.Reset()
			for pcr := range 8 {
				_, err := tpm2.PCREvent{
					PCRHandle: tpm2.AuthHandle{Handle: tpm2.TPMHandle(pcr), Auth: tpm2.PasswordAuth(nil)},
					EventData: tpm2.TPM2BEvent{Buffer: []byte("firmware")},
				}.Execute(chip)
				if err != nil {
					t.Fatal(err)
				}
			}
			for _, event := range []string{image, "enter-initrd"} {
				_, err := tpm2.PCREvent{
					PCRHandle: tpm2.AuthHandle{Handle: 11, Auth: tpm2.PasswordAuth(nil)},
					EventData: tpm2.TPM2BEvent{Buffer: []byte(event)},
				}.Execute(chip)
				if err != nil {
					t.Fatal(err)
				}
			}
			if _, err := Run(t.Context(), chip, b.store, b.plan()); err != nil {
				t.Errorf("Run with all banks extended: %v", err)
			}
		})
	}
}

// A recovery key that came back wrong is no recovery key: nothing is kept of
// it, and the next run gives out another.
func TestRecoveryKeyComesBack(t *testing.T) {
	chip := tpmtest.Simulator(t)
	chip.OnlySHA256()
	boot(t, chip, initrd)
	b := newBox(t, newVendor(t))
	b.escrow.wrong = true
	if _, err := Run(t.Context(), chip, b.store, b.plan()); !errors.Is(err, ErrNotCopied) {
		t.Errorf("Run: %v; want ErrNotCopied", err)
	}
	if _, err := b.store.Read(Wrapped, 1); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a wrapped key is stored: %v", err)
	}
	b.escrow.wrong = false
	if _, err := Run(t.Context(), chip, b.store, b.plan()); err != nil {
		t.Fatal(err)
	}
	b.verify(t, chip)
}

// A disk that another key opens is not ours to change.
func TestForeignDisk(t *testing.T) {
	chip := tpmtest.Simulator(t)
	chip.OnlySHA256()
	boot(t, chip, initrd)
	b := newBox(t, newVendor(t))
	b.disk.key = []byte("of another room")
	if _, err := Run(t.Context(), chip, b.store, b.plan()); !errors.Is(err, errOtherKey) {
		t.Errorf("Run: %v; want %v", err, errOtherKey)
	}
	if string(b.disk.key) != "of another room" {
		t.Error("the disk was changed")
	}
}

// A cleared TPM is another TPM. The record says so, before anything of the
// store is used.
func TestClearedTPM(t *testing.T) {
	chip := tpmtest.Simulator(t)
	chip.OnlySHA256()
	boot(t, chip, initrd)
	b := newBox(t, newVendor(t))
	if _, err := Run(t.Context(), chip, b.store, b.plan()); err != nil {
		t.Fatal(err)
	}
	if _, err := (tpm2.Clear{AuthHandle: tpm2.AuthHandle{Handle: tpm2.TPMRHPlatform, Auth: tpm2.PasswordAuth(nil)}}).Execute(chip); err != nil {
		t.Fatal(err)
	}
	if _, err := Run(t.Context(), chip, b.store, b.plan()); !errors.Is(err, tpm.ErrAbsent) {
		t.Errorf("Run on a cleared TPM: %v; want ErrAbsent", err)
	}
	if _, err := tpm.Persist(chip, tpm2.TPMRHOwner, tpm.SRKTemplate, tpm.HandleSRK); err != nil {
		t.Fatal(err)
	}
	if _, err := Run(t.Context(), chip, b.store, b.plan()); !errors.Is(err, tpm.ErrForeignKey) {
		t.Errorf("Run with another SRK: %v; want ErrForeignKey", err)
	}
}
