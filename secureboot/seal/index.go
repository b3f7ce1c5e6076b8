// SPDX-License-Identifier: Apache-2.0

package seal

import (
	"fmt"

	"github.com/google/go-tpm/tpm2"
)

// firstIndex is the handle of generation 0's floor, in the range that the TCG
// registry leaves to the owner; its keygen is the next handle, and so on.
const firstIndex = 0x01800100

// An index is the floor or the keygen of one root: eight bytes, big endian, an
// ordinary NV index. An NV counter will not do: deleted and defined again it
// goes on counting, so no policy for a fleet could name its value.
type index struct {
	root RootKey
	use  Use // Floor or Keygen
}

func (x index) handle() tpm2.TPMHandle {
	h := tpm2.TPMHandle(firstIndex) + 2*tpm2.TPMHandle(x.root.Generation)
	if x.use == Keygen {
		h++
	}
	return h
}

// public is the index's public area, which TPM2_NV_Write changes once: the
// first write sets WRITTEN, and so changes the Name.
func (x index) public(written bool) (tpm2.TPMSNVPublic, error) {
	policy, err := AuthPolicy(x.root, x.use)
	if err != nil {
		return tpm2.TPMSNVPublic{}, err
	}
	return tpm2.TPMSNVPublic{
		NVIndex: x.handle(),
		NameAlg: tpm2.TPMAlgSHA256,
		Attributes: tpm2.TPMANV{
			NT:          tpm2.TPMNTOrdinary,
			PolicyWrite: true,
			AuthRead:    true,
			NoDA:        true,
			Written:     written,
		},
		AuthPolicy: policy,
		DataSize:   8,
	}, nil
}

func (x index) named(written bool) (tpm2.NamedHandle, error) {
	pub, err := x.public(written)
	if err != nil {
		return tpm2.NamedHandle{}, err
	}
	name, err := tpm2.NVName(&pub)
	if err != nil {
		return tpm2.NamedHandle{}, fmt.Errorf("seal: NV name: %w", err)
	}
	return tpm2.NamedHandle{Handle: pub.NVIndex, Name: *name}, nil
}

// compare is PolicyNV over the written index. The index authorises its own
// reading with an empty password: its value is no secret.
func (x index) compare(op tpm2.TPMEO, v uint64) (tpm2.PolicyNV, error) {
	h, err := x.named(true)
	if err != nil {
		return tpm2.PolicyNV{}, err
	}
	return tpm2.PolicyNV{
		AuthHandle: tpm2.AuthHandle{Handle: h.Handle, Name: h.Name, Auth: tpm2.PasswordAuth(nil)},
		NVIndex:    h,
		OperandB:   tpm2.TPM2BOperand{Buffer: operand(v)},
		Operation:  op,
	}, nil
}

// writing is what root approves so that v can be written: the state of the
// index that it asks for, and the very command. A first write is bound to an
// index never written, a raise to a lower value.
func (x index) writing(v uint64, first bool) ([]step, error) {
	h, err := x.named(!first)
	if err != nil {
		return nil, err
	}
	cp, err := tpm2.CPHash[tpm2.NVWriteResponse](tpm2.TPMAlgSHA256, x.write(h, nil, v))
	if err != nil {
		return nil, fmt.Errorf("seal: hash of a write: %w", err)
	}
	if first {
		return []step{tpm2.PolicyNVWritten{WrittenSet: false}, tpm2.PolicyCPHash{CPHashA: *cp}}, nil
	}
	lower, err := x.compare(tpm2.TPMEOUnsignedLT, v)
	if err != nil {
		return nil, err
	}
	return []step{lower, tpm2.PolicyCPHash{CPHashA: *cp}}, nil
}

func (index) write(h tpm2.NamedHandle, auth tpm2.Session, v uint64) tpm2.NVWrite {
	return tpm2.NVWrite{
		AuthHandle: tpm2.AuthHandle{Handle: h.Handle, Name: h.Name, Auth: auth},
		NVIndex:    h,
		Data:       tpm2.TPM2BMaxNVBuffer{Buffer: operand(v)},
	}
}
