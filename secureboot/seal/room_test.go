// SPDX-License-Identifier: Apache-2.0

//go:build simtpm

package seal

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"testing"

	"github.com/google/go-tpm/tpm2"
	"github.com/google/go-tpm/tpm2/transport"

	"incamera/secureboot/tpm"
	"incamera/secureboot/tpm/tpmtest"
)

// A vendor has one root and one policy key.
type vendor struct {
	t          testing.TB
	generation uint8
	n          uint64
	root       *ecdsa.PrivateKey
	policy     *ecdsa.PrivateKey
}

func newKey(t testing.TB) *ecdsa.PrivateKey {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func newVendor(t testing.TB) *vendor {
	t.Helper()
	return &vendor{t: t, generation: 1, n: 1, root: newKey(t), policy: newKey(t)}
}

func (v *vendor) rootKey() RootKey { return RootKey{v.generation, &v.root.PublicKey} }

// release is policies.cbor of an image, as the build makes it, through its
// encoding.
func (v *vendor) release(image string, version uint64, more ...*Policies) *Policies {
	v.t.Helper()
	b, err := MakePolicies(Release{Version: version, Generation: v.n, Predictions: predict(image)}, v.generation, v.root, v.policy)
	if err != nil {
		v.t.Fatal(err)
	}
	p, err := ParsePolicies(b)
	if err != nil {
		v.t.Fatal(err)
	}
	if p, err = Merge(append([]*Policies{p}, more...)...); err != nil {
		v.t.Fatal(err)
	}
	return p
}

func (v *vendor) allow(use Use, value uint64) *Policies {
	v.t.Helper()
	p, err := AllowWrite(v.generation, v.root, use, value, false)
	if err != nil {
		v.t.Fatal(err)
	}
	return p
}

// phases at whose end each use is open: trust.md, section 6.
var (
	initrd = []string{"enter-initrd"}
	ready  = []string{"enter-initrd", "leave-initrd", "sysinit", "ready"}
)

func predict(image string) []Prediction {
	return []Prediction{
		{State, map[int][32]byte{11: pcr(append([]string{image}, initrd...)...)}},
		{Identity, map[int][32]byte{11: pcr(append([]string{image}, ready...)...)}},
		{Owner, map[int][32]byte{11: pcr(append([]string{image}, ready...)...)}},
	}
}

// pcr is the value after events were measured.
func pcr(events ...string) (v [32]byte) {
	for _, e := range events {
		d := sha256.Sum256([]byte(e))
		v = sha256.Sum256(append(v[:], d[:]...))
	}
	return v
}

func measure(t testing.TB, chip transport.TPM, n int, events ...string) {
	t.Helper()
	for _, e := range events {
		d := sha256.Sum256([]byte(e))
		_, err := tpm2.PCRExtend{
			PCRHandle: tpm2.AuthHandle{Handle: tpm2.TPMHandle(n), Auth: tpm2.PasswordAuth(nil)},
			Digests:   tpm2.TPMLDigestValues{Digests: []tpm2.TPMTHA{{HashAlg: tpm2.TPMAlgSHA256, Digest: d[:]}}},
		}.Execute(chip)
		if err != nil {
			t.Fatalf("measure %q: %v", e, err)
		}
	}
}

// boot restarts the machine and brings it to the end of phases.
func boot(t testing.TB, chip *tpmtest.Chip, image string, phases []string) {
	t.Helper()
	chip.Reset()
	measure(t, chip, 11, append([]string{image}, phases...)...)
}

// storageRoot makes the SRK of a new chip persistent, or finds it.
func storageRoot(t testing.TB, chip transport.TPM) tpm.Key {
	t.Helper()
	if k, err := tpm.Persistent(chip, tpm.HandleSRK); err == nil {
		return k
	}
	rsp, err := tpm2.CreatePrimary{
		PrimaryHandle: tpm2.AuthHandle{Handle: tpm2.TPMRHOwner, Auth: tpm2.PasswordAuth(nil)},
		InPublic:      tpm2.New2B(tpm2.ECCSRKTemplate),
	}.Execute(chip)
	if err != nil {
		t.Fatal(err)
	}
	defer flush(chip, rsp.ObjectHandle)
	_, err = tpm2.EvictControl{
		Auth:             tpm2.AuthHandle{Handle: tpm2.TPMRHOwner, Auth: tpm2.PasswordAuth(nil)},
		ObjectHandle:     tpm2.NamedHandle{Handle: rsp.ObjectHandle, Name: rsp.Name},
		PersistentHandle: tpm.HandleSRK,
	}.Execute(chip)
	if err != nil {
		t.Fatal(err)
	}
	k, err := tpm.Persistent(chip, tpm.HandleSRK)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// A room has a provisioned chip and what it stores outside it.
type room struct {
	t     testing.TB
	chip  *tpmtest.Chip
	srk   tpm.Key
	root  RootKey
	key   []byte // the state key
	state Blob
	ldev  KeyBlob
}

// provision sets a new chip up while release runs, and checks that nothing is
// left in its slots at the end of the test.
func provision(t testing.TB, chip *tpmtest.Chip, v *vendor, release *Policies) *room {
	t.Helper()
	r := &room{t: t, chip: chip, srk: storageRoot(t, chip), root: v.rootKey(), key: make([]byte, 32)}
	_, _ = rand.Read(r.key)
	ctx := t.Context()
	if err := Define(ctx, chip, r.srk, r.root, nil); err != nil {
		t.Fatal(err)
	}
	for _, use := range []Use{Floor, Keygen} {
		if got, err := Advance(ctx, chip, r.srk, r.root, release, use, 1); err != nil || got != 1 {
			t.Fatalf("first write of %s: %d, %v", use, got, err)
		}
	}
	var err error
	if r.state, err = Seal(ctx, chip, r.srk, r.root, State, r.key); err != nil {
		t.Fatal(err)
	}
	if r.ldev, err = NewKey(ctx, chip, r.srk, r.root, Identity); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { tpmtest.Empty(t, chip) })
	return r
}

// unseal returns nil if p opens the state key, and the refusal otherwise.
func (r *room) unseal(p *Policies) error {
	r.t.Helper()
	secret, err := Unseal(r.t.Context(), r.chip, r.srk, r.state, p)
	if err != nil {
		if secret != nil {
			r.t.Errorf("Unseal returned a secret and %v", err)
		}
		return err
	}
	if !bytes.Equal(secret, r.key) {
		r.t.Error("Unseal returned another secret than was sealed")
	}
	return nil
}
