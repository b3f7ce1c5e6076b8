// SPDX-License-Identifier: Apache-2.0

package harness

import (
	"encoding/binary"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"unicode/utf16"
)

// The flash in which AAVMF keeps its variables: three parts of 256 KiB, of which
// variables have the first (edk2: ArmVirtPkg, NorFlashDxe).
const (
	flashSize  = 64 << 20
	volumeSize = 3 * partSize
	partSize   = 256 << 10
	volumeHead = 0x48
)

// A guid is in the mixed byte order of UEFI.
type guid [16]byte

var (
	volumeGUID = guid{0x8d, 0x2b, 0xf1, 0xff, 0x96, 0x76, 0x8b, 0x4c, 0xa9, 0x85, 0x27, 0x47, 0x07, 0x5b, 0x4f, 0x50} // EFI_SYSTEM_NV_DATA_FV_GUID
	storeGUID  = guid{0x78, 0x2c, 0xf3, 0xaa, 0x7b, 0x94, 0x9a, 0x43, 0xa1, 0x80, 0x2e, 0x14, 0x4e, 0xc3, 0x77, 0x92} // gEfiAuthenticatedVariableGuid
	globalGUID = guid{0x61, 0xdf, 0xe4, 0x8b, 0xca, 0x93, 0xd2, 0x11, 0xaa, 0x0d, 0x00, 0xe0, 0x98, 0x03, 0x2b, 0x8c} // EFI_GLOBAL_VARIABLE
	dbGUID     = guid{0xcb, 0xb2, 0x19, 0xd7, 0x3a, 0x3d, 0x96, 0x45, 0xa3, 0xbc, 0xda, 0xd0, 0x0e, 0x67, 0x65, 0x6f} // EFI_IMAGE_SECURITY_DATABASE
	enableGUID = guid{0xc7, 0x0b, 0xa3, 0xf0, 0x08, 0xaf, 0x56, 0x45, 0x99, 0xc4, 0x00, 0x10, 0x09, 0xc9, 0x3a, 0x44} // SecureBootEnable
	x509GUID   = guid{0xa1, 0x59, 0xc0, 0xa5, 0xe4, 0x94, 0xa7, 0x4a, 0x87, 0xb5, 0xab, 0x15, 0x5c, 0x2b, 0xf0, 0x72} // EFI_CERT_X509
	ownerGUID  = guid{0x0c, 0xa3, 0xe5, 0xa0, 0x1c, 0x00, 0x4c, 0x00, 0x80, 0x00}                                     // whose the keys are: ours
)

const (
	nonVolatile   = 1 << 0
	bootServices  = 1 << 1
	runtimeAccess = 1 << 2
	timeBased     = 1 << 5 // authenticated by a time
)

// Variables writes flash with our own PK, KEK and db, from NAME.crt in keys, and
// Secure Boot on: what a box has when it leaves the factory.
func Variables(path, keys string) error {
	le := binary.LittleEndian
	b := make([]byte, flashSize)
	for i := range volumeSize {
		b[i] = 0xff
	}
	// The volume (UEFI PI, Volume 3, Section 3.2.1).
	clear(b[:volumeHead])
	copy(b[16:], volumeGUID[:])
	le.PutUint64(b[32:], volumeSize)
	copy(b[40:], "_FVH")
	le.PutUint32(b[44:], 0x00040e36) // as AAVMF itself formats it
	le.PutUint16(b[48:], volumeHead)
	b[55] = 2
	le.PutUint32(b[56:], volumeSize/partSize)
	le.PutUint32(b[60:], partSize)
	var sum uint16
	for i := 0; i < volumeHead; i += 2 {
		sum += le.Uint16(b[i:])
	}
	le.PutUint16(b[50:], -sum)
	// The store in it.
	store := b[volumeHead:partSize]
	copy(store, storeGUID[:])
	le.PutUint32(store[16:], uint32(len(store)))
	store[20], store[21] = 0x5a, 0xfe // formatted, healthy
	clear(store[22:28])
	at := 28
	for _, v := range []struct {
		name       string
		guid       guid
		attributes uint32
		cert       string
		data       []byte
	}{
		{"SecureBootEnable", enableGUID, nonVolatile | bootServices, "", []byte{1}},
		{"db", dbGUID, nonVolatile | bootServices | runtimeAccess | timeBased, "db.crt", nil},
		{"KEK", globalGUID, nonVolatile | bootServices | runtimeAccess | timeBased, "KEK.crt", nil},
		{"PK", globalGUID, nonVolatile | bootServices | runtimeAccess | timeBased, "PK.crt", nil},
	} {
		if v.cert != "" {
			var err error
			if v.data, err = signatureList(filepath.Join(keys, v.cert)); err != nil {
				return err
			}
		}
		record := variable(v.name, v.guid, v.attributes, v.data)
		if at+len(record) > len(store) {
			return errors.New("harness: variables do not fit")
		}
		at += copy(store[at:], record)
	}
	return os.WriteFile(path, b, 0o600)
}

// variable is an AUTHENTICATED_VARIABLE_HEADER with name and data, padded to 4
// bytes with ones.
func variable(name string, g guid, attributes uint32, data []byte) []byte {
	le := binary.LittleEndian
	b := make([]byte, 60)
	le.PutUint16(b, 0x55aa)
	b[2] = 0x3f // added, header valid
	le.PutUint32(b[4:], attributes)
	if attributes&timeBased != 0 {
		le.PutUint16(b[16:], 2026) // EFI_TIME: year, month, day
		b[18], b[19] = 1, 1
	}
	wide := utf16.Encode([]rune(name + "\x00"))
	le.PutUint32(b[36:], uint32(2*len(wide)))
	le.PutUint32(b[40:], uint32(len(data)))
	copy(b[44:], g[:])
	for _, c := range wide {
		b = le.AppendUint16(b, c)
	}
	b = append(b, data...)
	for len(b)%4 != 0 {
		b = append(b, 0xff)
	}
	return b
}

// signatureList is an EFI_SIGNATURE_LIST of one certificate.
func signatureList(path string) ([]byte, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	block, _ := pem.Decode(text)
	if block == nil {
		return nil, fmt.Errorf("harness: %s: no certificate", path)
	}
	le := binary.LittleEndian
	b := append([]byte{}, x509GUID[:]...)
	size := uint32(16 + len(block.Bytes))
	b = le.AppendUint32(b, 28+size)
	b = le.AppendUint32(b, 0)
	b = le.AppendUint32(b, size)
	b = append(b, ownerGUID[:]...)
	return append(b, block.Bytes...), nil
}
