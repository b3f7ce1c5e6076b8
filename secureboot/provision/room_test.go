// SPDX-License-Identifier: Apache-2.0

//go:build simtpm && cgo

package provision

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"log/slog"
	"os"
	"testing"

	"github.com/google/go-tpm/tpm2"
	"github.com/google/go-tpm/tpm2/transport"

	"incamera/secureboot/seal"
	"incamera/secureboot/tpm"
	"incamera/secureboot/tpm/tpmtest"
)

var chips = map[string]func(testing.TB, ...tpm.Option) *tpmtest.Chip{
	"simulator": tpmtest.Simulator,
	"swtpm":     tpmtest.Swtpm,
}

func onBoth(t *testing.T, f func(*testing.T, *tpmtest.Chip)) {
	t.Helper()
	for name, open := range chips {
		t.Run(name, func(t *testing.T) {
			chip := open(t)
			chip.OnlySHA256()
			f(t, chip)
		})
	}
}

// A vendor signs one release.
type vendor struct {
	root     seal.RootKey
	policies *seal.Policies
}

const image = "image"

// phases after which each use is open: trust.md, section 6.
var (
	initrd = []string{"enter-initrd"}
	ready  = []string{"enter-initrd", "leave-initrd", "sysinit", "ready"}
)

func newVendor(t testing.TB) vendor {
	t.Helper()
	key := func() *ecdsa.PrivateKey {
		k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		return k
	}
	root, policy := key(), key()
	predict := func(phases []string) map[int][32]byte {
		var v [32]byte
		for _, e := range append([]string{image}, phases...) {
			d := sha256.Sum256([]byte(e))
			v = sha256.Sum256(append(v[:], d[:]...))
		}
		return map[int][32]byte{11: v}
	}
	b, err := seal.MakePolicies(seal.Release{Version: 1, Generation: 1, Predictions: []seal.Prediction{
		{Use: seal.State, PCRs: predict(initrd)},
		{Use: seal.Identity, PCRs: predict(ready)},
		{Use: seal.Owner, PCRs: predict(ready)},
	}}, 1, root, policy)
	if err != nil {
		t.Fatal(err)
	}
	p, err := seal.ParsePolicies(b)
	if err != nil {
		t.Fatal(err)
	}
	return vendor{seal.RootKey{Generation: 1, Key: &root.PublicKey}, p}
}

func measure(t testing.TB, chip transport.TPM, pcr int, event string) {
	t.Helper()
	d := sha256.Sum256([]byte(event))
	_, err := tpm2.PCRExtend{
		PCRHandle: tpm2.AuthHandle{Handle: tpm2.TPMHandle(pcr), Auth: tpm2.PasswordAuth(nil)},
		Digests:   tpm2.TPMLDigestValues{Digests: []tpm2.TPMTHA{{HashAlg: tpm2.TPMAlgSHA256, Digest: d[:]}}},
	}.Execute(chip)
	if err != nil {
		t.Fatal(err)
	}
}

// boot measures what firmware, the image and the phases measure, into a chip
// that has just been reset.
func boot(t testing.TB, chip transport.TPM, phases []string) {
	t.Helper()
	for pcr := range 8 {
		measure(t, chip, pcr, "firmware")
	}
	for _, event := range append([]string{image}, phases...) {
		measure(t, chip, 11, event)
	}
}

// A partition keeps the first key that it was given.
type partition struct{ key []byte }

var errOtherKey = errors.New("opened by another key")

func (p *partition) Adopt(_ context.Context, key seal.Secret) error {
	if p.key != nil && !bytes.Equal(p.key, key) {
		return errOtherKey
	}
	p.key = bytes.Clone(key)
	return nil
}

// An escrow keeps the last key that it was given.
type escrow struct {
	key   seal.RecoveryKey
	asked int
	wrong bool // what it acknowledges next
}

func (e *escrow) Keep(_ context.Context, key seal.RecoveryKey) (seal.RecoveryKey, error) {
	e.asked++
	if e.wrong {
		return seal.NewRecoveryKey(), nil
	}
	e.key = key
	return key, nil
}

// A box is all of a room but its TPM.
type box struct {
	dir    string
	store  *seal.Store
	disk   *partition
	escrow *escrow
	vendor vendor
}

