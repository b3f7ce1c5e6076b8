// SPDX-License-Identifier: Apache-2.0

//go:build simtpm

package seal

import (
	"errors"
	"slices"
	"testing"

	"github.com/google/go-tpm/tpm2"
	"github.com/google/go-tpm/tpm2/transport"

	"incamera/secureboot/tpm"
	"incamera/secureboot/tpm/tpmtest"
)

func (r *room) advance(p *Policies, use Use, limit, want uint64) {
	r.t.Helper()
	for range 2 { // the second time there is nothing to do
		if got, err := Advance(r.t.Context(), r.chip, r.srk, r.root, p, use, limit); err != nil || got != want {
			r.t.Errorf("Advance(%s, %d) = %d, %v; want %d", use, limit, got, err, want)
		}
		if got, err := Read(r.t.Context(), r.chip, r.root, use); err != nil || got != want {
			r.t.Errorf("Read(%s) = %d, %v; want %d", use, got, err, want)
		}
	}
}

func TestFloorReplay(t *testing.T) {
	v := newVendor(t)
	first := v.release("image 1", 1)
	r := provision(t, tpmtest.Simulator(t), v, first)
	old := v.release("image 6", 6, v.allow(Floor, 5))
	release := v.release("image 7", 7, v.allow(Floor, 5), v.allow(Floor, 7), v.allow(Floor, 9))
	if err := release.Verify(r.root); err != nil {
		t.Fatal(err)
	}

	r.advance(release, Floor, 4, 1) // nothing that low is signed
	r.advance(release, Floor, 7, 7) // not 9: the version that runs is 7
	for version, opens := range map[uint64]bool{1: false, 6: false, 7: true, 9: true} {
		boot(t, r.chip, "image", initrd)
		err := r.unseal(v.release("image", version))
		switch {
		case opens && err != nil:
			t.Errorf("version %d at floor 7: %v", version, err)
		case !opens:
			refused(t, err, ErrRetired, atPolicyNV, tpm2.TPMRCPolicy)
		}
	}

	x := index{r.root, Floor}
	lower := old.Writes[slices.IndexFunc(old.Writes, func(w Write) bool { return w.Use == Floor && w.Value == 5 })]
	raise := release.Writes[slices.IndexFunc(release.Writes, func(w Write) bool { return w.Use == Floor && w.Value == 9 })]
	again := first.Writes[slices.IndexFunc(first.Writes, func(w Write) bool { return w.Use == Floor && w.First })]

	refused(t, x.perform(t.Context(), r.chip, r.srk, lower), ErrRetired, atPolicyNV, tpm2.TPMRCPolicy)
	// A first write was signed for an index never written, and for the command
	// with the Name that this one had then.
	refused(t, swapped(t, r, again, again.Value), ErrUntrusted, atNVWrite, tpm2.TPMRCPolicyFail)
	unsigned := raise
	unsigned.Value = 8
	refused(t, x.perform(t.Context(), r.chip, r.srk, unsigned), ErrPolicies, atVerifySignature, tpm2.TPMRCSignature)
	// The signature of a raise to 9 does not write 3.
	refused(t, swapped(t, r, raise, 3), ErrUntrusted, atNVWrite, tpm2.TPMRCPolicyFail)
	h, err := x.named(true)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := x.write(h, tpm2.PasswordAuth(nil), 2).Execute(r.chip); !errors.Is(err, tpm2.TPMRCNVAuthorization) && !errors.Is(err, tpm2.TPMRCAuthUnavailable) {
		t.Errorf("NV_Write by password: %v", err)
	}
	r.advance(release, Floor, 7, 7)
	tpmtest.Empty(t, r.chip)

	// For a keygen, the signature of a floor counts nothing.
	other := raise
	other.Use = Keygen
	refused(t, index{r.root, Keygen}.perform(t.Context(), r.chip, r.srk, other), ErrPolicies, atVerifySignature, tpm2.TPMRCSignature)
}

// swapped runs the policy of w and writes another value.
func swapped(t *testing.T, r *room, w Write, v uint64) error {
	t.Helper()
	x := index{r.root, w.Use}
	policy, err := w.policy(r.root)
	if err != nil {
		t.Fatal(err)
	}
	steps, err := x.writing(w.Value, w.First)
	if err != nil {
		t.Fatal(err)
	}
	h, err := x.named(true)
	if err != nil {
		t.Fatal(err)
	}
	var n notary
	defer n.dismiss(r.chip)
	return withPolicy(r.chip, r.srk, func(chip transport.TPM, s tpm2.TPMISHPolicy) error {
		authorize, err := n.authorize(chip, r.root.Key, policy, w.Use, w.Signature)
		if err != nil {
			return err
		}
		for _, step := range steps {
			if err := assert(chip, s, step); err != nil {
				return err
			}
		}
		return present(chip, s, authorize)
	}, func(s tpm2.Session) error {
		_, err := x.write(h, s, v).Execute(r.chip)
		return refusal(atNVWrite, err)
	})
}

