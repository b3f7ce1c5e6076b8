// SPDX-License-Identifier: Apache-2.0

package provision

import (
	"bytes"
	"errors"
	"slices"
	"testing"

	"incamera/secureboot/seal"
	"incamera/secureboot/tpm"
)

func testRecord(t testing.TB, edit func(*recordV1)) []byte {
	t.Helper()
	v := recordV1{
		Format: formatV1, EKHandle: uint32(tpm.HandleEKP384),
		EK: make([]byte, 50), AK: make([]byte, 34), SRK: bytes.Repeat([]byte{7}, 34),
	}
	if edit != nil {
		edit(&v)
	}
	b, err := v.marshal()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestParseRecord(t *testing.T) {
	good := testRecord(t, nil)
	if v, err := parseRecord(good); err != nil || !bytes.Equal(v.SRK, bytes.Repeat([]byte{7}, 34)) || v.Complete {
		t.Errorf("parseRecord = %+v, %v", v, err)
	}
	for name, b := range map[string][]byte{
		"empty":              {},
		"cut":                good[:len(good)-1],
		"trailing byte":      append(slices.Clone(good), 0),
		"too long":           make([]byte, maxRecord+1),
		"second spelling":    append([]byte{0x98, 6}, good[1:]...), // the length in two bytes
		"format 0":           testRecord(t, func(v *recordV1) { v.Format = 0 }),
		"EK elsewhere":       testRecord(t, func(v *recordV1) { v.EKHandle = uint32(tpm.HandleSRK) }),
		"EK of another kind": testRecord(t, func(v *recordV1) { v.EKHandle = uint32(tpm.HandleEKP256) }),
		"short AK":           testRecord(t, func(v *recordV1) { v.AK = v.AK[1:] }),
		"no SRK":             testRecord(t, func(v *recordV1) { v.SRK = nil }),
	} {
		if v, err := parseRecord(b); err == nil {
			t.Errorf("%s: parseRecord = %+v; want an error", name, v)
		}
	}
	newer := testRecord(t, func(v *recordV1) { v.Format = 2 })
	if _, err := parseRecord(newer); !errors.Is(err, seal.ErrVersion) {
		t.Errorf("record of format 2: %v; want ErrVersion", err)
	}
}

// What is accepted has one encoding.
func FuzzRecord(f *testing.F) {
	f.Add(testRecord(f, nil))
	f.Add(testRecord(f, func(v *recordV1) { v.Complete = true }))
	f.Add(testRecord(f, func(v *recordV1) { v.EKHandle, v.EK = uint32(tpm.HandleEKP256), v.EK[:34] }))
	f.Add(testRecord(f, func(v *recordV1) { v.Format = 2 }))
	f.Fuzz(func(t *testing.T, b []byte) {
		v, err := parseRecord(b)
		if err != nil {
			return
		}
		again, err := v.marshal()
		if err != nil || !bytes.Equal(again, b) {
			t.Errorf("%x encodes to %x, %v", b, again, err)
		}
	})
}
