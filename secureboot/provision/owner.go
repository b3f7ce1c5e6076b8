// SPDX-License-Identifier: Apache-2.0

package provision

import (
	"context"
	"errors"
	"fmt"
	"io/fs"

	"github.com/google/go-tpm/tpm2"
	"github.com/google/go-tpm/tpm2/transport"

	"incamera/secureboot/seal"
	"incamera/secureboot/tpm"
)

// ErrOwned means that an authorisation of the TPM is set, and not by us: whoever
// knows it can take back what provisioning establishes. Clear the TPM first.
var ErrOwned = errors.New("provision: the TPM has an owner already")

// permanent says which authorisations of the TPM are not empty.
type permanent struct{ owner, endorsement, lockout bool }

func authorisations(t transport.TPM, s ...tpm2.Session) (permanent, error) {
	rsp, err := tpm2.GetCapability{
		Capability: tpm2.TPMCapTPMProperties, Property: uint32(tpm2.TPMPTPermanent), PropertyCount: 1,
	}.Execute(t, s...)
	if err != nil {
		return permanent{}, fmt.Errorf("read TPM_PT_PERMANENT: %w", err)
	}
	list, err := rsp.CapabilityData.Data.TPMProperties()
	if err != nil {
		return permanent{}, fmt.Errorf("read TPM_PT_PERMANENT: %w", err)
	}
	if len(list.TPMProperty) != 1 || list.TPMProperty[0].Property != tpm2.TPMPTPermanent {
		return permanent{}, errors.New("read TPM_PT_PERMANENT: another property came")
	}
	v := list.TPMProperty[0].Value // TPMA_PERMANENT: TPM 2.0 Part 2, 8.6
	return permanent{owner: v&(1<<0) != 0, endorsement: v&(1<<1) != 0, lockout: v&(1<<2) != 0}, nil
}

// A blob is what a secret is sealed as.
type blob struct {
	name string
	use  seal.Use
}

// authorisation gives a hierarchy a random authorisation that only later signed
// releases can unseal. The blobs are stored first: if power fails in between, a
// new value replaces it; once the TPM has taken one, the stored one is that.
func (r *run) authorisation(hierarchy tpm2.TPMHandle, as ...blob) error {
	// A TPM on the bus that claims to have it set already would stay open.
	set, err := authorisations(r.t, tpm.AuditSession(r.room.SRK))
	if err != nil {
		return err
	}
	if hierarchy == tpm2.TPMRHOwner && set.owner || hierarchy == tpm2.TPMRHLockout && set.lockout {
		for _, b := range as {
			if _, err := r.sealed(b.name); errors.Is(err, fs.ErrNotExist) {
				return fmt.Errorf("%w: %w", ErrOwned, err)
			} else if err != nil {
				return err
			}
		}
		return nil
	}
	value := tpm.NewAuth()
	defer clear(value)
	for _, b := range as {
		if _, err := r.seal(b.name, b.use, value); err != nil {
			return err
		}
	}
	return changeAuth(r.t, r.room.SRK, hierarchy, value)
}

// changeAuth sets the authorisation of a hierarchy. The new value crosses the
// bus encrypted. The old one is empty, so a password says nothing.
func changeAuth(t transport.TPM, srk tpm.Key, hierarchy tpm2.TPMHandle, value []byte) error {
	_, err := tpm2.HierarchyChangeAuth{
		AuthHandle: tpm2.AuthHandle{Handle: hierarchy, Auth: tpm2.PasswordAuth(nil)},
		NewAuth:    tpm2.TPM2BAuth{Buffer: value},
	}.Execute(t, tpm.EncryptedSession(srk, tpm.In))
	if err != nil {
		return fmt.Errorf("set the authorisation of %#x: %w", uint32(hierarchy), err)
	}
	return nil
}

// LockPlatform gives the platform hierarchy a random authorisation and forgets
// it: until the next reset nobody can clear the TPM or delete its indices. It is
// for every boot, before the first service; only a factory reset goes first. A
// platform that firmware has locked or disabled is as good.
func LockPlatform(ctx context.Context, t transport.TPM, srk tpm.Key) error {
	value := tpm.NewAuth()
	defer clear(value)
	err := tpm.Exclusive(ctx, t, func(t transport.TPM) error {
		return changeAuth(t, srk, tpm2.TPMRHPlatform, value)
	})
	if errors.Is(err, tpm2.TPMRCBadAuth) || errors.Is(err, tpm2.TPMRCHierarchy) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("provision: %w", err)
	}
	return nil
}
