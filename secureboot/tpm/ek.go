// SPDX-License-Identifier: Apache-2.0

package tpm

import (
	"encoding/asn1"
	"errors"
	"fmt"

	"github.com/google/go-tpm/tpm2"
	"github.com/google/go-tpm/tpm2/transport"
)

// An Endorsement says where a kind of EK lies, with its template and the
// index of its certificate.
type Endorsement struct {
	Handle, Certificate tpm2.TPMHandle
	Template            tpm2.TPMTPublic
}

var (
	endorsementP384 = Endorsement{HandleEKP384, IndexCertP384, EKTemplateP384}
	endorsementP256 = Endorsement{HandleEKP256, IndexCertP256, EKTemplateP256}
)

// ChooseEK picks the EK that the chip's maker certified: P-384 if there is a
// certificate for it, else P-256 if there is one for that. A chip without either
// certificate gets the strongest that it can do.
func ChooseEK(t transport.TPM) (Endorsement, error) {
	for _, e := range []Endorsement{endorsementP384, endorsementP256} {
		_, err := tpm2.NVReadPublic{NVIndex: e.Certificate}.Execute(t)
		if err == nil {
			return e, nil
		}
		if !errors.Is(err, tpm2.TPMRCHandle) {
			return Endorsement{}, fmt.Errorf("tpm: look for an EK certificate: %w", err)
		}
	}
	curves, err := curves(t)
	if err != nil {
		return Endorsement{}, err
	}
	for _, c := range curves {
		if c == tpm2.TPMECCNistP384 {
			return endorsementP384, nil
		}
	}
	return endorsementP256, nil
}

func curves(t transport.TPM) ([]tpm2.TPMECCCurve, error) {
	const most = 64 // the TCG registry has fewer than twenty
	rsp, err := tpm2.GetCapability{Capability: tpm2.TPMCapECCCurves, PropertyCount: most}.Execute(t)
	if err != nil {
		return nil, fmt.Errorf("tpm: list curves: %w", err)
	}
	list, err := rsp.CapabilityData.Data.ECCCurves()
	if err != nil {
		return nil, fmt.Errorf("tpm: list curves: %w", err)
	}
	return list.ECCCurves, nil
}

const (
	maxCertificate = 8 << 10 // bytes; those in the field have under 2 KiB
	nvChunk        = 512     // bytes a read; MAX_NV_BUFFER_SIZE is at least that (PC Client profile)
)

// EKCertificate reads the certificate that the chip's maker put into an index,
// in DER. The bytes are hostile until the caller has verified them. It returns
// [ErrAbsent] if there is none.
func EKCertificate(t transport.TPM, index tpm2.TPMHandle) ([]byte, error) {
	public, err := tpm2.NVReadPublic{NVIndex: index}.Execute(t)
	if errors.Is(err, tpm2.TPMRCHandle) {
		return nil, fmt.Errorf("%w: index %#x", ErrAbsent, uint32(index))
	}
	if err != nil {
		return nil, fmt.Errorf("tpm: index %#x: %w", uint32(index), err)
	}
	area, err := public.NVPublic.Contents()
	if err != nil {
		return nil, fmt.Errorf("tpm: index %#x: %w", uint32(index), err)
	}
	if area.DataSize > maxCertificate {
		return nil, fmt.Errorf("tpm: index %#x has %d bytes", uint32(index), area.DataSize)
	}
	handle := tpm2.NamedHandle{Handle: index, Name: public.NVName}
	content := make([]byte, 0, area.DataSize)
	for len(content) < int(area.DataSize) {
		rsp, err := tpm2.NVRead{
			AuthHandle: tpm2.AuthHandle{Handle: index, Name: public.NVName, Auth: tpm2.PasswordAuth(nil)},
			NVIndex:    handle,
			Size:       min(nvChunk, area.DataSize-uint16(len(content))),
			Offset:     uint16(len(content)),
		}.Execute(t)
		if err != nil {
			return nil, fmt.Errorf("tpm: read index %#x: %w", uint32(index), err)
		}
		if n := len(rsp.Data.Buffer); n == 0 || n > int(area.DataSize)-len(content) {
			return nil, fmt.Errorf("tpm: read index %#x: %d bytes", uint32(index), n)
		}
		content = append(content, rsp.Data.Buffer...)
	}
	return trim(content)
}

// trim cuts off what makers put behind a certificate to fill the index.
func trim(content []byte) ([]byte, error) {
	var v asn1.RawValue
	if _, err := asn1.Unmarshal(content, &v); err != nil {
		return nil, fmt.Errorf("tpm: EK certificate: %w", err)
	}
	if v.Class != asn1.ClassUniversal || v.Tag != asn1.TagSequence || !v.IsCompound {
		return nil, errors.New("tpm: EK certificate: not a sequence")
	}
	return v.FullBytes, nil
}
