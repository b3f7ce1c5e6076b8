// SPDX-License-Identifier: Apache-2.0

package tpm

import (
	"bytes"
	"crypto/subtle"
	"errors"
	"fmt"

	"github.com/google/go-tpm/tpm2"
	"github.com/google/go-tpm/tpm2/transport"
)

// ErrForeignKey means that a handle holds another key than it should: the TPM
// was changed or cleared, or something on the bus answers for it. The caller
// uses nothing of that TPM until the room is provisioned again.
var ErrForeignKey = errors.New("tpm: not the expected key")

// ErrAbsent means that a handle holds no key.
var ErrAbsent = errors.New("tpm: no key at the handle")

// A Key is a key that lies in the TPM at a handle.
type Key struct {
	Handle tpm2.TPMHandle
	Name   tpm2.TPM2BName
	Public tpm2.TPMTPublic
}

// Named returns the key as commands take it.
func (k Key) Named() tpm2.NamedHandle { return tpm2.NamedHandle{Handle: k.Handle, Name: k.Name} }

// Auth returns the key with its empty password, for commands that use it.
func (k Key) Auth() tpm2.AuthHandle {
	return tpm2.AuthHandle{Handle: k.Handle, Name: k.Name, Auth: tpm2.PasswordAuth(nil)}
}

// Persistent reads the key at a handle. The name is computed from the public
// area, so it says which key answered but not that it is the right one: see
// [Pinned]. It returns [ErrAbsent] if the handle is empty.
func Persistent(t transport.TPM, h tpm2.TPMHandle) (Key, error) {
	rsp, err := tpm2.ReadPublic{ObjectHandle: h}.Execute(t)
	if err != nil {
		// TPM 2.0 Part 3, 12.4: HANDLE for what is not there.
		if errors.Is(err, tpm2.TPMRCHandle) {
			return Key{}, fmt.Errorf("%w %#x", ErrAbsent, uint32(h))
		}
		return Key{}, fmt.Errorf("tpm: read public area of %#x: %w", uint32(h), err)
	}
	public, err := rsp.OutPublic.Contents()
	if err != nil {
		return Key{}, fmt.Errorf("tpm: public area of %#x: %w", uint32(h), err)
	}
	name, err := tpm2.ObjectName(public)
	if err != nil {
		return Key{}, fmt.Errorf("tpm: name of %#x: %w", uint32(h), err)
	}
	if !bytes.Equal(name.Buffer, rsp.Name.Buffer) {
		return Key{}, fmt.Errorf("%w: the name of %#x is not that of its public area", ErrForeignKey, uint32(h))
	}
	return Key{Handle: h, Name: *name, Public: *public}, nil
}

// Pinned reads the key at a handle and compares its name with the one that was
// recorded when the room was provisioned. It returns [ErrForeignKey] if they
// differ.
func Pinned(t transport.TPM, h tpm2.TPMHandle, name []byte) (Key, error) {
	k, err := Persistent(t, h)
	if err != nil {
		return Key{}, err
	}
	if subtle.ConstantTimeCompare(k.Name.Buffer, name) != 1 {
		return Key{}, fmt.Errorf("%w at %#x", ErrForeignKey, uint32(h))
	}
	return k, nil
}

// Persist makes the primary key of a template and keeps it at a handle, with
// the empty authorisations that a TPM has before it is provisioned. Done again,
// it changes nothing and returns the same key. It returns [ErrForeignKey] if the
// handle holds another key: only clearing the TPM helps.
func Persist(t transport.TPM, hierarchy tpm2.TPMHandle, template tpm2.TPMTPublic, h tpm2.TPMHandle) (key Key, err error) {
	primary, err := tpm2.CreatePrimary{
		PrimaryHandle: tpm2.AuthHandle{Handle: hierarchy, Auth: tpm2.PasswordAuth(nil)},
		InPublic:      tpm2.New2B(template),
	}.Execute(t)
	if err != nil {
		return Key{}, fmt.Errorf("tpm: make the key for %#x: %w", uint32(h), err)
	}
	defer func() { err = errors.Join(err, Flush(t, primary.ObjectHandle)) }()
	key, err = Pinned(t, h, primary.Name.Buffer)
	if !errors.Is(err, ErrAbsent) {
		return key, err
	}
	_, err = tpm2.EvictControl{
		Auth:             tpm2.AuthHandle{Handle: tpm2.TPMRHOwner, Auth: tpm2.PasswordAuth(nil)},
		ObjectHandle:     tpm2.NamedHandle{Handle: primary.ObjectHandle, Name: primary.Name},
		PersistentHandle: h,
	}.Execute(t)
	if err != nil {
		return Key{}, fmt.Errorf("tpm: keep the key at %#x: %w", uint32(h), err)
	}
	return Pinned(t, h, primary.Name.Buffer)
}
