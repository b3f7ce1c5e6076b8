// SPDX-License-Identifier: Apache-2.0

package provision

import (
	"context"
	"errors"
	"fmt"

	"github.com/google/go-tpm/tpm2"
	"github.com/google/go-tpm/tpm2/transport"

	"incamera/secureboot/seal"
	"incamera/secureboot/tpm"
)

// ErrNotErased means that the TPM holds what it held. The caller keeps the files
// of [Needed], since only with them the room can try again, and tells a person to
// clear the TPM in the menu of the firmware.
var ErrNotErased = errors.New("provision: the TPM could not be cleared")

// Needed are the files of the store that [Erase] needs to try again. None opens
// data.
func Needed() []string { return []string{record, clearing} }

// Erase is the end of a room: TPM2_Clear. The TPM makes itself another storage
// seed, so that all it ever sealed is noise to it, the state key first, and
// forgets indices, keys and authorisations. Done again, after a power cut or on a
// TPM that nobody has provisioned, it ends as well. Afterwards [Run] makes a new
// room, on an empty store and from the next reset on.
//
// It runs before [LockPlatform], which takes the simplest way: the platform's
// authorisation, empty after each reset. Some firmware has locked the platform by
// then. The other way is the lockout's authorisation, which is sealed for the phase
// enter-initrd; p, the policies of the running release, opens it. p may be nil if
// there are none.
func Erase(ctx context.Context, t transport.TPM, s Store, generation uint8, p *seal.Policies) error {
	err := tpm.Exclusive(ctx, t, func(t transport.TPM) error {
		if err := tpm.FlushAll(t); err != nil {
			return err
		}
		byPlatform := clearBy(t, tpm2.TPMRHPlatform, tpm2.PasswordAuth(nil))
		if byPlatform == nil {
			return nil
		}
		byLockout := clearByLockout(ctx, t, s, generation, p)
		if byLockout == nil {
			return nil
		}
		return errors.Join(fmt.Errorf("as the platform: %w", byPlatform), fmt.Errorf("by the lockout's authorisation: %w", byLockout))
	})
	if err != nil {
		return fmt.Errorf("%w: %w", ErrNotErased, err)
	}
	return nil
}

func clearByLockout(ctx context.Context, t transport.TPM, s Store, generation uint8, p *seal.Policies) error {
	set, err := authorisations(t)
	if err != nil {
		return err
	}
	if !set.lockout {
		return clearBy(t, tpm2.TPMRHLockout, tpm2.PasswordAuth(nil))
	}
	if p == nil {
		return seal.ErrPolicies
	}
	room, err := Open(t, s, generation)
	if err != nil {
		return err
	}
	b, err := s.Read(clearing, generation)
	if err != nil {
		return err
	}
	sealed, err := seal.ParseBlob(b)
	if err != nil {
		return err
	}
	value, err := seal.Unseal(ctx, t, room.SRK, sealed, p)
	if err != nil {
		return err
	}
	defer clear(value)
	return clearBy(t, tpm2.TPMRHLockout, tpm2.HMAC(tpm2.TPMAlgSHA256, tpm.NonceSize,
		tpm2.Salted(room.SRK.Handle, room.SRK.Public), tpm2.Auth(value)))
}

// clearBy clears the TPM and looks if it is. What it answers does not count: with
// the lockout's authorisation its HMAC is made with the empty one that it has by
// then (TPM 2.0 Part 1, 19.6.5), which go-tpm v0.9.8 does not know.
func clearBy(t transport.TPM, hierarchy tpm2.TPMHandle, auth tpm2.Session) error {
	_, refusal := tpm2.Clear{AuthHandle: tpm2.AuthHandle{Handle: hierarchy, Auth: auth}}.Execute(t)
	if _, refused := errors.AsType[tpm2.TPMRC](refusal); refused {
		return refusal
	}
	held, err := holds(t)
	switch {
	case err != nil:
		return errors.Join(refusal, err)
	case held:
		return errors.Join(refusal, errors.New("it says that it is cleared, and holds what it held"))
	}
	return nil
}

// holds reports whether the TPM holds anything that [Run] put there.
func holds(t transport.TPM) (bool, error) {
	set, err := authorisations(t)
	if err != nil || set != (permanent{}) {
		return true, err
	}
	for _, h := range []tpm2.TPMHandle{tpm.HandleSRK, tpm.HandleAK, tpm.HandleEKP256, tpm.HandleEKP384} {
		if _, err := tpm.Persistent(t, h); !errors.Is(err, tpm.ErrAbsent) {
			return true, err
		}
	}
	return false, nil
}
