// SPDX-License-Identifier: Apache-2.0

package provision

import (
	"errors"
	"fmt"

	"github.com/google/go-tpm/tpm2"
	"github.com/google/go-tpm/tpm2/transport"
)

var (
	// ErrUnmeasured means that the firmware measured nothing into the SHA-256
	// bank, or that there is none: another firmware, or its settings.
	ErrUnmeasured = errors.New("provision: nothing was measured at this boot")
	// ErrBanks means that a PCR bank is active that the firmware does not
	// extend, so that anyone could fill it later with what they like. The
	// bank is switched off in the firmware's settings.
	ErrBanks = errors.New("provision: a PCR bank is active that nobody extends")
)

const (
	static   = 16 // PCRs 0 to 15 go back to zero at a reset alone
	firmware = 8  // of these, the firmware's own
	maxBanks = 16 // hash algorithms of the TCG registry
)

// checkBanks wants a measured boot, and in each active bank the same registers
// measured into as in the SHA-256 bank.
func checkBanks(t transport.TPM) error {
	rsp, err := tpm2.GetCapability{Capability: tpm2.TPMCapPCRs, PropertyCount: 1}.Execute(t)
	if err != nil {
		return fmt.Errorf("list PCR banks: %w", err)
	}
	list, err := rsp.CapabilityData.Data.AssignedPCR()
	if err != nil {
		return fmt.Errorf("list PCR banks: %w", err)
	}
	if len(list.PCRSelections) > maxBanks {
		return fmt.Errorf("%d PCR banks", len(list.PCRSelections))
	}
	banks := make(map[tpm2.TPMIAlgHash]map[uint]bool)
	for _, s := range list.PCRSelections {
		allocated := registers(s.PCRSelect)
		if len(allocated) == 0 {
			continue // not active
		}
		if banks[s.Hash], err = touched(t, s.Hash, allocated); err != nil {
			return err
		}
	}
	reference := banks[tpm2.TPMAlgSHA256]
	measured := false
	for n := range uint(firmware) {
		measured = measured || reference[n]
	}
	if !measured || len(reference) != static {
		return ErrUnmeasured
	}
	for hash, bank := range banks {
		for n, want := range reference {
			if got, allocated := bank[n]; got != want && allocated {
				return fmt.Errorf("%w: PCR %d of bank %#x", ErrBanks, n, uint16(hash))
			}
		}
	}
	return nil
}

// registers lists the static PCRs of a selection, whose bits count from the
// first byte's lowest.
func registers(selected []byte) []uint {
	var list []uint
	for n := range uint(static) {
		if int(n/8) < len(selected) && selected[n/8]&(1<<(n%8)) != 0 {
			list = append(list, n)
		}
	}
	return list
}

// touched says of each register whether something was measured into it.
func touched(t transport.TPM, hash tpm2.TPMIAlgHash, list []uint) (map[uint]bool, error) {
	result := make(map[uint]bool, len(list))
	for _, n := range list {
		// One at a time: the TPM answers with as many as it likes, and with
		// none for a bank that is not there.
		rsp, err := tpm2.PCRRead{PCRSelectionIn: tpm2.TPMLPCRSelection{PCRSelections: []tpm2.TPMSPCRSelection{
			{Hash: hash, PCRSelect: tpm2.PCClientCompatible.PCRs(n)},
		}}}.Execute(t)
		if err != nil {
			return nil, fmt.Errorf("read PCR %d of bank %#x: %w", n, uint16(hash), err)
		}
		if len(rsp.PCRValues.Digests) != 1 || len(rsp.PCRValues.Digests[0].Buffer) < 20 {
			return nil, fmt.Errorf("read PCR %d of bank %#x: no value", n, uint16(hash))
		}
		result[n] = !initial(rsp.PCRValues.Digests[0].Buffer)
	}
	return result, nil
}

// initial reports whether v is what a PCR has after a reset: zeros, but for the
// locality of TPM2_Startup, or 4 for an H-CRTM, in the last byte of PCR 0 (TPM
// 2.0 Part 3, 9.3).
func initial(v []byte) bool {
	for _, b := range v[:len(v)-1] {
		if b != 0 {
			return false
		}
	}
	return v[len(v)-1] <= 4
}
