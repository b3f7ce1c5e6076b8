// SPDX-License-Identifier: Apache-2.0

//go:build simtpm

package seal

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"slices"
	"testing"

	"github.com/google/go-tpm/tpm2"
	"github.com/google/go-tpm/tpm2/transport"

	"incamera/secureboot/tpm"
	"incamera/secureboot/tpm/tpmtest"
)

// refused fails unless err is a refusal for that cause, by that command, with
// that answer of the TPM.
func refused(t *testing.T, err, cause error, at string, rc tpm2.TPMRC) {
	t.Helper()
	e, ok := errors.AsType[*Error](err)
	if !ok || !errors.Is(err, cause) || e.At != at || !errors.Is(err, rc) {
		t.Errorf("got %v; want %v at %s with %v", err, cause, at, rc)
	}
}

// recorder keeps all that crosses the bus.
type recorder struct{ bytes.Buffer }

func (r *recorder) tap(command, response []byte) {
	if response == nil {
		r.Write(command)
	} else {
		r.Write(response)
	}
}

func TestTapSeesNoSecret(t *testing.T) {
	var bus recorder
	v := newVendor(t)
	release := v.release("image", 1)
	chip := tpmtest.Simulator(t, tpm.WithTap(bus.tap))
	r := provision(t, chip, v, release)
	ownerAuth := []byte("an owner authorisation of 32 byte")
	setOwnerAuth(t, r, ownerAuth)
	if err := Undefine(t.Context(), chip, r.srk, r.root, ownerAuth); err != nil {
		t.Fatal(err)
	}
	if err := Define(t.Context(), chip, r.srk, r.root, ownerAuth); err != nil {
		t.Fatal(err)
	}
	for _, use := range []Use{Floor, Keygen} {
		if _, err := Advance(t.Context(), chip, r.srk, r.root, release, use, 1); err != nil {
			t.Fatal(err)
		}
	}
	boot(t, chip, "image", initrd)
	if err := r.unseal(release); err != nil {
		t.Fatal(err)
	}
	for name, secret := range map[string][]byte{"the state key": r.key, "the owner authorisation": ownerAuth} {
		if bytes.Contains(bus.Bytes(), secret) {
			t.Errorf("%s crossed the bus in clear", name)
		}
	}

	// The same without encryption shows that the tap would have seen it.
	bus.Reset()
	err := r.state.perform(t.Context(), chip, r.srk, release, new(notary), func(chip transport.TPM, h tpm2.AuthHandle) error {
		_, err := tpm2.Unseal{ItemHandle: h}.Execute(chip)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Contains(bus.Bytes(), r.key) {
		t.Error("the tap does not see what is not encrypted: the test proves nothing")
	}
}

func setOwnerAuth(t *testing.T, r *room, auth []byte) {
	t.Helper()
	_, err := tpm2.HierarchyChangeAuth{
		AuthHandle: tpm2.AuthHandle{Handle: tpm2.TPMRHOwner, Auth: tpm2.PasswordAuth(nil)},
		NewAuth:    tpm2.TPM2BAuth{Buffer: auth},
	}.Execute(r.chip, tpm.EncryptedSession(r.srk, tpm.In))
	if err != nil {
		t.Fatal(err)
	}
}

func TestForeignDisk(t *testing.T) {
	v := newVendor(t)
	release := v.release("image", 1)
	r := provision(t, tpmtest.Simulator(t), v, release)
	stranger := provision(t, tpmtest.Swtpm(t), v, release)

	t.Run("another room's", func(t *testing.T) {
		boot(t, stranger.chip, "image", initrd)
		_, err := Unseal(t.Context(), stranger.chip, stranger.srk, r.state, release)
		refused(t, err, ErrForeign, atLoad, tpm2.TPMRCIntegrity)
		if got := Remedies(err); !slices.Equal(got, []Remedy{UseRecoveryKey, ProvisionAgain}) {
			t.Errorf("Remedies = %v", got)
		}
	})
	t.Run("damaged", func(t *testing.T) {
		boot(t, r.chip, "image", initrd)
		private := slices.Clone(r.state.private)
		private[len(private)-1] ^= 1
		damaged := Blob{object{use: State, public: r.state.public, private: private}}
		_, err := Unseal(t.Context(), r.chip, r.srk, damaged, release)
		refused(t, err, ErrForeign, atLoad, tpm2.TPMRCIntegrity)
		if err := r.unseal(release); err != nil {
			t.Errorf("the sound blob after a damaged one: %v", err)
		}
	})
	t.Run("silence", func(t *testing.T) {
		_, err := Unseal(t.Context(), dead{}, r.srk, r.state, release)
		if !errors.Is(err, ErrSilent) || !errors.Is(err, errDead) {
			t.Errorf("Unseal on a dead TPM: %v", err)
		}
	})
	t.Run("cleared TPM", func(t *testing.T) {
		_, err := tpm2.Clear{AuthHandle: tpm2.AuthHandle{Handle: tpm2.TPMRHLockout, Auth: tpm2.PasswordAuth(nil)}}.Execute(r.chip)
		if err != nil {
			t.Fatal(err)
		}
		boot(t, r.chip, "image", initrd)
		_, err = Unseal(t.Context(), r.chip, r.srk, r.state, release)
		refused(t, err, ErrForeign, atLoad, tpm2.TPMRCHandle) // no SRK
		_, err = Unseal(t.Context(), r.chip, storageRoot(t, r.chip), r.state, release)
		refused(t, err, ErrForeign, atLoad, tpm2.TPMRCIntegrity)
	})
}

var errDead = errors.New("no answer")

type dead struct{}

func (dead) Send([]byte) ([]byte, error) { return nil, errDead }

func TestOtherImage(t *testing.T) {
	v := newVendor(t)
	release, other := v.release("image", 1), v.release("other", 1)
	r := provision(t, tpmtest.Simulator(t), v, release)

	boot(t, r.chip, "other", initrd)
	refused(t, r.unseal(release), ErrNotApproved, atPolicyAuthorize, tpm2.TPMRCValue)
	if err := r.unseal(other); err != nil {
		t.Errorf("approved image with its own policies: %v", err)
	}
	// Policies of both slots in one file: whichever runs opens.
	both, err := Merge(release, other)
	if err != nil {
		t.Fatal(err)
	}
	for _, image := range []string{"image", "other"} {
		boot(t, r.chip, image, initrd)
		if err := r.unseal(both); err != nil {
			t.Errorf("%s with the policies of both slots: %v", image, err)
		}
	}
	boot(t, r.chip, "third", initrd)
	refused(t, r.unseal(both), ErrNotApproved, atPolicyAuthorize, tpm2.TPMRCValue)

	boot(t, r.chip, "other", ready)
	err = signLDevID(t, r, release)
	refused(t, err, ErrNotApproved, atPolicyAuthorize, tpm2.TPMRCValue)

	// An approval whose PCR values were altered is no approval.
	forged := *release
	forged.Approvals = slices.Clone(release.Approvals)
	for i := range forged.Approvals {
		_, forged.Approvals[i].PCRDigest = PCRDigest(map[int][32]byte{11: pcr("other", "enter-initrd")})
	}
	boot(t, r.chip, "other", initrd)
	refused(t, r.unseal(&forged), ErrPolicies, atVerifySignature, tpm2.TPMRCSignature)
	if err := forged.Verify(r.root); !errors.Is(err, ErrPolicies) {
		t.Errorf("Verify of forged policies = %v", err)
	}
}

// PCR 7 joins where the customer owns the boot keys.
func TestCustomersKeys(t *testing.T) {
	v := newVendor(t)
	predictions := predict("image")
	for i := range predictions {
		predictions[i].PCRs[7] = pcr("PK", "KEK", "db")
	}
	b, err := MakePolicies(Release{Version: 1, Generation: 1, Predictions: predictions}, v.generation, v.root, v.policy)
	if err != nil {
		t.Fatal(err)
	}
	release, err := ParsePolicies(b)
	if err != nil {
		t.Fatal(err)
	}
	r := provision(t, tpmtest.Simulator(t), v, release)
	boot(t, r.chip, "image", initrd)
	refused(t, r.unseal(release), ErrNotApproved, atPolicyAuthorize, tpm2.TPMRCValue)
	measure(t, r.chip, 7, "PK", "KEK", "db")
	if err := r.unseal(release); err != nil {
		t.Errorf("the customer's boot keys: %v", err)
	}
	measure(t, r.chip, 7, "dbx")
	refused(t, r.unseal(release), ErrNotApproved, atPolicyAuthorize, tpm2.TPMRCValue)
}

func TestCap(t *testing.T) {
	v := newVendor(t)
	release := v.release("image", 1)
	r := provision(t, tpmtest.Simulator(t), v, release)
	r.chip.Reset()
	for i, event := range append([]string{"image"}, append(slices.Clone(ready), "shutdown")...) {
		measure(t, r.chip, 11, event)
		if err := r.unseal(release); event == "enter-initrd" {
			if err != nil {
				t.Errorf("state key after %s: %v", event, err)
			}
		} else {
			refused(t, err, ErrNotApproved, atPolicyAuthorize, tpm2.TPMRCValue)
		}
		if err := signLDevID(t, r, release); event == "ready" {
			if err != nil {
				t.Errorf("identity after %s: %v", event, err)
			}
		} else {
			refused(t, err, ErrNotApproved, atPolicyAuthorize, tpm2.TPMRCValue)
		}
		if i == len(ready)+1 && event != "shutdown" {
			t.Errorf("last event is %s", event)
		}
	}
}

// meddler extends PCR 15 before a command, as often as left says.
type meddler struct {
	transport.TPM
	t        *testing.T
	code     tpm2.TPMCC
	left     int
	sessions int
}

func (m *meddler) Send(command []byte) ([]byte, error) {
	code := tpm2.TPMCC(binary.BigEndian.Uint32(command[6:]))
	if code == m.code && m.left > 0 {
		m.left--
		measure(m.t, m.TPM, 15, "a service starts")
	}
	if code == tpm2.TPMCCStartAuthSession {
		m.sessions++
	}
	return m.TPM.Send(command)
}

func TestPCRChange(t *testing.T) {
	v := newVendor(t)
	release := v.release("image", 1)
	r := provision(t, tpmtest.Simulator(t), v, release)
	boot(t, r.chip, "image", initrd)
	for _, test := range []struct {
		code              tpm2.TPMCC // before which PCR 15 is extended
		changes, sessions int
		settles           bool
	}{
		{tpm2.TPMCCUnseal, 0, 1, true},
		{tpm2.TPMCCUnseal, 1, 2, true},
		{tpm2.TPMCCUnseal, 5, 6, true},
		{tpm2.TPMCCUnseal, 6, 6, false},
		{tpm2.TPMCCPolicyAuthorize, 1, 2, true},
		// Noticed at Unseal only, and each policy has two of them.
		{tpm2.TPMCCPolicyAuthorize, 2, 2, true},
		{tpm2.TPMCCPolicyAuthorize, 10, 6, true},
		{tpm2.TPMCCPolicyAuthorize, 11, 6, false},
	} {
		m := &meddler{TPM: r.chip, t: t, code: test.code, left: test.changes}
		secret, err := Unseal(t.Context(), m, r.srk, r.state, release)
		switch {
		case !test.settles:
			refused(t, err, ErrSilent, atUnseal, tpm2.TPMRCPCRChanged)
		case err != nil || !bytes.Equal(secret, r.key):
			t.Errorf("%v, %d changes: %v", test.code, test.changes, err)
		}
		if m.sessions != test.sessions {
			t.Errorf("%v, %d changes: %d sessions; want %d", test.code, test.changes, m.sessions, test.sessions)
		}
		tpmtest.Empty(t, r.chip)
	}
}

// A byte that changes on the way from the TPM is noticed: no secret, rather than
// a wrong one.
func TestUnsealAltered(t *testing.T) {
	v := newVendor(t)
	release := v.release("image", 1)
	flip, size := -1, 0
	chip := tpmtest.Simulator(t, tpm.WithTap(func(command, response []byte) {
		if response == nil || tpm2.TPMCC(binary.BigEndian.Uint32(command[6:])) != tpm2.TPMCCUnseal {
			return
		}
		if size = len(response); flip >= 0 {
			response[flip] ^= 1 // go-tpm drops reserved bits of a session's attributes
		}
	}))
	r := provision(t, chip, v, release)
	boot(t, chip, "image", initrd)
	if err := r.unseal(release); err != nil {
		t.Fatal(err)
	}
	if size < 100 {
		t.Fatalf("response of %d bytes", size)
	}
	for flip = range size {
		if err := r.unseal(release); !errors.Is(err, ErrSilent) {
			t.Errorf("byte %d altered: %v", flip, err)
		}
	}
}

// A salt for another key than the TPM has gives away nothing and opens nothing.
func TestWrongPin(t *testing.T) {
	v := newVendor(t)
	release := v.release("image", 1)
	r := provision(t, tpmtest.Simulator(t), v, release)
	other := storageRoot(t, tpmtest.Swtpm(t))
	boot(t, r.chip, "image", initrd)
	if secret, err := Unseal(t.Context(), r.chip, other, r.state, release); !errors.Is(err, ErrSilent) || secret != nil {
		t.Errorf("Unseal under another pin: %v", err)
	}
	if _, err := Seal(t.Context(), r.chip, other, r.root, State, r.key); !errors.Is(err, ErrSilent) {
		t.Errorf("Seal under another pin: %v", err)
	}
	tpmtest.Empty(t, r.chip)
}

// What stops in the middle leaves nothing in the TPM's three slots.
func TestCancel(t *testing.T) {
	v := newVendor(t)
	release := v.release("image", 1)
	r := provision(t, tpmtest.Simulator(t), v, release)
	boot(t, r.chip, "image", initrd)
	for commands := 1; commands < 12; commands++ {
		ctx, cancel := context.WithCancelCause(t.Context())
		enough := errors.New("enough")
		c := &counter{TPM: r.chip, left: commands, then: func() { cancel(enough) }}
		secret, err := Unseal(ctx, c, r.srk, r.state, release)
		if !errors.Is(err, enough) || secret != nil {
			t.Errorf("cancelled after %d commands: %v", commands, err)
		}
		tpmtest.Empty(t, r.chip)
		cancel(nil)
	}
}

// counter calls then after command number left.
type counter struct {
	transport.TPM
	left int
	then func()
	sent []tpm2.TPMCC
}

func (c *counter) Send(command []byte) ([]byte, error) {
	c.sent = append(c.sent, tpm2.TPMCC(binary.BigEndian.Uint32(command[6:])))
	response, err := c.TPM.Send(command)
	if c.then != nil && len(c.sent) == c.left {
		c.then()
	}
	return response, err
}

func TestUpdateNeedsNoReenrolment(t *testing.T) {
	v := newVendor(t)
	first := v.release("image 1", 1)
	r := provision(t, tpmtest.Simulator(t), v, first)
	update := v.release("image 2", 2)
	v.n, v.policy = 2, newKey(t)
	newSigner := v.release("image 3", 3)

	for image, release := range map[string]*Policies{"image 1": first, "image 2": update, "image 3": newSigner} {
		boot(t, r.chip, image, initrd)
		if err := r.unseal(release); err != nil {
			t.Errorf("%s: %v", image, err)
		}
		boot(t, r.chip, image, ready)
		if err := signLDevID(t, r, release); err != nil {
			t.Errorf("%s: %v", image, err)
		}
	}
}
