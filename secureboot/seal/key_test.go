// SPDX-License-Identifier: Apache-2.0

//go:build simtpm

package seal

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"sync"
	"testing"

	"github.com/google/go-tpm/tpm2"
	"github.com/google/go-tpm/tpm2/transport"

	"incamera/secureboot/tpm"
	"incamera/secureboot/tpm/tpmtest"
)

var _ crypto.Signer = (*SigningKey)(nil)

// signWith signs something, and checks the signature.
func signWith(t testing.TB, k *SigningKey) error {
	t.Helper()
	digest := sha256.Sum256([]byte("a message"))
	sig, err := k.SignContext(t.Context(), digest[:])
	if err == nil && !ecdsa.VerifyASN1(k.Public().(*ecdsa.PublicKey), digest[:], sig) {
		t.Error("the signature is wrong")
	}
	return err
}

func signLDevID(t testing.TB, r *room, p *Policies) error {
	t.Helper()
	k, err := OpenKey(r.chip, r.srk, r.ldev, p)
	if err != nil {
		return err
	}
	return signWith(t, k)
}

func TestCommands(t *testing.T) {
	v := newVendor(t)
	release := v.release("image", 1)
	r := provision(t, tpmtest.Simulator(t), v, release)

	boot(t, r.chip, "image", initrd)
	c := &counter{TPM: r.chip}
	if _, err := Unseal(t.Context(), c, r.srk, r.state, release); err != nil {
		t.Fatal(err)
	}
	toKey := 0
	for i, code := range c.sent {
		if code == tpm2.TPMCCUnseal {
			toKey = i + 1
		}
	}
	t.Logf("%d commands from start to the unsealed key, %d with tidying up", toKey, len(c.sent))
	if toKey > 12 || toKey == 0 {
		t.Errorf("%d commands from start to the unsealed key; want 12 at most", toKey)
	}

	boot(t, r.chip, "image", ready)
	c = &counter{TPM: r.chip}
	k, err := OpenKey(c, r.srk, r.ldev, release)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []int{15, 9, 9} {
		c.sent = nil
		if err := signWith(t, k); err != nil {
			t.Fatal(err)
		}
		t.Logf("%d commands for a signature", len(c.sent))
		if len(c.sent) != want {
			t.Errorf("%d commands for a signature: %x; want %d", len(c.sent), c.sent, want)
		}
	}
}

func TestSigner(t *testing.T) {
	v := newVendor(t)
	release := v.release("image", 1)
	r := provision(t, tpmtest.Simulator(t), v, release)
	boot(t, r.chip, "image", ready)
	k, err := OpenKey(r.chip, r.srk, r.ldev, release)
	if err != nil {
		t.Fatal(err)
	}
	digest := sha256.Sum256([]byte("a message"))
	for name, f := range map[string]func() error{
		"other hash":   func() error { _, err := k.Sign(rand.Reader, digest[:], crypto.SHA384); return err },
		"no hash":      func() error { _, err := k.Sign(rand.Reader, digest[:], nil); return err },
		"short digest": func() error { _, err := k.Sign(rand.Reader, digest[:31], crypto.SHA256); return err },
	} {
		if f() == nil {
			t.Errorf("%s: signed", name)
		}
	}

	// Goroutines share the key, and others the TPM.
	other, err := OpenKey(r.chip, r.srk, r.ldev, release)
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			k := k
			if i%2 == 1 {
				k = other
			}
			sig, err := k.Sign(nil, digest[:], crypto.SHA256)
			if err != nil || !ecdsa.VerifyASN1(k.Public().(*ecdsa.PublicKey), digest[:], sig) {
				t.Errorf("Sign: %v", err)
			}
		})
	}
	wg.Wait()
	tpmtest.Empty(t, r.chip)
}

// A fault in the TPM gives no signature.
func TestFaultySignature(t *testing.T) {
	private := newKey(t)
	k := &SigningKey{public: &private.PublicKey}
	digest := sha256.Sum256([]byte("a message"))
	policy := tpm2.TPM2BDigest{Buffer: digest[:]}
	sig, err := sign(private, policy, State)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := k.encode(toSign(policy, State), sig.tpm()); err != nil {
		t.Errorf("a sound signature: %v", err)
	}
	if got, err := k.encode(toSign(policy, Owner), sig.tpm()); err == nil || got != nil {
		t.Errorf("the signature of something else: %x", got)
	}
	sig[63] ^= 1
	if got, err := k.encode(toSign(policy, State), sig.tpm()); err == nil || got != nil {
		t.Errorf("a faulty signature: %x", got)
	}
	if got, err := k.encode(toSign(policy, State), tpm2.TPMTSignature{SigAlg: tpm2.TPMAlgNull}); err == nil || got != nil {
		t.Errorf("no signature: %x", got)
	}
}

// The key has no way around its policy, and the AK can certify it all the same.
func TestKeyNeedsPolicy(t *testing.T) {
	v := newVendor(t)
	release := v.release("image", 1)
	r := provision(t, tpmtest.Simulator(t), v, release)
	boot(t, r.chip, "image", initrd) // not the phase for identity
	k, err := OpenKey(r.chip, r.srk, r.ldev, release)
	if err != nil {
		t.Fatal(err)
	}
	digest := sha256.Sum256([]byte("a message"))
	err = k.Loaded(t.Context(), func(chip transport.TPM, key tpm.Key) error {
		_, err := tpm2.Sign{
			KeyHandle:  tpm2.AuthHandle{Handle: key.Handle, Name: key.Name, Auth: tpm2.PasswordAuth(nil)},
			Digest:     tpm2.TPM2BDigest{Buffer: digest[:]},
			Validation: tpm2.TPMTTKHashCheck{Tag: tpm2.TPMSTHashCheck},
		}.Execute(chip)
		return err
	})
	if !errors.Is(err, tpm2.TPMRCAuthUnavailable) {
		t.Errorf("Sign by password: %v", err)
	}
	err = signWith(t, k)
	refused(t, err, ErrNotApproved, atPolicyAuthorize, tpm2.TPMRCValue)

	ak, err := tpm2.CreatePrimary{
		PrimaryHandle: tpm2.AuthHandle{Handle: tpm2.TPMRHEndorsement, Auth: tpm2.PasswordAuth(nil)},
		InPublic:      tpm2.New2B(tpm.AKTemplate),
	}.Execute(r.chip)
	if err != nil {
		t.Fatal(err)
	}
	defer flush(r.chip, ak.ObjectHandle)
	err = k.Loaded(t.Context(), func(chip transport.TPM, key tpm.Key) error {
		_, err := tpm2.Certify{
			ObjectHandle: tpm2.AuthHandle{Handle: key.Handle, Name: key.Name, Auth: tpm2.PasswordAuth(nil)},
			SignHandle:   tpm2.AuthHandle{Handle: ak.ObjectHandle, Name: ak.Name, Auth: tpm2.PasswordAuth(nil)},
		}.Execute(chip)
		return err
	})
	if err != nil {
		t.Errorf("Certify: %v", err)
	}
	if _, err := NewKey(t.Context(), r.chip, r.srk, r.root, Floor); err == nil {
		t.Error("NewKey for the use of an index")
	}
}
