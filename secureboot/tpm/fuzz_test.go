// SPDX-License-Identifier: Apache-2.0

package tpm

import (
	"bytes"
	"encoding/asn1"
	"testing"

	"github.com/google/go-tpm/tpm2"
)

// Whatever answers for the TPM: a key that Persistent returns has the name of
// its public area, and Loaded never lists more than was asked for.
func FuzzResponses(f *testing.F) {
	public := tpm2.Marshal(tpm2.New2B(SRKTemplate))
	name, err := tpm2.ObjectName(&SRKTemplate)
	if err != nil {
		f.Fatal(err)
	}
	body := append(bytes.Clone(public), tpm2.Marshal(name)...)
	body = append(body, 0, 0) // qualified name
	f.Add(append([]byte{0x80, 0x01, 0, 0, 0, byte(headerSize + len(body)), 0, 0, 0, 0}, body...))
	f.Add([]byte{0x80, 0x01, 0, 0, 0, 23, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 1, 0x80, 0, 0, 0})
	f.Add([]byte{0x80, 0x01, 0, 0, 0, 10, 0, 0, 0x01, 0x8B})
	f.Fuzz(func(t *testing.T, response []byte) {
		if len(response) > bufferSize {
			return
		}
		chip := onWire(&chipWire{raw: response}, WithDeadline(0)) // no repetitions
		if k, err := Persistent(chip, HandleSRK); err == nil {
			want, err := tpm2.ObjectName(&k.Public)
			if err != nil || !bytes.Equal(k.Name.Buffer, want.Buffer) {
				t.Errorf("name %x of %+v; want %x, %v", k.Name.Buffer, k.Public, want, err)
			}
		}
		if list, err := Loaded(chip); err == nil && len(list) > 2*maxLoaded {
			t.Errorf("%d handles", len(list))
		}
		if der, err := trim(response); err == nil {
			var v asn1.RawValue
			if rest, err := asn1.Unmarshal(der, &v); err != nil || len(rest) != 0 || !bytes.HasPrefix(response, der) {
				t.Errorf("trim(%x) = %x", response, der)
			}
		}
	})
}
