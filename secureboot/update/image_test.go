// SPDX-License-Identifier: Apache-2.0

package update

import (
	"bytes"
	"crypto/x509"
	"encoding/pem"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"incamera/secureboot/measure/measuretest"
)

// TestSbsign holds both halves against Debian's: what sbsign signed we accept,
// and what our tests sign sbverify accepts.
func TestSbsign(t *testing.T) {
	v := newVendor(t)
	dir := t.TempDir()
	path := func(name string) string { return filepath.Join(dir, name) }
	put := func(name string, b []byte) {
		if err := os.WriteFile(path(name), b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	run := func(name string, args ...string) {
		t.Helper()
		if out, err := exec.CommandContext(t.Context(), name, args...).CombinedOutput(); err != nil {
			t.Fatalf("%s (make deps installs it): %v\n%s", name, err, out)
		}
	}
	der, err := x509.MarshalPKCS8PrivateKey(v.db)
	if err != nil {
		t.Fatal(err)
	}
	put("key", pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
	put("crt", pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: v.cert.Raw}))
	uki := measuretest.UKI("1.5.0")
	put("ours", v.signImage(uki))
	run("sbverify", "--cert", path("crt"), path("ours"))
	put("uki", uki)
	run("sbsign", "--key", path("key"), "--cert", path("crt"), "--output", path("theirs"), path("uki"))
	theirs, err := os.ReadFile(path("theirs"))
	if err != nil {
		t.Fatal(err)
	}
	db := []*x509.Certificate{newVendor(t).cert, v.cert}
	if err := verifyImage(theirs, db); err != nil {
		t.Error(err)
	}
	if err := verifyImage(theirs, db[:1]); err == nil {
		t.Error("signed by a stranger, and accepted")
	}
	if err := verifyImage(uki, db); err == nil {
		t.Error("not signed, and accepted")
	}
	// No bit of image or signature is without effect, but padding and what is
	// not signed: certificates that are carried along.
	for at := range len(uki) {
		c := bytes.Clone(theirs)
		c[at] ^= 1
		if verifyImage(c, db) == nil && !unhashed(at) {
			t.Fatalf("byte %#x flipped, and accepted", at)
		}
	}
}

// unhashed are checksum and directory entry of the signature, and the bytes of
// the DOS header that only lead to them.
func unhashed(at int) bool {
	const header = 0x40 // of measuretest's images
	return at >= header+24+64 && at < header+24+68 || at >= header+24+112+32 && at < header+24+112+40
}

// FuzzVerifyImage: no signature, whatever it is, makes an image pass that the
// key did not sign.
func FuzzVerifyImage(f *testing.F) {
	v := newVendor(f)
	uki := measuretest.UKI("1.5.0")
	for _, signer := range []*vendor{v, newVendor(f)} {
		signature, err := imageSignature(signer.signImage(measuretest.UKI("1.4.0")))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(signature)
	}
	f.Fuzz(func(t *testing.T, pkcs7 []byte) {
		if verifyImage(attach(uki, pkcs7), []*x509.Certificate{v.cert}) == nil {
			t.Error("accepted")
		}
	})
}
