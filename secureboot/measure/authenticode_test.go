// SPDX-License-Identifier: Apache-2.0

package measure_test

import (
	"bytes"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/binary"
	"encoding/pem"
	"errors"
	"math/big"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"incamera/secureboot/measure"
	"incamera/secureboot/measure/measuretest"
)

// TestAuthenticode has sbsign sign images and compares the hash that it signed.
func TestAuthenticode(t *testing.T) {
	dir := t.TempDir()
	key, cert := dbKey(t, dir)
	images := map[string][]byte{"uki": measuretest.UKI("1"), "kernel": measuretest.Kernel("1"), "loader": measuretest.Loader()}
	images["data behind the last section"] = append(measuretest.Loader(), "symbols of the linker...."[:24]...)
	for name, stub := range stubs(t) {
		uki, err := measure.WriteUKI(stub, added()...)
		if err != nil {
			t.Fatal(err)
		}
		images["uki on "+name] = uki
	}
	for name, image := range images {
		want, err := measure.Authenticode(image)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		in, out := filepath.Join(dir, "in"), filepath.Join(dir, "out")
		if err := os.WriteFile(in, image, 0o600); err != nil {
			t.Fatal(err)
		}
		msg, err := exec.CommandContext(t.Context(), "sbsign", "--key", key, "--cert", cert, "--output", out, in).CombinedOutput()
		if errors.Is(err, exec.ErrNotFound) {
			t.Fatal("needs sbsign: make deps")
		} else if err != nil {
			t.Fatalf("sbsign: %v: %s", err, msg)
		}
		signed, err := os.ReadFile(out)
		if err != nil {
			t.Fatal(err)
		}
		// The signature is an Authenticode PKCS #7 object, which holds the
		// image's hash in clear.
		at := binary.LittleEndian.Uint32(signed[binary.LittleEndian.Uint32(signed[0x3c:])+24+112+32:])
		if !bytes.Contains(signed[at:], want[:]) {
			t.Errorf("%s: sbsign signed another hash than %x", name, want)
		}
		if got, err := measure.Authenticode(signed); err != nil || got != want {
			t.Errorf("%s: Authenticode of the signed image = %x, %v; want %x", name, got, err, want)
		}
		if _, err := measure.Authenticode(append(signed, 0)); !errors.Is(err, measure.ErrImage) {
			t.Errorf("%s: a byte behind the signature: %v; want ErrImage", name, err)
		}
		flipped := bytes.Clone(image)
		flipped[len(flipped)-1] ^= 1
		if got, err := measure.Authenticode(flipped); err != nil || got == want {
			t.Errorf("%s: the hash does not cover the last byte (%v)", name, err)
		}
	}
}

// dbKey writes a key and a certificate for signing images, of the kind that
// UEFI demands.
func dbKey(t *testing.T, dir string) (key, cert string) {
	t.Helper()
	private, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "db of a test"}, NotAfter: time.Now().Add(time.Hour)}
	c, err := x509.CreateCertificate(rand.Reader, template, template, &private.PublicKey, private)
	if err != nil {
		t.Fatal(err)
	}
	key, cert = filepath.Join(dir, "db.key"), filepath.Join(dir, "db.crt")
	if err := os.WriteFile(key, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(cert, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c}), 0o600); err != nil {
		t.Fatal(err)
	}
	return key, cert
}