func TestFloorRecreate(t *testing.T) {
	v := newVendor(t)
	release := v.release("image 7", 7, v.allow(Floor, 7))
	old := v.release("image 1", 1)
	r := provision(t, tpmtest.Simulator(t), v, release)
	r.advance(release, Floor, 7, 7)
	boot(t, r.chip, "image 1", initrd)
	refused(t, r.unseal(old), ErrRetired, atPolicyNV, tpm2.TPMRCPolicy)

	// Why the owner authorisation is random: with an empty one, whoever has
	// the box makes the floor 1 again, with signatures that are public.
	recreate := func() error {
		if err := Undefine(t.Context(), r.chip, r.srk, r.root, nil); err != nil {
			return err
		}
		if err := Define(t.Context(), r.chip, r.srk, r.root, nil); err != nil {
			return err
		}
		for _, use := range []Use{Floor, Keygen} {
			if _, err := Advance(t.Context(), r.chip, r.srk, r.root, old, use, 1); err != nil {
				return err
			}
		}
		return nil
	}
	if err := recreate(); err != nil {
		t.Fatal(err)
	}
	if err := r.unseal(old); err != nil {
		t.Fatalf("the attack does not work without the defence: %v", err)
	}

	r.advance(release, Floor, 7, 7)
	auth := []byte("thirty-two bytes of randomness..")
	setOwnerAuth(t, r, auth)
	err := recreate()
	if !errors.Is(err, tpm2.TPMRCBadAuth) && !errors.Is(err, tpm2.TPMRCAuthFail) {
		t.Errorf("the floor was defined again: %v", err)
	}
	refused(t, r.unseal(old), ErrRetired, atPolicyNV, tpm2.TPMRCPolicy)
	r.advance(release, Floor, 7, 7)

	// A deleted floor, or one never written, opens nothing: the recovery key
	// does.
	if err := Undefine(t.Context(), r.chip, r.srk, r.root, auth); err != nil {
		t.Fatal(err)
	}
	if err := Undefine(t.Context(), r.chip, r.srk, r.root, auth); err != nil {
		t.Errorf("Undefine of what is gone: %v", err)
	}
	boot(t, r.chip, "image 7", initrd)
	refused(t, r.unseal(release), ErrForeign, atPolicyNV, tpm2.TPMRCHandle)
	if got := Remedies(r.unseal(release)); !slices.Equal(got, []Remedy{UseRecoveryKey, ProvisionAgain}) {
		t.Errorf("Remedies = %v", got)
	}
	if err := Define(t.Context(), r.chip, r.srk, r.root, auth); err != nil {
		t.Fatal(err)
	}
	refused(t, r.unseal(release), ErrForeign, atPolicyNV, tpm2.TPMRCNVUninitialized)
}

// Another index in the place of ours is no floor.
func TestFloorTaken(t *testing.T) {
	v := newVendor(t)
	chip := tpmtest.Simulator(t)
	srk := storageRoot(t, chip)
	pub, err := index{v.rootKey(), Floor}.public(false)
	if err != nil {
		t.Fatal(err)
	}
	pub.Attributes.AuthWrite = true // anyone writes it
	_, err = tpm2.NVDefineSpace{
		AuthHandle: tpm2.AuthHandle{Handle: tpm2.TPMRHOwner, Auth: tpm2.PasswordAuth(nil)},
		PublicInfo: tpm2.New2B(pub),
	}.Execute(chip)
	if err != nil {
		t.Fatal(err)
	}
	if err := Define(t.Context(), chip, srk, v.rootKey(), nil); !errors.Is(err, ErrTaken) {
		t.Errorf("Define over another index: %v", err)
	}
	if _, err := Advance(t.Context(), chip, srk, v.rootKey(), v.release("image", 1), Floor, 1); !errors.Is(err, ErrTaken) {
		t.Errorf("Advance of another index: %v", err)
	}
}

