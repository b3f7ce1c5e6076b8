// SPDX-License-Identifier: Apache-2.0

//go:build simtpm

package main

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-tpm/tpm2"

	"incamera/secureboot/provision"
	"incamera/secureboot/seal"
	"incamera/secureboot/tpm/tpmtest"
)

// A room is a box that was set up, on a swtpm and with files for its partitions.
type room struct {
	t        *testing.T
	chip     *tpmtest.Chip
	eraser   *eraser
	root     seal.RootKey
	policies *seal.Policies
}

// secret is what the data partition of a room begins with.
const secret = "a header that a key opens"

// dataSize is that of the partition: the header and a little of what follows.
const dataSize = luksOffset + 3*blockSize

func newRoom(t *testing.T) *room {
	t.Helper()
	r := &room{t: t, chip: tpmtest.Swtpm(t)}
	r.chip.OnlySHA256()
	data := filepath.Join(t.TempDir(), "data")
	if err := os.WriteFile(data, make([]byte, dataSize), 0o600); err != nil {
		t.Fatal(err)
	}
	key := func() *ecdsa.PrivateKey {
		k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		return k
	}
	root, policy := key(), key()
	pcr11 := func(events ...string) map[int][32]byte {
		var v [32]byte
		for _, e := range events {
			d := sha256.Sum256([]byte(e))
			v = sha256.Sum256(append(v[:], d[:]...))
		}
		return map[int][32]byte{11: v}
	}
	b, err := seal.MakePolicies(seal.Release{Version: 1, Generation: 1, Predictions: []seal.Prediction{
		{Use: seal.State, PCRs: pcr11("image", "enter-initrd")},
		{Use: seal.Identity, PCRs: pcr11("image", "enter-initrd", "leave-initrd", "sysinit", "ready")},
		{Use: seal.Owner, PCRs: pcr11("image", "enter-initrd", "leave-initrd", "sysinit", "ready")},
	}}, 1, root, policy)
	if err != nil {
		t.Fatal(err)
	}
	if r.policies, err = seal.ParsePolicies(b); err != nil {
		t.Fatal(err)
	}
	r.root = seal.RootKey{Generation: 1, Key: &root.PublicKey}
	r.eraser = &eraser{chip: r.chip, store: t.TempDir(), vault: &luks{device: data}, generation: 1, policies: r.policies}
	r.start()
	return r
}

// start is a start of the box, in the initial file system.
func (r *room) start() {
	r.t.Helper()
	r.chip.Reset()
	for pcr, events := range map[int][]string{
		0: {"firmware"}, 1: {"firmware"}, 2: {"firmware"}, 3: {"firmware"}, 4: {"firmware"}, 5: {"firmware"}, 6: {"firmware"}, 7: {"firmware"},
		11: {"image", "enter-initrd"},
	} {
		for _, e := range events {
			d := sha256.Sum256([]byte(e))
			_, err := tpm2.PCRExtend{
				PCRHandle: tpm2.AuthHandle{Handle: tpm2.TPMHandle(pcr), Auth: tpm2.PasswordAuth(nil)},
				Digests:   tpm2.TPMLDigestValues{Digests: []tpm2.TPMTHA{{HashAlg: tpm2.TPMAlgSHA256, Digest: d[:]}}},
			}.Execute(r.chip)
			if err != nil {
				r.t.Fatal(err)
			}
		}
	}
}

// lockPlatform is what some firmware does before it starts a boot loader.
func (r *room) lockPlatform() {
	r.t.Helper()
	_, err := tpm2.HierarchyChangeAuth{
		AuthHandle: tpm2.AuthHandle{Handle: tpm2.TPMRHPlatform, Auth: tpm2.PasswordAuth(nil)},
		NewAuth:    tpm2.TPM2BAuth{Buffer: []byte("of the firmware")},
	}.Execute(r.chip)
	if err != nil {
		r.t.Fatal(err)
	}
}

// setUp makes a room as init does, on a partition that must be new.
func (r *room) setUp() {
	r.t.Helper()
	store, err := seal.OpenStore(r.eraser.store)
	if err != nil {
		r.t.Fatal(err)
	}
	defer store.Close()
	if _, err := provision.Run(r.t.Context(), r.chip, store, provision.Plan{
		Root: r.root, Policies: r.policies, Version: 1, PolicyKey: 1,
		Disk: r, Keeper: r, Log: slog.New(slog.DiscardHandler),
	}); err != nil {
		r.t.Fatal(err)
	}
}

