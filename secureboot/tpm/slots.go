// SPDX-License-Identifier: Apache-2.0

package tpm

import (
	"errors"
	"fmt"

	"github.com/google/go-tpm/tpm2"
	"github.com/google/go-tpm/tpm2/transport"
)

// The first handle of each kind that takes a slot (TPM 2.0 Part 2, 7.4). HMAC
// and policy sessions are listed together, under the first.
const (
	firstSession   tpm2.TPMHandle = 0x02000000
	firstTransient tpm2.TPMHandle = 0x80000000
)

// More handles than any TPM has slots for; a TPM that lists more is refused.
const maxLoaded = 64

// Loaded lists the sessions and transient objects in the TPM's slots; through
// the kernel's resource manager, one's own.
func Loaded(t transport.TPM) ([]tpm2.TPMHandle, error) {
	var all []tpm2.TPMHandle
	for _, first := range []tpm2.TPMHandle{firstSession, firstTransient} {
		rsp, err := tpm2.GetCapability{
			Capability:    tpm2.TPMCapHandles,
			Property:      uint32(first),
			PropertyCount: maxLoaded,
		}.Execute(t)
		if err != nil {
			return nil, fmt.Errorf("tpm: list handles: %w", err)
		}
		list, err := rsp.CapabilityData.Data.Handles()
		if err != nil {
			return nil, fmt.Errorf("tpm: list handles: %w", err)
		}
		if len(list.Handle) > maxLoaded {
			return nil, fmt.Errorf("tpm: %d handles loaded", len(list.Handle))
		}
		all = append(all, list.Handle...)
	}
	return all, nil
}

// Flush takes a session or a transient object out of its slot.
func Flush(t transport.TPM, h tpm2.TPMHandle) error {
	if _, err := (tpm2.FlushContext{FlushHandle: h}).Execute(t); err != nil {
		return fmt.Errorf("tpm: flush %#x: %w", uint32(h), err)
	}
	return nil
}

// FlushAll empties the slots of what a program that was killed left there. Only
// the one program that the TPM belongs to may call it, at its start.
func FlushAll(t transport.TPM) error {
	loaded, err := Loaded(t)
	if err != nil {
		return err
	}
	for _, h := range loaded {
		err = errors.Join(err, Flush(t, h))
	}
	return err
}
