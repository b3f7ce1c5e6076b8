// SPDX-License-Identifier: Apache-2.0

//go:build simtpm

package seal

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"slices"
	"testing"

	"github.com/google/go-tpm/tpm2/transport"

	"incamera/secureboot/tpm"
	"incamera/secureboot/tpm/tpmtest"
)

// successor is the vendor after a change of roots, with the same policy key.
func (v *vendor) successor() *vendor {
	return &vendor{t: v.t, generation: v.generation + 1, n: v.n, root: newKey(v.t), policy: v.policy}
}

// keep is all that a room of the product keeps.
func keep(state, owner Secret) []Content {
	return []Content{
		{Name: "state", Use: State, Secret: state},
		{Name: "owner", Use: Owner, Secret: owner},
		{Name: "ldevid", Use: Identity},
		{Name: "leaf", Use: Identity},
	}
}

func TestRotation(t *testing.T) {
	ctx := t.Context()
	v := newVendor(t)
	first := v.release("image 1", 1)
	next := v.successor()
	both := v.release("image 2", 2, next.release("image 2", 2))
	last := next.release("image 3", 3)
	r := provision(t, tpmtest.Simulator(t), v, first)
	ownerAuth := Secret("thirty-two bytes of randomness..")
	setOwnerAuth(t, r, ownerAuth)
	store, err := OpenStore(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	if err := store.Fill(ctx, r.chip, r.srk, r.root, keep(r.key, ownerAuth)...); err != nil {
		t.Fatal(err)
	}

	opens := func(image string, p *Policies, want uint8) {
		t.Helper()
		boot(t, r.chip, image, initrd)
		if got, generation, err := store.Unseal(ctx, r.chip, r.srk, "state", p); err != nil || generation != want || !bytes.Equal(got, r.key) {
			t.Errorf("%s: state under root %d, %v; want root %d", image, generation, err, want)
		}
		boot(t, r.chip, image, ready)
		for _, name := range []string{"ldevid", "leaf"} {
			k, generation, err := store.Key(r.chip, r.srk, name, p)
			if err != nil || generation != want {
				t.Errorf("%s: %s under root %d, %v; want root %d", image, name, generation, err, want)
				continue
			}
			if err := signWith(t, k); err != nil {
				t.Errorf("%s: %s: %v", image, name, err)
			}
		}
		if got, generation, err := store.Unseal(ctx, r.chip, r.srk, "owner", p); err != nil || generation != want || !bytes.Equal(got, ownerAuth) {
			t.Errorf("%s: owner authorisation under root %d, %v; want root %d", image, generation, err, want)
		}
	}

	opens("image 1", first, 1)
	opens("image 2", both, 1)
	// The room runs the release that both roots signed, and has its owner
	// authorisation from there.
	auth, _, err := store.Unseal(ctx, r.chip, r.srk, "owner", both)
	if err != nil {
		t.Fatal(err)
	}
	old, err := store.Read("ldevid", 1)
	if err != nil {
		t.Fatal(err)
	}
	root := next.rootKey()
	if err := rotate(ctx, r.chip, r.srk, store, root, both, auth, keep(r.key, auth)); err != nil {
		t.Fatal(err)
	}
	opens("image 2", both, 2)
	opens("image 1", first, 1) // back to the other slot
	opens("image 3", last, 2)
	if now, err := store.Read("ldevid", 2); err != nil || bytes.Equal(now, old) {
		t.Errorf("the LDevID of the new root is the old one: %v", err)
	}

	if err := store.Drop(2); err != nil {
		t.Fatal(err)
	}
	if err := Undefine(ctx, r.chip, r.srk, r.root, auth); err != nil {
		t.Fatal(err)
	}
	if got, err := store.Generations("state"); err != nil || !slices.Equal(got, []uint8{2}) {
		t.Errorf("Generations = %v, %v", got, err)
	}
	opens("image 3", last, 2)
	boot(t, r.chip, "image 1", initrd)
	if _, _, err := store.Unseal(ctx, r.chip, r.srk, "state", first); !errors.Is(err, ErrUntrusted) {
		t.Errorf("the old root after it retired: %v", err)
	}
}

// rotate is what a room does for a new root; sealing for the first time is the
// same.
func rotate(ctx context.Context, t transport.TPM, srk tpm.Key, s *Store, root RootKey, p *Policies, ownerAuth []byte, contents []Content) error {
	if err := Define(ctx, t, srk, root, ownerAuth); err != nil {
		return err
	}
	for _, use := range []Use{Floor, Keygen} {
		if _, err := Advance(ctx, t, srk, root, p, use, 1); err != nil {
			return err
		}
	}
	return s.Fill(ctx, t, srk, root, contents...)
}

func TestStore(t *testing.T) {
	dir := t.TempDir()
	store, err := OpenStore(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	for _, name := range []string{"", "..", "a/b", "State", "state.1", "a name", string(bytes.Repeat([]byte("a"), 33))} {
		if err := store.Put(name, 1, nil); err == nil {
			t.Errorf("Put(%q)", name)
		}
	}
	for _, generation := range []uint8{0, MaxRoots + 1} {
		if err := store.Put("state", generation, nil); err == nil {
			t.Errorf("Put of generation %d", generation)
		}
	}
	if _, err := store.Read("state", 1); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("Read of nothing: %v", err)
	}
	if _, _, err := store.Unseal(t.Context(), dead{}, tpm.Key{}, "state", &Policies{Format: 1}); !errors.Is(err, fs.ErrNotExist) || !errors.Is(err, ErrForeign) {
		t.Errorf("Unseal of nothing: %v", err)
	}
	// What is no blob gets a remedy, and stays.
	long := make([]byte, 2*maxBlob)
	for generation, b := range map[uint8][]byte{1: []byte("garbage"), 2: long} {
		if err := store.Put("state", generation, b); err != nil {
			t.Fatal(err)
		}
	}
	if _, _, err := store.Unseal(t.Context(), dead{}, tpm.Key{}, "state", &Policies{Format: 1}); !errors.Is(err, ErrForeign) {
		t.Errorf("Unseal of garbage: %v", err)
	}
	if got, err := store.Generations("state"); err != nil || !slices.Equal(got, []uint8{2, 1}) {
		t.Errorf("Generations = %v, %v", got, err)
	}
	if err := store.Drop(2); err != nil {
		t.Fatal(err)
	}
	if got, err := store.Generations("state"); err != nil || !slices.Equal(got, []uint8{2}) {
		t.Errorf("Generations after Drop = %v, %v", got, err)
	}
}
