// SPDX-License-Identifier: Apache-2.0

// Package provision makes a room of a box with a new TPM: once, in a fixed
// order, and safe against a power cut at any instant.
//
// [Run] is a straight line of steps. Each looks at what is there, in the TPM and
// in the store, and does what is missing; so the store is the journal, and
// running again after a cut is the same call, and after the end does nothing. It
// runs while the boot phase enter-initrd lasts: the state key is sealed to that
// phase, and is unsealed once before anything relies on it.
//
// It formats no disk and shows nothing to people: both are the caller's, by
// [Disk] and [Keeper]. [LockPlatform] belongs to every boot, [Erase] to a factory
// reset.
package provision

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"

	"github.com/google/go-tpm/tpm2"
	"github.com/google/go-tpm/tpm2/transport"

	"incamera/secureboot/seal"
	"incamera/secureboot/tpm"
)

// Names of what a room keeps in its store. Those that only this package reads
// are not exported.
const (
	State   = "state"    // the state key, sealed; seal.State
	LDevID  = "ldevid"   // signs evidence, TLS, 802.1X; seal.Identity
	Leaf    = "leaf"     // signs MLS; seal.Identity
	Owner   = "owner"    // the owner authorisation, sealed; seal.Owner
	Lockout = "lockout"  // the lockout authorisation, sealed; seal.Owner
	Wrapped = "recovery" // the state key, wrapped for the recovery key

	record   = "room"
	clearing = "clearing" // the lockout authorisation once more, for Erase; seal.State
)

const stateKeySize = 32 // bytes

// A Store keeps public files outside the encrypted disk, each whole or not at
// all after a power cut. [seal.Store] is one.
type Store interface {
	// Read returns fs.ErrNotExist if there is no such file.
	Read(name string, generation uint8) ([]byte, error)
	Put(name string, generation uint8, b []byte) error
}

// A Disk is the encrypted partition for the room's state.
type Disk interface {
	// Adopt makes key open the partition. It formats a partition that no key
	// was ever set for, does nothing if key opens it already, and returns an
	// error, with nothing changed, if another key does. After a power cut in
	// between, doing it again ends well.
	Adopt(ctx context.Context, key seal.Secret) error
}

// A Keeper has the recovery key copied to where it outlives the room: shown
// once as text and QR code, or escrowed with the site.
type Keeper interface {
	// Keep returns the key as it was typed or scanned back, or as the site
	// acknowledged it. After a power cut it is asked again with another key.
	Keep(ctx context.Context, key seal.RecoveryKey) (seal.RecoveryKey, error)
}

// A Plan says what to provision a room with.
type Plan struct {
	Root     seal.RootKey
	Policies *seal.Policies // of the running release

	// The rollback number of the running release and the policy key that
	// approved it: floor and keygen start at most there.
	Version, PolicyKey uint64

	Disk   Disk
	Keeper Keeper
	Log    *slog.Logger
}

// ErrNotCopied means that the recovery key did not come back as it was given
// out. Nothing of it is kept; the caller runs again.
var ErrNotCopied = errors.New("provision: the recovery key came back different")

// Run provisions the TPM behind t, or goes on where it stopped. It returns the
// room's keys.
//
// [ErrOwned], [ErrBanks] and [ErrUnmeasured] mean that this TPM, or this
// firmware, will not do. An error wrapping [seal.ErrNotApproved] means that the
// running image is not approved or that the phase enter-initrd is over;
// [tpm.ErrForeignKey], that the TPM was cleared or is another one than the store
// belongs to. Whatever the error, nothing was wiped.
func Run(ctx context.Context, t transport.TPM, s Store, p Plan) (Room, error) {
	if p.Policies == nil || p.Disk == nil || p.Keeper == nil || p.Log == nil {
		return Room{}, errors.New("provision: incomplete plan")
	}
	r := &run{ctx: ctx, store: s, plan: p}
	err := tpm.Exclusive(ctx, t, func(t transport.TPM) error {
		r.t = t
		return r.steps()
	})
	if err != nil {
		return Room{}, err
	}
	return r.room, nil
}

// run is one call of Run.
type run struct {
	ctx   context.Context //nolint:containedctx // one call
	t     transport.TPM
	store Store
	plan  Plan

	room     Room
	stateKey seal.Secret
}

func (r *run) steps() error {
	defer func() { clear(r.stateKey) }()
	for _, step := range []struct {
		name string
		do   func() error
	}{
		{"slots", func() error { return tpm.FlushAll(r.t) }},
		{"firmware", func() error { return checkBanks(r.t) }},
		{"keys", r.keys},
		{"indices", r.indices},
		{"state key", r.state},
		{"recovery key", r.recovery},
		{"identity", r.identity},
		{"owner", func() error { return r.authorisation(tpm2.TPMRHOwner, blob{Owner, seal.Owner}) }},
		{"lockout", func() error {
			return r.authorisation(tpm2.TPMRHLockout, blob{Lockout, seal.Owner}, blob{clearing, seal.State})
		}},
		{"end", r.end},
	} {
		if r.ctx.Err() != nil {
			return context.Cause(r.ctx)
		}
		if err := step.do(); err != nil {
			return fmt.Errorf("provision: %s: %w", step.name, err)
		}
		r.plan.Log.Info("provisioned", "step", step.name)
		if r.room.Complete {
			return nil
		}
	}
	return nil
}

