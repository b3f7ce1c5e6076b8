// SPDX-License-Identifier: Apache-2.0

//go:build simtpm && cgo

package provision

import (
	"bytes"
	"encoding/binary"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-tpm/tpm2"

	"incamera/secureboot/seal"
	"incamera/secureboot/tpm"
	"incamera/secureboot/tpm/tpmtest"
)

// firmwares leave the platform as they do.
var firmwares = map[string]func(*testing.T, *tpmtest.Chip){
	"platform open": func(*testing.T, *tpmtest.Chip) {},
	"platform locked": func(t *testing.T, chip *tpmtest.Chip) {
		t.Helper()
		_, err := tpm2.HierarchyChangeAuth{
			AuthHandle: tpm2.AuthHandle{Handle: tpm2.TPMRHPlatform, Auth: tpm2.PasswordAuth(nil)},
			NewAuth:    tpm2.TPM2BAuth{Buffer: tpm.NewAuth()},
		}.Execute(chip)
		if err != nil {
			t.Fatal(err)
		}
	},
	"platform disabled": disablePlatform,
}

// disablePlatform is TPM2_HierarchyControl (TPM 2.0 Part 3, 24.2), as some firmware
// calls it before it starts a boot loader; EDK2 as Debian has it locks the platform
// with a random authorisation.
func disablePlatform(t *testing.T, chip *tpmtest.Chip) {
	t.Helper()
	be := binary.BigEndian
	command := []byte{0x80, 0x02, 0, 0, 0, 0, 0, 0, 0x01, 0x21}
	command = be.AppendUint32(command, uint32(tpm2.TPMRHPlatform))
	command = be.AppendUint32(command, 9) // of authorisation: the empty password
	command = be.AppendUint32(command, uint32(tpm2.TPMRSPW))
	command = append(command, 0, 0, 0, 0, 0)
	command = be.AppendUint32(command, uint32(tpm2.TPMRHPlatform))
	command = append(command, 0)
	be.PutUint32(command[2:], uint32(len(command)))
	response, err := chip.Send(command)
	if err != nil || len(response) < 10 || be.Uint32(response[6:]) != 0 {
		t.Fatalf("TPM2_HierarchyControl: %x, %v", response, err)
	}
}

// onEach runs f on both chips under each firmware. start is a start of the box up
// to the initial file system.
func onEach(t *testing.T, f func(t *testing.T, chip *tpmtest.Chip, start func())) {
	t.Helper()
	for name, firmware := range firmwares {
		t.Run(name, func(t *testing.T) {
			onBoth(t, func(t *testing.T, chip *tpmtest.Chip) {
				f(t, chip, func() {
					chip.Reset()
					boot(t, chip, initrd)
					firmware(t, chip)
				})
			})
		})
	}
}

// A room ends, whatever the firmware does to the platform: what was sealed is
// gone though the files are all there, and another room is made on the same chip.
func TestErase(t *testing.T) {
	onEach(t, func(t *testing.T, chip *tpmtest.Chip, start func()) {
		start()
		v := newVendor(t)
		old := newBox(t, v)
		if _, err := Run(t.Context(), chip, old.store, old.plan()); err != nil {
			t.Fatal(err)
		}
		start()
		before := chip.Commands()
		if err := Erase(t.Context(), chip, old.store, 1, v.policies); err != nil {
			t.Fatal(err)
		}
		t.Logf("%d TPM commands", chip.Commands()-before)
		tpmtest.Empty(t, chip)

		start()
		if _, err := Open(chip, old.store, 1); !errors.Is(err, tpm.ErrAbsent) {
			t.Errorf("Open: %v; want ErrAbsent", err)
		}
		next := newBox(t, v)
		room, err := Run(t.Context(), chip, next.store, next.plan())
		if err != nil {
			t.Fatal(err)
		}
		if _, _, err := old.store.Unseal(t.Context(), chip, room.SRK, State, v.policies); !errors.Is(err, seal.ErrForeign) {
			t.Errorf("the old state key: %v; want ErrForeign", err)
		}
		if bytes.Equal(old.disk.key, next.disk.key) {
			t.Error("both rooms have the same state key")
		}
		next.verify(t, chip)
	})
}