func TestForeignSigner(t *testing.T) {
	v, stranger := newVendor(t), newVendor(t)
	release := v.release("image", 1)
	r := provision(t, tpmtest.Simulator(t), v, release)
	foreign := stranger.release("image", 1)

	t.Run("own root", func(t *testing.T) {
		boot(t, r.chip, "image", initrd)
		err := r.unseal(foreign)
		if !errors.Is(err, ErrUntrusted) || !slices.Equal(Remedies(err), []Remedy{OtherSlot}) {
			t.Errorf("Unseal: %v", err)
		}
	})
	t.Run("own root, TPM", func(t *testing.T) {
		// The same without our own check. The stranger's indices exist, as if
		// he had the owner authorisation.
		alien := *r
		alien.root = RootKey{2, &stranger.root.PublicKey}
		stranger.generation = 2
		foreign := stranger.release("image", 1)
		if err := Define(t.Context(), r.chip, r.srk, alien.root, nil); err != nil {
			t.Fatal(err)
		}
		for _, use := range []Use{Floor, Keygen} {
			alien.advance(foreign, use, 1, 1)
		}
		policy, err := AuthPolicy(alien.root, State)
		if err != nil {
			t.Fatal(err)
		}
		chains, err := foreign.chains(State, policy)
		if err != nil {
			t.Fatal(err)
		}
		boot(t, r.chip, "image", initrd)
		var n notary
		defer n.dismiss(r.chip)
		err = r.state.load(t.Context(), r.chip, r.srk, func(k tpm.Key) error {
			return withPolicy(r.chip, r.srk, func(chip transport.TPM, s tpm2.TPMISHPolicy) error {
				return chains[0].satisfy(chip, s, &n)
			}, func(s tpm2.Session) error {
				_, err := tpm2.Unseal{ItemHandle: tpm2.AuthHandle{Handle: k.Handle, Name: k.Name, Auth: s}}.Execute(r.chip)
				return refusal(atUnseal, err)
			})
		})
		refused(t, err, ErrUntrusted, atUnseal, tpm2.TPMRCPolicyFail)
	})
	t.Run("our root, own delegation", func(t *testing.T) {
		forged := *release
		forged.Delegations = slices.Clone(release.Delegations)
		d, err := Delegate(1, stranger.root, 1, &stranger.policy.PublicKey, State)
		if err != nil {
			t.Fatal(err)
		}
		a, err := Approve(Release{Version: 1, Generation: 1, Predictions: predict("image")[:1]}, r.root, stranger.policy)
		if err != nil {
			t.Fatal(err)
		}
		forged.Delegations, forged.Approvals = d.Delegations, a.Approvals
		refused(t, r.unseal(&forged), ErrPolicies, atVerifySignature, tpm2.TPMRCSignature)
		if err := forged.Verify(r.root); !errors.Is(err, ErrPolicies) {
			t.Errorf("Verify = %v", err)
		}
	})
	t.Run("our policy key, other use", func(t *testing.T) {
		// What was approved for ready does not open the state key, though its
		// signature is genuine.
		forged := *release
		forged.Approvals = slices.Clone(release.Approvals)
		for i := range forged.Approvals {
			forged.Approvals[i].Use = State
		}
		boot(t, r.chip, "image", ready)
		refused(t, r.unseal(&forged), ErrPolicies, atVerifySignature, tpm2.TPMRCSignature)
	})
}

func TestKeygen(t *testing.T) {
	v := newVendor(t)
	first := v.release("image", 1)
	r := provision(t, tpmtest.Simulator(t), v, first)
	stolen := v.policy
	v.n, v.policy = 2, newKey(t)
	release := v.release("image", 2, v.allow(Keygen, 2))
	v.n, v.policy = 1, stolen
	evil := v.release("evil", 99)

	boot(t, r.chip, "evil", initrd)
	if err := r.unseal(evil); err != nil {
		t.Fatalf("before the raise the stolen key opens: %v", err)
	}
	r.advance(release, Keygen, 2, 2)
	boot(t, r.chip, "evil", initrd)
	refused(t, r.unseal(evil), ErrRetired, atPolicyNV, tpm2.TPMRCPolicy)
	boot(t, r.chip, "image", initrd)
	refused(t, r.unseal(first), ErrRetired, atPolicyNV, tpm2.TPMRCPolicy)
	if err := r.unseal(release); err != nil {
		t.Errorf("the new key: %v", err)
	}
	// Both keys in one file: the newer is used.
	both, err := Merge(first, release)
	if err != nil {
		t.Fatal(err)
	}
	if err := r.unseal(both); err != nil {
		t.Errorf("both keys in one file: %v", err)
	}
}