// keys persists EK, SRK and AK, and records their names: from then on only
// these three will do.
func (r *run) keys() error {
	room, err := Open(r.t, r.store, r.plan.Root.Generation)
	if !errors.Is(err, fs.ErrNotExist) {
		r.room = room
		return err
	}
	// EvictControl needs the owner's authorisation, and only a TPM that
	// nobody has owned has the empty one.
	set, err := authorisations(r.t)
	if err != nil {
		return err
	}
	if set.owner || set.endorsement || set.lockout {
		return ErrOwned
	}
	choice, err := tpm.ChooseEK(r.t)
	if err != nil {
		return err
	}
	for _, k := range []struct {
		key       *tpm.Key
		hierarchy tpm2.TPMHandle
		template  tpm2.TPMTPublic
		handle    tpm2.TPMHandle
	}{
		{&r.room.EK, tpm2.TPMRHEndorsement, choice.Template, choice.Handle},
		{&r.room.SRK, tpm2.TPMRHOwner, tpm.SRKTemplate, tpm.HandleSRK},
		{&r.room.AK, tpm2.TPMRHEndorsement, tpm.AKTemplate, tpm.HandleAK},
	} {
		if *k.key, err = tpm.Persist(r.t, k.hierarchy, k.template, k.handle); err != nil {
			return err
		}
	}
	return r.room.save(r.store, r.plan.Root.Generation)
}

// indices defines floor, keygen and the counter of guesses. They need the
// owner's authorisation, too: once it is ours, they are all there.
func (r *run) indices() error {
	set, err := authorisations(r.t, tpm.AuditSession(r.room.SRK))
	if err != nil {
		return err
	}
	if !set.owner {
		if err := seal.Define(r.ctx, r.t, r.room.SRK, r.plan.Root, nil); err != nil {
			return err
		}
		if err := defineGuesses(r.t); err != nil {
			return err
		}
	}
	for use, limit := range map[seal.Use]uint64{seal.Floor: r.plan.Version, seal.Keygen: r.plan.PolicyKey} {
		v, err := seal.Advance(r.ctx, r.t, r.room.SRK, r.plan.Root, r.plan.Policies, use, limit)
		if err != nil {
			return err
		}
		r.plan.Log.Info("index written", "use", string(use), "value", v)
	}
	return nil
}

// state makes the state key, proves that it comes back, and only then lets the
// disk depend on it.
func (r *run) state() error {
	blob, err := r.sealed(State)
	if errors.Is(err, fs.ErrNotExist) {
		key := make(seal.Secret, stateKeySize)
		defer clear(key)
		_, _ = rand.Read(key) // never fails: crypto/rand
		blob, err = r.seal(State, seal.State, key)
	}
	if err != nil {
		return err
	}
	r.stateKey, err = seal.Unseal(r.ctx, r.t, r.room.SRK, blob, r.plan.Policies)
	if err != nil {
		return err
	}
	if len(r.stateKey) != stateKeySize {
		return fmt.Errorf("%w: %d bytes", seal.ErrForeign, len(r.stateKey))
	}
	return r.plan.Disk.Adopt(r.ctx, r.stateKey)
}

// recovery wraps the state key for a recovery key, which is stored nowhere.
// The file is written last: a key that nobody has copied is worth nothing.
func (r *run) recovery() error {
	_, err := r.store.Read(Wrapped, r.plan.Root.Generation)
	if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	key := seal.NewRecoveryKey()
	wrapped, err := key.Wrap(seal.State, r.stateKey)
	if err != nil {
		return err
	}
	b, err := wrapped.Marshal()
	if err != nil {
		return err
	}
	back, err := r.plan.Keeper.Keep(r.ctx, key)
	if err != nil {
		return err
	}
	// By way of the wrapped key, as in the recovery that it is for.
	again, err := back.Unwrap(wrapped)
	if err != nil || subtle.ConstantTimeCompare(again, r.stateKey) != 1 {
		return ErrNotCopied
	}
	clear(again)
	return r.store.Put(Wrapped, r.plan.Root.Generation, b)
}

// identity makes the room's two signing keys.
func (r *run) identity() error {
	for _, name := range []string{LDevID, Leaf} {
		b, err := r.store.Read(name, r.plan.Root.Generation)
		if err == nil {
			_, err = seal.ParseKeyBlob(b)
		}
		if !errors.Is(err, fs.ErrNotExist) {
			if err != nil {
				return err
			}
			continue
		}
		k, err := seal.NewKey(r.ctx, r.t, r.room.SRK, r.plan.Root, seal.Identity)
		if err != nil {
			return err
		}
		if b, err = k.Marshal(); err != nil {
			return err
		}
		if err := r.store.Put(name, r.plan.Root.Generation, b); err != nil {
			return err
		}
	}
	return nil
}

func (r *run) end() error {
	r.room.Complete = true
	return r.room.save(r.store, r.plan.Root.Generation)
}

// sealed reads a blob of the store.
func (r *run) sealed(name string) (seal.Blob, error) {
	b, err := r.store.Read(name, r.plan.Root.Generation)
	if err != nil {
		return seal.Blob{}, err
	}
	return seal.ParseBlob(b)
}

// seal seals a secret and stores the blob.
func (r *run) seal(name string, use seal.Use, secret seal.Secret) (seal.Blob, error) {
	blob, err := seal.Seal(r.ctx, r.t, r.room.SRK, r.plan.Root, use, secret)
	if err != nil {
		return seal.Blob{}, err
	}
	b, err := blob.Marshal()
	if err != nil {
		return seal.Blob{}, err
	}
	return blob, r.store.Put(name, r.plan.Root.Generation, b)
}