// Adopt writes as much of a header as a test can tell.
func (r *room) Adopt(context.Context, seal.Secret) error {
	isNew, err := r.eraser.vault.untouched()
	if err != nil {
		return err
	}
	if !isNew {
		return errors.New("the partition is in use")
	}
	f, err := os.OpenFile(r.eraser.vault.device, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	for at := int64(0); at < luksOffset; at += 4 << 20 {
		if _, err := f.WriteAt([]byte(secret), at); err != nil {
			return err
		}
	}
	_, err = f.WriteAt([]byte("cipher text"), luksOffset)
	return err
}

func (r *room) Keep(_ context.Context, key seal.RecoveryKey) (seal.RecoveryKey, error) {
	return key, nil
}

// names lists the store.
func (r *room) names() []string {
	r.t.Helper()
	entries, err := os.ReadDir(r.eraser.store)
	if err != nil {
		r.t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

// isNew checks that nothing of the room is left.
func (r *room) isNew() {
	r.t.Helper()
	if fresh, err := r.eraser.nothingToErase(); err != nil || !fresh {
		r.t.Errorf("nothingToErase = %v, %v; left in the store: %q", fresh, err, r.names())
	}
	b, err := os.ReadFile(r.eraser.vault.device)
	if err != nil {
		r.t.Fatal(err)
	}
	if len(b) != dataSize || bytes.Count(b[:luksOffset], []byte{0}) != luksOffset {
		r.t.Errorf("of %d bytes of data something is left in the header", len(b))
	}
}

// After a reset the box is set up as a new one, on the same chip.
func TestErase(t *testing.T) {
	for _, locked := range []bool{false, true} {
		r := newRoom(t)
		r.setUp()
		if fresh, err := r.eraser.nothingToErase(); err != nil || fresh {
			t.Fatalf("nothingToErase of a room = %v, %v", fresh, err)
		}
		r.start()
		if locked {
			r.lockPlatform()
		}
		if notCleared, err := r.eraser.erase(t.Context()); notCleared != nil || err != nil {
			t.Fatalf("platform locked %v: %v, %v", locked, notCleared, err)
		}
		r.isNew()
		if r.eraser.begun() {
			t.Error("the marker is still there")
		}
		r.start()
		r.setUp()
	}
}

// Once begun, a reset ends at the next start, wherever the power failed.
func TestEraseAfterPowerCut(t *testing.T) {
	marker := func(r *room) error { return r.eraser.begin() }
	cleared := func(r *room) error {
		e := *r.eraser
		e.vault = &luks{device: filepath.Join(e.store, "no such partition")}
		if _, err := e.erase(r.t.Context()); err == nil {
			return errors.New("erased what is not there")
		}
		return nil
	}
	zeroed := func(n int) func(r *room) error {
		return func(r *room) error {
			f, err := os.OpenFile(r.eraser.vault.device, os.O_WRONLY, 0)
			if err != nil {
				return err
			}
			defer f.Close()
			_, err = f.WriteAt(make([]byte, n), 0)
			return err
		}
	}
	wiped := func(n int) func(r *room) error {
		return func(r *room) error {
			for i, name := range r.names() {
				if name == resetMarker || i > n {
					continue
				}
				if err := os.Remove(filepath.Join(r.eraser.store, name)); err != nil {
					return err
				}
			}
			return nil
		}
	}
	for name, steps := range map[string][]func(*room) error{
		"before the TPM":    {marker},
		"before the data":   {cleared},
		"amid the data":     {cleared, zeroed(5 << 20)},
		"first block gone":  {cleared, zeroed(luksFirst)},
		"before the store":  {cleared, zeroed(luksOffset)},
		"amid the store":    {cleared, zeroed(luksOffset), wiped(3)},
		"before the marker": {cleared, zeroed(luksOffset), wiped(100)},
		"begun once more":   {cleared, zeroed(luksOffset), wiped(100), marker},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRoom(t)
			r.setUp()
			r.start()
			for _, step := range steps {
				if err := step(r); err != nil {
					t.Fatal(err)
				}
			}
			r.start()
			r.lockPlatform()
			if !r.eraser.begun() {
				t.Fatal("nobody knows that a reset has begun")
			}
			if notCleared, err := r.eraser.erase(t.Context()); notCleared != nil || err != nil {
				t.Fatalf("%v, %v", notCleared, err)
			}
			r.isNew()
			r.start()
			r.setUp()
		})
	}
}

// A TPM that cannot be cleared keeps no data alive: what opens it is gone, and the
// reset is not over until the TPM is cleared.
func TestEraseWithoutTPM(t *testing.T) {
	for name, spoil := range map[string]func(e *eraser){
		"no TPM":      func(e *eraser) { e.chip = nil },
		"no policies": func(e *eraser) { e.policies = nil },
	} {
		t.Run(name, func(t *testing.T) {
			r := newRoom(t)
			r.setUp()
			r.start()
			r.lockPlatform()
			e := *r.eraser
			spoil(&e)
			notCleared, err := e.erase(t.Context())
			if notCleared == nil || err != nil {
				t.Fatalf("%v, %v; want why the TPM was not cleared", notCleared, err)
			}
			if !e.begun() {
				t.Error("nobody knows that the reset is not over")
			}
			for _, name := range []string{provision.State, provision.Wrapped} {
				if exists(filepath.Join(e.store, name+".1")) {
					t.Errorf("%s is left", name)
				}
			}
			if fresh, err := e.vault.untouched(); err != nil || !fresh {
				t.Errorf("the data is new: %v, %v", fresh, err)
			}
			r.start()
			r.lockPlatform()
			if notCleared, err := r.eraser.erase(t.Context()); notCleared != nil || err != nil {
				t.Fatalf("%v, %v", notCleared, err)
			}
			r.isNew()
			r.start()
			r.setUp()
		})
	}
}

// A new box has nothing to erase, so that a button that sticks resets it once.
func TestNothingToErase(t *testing.T) {
	r := newRoom(t)
	r.isNew()
	if r.eraser.begun() {
		t.Error("a reset that nobody began")
	}
	// A partition in use is not new, though the store is gone.
	if err := r.Adopt(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	if fresh, err := r.eraser.nothingToErase(); err != nil || fresh {
		t.Errorf("nothingToErase = %v, %v", fresh, err)
	}
}

// Nothing is destroyed because a disk cannot be read.
func TestUnreadableMarker(t *testing.T) {
	dir := t.TempDir()
	notAFolder := filepath.Join(dir, "store")
	if err := os.WriteFile(notAFolder, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if (&eraser{store: notAFolder}).begun() {
		t.Error("begun, in a folder that is none")
	}
	if err := beginReset(dir); err != nil {
		t.Errorf("beginReset without a request: %v", err)
	}
}
