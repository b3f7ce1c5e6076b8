// SPDX-License-Identifier: Apache-2.0

package provision

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/google/go-tpm/tpm2"
	"github.com/google/go-tpm/tpm2/transport"

	"incamera/secureboot/seal"
	"incamera/secureboot/tpm"
)

// guessesIndex follows the handles of floor and keygen, in the range that the
// TCG registry leaves to the owner.
const guessesIndex tpm2.TPMHandle = 0x01800120

// Guesses counts wrong pairing PINs in the TPM, where neither a power cut nor
// another disk takes one back. Who is root on the room can count too many,
// never too few.
type Guesses struct{ tpm transport.TPM }

// NewGuesses returns the counter of a provisioned room.
func NewGuesses(t transport.TPM) Guesses { return Guesses{t} }

// Count returns a number that [Guesses.Add] raises by one and nothing lowers.
// Where it starts is up to the TPM: above all that a counter in it ever had (TPM
// 2.0 Part 3, 31.8).
func (g Guesses) Count(ctx context.Context) (n uint64, err error) {
	err = tpm.Exclusive(ctx, g.tpm, func(t transport.TPM) error {
		n, err = readGuesses(t)
		return err
	})
	return n, err
}

// Add counts one more and returns the new number. A guess counts before it is checked:
// after an error the caller refuses it.
func (g Guesses) Add(ctx context.Context) (n uint64, err error) {
	err = tpm.Exclusive(ctx, g.tpm, func(t transport.TPM) error {
		if err := incrementGuesses(t); err != nil {
			return err
		}
		n, err = readGuesses(t)
		return err
	})
	return n, err
}

func guessesPublic(written bool) tpm2.TPMSNVPublic {
	return tpm2.TPMSNVPublic{
		NVIndex: guessesIndex,
		NameAlg: tpm2.TPMAlgSHA256,
		Attributes: tpm2.TPMANV{
			NT: tpm2.TPMNTCounter, AuthRead: true, AuthWrite: true, NoDA: true, Written: written,
		},
		DataSize: 8,
	}
}

func guessesHandle(written bool) (tpm2.NamedHandle, tpm2.AuthHandle, error) {
	public := guessesPublic(written)
	name, err := tpm2.NVName(&public)
	if err != nil {
		return tpm2.NamedHandle{}, tpm2.AuthHandle{}, fmt.Errorf("provision: name of the guesses: %w", err)
	}
	return tpm2.NamedHandle{Handle: guessesIndex, Name: *name},
		tpm2.AuthHandle{Handle: guessesIndex, Name: *name, Auth: tpm2.PasswordAuth(nil)}, nil
}

// defineGuesses defines the counter and makes the first step, without which it
// cannot be read.
func defineGuesses(t transport.TPM) error {
	public := guessesPublic(false)
	_, err := tpm2.NVDefineSpace{
		AuthHandle: tpm2.AuthHandle{Handle: tpm2.TPMRHOwner, Auth: tpm2.PasswordAuth(nil)},
		PublicInfo: tpm2.New2B(public),
	}.Execute(t)
	if err != nil && !errors.Is(err, tpm2.TPMRCNVDefined) {
		return fmt.Errorf("define the guesses: %w", err)
	}
	written, err := guessesWritten(t)
	if err != nil || written {
		return err
	}
	return incrementGuesses(t)
}

func guessesWritten(t transport.TPM) (bool, error) {
	rsp, err := tpm2.NVReadPublic{NVIndex: guessesIndex}.Execute(t)
	if err != nil {
		return false, fmt.Errorf("provision: guesses: %w", err)
	}
	got, err := rsp.NVPublic.Contents()
	if err != nil {
		return false, fmt.Errorf("provision: guesses: %w", err)
	}
	want := guessesPublic(got.Attributes.Written)
	if !bytes.Equal(tpm2.Marshal(got), tpm2.Marshal(want)) {
		return false, fmt.Errorf("provision: guesses: %w", seal.ErrTaken)
	}
	return got.Attributes.Written, nil
}

func incrementGuesses(t transport.TPM) error {
	written, err := guessesWritten(t)
	if err != nil {
		return err
	}
	index, auth, err := guessesHandle(written)
	if err != nil {
		return err
	}
	if _, err := (tpm2.NVIncrement{AuthHandle: auth, NVIndex: index}).Execute(t); err != nil {
		return fmt.Errorf("provision: count a guess: %w", err)
	}
	return nil
}

func readGuesses(t transport.TPM) (uint64, error) {
	index, auth, err := guessesHandle(true)
	if err != nil {
		return 0, err
	}
	rsp, err := tpm2.NVRead{AuthHandle: auth, NVIndex: index, Size: 8}.Execute(t)
	if err != nil {
		return 0, fmt.Errorf("provision: read the guesses: %w", err)
	}
	if len(rsp.Data.Buffer) != 8 {
		return 0, fmt.Errorf("provision: read the guesses: %d bytes", len(rsp.Data.Buffer))
	}
	return binary.BigEndian.Uint64(rsp.Data.Buffer), nil
}
