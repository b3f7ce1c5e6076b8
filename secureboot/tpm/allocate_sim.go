// SPDX-License-Identifier: Apache-2.0

//go:build simtpm && !release

package tpm

import (
	"encoding/binary"
	"fmt"

	"github.com/google/go-tpm/tpm2"
	"github.com/google/go-tpm/tpm2/transport"
)

// AllocateSHA256 leaves a TPM one bank of PCRs from its next reset on, as a
// maker or firmware does: software TPMs come with several, and nobody extends
// the others. Platform authorisation is the empty one of a new chip.
func AllocateSHA256(t transport.TPM) error {
	// go-tpm has no TPM2_PCR_Allocate (TPM 2.0 Part 3, 22.5): header, platform
	// with an empty password, then one selection a bank.
	body := []byte{
		0x40, 0x00, 0x00, 0x0C, // TPM_RH_PLATFORM
		0, 0, 0, 9, 0x40, 0x00, 0x00, 0x09, 0, 0, 0, 0, 0, // TPM_RS_PW
		0, 0, 0, 4,
		0x00, 0x04, 3, 0, 0, 0, // SHA-1
		0x00, 0x0B, 3, 0xFF, 0xFF, 0xFF, // SHA-256
		0x00, 0x0C, 3, 0, 0, 0, // SHA-384
		0x00, 0x0D, 3, 0, 0, 0, // SHA-512
	}
	command := binary.BigEndian.AppendUint16(nil, uint16(tpm2.TPMSTSessions))
	command = binary.BigEndian.AppendUint32(command, uint32(10+len(body)))
	command = binary.BigEndian.AppendUint32(command, 0x0000012B)
	response, err := t.Send(append(command, body...))
	if err != nil {
		return err
	}
	// Success still has a byte that says whether the TPM could do it.
	if len(response) < 15 || binary.BigEndian.Uint32(response[6:]) != 0 || response[14] != 1 {
		return fmt.Errorf("tpm: PCR_Allocate: %x", response)
	}
	return nil
}
