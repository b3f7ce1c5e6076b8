// SPDX-License-Identifier: Apache-2.0

package evidence

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"reflect"
	"strings"
	"testing"
)

func newKey(tb testing.TB) *ecdsa.PrivateKey {
	tb.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		tb.Fatal(err)
	}
	return key
}

// sampleClaims has every member set, and no structure of a TPM in it: this
// package does not look inside those.
func sampleClaims() Claims {
	return Claims{
		Nonce: bytes.Repeat([]byte{7}, 32), UEID: UEID([]byte("name of the endorsement key")), Board: "qemu-virt",
		OEMBoot: true, Debug: DebugDisabledPermanently, BootCount: 41, Name: "In Camera", Version: "1.4.0",
		Quote: Quote{
			Attest: []byte("attest"), Signature: []byte("signature"), AKName: []byte("name"),
			Log: bytes.Repeat([]byte("log"), 500), Phases: []byte("phases"),
			Certify: &Certify{Attest: []byte("attest"), Signature: []byte("signature"), Public: []byte("public")},
		},
	}
}

func TestRoundTrip(t *testing.T) {
	key := newKey(t)
	full := sampleClaims()
	compact := full
	compact.Quote = full.Quote.Compact(make([]byte, 11*32))
	for name, c := range map[string]Claims{"full": full, "compact": compact} {
		t.Run(name, func(t *testing.T) {
			cmw, err := Sign(c, key)
			if err != nil {
				t.Fatal(err)
			}
			e, err := Parse(cmw)
			if err != nil {
				t.Fatal(err)
			}
			if !reflect.DeepEqual(e.Claims, c) {
				t.Errorf("Parse(Sign(c)) = %+v; want %+v", e.Claims, c)
			}
			if err := e.Verify(key.Public()); err != nil {
				t.Error(err)
			}
			if err := e.Verify(newKey(t).Public()); !errors.Is(err, ErrSignature) {
				t.Errorf("Verify under another key = %v; want %v", err, ErrSignature)
			}
		})
	}
	if sum := sha256.Sum256(full.Quote.Log); !bytes.Equal(compact.Quote.Log, sum[:]) || !compact.Quote.LogOnlyHashed() || full.Quote.LogOnlyHashed() {
		t.Error("Compact does not put the log's hash in its place")
	}
}

// TestQualifyingData checks that each part moves the value, and that the quote
// does not.
func TestQualifyingData(t *testing.T) {
	base := sampleClaims()
	spki := []byte("SubjectPublicKeyInfo")
	value := func(nonce, spki []byte, c Claims) [32]byte {
		v, err := QualifyingData(nonce, spki, c)
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	want := value(base.Nonce, spki, base)
	other := base
	other.Quote = Quote{}
	if value(base.Nonce, spki, other) != want {
		t.Error("the quote changes what it must cover")
	}
	if value(append([]byte{0}, base.Nonce[1:]...), spki, base) == want {
		t.Error("another nonce gives the same value")
	}
	if value(base.Nonce, []byte("other"), base) == want {
		t.Error("another key gives the same value")
	}
	for name, change := range map[string]func(*Claims){
		"nonce":     func(c *Claims) { c.Nonce = bytes.Repeat([]byte{8}, 32) },
		"ueid":      func(c *Claims) { c.UEID = UEID([]byte("other")) },
		"board":     func(c *Claims) { c.Board = "other" },
		"oemboot":   func(c *Claims) { c.OEMBoot = false },
		"debug":     func(c *Claims) { c.Debug = DebugEnabled },
		"bootcount": func(c *Claims) { c.BootCount++ },
		"name":      func(c *Claims) { c.Name = "other" },
		"version":   func(c *Claims) { c.Version = "1.4.1" },
	} {
		other := base
		change(&other)
		if value(base.Nonce, spki, other) == want {
			t.Errorf("another %s gives the same value", name)
		}
	}
}

// sampleReferences has an entry of each kind.
func sampleReferences() ReferenceValues {
	d := func(s string) Digest { return sha256.Sum256([]byte(s)) }
	return ReferenceValues{
		Board: "qemu-virt", Version: "1.4.0", Rollback: 7, Commit: strings.Repeat("0f", 20), SBOM: d("sbom"),
		VerityRoot: d("verity"), CommandLine: "quiet " + strings.Repeat("ä", 300),
		Sections: []Section{{".linux", d("linux")}, {".initrd", d("initrd")}},
		Phases:   []Phase{{"", d("0")}, {"enter-initrd", d("1")}, {"ready", d("2")}},
		Values:   []PCRValue{{7, d("7")}, {7, d("7b")}, {12, d("12")}},
		Events:   []BoardEvent{{0, d("e0"), "firmware"}, {4, d("e1"), "image"}, {4, d("e2"), "separator"}},
		Profile:  BoardProfile{Rules: DefaultRules(), FirstStage: "U-Boot", VerifiedBy: "HABv4"},
	}
}

func TestReferencesRoundTrip(t *testing.T) {
	key, want := newKey(t), sampleReferences()
	signed, err := SignReferences(want, key)
	if err != nil {
		t.Fatal(err)
	}
	got, err := ParseReferences(signed, key.Public())
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(*got, want) {
		t.Errorf("ParseReferences = %+v; want %+v", *got, want)
	}
	if _, err := ParseReferences(signed, newKey(t).Public()); !errors.Is(err, ErrSignature) {
		t.Errorf("under another key: %v; want %v", err, ErrSignature)
	}
	twin, err := want.JSON()
	if err != nil {
		t.Fatal(err)
	}
	fromTwin, err := ParseReferencesJSON(twin)
	if err != nil {
		t.Fatal(err)
	}
	a, errA := want.corim()
	b, errB := fromTwin.corim()
	if errA != nil || errB != nil || !bytes.Equal(a, b) {
		t.Errorf("the CoRIM of the JSON twin differs: %v, %v", errA, errB)
	}
}