func newBox(t testing.TB, v vendor) *box {
	t.Helper()
	b := &box{dir: t.TempDir(), disk: &partition{}, escrow: &escrow{}, vendor: v}
	var err error
	if b.store, err = seal.OpenStore(b.dir); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := b.store.Close(); err != nil {
			t.Error(err)
		}
	})
	return b
}

func (b *box) plan() Plan {
	return Plan{
		Root: b.vendor.root, Policies: b.vendor.policies, Version: 1, PolicyKey: 1,
		Disk: b.disk, Keeper: b.escrow, Log: slog.New(slog.DiscardHandler),
	}
}

// files reads what the store holds; what it has not finished is not part of it.
func (b *box) files(t testing.TB) map[string][]byte {
	t.Helper()
	all := make(map[string][]byte)
	for _, name := range []string{record, State, LDevID, Leaf, Owner, Lockout, clearing, Wrapped} {
		content, err := b.store.Read(name, 1)
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		all[name] = content
	}
	return all
}

// verify checks that the room is whole, in the boot in which it was provisioned
// and in the next one.
func (b *box) verify(t testing.TB, chip *tpmtest.Chip) {
	t.Helper()
	ctx := t.Context()
	room, err := Open(chip, b.store, 1)
	if err != nil || !room.Complete {
		t.Fatalf("Open = %+v, %v; want a complete room", room, err)
	}
	unseal := func(name string) seal.Secret {
		t.Helper()
		secret, _, err := b.store.Unseal(ctx, chip, room.SRK, name, b.vendor.policies)
		if err != nil {
			t.Fatal(err)
		}
		return secret
	}
	if got := unseal(State); !bytes.Equal(got, b.disk.key) {
		t.Error("the disk has another key than was sealed")
	}
	wrapped, err := seal.ParseRecovery(b.files(t)[Wrapped])
	if err != nil {
		t.Fatal(err)
	}
	if got, err := b.escrow.key.Unwrap(wrapped); err != nil || !bytes.Equal(got, b.disk.key) {
		t.Errorf("the recovery key in escrow opens another key, or none: %v", err)
	}
	for _, use := range []seal.Use{seal.Floor, seal.Keygen} {
		if v, err := seal.Read(ctx, chip, b.vendor.root, use); err != nil || v != 1 {
			t.Errorf("%s = %d, %v; want 1", use, v, err)
		}
	}
	if _, err := NewGuesses(chip).Count(ctx); err != nil {
		t.Error(err)
	}
	tpmtest.Empty(t, chip)

	chip.Reset()
	boot(t, chip, ready)
	for name, hierarchy := range map[string]tpm2.TPMHandle{Owner: tpm2.TPMRHOwner, Lockout: tpm2.TPMRHLockout} {
		if err := prove(chip, room.SRK, hierarchy, unseal(name)); err != nil {
			t.Errorf("%s with the sealed authorisation: %v", name, err)
		}
		// Last, since one wrong guess locks the lockout's authorisation.
		if err := prove(chip, room.SRK, hierarchy, nil); !errors.Is(err, tpm2.TPMRCBadAuth) && !errors.Is(err, tpm2.TPMRCAuthFail) {
			t.Errorf("%s with an empty authorisation: %v; want a refusal", name, err)
		}
	}
	for _, name := range []string{LDevID, Leaf} {
		k, _, err := b.store.Key(chip, room.SRK, name, b.vendor.policies)
		if err != nil {
			t.Fatal(err)
		}
		digest := sha256.Sum256([]byte(name))
		sig, err := k.Sign(nil, digest[:], crypto.SHA256)
		if err != nil {
			t.Fatal(err)
		}
		if pub, ok := k.Public().(*ecdsa.PublicKey); !ok || !ecdsa.VerifyASN1(pub, digest[:], sig) {
			t.Errorf("%s signs wrongly", name)
		}
	}
	tpmtest.Empty(t, chip)
}

// prove uses the authorisation of a hierarchy: it sets it to what it is. An
// HMAC proves it, so that it is not on the bus.
func prove(chip transport.TPM, srk tpm.Key, hierarchy tpm2.TPMHandle, value []byte) error {
	_, err := tpm2.HierarchyChangeAuth{
		AuthHandle: tpm2.AuthHandle{Handle: hierarchy, Auth: tpm.EncryptedSession(srk, tpm.In, tpm2.Auth(value))},
		NewAuth:    tpm2.TPM2BAuth{Buffer: value},
	}.Execute(chip)
	return err
}
