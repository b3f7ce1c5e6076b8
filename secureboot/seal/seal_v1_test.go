// SPDX-License-Identifier: Apache-2.0

package seal

import (
	"bytes"
	"errors"
	"testing"

	"github.com/google/go-tpm/tpm2"
)

// exampleBlobs are a sealed secret and a key as a TPM would have made them.
func exampleBlobs(t testing.TB) (sealed, key []byte) {
	t.Helper()
	policy := tpm2.TPM2BDigest{Buffer: bytes.Repeat([]byte{7}, 32)}
	pub := sealedTemplate(policy)
	pub.Unique = tpm2.NewTPMUPublicID(tpm2.TPMAlgKeyedHash, &tpm2.TPM2BDigest{Buffer: make([]byte, 32)})
	sealed, err := Blob{object{State, pub, []byte("private")}}.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	point, err := p256(t).PublicKey.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	pub = keyTemplate(policy)
	pub.Unique = tpm2.NewTPMUPublicID(tpm2.TPMAlgECC, &tpm2.TPMSECCPoint{
		X: tpm2.TPM2BECCParameter{Buffer: point[1:33]}, Y: tpm2.TPM2BECCParameter{Buffer: point[33:]},
	})
	if key, err = (KeyBlob{object{Identity, pub, []byte("private")}}).Marshal(); err != nil {
		t.Fatal(err)
	}
	return sealed, key
}

func TestBlobsRefused(t *testing.T) {
	sealed, key := exampleBlobs(t)
	if _, err := ParseBlob(sealed); err != nil {
		t.Fatal(err)
	}
	if _, err := ParseKeyBlob(key); err != nil {
		t.Fatal(err)
	}
	if _, err := ParseBlob(key); !errors.Is(err, errMalformed) {
		t.Errorf("a key as a secret: %v", err)
	}
	if _, err := ParseKeyBlob(sealed); !errors.Is(err, errMalformed) {
		t.Errorf("a secret as a key: %v", err)
	}
	for i := range sealed {
		if _, err := ParseBlob(sealed[:i]); !errors.Is(err, errMalformed) {
			t.Errorf("cut after %d bytes: %v", i, err)
		}
	}
	if _, err := ParseBlob(append(bytes.Clone(sealed), 0)); !errors.Is(err, errMalformed) {
		t.Error("parsed with a byte behind it")
	}
	if _, err := ParseBlob(make([]byte, maxBlob+1)); !errors.Is(err, errMalformed) {
		t.Error("parsed what is too long")
	}
	newer := bytes.Clone(sealed)
	newer[1] = 2
	if _, err := ParseBlob(newer); !errors.Is(err, ErrVersion) {
		t.Errorf("format 2: %v", err)
	}

	// An object with a way around its policy.
	for name, spoil := range map[string]func(*tpm2.TPMTPublic){
		"userWithAuth":        func(p *tpm2.TPMTPublic) { p.ObjectAttributes.UserWithAuth = true },
		"adminWithPolicy":     func(p *tpm2.TPMTPublic) { p.ObjectAttributes.AdminWithPolicy = true },
		"not fixedTPM":        func(p *tpm2.TPMTPublic) { p.ObjectAttributes.FixedTPM = false },
		"DA":                  func(p *tpm2.TPMTPublic) { p.ObjectAttributes.NoDA = false },
		"no policy":           func(p *tpm2.TPMTPublic) { p.AuthPolicy.Buffer = nil },
		"policy of SHA-1":     func(p *tpm2.TPMTPublic) { p.AuthPolicy.Buffer = make([]byte, 20) },
		"name of SHA-1":       func(p *tpm2.TPMTPublic) { p.NameAlg = tpm2.TPMAlgSHA1 },
		"sensitiveDataOrigin": func(p *tpm2.TPMTPublic) { p.ObjectAttributes.SensitiveDataOrigin = true },
	} {
		pub := sealedTemplate(tpm2.TPM2BDigest{Buffer: make([]byte, 32)})
		spoil(&pub)
		b, err := Blob{object{State, pub, []byte("private")}}.Marshal()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := ParseBlob(b); !errors.Is(err, errMalformed) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func FuzzParseBlob(f *testing.F) {
	sealed, key := exampleBlobs(f)
	f.Add(sealed)
	f.Add(key)
	f.Add([]byte{0x84, 2})
	f.Fuzz(func(t *testing.T, b []byte) {
		if blob, err := ParseBlob(b); err == nil {
			if again, err := blob.Marshal(); err != nil || !bytes.Equal(again, b) {
				t.Errorf("%x has the second spelling %x, %v", b, again, err)
			}
			if a := blob.public.ObjectAttributes; a.UserWithAuth || !a.FixedTPM || len(blob.public.AuthPolicy.Buffer) != 32 {
				t.Errorf("%x opens without its policy", b)
			}
		}
		if blob, err := ParseKeyBlob(b); err == nil {
			if again, err := blob.Marshal(); err != nil || !bytes.Equal(again, b) {
				t.Errorf("%x has the second spelling %x, %v", b, again, err)
			}
			if _, err := blob.Public(); err != nil {
				t.Errorf("%x: %v", b, err)
			}
		}
	})
}
