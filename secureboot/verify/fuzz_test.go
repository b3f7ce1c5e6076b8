// SPDX-License-Identifier: Apache-2.0

package verify

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"testing"

	"github.com/google/go-tpm/tpm2"

	"incamera/secureboot/evidence"
)

// FuzzAppraise hands in bytes that nobody of the site signed. Property: only the
// statement that the room made is admitted, up to its signature, and every
// verdict can be signed and read back.
func FuzzAppraise(f *testing.F) {
	room := loadFixture(f)
	refs := room.references(f)
	key := fuzzKey(f)
	f.Add(room.Evidence)
	f.Add(room.Result)
	f.Add([]byte{0x83})
	f.Fuzz(func(t *testing.T, cmw []byte) {
		result := Appraise(cmw, room.challenge(), room.Device, refs, Policy{}, room.Now)
		// The record ends with 64 bytes of signature and the indicator.
		if n := len(room.Evidence) - 65; result.Status != evidence.Contraindicated && !bytes.Equal(cmw[:min(n, len(cmw))], room.Evidence[:n]) {
			t.Errorf("admitted %x", cmw)
		}
		readBack(t, result, key)
	})
}

// FuzzStructures is a room that has its LDevID and lies with it: it signs what
// structures, logs and values it likes. Property: only the true quote with what
// belongs to it is admitted.
func FuzzStructures(f *testing.F) {
	room := loadFixture(f)
	refs := room.references(f)
	e, err := evidence.Parse(room.Evidence)
	if err != nil {
		f.Fatal(err)
	}
	key := fuzzKey(f)
	der, err := x509.MarshalPKIXPublicKey(&key.PublicKey)
	if err != nil {
		f.Fatal(err)
	}
	room.Device.LDevID = der
	q, c := e.Quote, e.Quote.Certify
	f.Add(q.Attest, q.Signature, q.Log, q.Phases, c.Attest, c.Signature, c.Public, room.Device.AK)
	f.Add(c.Attest, c.Signature, q.Phases, q.Log, q.Attest, q.Signature, room.Device.AK, c.Public)
	f.Fuzz(func(t *testing.T, attest, signature, log, phases, certify, certifySignature, public, ak []byte) {
		claims := e.Claims
		claims.Quote = evidence.Quote{
			Attest: attest, Signature: signature, AKName: q.AKName, Log: log, Phases: phases,
			Certify: &evidence.Certify{Attest: certify, Signature: certifySignature, Public: public},
		}
		cmw, err := evidence.Sign(claims, key)
		if err != nil {
			return // what Sign refuses, Parse does
		}
		device := room.Device
		device.AK = ak
		result := Appraise(cmw, room.challenge(), device, refs, Policy{}, room.Now)
		if result.Status != evidence.Contraindicated &&
			(!bytes.Equal(attest, q.Attest) || !bytes.Equal(public, c.Public) || !bytes.Equal(ak, room.Device.AK) || !bytes.Equal(certify, c.Attest)) {
			t.Errorf("admitted quote %x, certify %x of %x, AK %x", attest, certify, public, ak)
		}
		readBack(t, result, key)
	})
}

func fuzzKey(f *testing.F) *ecdsa.PrivateKey {
	f.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		f.Fatal(err)
	}
	return key
}

func readBack(t *testing.T, result evidence.Result, key *ecdsa.PrivateKey) {
	t.Helper()
	signed, err := evidence.SignResult(result, key)
	if err != nil {
		t.Fatalf("SignResult: %v", err)
	}
	if _, err := evidence.ParseResult(signed, &key.PublicKey); err != nil {
		t.Fatalf("ParseResult: %v", err)
	}
}

// FuzzTPM: the codec of TPM structures, which is not ours. Property: what is
// accepted comes out as the same bytes, and is of the kind asked for.
func FuzzTPM(f *testing.F) {
	room := loadFixture(f)
	e, err := evidence.Parse(room.Evidence)
	if err != nil {
		f.Fatal(err)
	}
	for _, b := range [][]byte{e.Quote.Attest, e.Quote.Signature, e.Quote.Certify.Attest, e.Quote.Certify.Public, room.Device.AK} {
		f.Add(b)
	}
	nobody := &fuzzKey(f).PublicKey
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, kind := range []tpm2.TPMST{tpm2.TPMSTAttestQuote, tpm2.TPMSTAttestCertify} {
			if a, err := parseAttest(b, kind); err == nil && (a.Type != kind || !bytes.Equal(tpm2.Marshal(*a), b)) {
				t.Errorf("%x was read as %x", b, tpm2.Marshal(*a))
			}
		}
		if err := checkSignature(nobody, nil, b); err == nil {
			t.Errorf("%x is a signature", b)
		}
		if public, key, err := parsePublic(b); err == nil && (public.Type != tpm2.TPMAlgECC || key == nil || !bytes.Equal(tpm2.Marshal(*public), b)) {
			t.Errorf("%x was read as %x", b, tpm2.Marshal(*public))
		}
		if _, name, err := parseAK(b); err == nil {
			public, err := tpm2.Unmarshal[tpm2.TPMTPublic](b)
			if err != nil || !public.ObjectAttributes.Restricted || !public.ObjectAttributes.FixedTPM {
				t.Errorf("%x is an attestation key", b)
			}
			if want, err := tpm2.ObjectName(public); err != nil || !bytes.Equal(want.Buffer, name) {
				t.Errorf("name of %x: %x; want %x", b, name, want.Buffer)
			}
		}
	})
}