// A TPM that holds nothing of ours, or not all, is as well erased. So is one that
// was erased.
func TestEraseUnfinishedRoom(t *testing.T) {
	for _, stored := range []string{"nothing", record, State, Owner, Lockout, clearing} {
		t.Run(stored, func(t *testing.T) {
			onEach(t, func(t *testing.T, chip *tpmtest.Chip, start func()) {
				start()
				b := newBox(t, newVendor(t))
				if stored != "nothing" {
					if _, err := Run(t.Context(), chip, untilStored{b.store, stored}, b.plan()); !errors.Is(err, errPower) {
						t.Fatal(err)
					}
				}
				for range 2 {
					start()
					if err := Erase(t.Context(), chip, b.store, 1, nil); err != nil {
						t.Fatal(err)
					}
				}
				start()
				next := newBox(t, b.vendor)
				if _, err := Run(t.Context(), chip, next.store, next.plan()); err != nil {
					t.Fatal(err)
				}
				next.verify(t, chip)
			})
		})
	}
}

// Where firmware has locked the platform and the authorisation does not open, the
// room stays what it was, with nothing guessed: and once the reason has gone, the
// files that are needed suffice.
func TestEraseRefused(t *testing.T) {
	for name, c := range map[string]struct {
		spoil func(*testing.T, *box, *tpmtest.Chip)
		nil   bool // no policies
		want  error
	}{
		"phase over": {func(t *testing.T, _ *box, chip *tpmtest.Chip) {
			measure(t, chip, 11, "leave-initrd")
		}, false, seal.ErrNotApproved},
		"no policies": {func(*testing.T, *box, *tpmtest.Chip) {}, true, seal.ErrPolicies},
		"no authorisation in the store": {func(t *testing.T, b *box, _ *tpmtest.Chip) {
			if err := os.Rename(filepath.Join(b.dir, clearing+".1"), filepath.Join(b.dir, "away")); err != nil {
				t.Fatal(err)
			}
		}, false, os.ErrNotExist},
		// Whoever can write to the ESP swaps what is sealed for the same phase.
		"another secret in its place": {func(t *testing.T, b *box, _ *tpmtest.Chip) {
			if err := os.Rename(filepath.Join(b.dir, clearing+".1"), filepath.Join(b.dir, "away")); err != nil {
				t.Fatal(err)
			}
			if err := os.Link(filepath.Join(b.dir, Owner+".1"), filepath.Join(b.dir, clearing+".1")); err != nil {
				t.Fatal(err)
			}
		}, false, seal.ErrNotApproved},
	} {
		t.Run(name, func(t *testing.T) {
			onBoth(t, func(t *testing.T, chip *tpmtest.Chip) {
				boot(t, chip, initrd)
				b := newBox(t, newVendor(t))
				if _, err := Run(t.Context(), chip, b.store, b.plan()); err != nil {
					t.Fatal(err)
				}
				chip.Reset()
				boot(t, chip, initrd)
				disablePlatform(t, chip)
				c.spoil(t, b, chip)
				p := b.vendor.policies
				if c.nil {
					p = nil
				}
				if err := Erase(t.Context(), chip, b.store, 1, p); !errors.Is(err, ErrNotErased) || !errors.Is(err, c.want) {
					t.Errorf("Erase: %v; want ErrNotErased for %v", err, c.want)
				}
				tpmtest.Empty(t, chip)
				if _, err := os.Stat(filepath.Join(b.dir, "away")); err == nil {
					if err := os.Rename(filepath.Join(b.dir, "away"), filepath.Join(b.dir, clearing+".1")); err != nil {
						t.Fatal(err)
					}
				}
				chip.Reset()
				boot(t, chip, initrd)
				room, err := Open(chip, b.store, 1)
				if err != nil {
					t.Fatal(err)
				}
				if key, _, err := b.store.Unseal(t.Context(), chip, room.SRK, State, b.vendor.policies); err != nil || !bytes.Equal(key, b.disk.key) {
					t.Errorf("the state key after a refusal: %v", err)
				}

				if err := b.store.Wipe(Needed()...); err != nil {
					t.Fatal(err)
				}
				for _, name := range []string{State, Wrapped, LDevID, Leaf, Owner, Lockout} {
					if _, err := b.store.Read(name, 1); !errors.Is(err, os.ErrNotExist) {
						t.Errorf("%s is left", name)
					}
				}
				disablePlatform(t, chip)
				if err := Erase(t.Context(), chip, b.store, 1, b.vendor.policies); err != nil {
					t.Errorf("with what is needed alone: %v", err)
				}
			})
		})
	}
}

