// SPDX-License-Identifier: Apache-2.0

//go:build simtpm

package seal

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/x509"
	"encoding/json"
	"os"
	"testing"

	"incamera/secureboot/tpm"
	"incamera/secureboot/tpm/tpmtest"
)

// What the first release sealed, and signed, opens for ever: testdata/README.md.
func TestV1Opens(t *testing.T) {
	read := func(name string) []byte {
		t.Helper()
		b, err := os.ReadFile("testdata/v1/" + name)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	var facts struct {
		Image       string
		Root        []byte // SPKI
		LDevID      []byte // SPKI
		State       []byte
		Owner       []byte
		RecoveryKey string `json:"recovery_key"`
	}
	if err := json.Unmarshal(read("facts.json"), &facts); err != nil {
		t.Fatal(err)
	}
	root := RootKey{1, publicKey(t, facts.Root)}
	release, err := ParsePolicies(read("policies.cbor"))
	if err != nil {
		t.Fatal(err)
	}
	if err := release.Verify(root); err != nil {
		t.Error(err)
	}

	k, err := ParseRecoveryKey(facts.RecoveryKey)
	if err != nil {
		t.Fatal(err)
	}
	wrapped, err := ParseRecovery(read("recovery.cbor"))
	if err != nil {
		t.Fatal(err)
	}
	if got, err := k.Unwrap(wrapped); err != nil || !bytes.Equal(got, facts.State) {
		t.Errorf("recovery key: %v", err)
	}

	dir := t.TempDir() // the TPM and the store write
	if err := os.CopyFS(dir, os.DirFS("testdata/v1")); err != nil {
		t.Fatal(err)
	}
	chip := tpmtest.SwtpmAt(t, dir+"/tpm")
	srk, err := tpm.Persistent(chip, tpm.HandleSRK)
	if err != nil {
		t.Fatal(err)
	}
	store, err := OpenStore(dir + "/store")
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()

	boot(t, chip, facts.Image, initrd)
	if got, _, err := store.Unseal(t.Context(), chip, srk, "state", release); err != nil || !bytes.Equal(got, facts.State) {
		t.Errorf("state key: %v", err)
	}
	boot(t, chip, facts.Image, ready)
	if got, _, err := store.Unseal(t.Context(), chip, srk, "owner", release); err != nil || !bytes.Equal(got, facts.Owner) {
		t.Errorf("owner authorisation: %v", err)
	}
	for _, name := range []string{"ldevid", "leaf"} {
		key, _, err := store.Key(chip, srk, name, release)
		if err != nil {
			t.Fatal(err)
		}
		if err := signWith(t, key); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if same := publicKey(t, facts.LDevID).Equal(key.Public()); same != (name == "ldevid") {
			t.Errorf("%s is the LDevID: %v", name, same)
		}
	}
	if got, err := Advance(t.Context(), chip, srk, root, release, Floor, 3); err != nil || got != 2 {
		t.Errorf("the floor of v1 rises to %d, %v; want 2", got, err)
	}

	// What is written today is still what v1 reads: one spelling, byte for byte.
	for _, name := range []string{"state", "owner"} {
		b := read("store/" + name + ".1")
		blob, err := ParseBlob(b)
		if err != nil {
			t.Fatal(err)
		}
		if again, err := blob.Marshal(); err != nil || !bytes.Equal(again, b) {
			t.Errorf("%s: %x, %v; want %x", name, again, err, b)
		}
	}
}

func publicKey(t *testing.T, spki []byte) *ecdsa.PublicKey {
	t.Helper()
	k, err := x509.ParsePKIXPublicKey(spki)
	if err != nil {
		t.Fatal(err)
	}
	return k.(*ecdsa.PublicKey)
}
