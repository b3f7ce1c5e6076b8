// SPDX-License-Identifier: Apache-2.0

package e2ee

import (
	"bytes"
	"errors"
	"testing"

	"incamera/media/frame"
)

// baseKey is a fixed base key for each seed.
func baseKey(seed byte) []byte { return bytes.Repeat([]byte{seed}, baseKeySize) }

// ring makes the keyring of one room in one epoch, and sends with it.
func ring(t testing.TB, keys ...EpochKeys) *Keyring {
	t.Helper()
	k := NewKeyring()
	for _, e := range keys {
		if err := k.Install(e); err != nil {
			t.Fatal(err)
		}
		if err := k.SendWith(e.Epoch); err != nil {
			t.Fatal(err)
		}
	}
	return k
}

func two(epoch uint64, self Leaf) EpochKeys {
	return EpochKeys{Epoch: epoch, Self: self, Slots: 2, Leaves: []Leaf{0, 1}, BaseKey: baseKey(byte(epoch + 1))}
}

func TestSealOpen(t *testing.T) {
	a, b := ring(t, two(0, 0)), ring(t, two(0, 1))
	for kind := range frame.Kind(kinds) {
		t.Run(kind.String(), func(t *testing.T) {
			f := &frame.Encoded{Data: []byte("\x10 a frame"), Kind: kind, Key: true, PTS: 7}
			s, err := a.Seal([]byte("room"), f)
			if err != nil {
				t.Fatal(err)
			}
			if s.Kind() != kind || !s.Key() || s.PTS() != 7 {
				t.Errorf("Seal lost what the frame was: %v %v %v", s.Kind(), s.Key(), s.PTS())
			}
			if bytes.Contains(s.Bytes(), f.Data[1:]) {
				t.Errorf("%x holds the frame in clear", s.Bytes())
			}
			got, err := b.Open([]byte("dst "), kind, 0, s.Bytes())
			if err != nil || string(got) != "dst "+string(f.Data) {
				t.Errorf("Open = %q, %v; want %q", got, err, f.Data)
			}
			if _, err := b.Open(nil, kind, 0, s.Bytes()); !errors.Is(err, ErrRefused) {
				t.Errorf("a second Open = %v, want %v", err, ErrRefused)
			}
		})
	}
}
