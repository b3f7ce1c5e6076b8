// SPDX-License-Identifier: Apache-2.0

package update

import (
	"bytes"
	"encoding/binary"
	"errors"
	"testing"
)

// FuzzManifest: what is accepted has one encoding and is within the limits.
func FuzzManifest(f *testing.F) {
	v := newVendor(f)
	b, err := v.build("1.5.0", 8, 8).marshal()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Fuzz(func(t *testing.T, payload []byte) {
		m, err := parseManifest(payload)
		if err != nil {
			if _, ok := errors.AsType[*Error](err); !ok {
				t.Errorf("refused without a reason: %v", err)
			}
			return
		}
		if again, err := m.marshal(); err != nil || !bytes.Equal(again, payload) {
			t.Errorf("%x was read as %x, %v", payload, again, err)
		}
		if m.System.Size > MaxSystem || m.UKI.Size > MaxUKI || m.System.Size < 1 || m.UKI.Size < 1 {
			t.Errorf("parts of %d and %d bytes", m.System.Size, m.UKI.Size)
		}
	})
}

// FuzzBundle: bytes that the key did not sign are never a manifest, and are
// refused with a reason. What follows a manifest was not read.
func FuzzBundle(f *testing.F) {
	v := newVendor(f)
	b := v.build("1.5.0", 8, 0)
	bundle := v.pack(b)
	head := bundle[:len(bundle)-len(b.system)-len(b.uki)]
	stranger := newKey(f)
	f.Add(head)
	f.Add(head[:40])
	f.Add(binary.BigEndian.AppendUint32([]byte(magic), MaxManifest+1))
	f.Fuzz(func(t *testing.T, in []byte) {
		if _, err := readManifest(bytes.NewReader(in), stranger.Public()); err == nil {
			t.Error("accepted")
		} else if _, ok := errors.AsType[*Error](err); !ok {
			t.Errorf("refused without a reason: %v", err)
		}
	})
}

// FuzzRecord: what is accepted has one encoding.
func FuzzRecord(f *testing.F) {
	b, err := record{Format: 1, Generation: 4, Target: &Release{"1.5.0", 8}, Failure: &Failure{"1.4.0", Unhealthy, "no picture"}}.marshal()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Fuzz(func(t *testing.T, in []byte) {
		r, err := parseRecord(in)
		if err != nil {
			return
		}
		if again, err := r.marshal(); err != nil || !bytes.Equal(again, in) {
			t.Errorf("%x was read as %x, %v", in, again, err)
		}
	})
}

// FuzzSlot: a name is one slot and a slot has one name.
func FuzzSlot(f *testing.F) {
	for _, name := range []string{"in-camera_1.5.0.efi", "in-camera_1.5.0+3.efi", "in-camera_1.5.0-rc1+2-1.efi", "in-camera_1.5.0+0-0.efi", "in-camera_1.5.0+03.efi"} {
		f.Add(name)
	}
	f.Fuzz(func(t *testing.T, name string) {
		if s, ok := parseSlot(name); ok && s.name() != name {
			t.Errorf("%q is read as %q", name, s.name())
		}
	})
}
