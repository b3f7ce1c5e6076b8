// SPDX-License-Identifier: Apache-2.0

package sframe

import (
	"bytes"
	"fmt"
	"testing"

	"incamera/media/internal/vectortest"
)

// TestCTRHMACVectors runs the working group's vectors, which contain those of
// RFC 9605, Appendix C.2.
func TestCTRHMACVectors(t *testing.T) {
	var file struct {
		Cases []struct {
			Suite  Suite `json:"cipher_suite"`
			Key    string
			EncKey string `json:"enc_key"`
			MACKey string `json:"auth_key"`
			Nonce  string
			AAD    string
			PT, CT string
		} `json:"aes_ctr_hmac"`
	}
	vectortest.LoadJSON(t, "sframe/test-vectors.json", &file)
	if len(file.Cases) == 0 {
		t.Fatal("the file has no aes_ctr_hmac vectors")
	}
	for _, v := range file.Cases {
		t.Run(fmt.Sprintf("suite %d", v.Suite), func(t *testing.T) {
			if v.Key != v.EncKey+v.MACKey {
				t.Fatalf("key %s is not %s, %s", v.Key, v.EncKey, v.MACKey)
			}
			aead, err := v.Suite.newAEAD(unhex(t, v.Key))
			if err != nil {
				t.Fatal(err)
			}
			nonce, aad, pt, ct := unhex(t, v.Nonce), unhex(t, v.AAD), unhex(t, v.PT), unhex(t, v.CT)
			if got := aead.Seal(nil, nonce, pt, aad); !bytes.Equal(got, ct) {
				t.Errorf("Seal = %x, want %x", got, ct)
			}
			if got, err := aead.Open(nil, nonce, ct, aad); err != nil || !bytes.Equal(got, pt) {
				t.Errorf("Open = %x, %v; want %x", got, err, pt)
			}
			if got := aead.Overhead(); got != len(ct)-len(pt) {
				t.Errorf("Overhead = %d, want %d", got, len(ct)-len(pt))
			}
		})
	}
}

// TestSFrameVectors runs the working group's vectors, which contain those of
// RFC 9605, Appendix C.3: every intermediate value, then a whole frame.
func TestSFrameVectors(t *testing.T) {
	var file struct {
		Cases []struct {
			Suite     Suite `json:"cipher_suite"`
			KID, CTR  uint64
			BaseKey   string `json:"base_key"`
			KeyLabel  string `json:"sframe_key_label"`
			SaltLabel string `json:"sframe_salt_label"`
			Secret    string `json:"sframe_secret"`
			Key       string `json:"sframe_key"`
			Salt      string `json:"sframe_salt"`
			Metadata  string
			Nonce     string
			AAD       string
			PT, CT    string
		} `json:"sframe"`
	}
	vectortest.LoadJSON(t, "sframe/test-vectors.json", &file)
	if len(file.Cases) == 0 {
		t.Fatal("the file has no sframe vectors")
	}
	for _, v := range file.Cases {
		t.Run(fmt.Sprintf("suite %d", v.Suite), func(t *testing.T) {
			secret, err := NewSecret(v.Suite, unhex(t, v.BaseKey))
			if err != nil {
				t.Fatal(err)
			}
			keyLabel, saltLabel := secret.label("SFrame 1.0 Secret key ", v.KID), secret.label("SFrame 1.0 Secret salt ", v.KID)
			key, err := v.Suite.expand(secret.prk, keyLabel, secret.params.key)
			if err != nil {
				t.Fatal(err)
			}
			s, err := secret.Sender(v.KID)
			if err != nil {
				t.Fatal(err)
			}
			r, err := secret.Receiver(v.KID)
			if err != nil {
				t.Fatal(err)
			}
			s.ctr = v.CTR
			metadata := unhex(t, v.Metadata)
			ct, err := s.Seal(nil, metadata, unhex(t, v.PT))
			if err != nil {
				t.Fatal(err)
			}
			pt, err := r.Open(nil, metadata, ct)
			if err != nil {
				t.Errorf("Open: %v", err)
			}
			for _, check := range []struct {
				name string
				got  []byte
				want string
			}{
				{"sframe_secret", secret.prk, v.Secret},
				{"key label", []byte(keyLabel), v.KeyLabel},
				{"salt label", []byte(saltLabel), v.SaltLabel},
				{"key", key, v.Key},
				{"salt", s.salt[:], v.Salt},
				{"nonce", s.nonce[:], v.Nonce},
				{"AAD", s.aad, v.AAD},
				{"sealed frame", ct, v.CT},
				{"opened frame", pt, v.PT},
			} {
				if !bytes.Equal(check.got, unhex(t, check.want)) {
					t.Errorf("%s = %x, want %s", check.name, check.got, check.want)
				}
			}
		})
	}
}