// The lockout's authorisation does not cross the bus, though it is of no use by
// then.
func TestEraseOnTheBus(t *testing.T) {
	var bus bytes.Buffer
	chip := tpmtest.Swtpm(t, tpm.WithTap(func(command, response []byte) {
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
	boot(t, chip, initrd)
	disablePlatform(t, chip)
	value, _, err := b.store.Unseal(t.Context(), chip, room.SRK, clearing, b.vendor.policies)
	if err != nil {
		t.Fatal(err)
	}
	if err := Erase(t.Context(), chip, b.store, 1, b.vendor.policies); err != nil {
		t.Fatal(err)
	}
	if len(value) != tpm.AuthSize || bytes.Contains(bus.Bytes(), value) {
		t.Errorf("%d bytes, seen on the bus", len(value))
	}
	if !bytes.Contains(bus.Bytes(), room.SRK.Name.Buffer) {
		t.Error("the tap saw nothing of the SRK; it proves nothing")
	}
}

// The power fails at each command of an erasure. The next start ends it, and the
// room that is made then is whole.
func TestErasePowerCuts(t *testing.T) {
	v, dir, store := newVendor(t), t.TempDir(), t.TempDir()
	t.Run("room", func(t *testing.T) {
		chip := tpmtest.SwtpmAt(t, dir)
		chip.OnlySHA256()
		boot(t, chip, initrd)
		b := newBox(t, v)
		if _, err := Run(t.Context(), chip, b.store, b.plan()); err != nil {
			t.Fatal(err)
		}
		if err := os.CopyFS(store, os.DirFS(b.dir)); err != nil {
			t.Fatal(err)
		}
	})
	for name, firmware := range firmwares {
		for _, when := range []moment{amid, after} {
			t.Run(name+" "+when.String(), func(t *testing.T) {
				cuts := 0
				for over := false; !over; cuts++ {
					if cuts > 100 || t.Failed() {
						t.Fatalf("cut %d", cuts)
					}
					t.Run("", func(t *testing.T) {
						twin := t.TempDir()
						if err := os.CopyFS(twin, os.DirFS(dir)); err != nil {
							t.Fatal(err)
						}
						chip := tpmtest.SwtpmAt(t, twin)
						b := newBox(t, v)
						if err := os.CopyFS(b.dir, os.DirFS(store)); err != nil {
							t.Fatal(err)
						}
						start := func() {
							boot(t, chip, initrd)
							firmware(t, chip)
						}
						start()
						f := &fuse{left: cuts, when: when, cut: chip.PowerCut}
						err := Erase(t.Context(), fusedTPM{f, chip}, b.store, 1, v.policies)
						over = !f.out
						if err != nil && !f.out || err == nil && f.out && when == amid {
							t.Fatalf("cut %d: Erase: %v; the power was out: %v", cuts, err, f.out)
						}
						chip.PowerCut()
						start()
						if err := Erase(t.Context(), chip, b.store, 1, v.policies); err != nil {
							t.Fatalf("cut %d: after the restart: %v", cuts, err)
						}
						chip.PowerCut()
						start()
						next := newBox(t, v)
						if _, err := Run(t.Context(), chip, next.store, next.plan()); err != nil {
							t.Fatalf("cut %d: a new room: %v", cuts, err)
						}
						next.verify(t, chip)
					})
				}
				t.Logf("%d cuts", cuts-1)
			})
		}
	}
}
