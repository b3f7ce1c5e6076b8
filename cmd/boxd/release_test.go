// SPDX-License-Identifier: Apache-2.0

package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"log/slog"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/mod/sumdb/note"
)

// imageFiles are those of a sound image, by path in a folder.
func imageFiles(t *testing.T, dir string) map[string]string {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKIXPublicKey(&key.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	public := string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}))
	template := &x509.Certificate{SerialNumber: big.NewInt(1)}
	if der, err = x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key); err != nil {
		t.Fatal(err)
	}
	_, log, err := note.GenerateKey(rand.Reader, "log.example")
	if err != nil {
		t.Fatal(err)
	}
	return map[string]string{
		"release.json":     `{"version":"1.0.0","rollback":1,"board":"qemu-arm64/debian","software":"in-camera"}`,
		"share/root.pem":   public,
		"share/bundle.pem": public,
		"share/log.pub":    log + "\n",
		"share/db.crt":     string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})),
		"run/slot":         `{"esp":"/dev/none","idle":"` + dir + `/idle","data":"/dev/none"}`,
		"idle":             "a slot",
		"state/other":      "",
	}
}

// TestImageFiles: each file of the image that is damaged or missing makes updates
// unavailable, and the box says which it is.
func TestImageFiles(t *testing.T) {
	p384, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKIXPublicKey(&p384.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	other := string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}))
	const missing = "missing"
	for _, c := range []struct{ path, content, want string }{
		{"", "", ""},
		{"release.json", missing, "release.json"},
		{"release.json", "{", "release.json"},
		{"release.json", `{"version":"1.0.0","rollback":1,"board":"qemu-arm64/debian","software":"in-camera","debug":true}`, "release.json"},
		{"release.json", `{"version":"1.0.0","rollback":1,"board":"qemu-arm64/debian","software":"in-camera"} {}`, "release.json"},
		{"release.json", `{"version":"1.0.0","rollback":-1,"board":"qemu-arm64/debian","software":"in-camera"}`, "release.json"},
		{"release.json", `{"version":"1.0.0","rollback":0,"board":"qemu-arm64/debian","software":"in-camera"}`, "number 0"},
		{"release.json", `{"version":"../../etc","rollback":1,"board":"qemu-arm64/debian","software":"in-camera"}`, "../../etc"},
		{"release.json", `{"version":"1.0.0","rollback":1,"board":"","software":"in-camera"}`, "board"},
		{"release.json", strings.Repeat(" ", maxFile+1), "larger than"},
		{"share/root.pem", missing, "root.pem"},
		{"share/root.pem", "text", "root.pem"},
		{"share/bundle.pem", missing, "bundle.pem"},
		{"share/bundle.pem", "text", "bundle.pem"},
		{"share/bundle.pem", other, "P-256"},
		{"share/log.pub", missing, "log.pub"},
		{"share/log.pub", "log.example+0+AAAA", "log.pub"},
		{"share/db.crt", missing, "db.crt"},
		{"share/db.crt", other, "db.crt"},
		{"run/slot", missing, "slot"},
		{"run/slot", `{"esp":"","idle":"","data":"/dev/vda4"}`, "no second slot"},
		{"run/slot", `{"esp":"vda1","idle":"/dev/vda3","data":"/dev/vda4"}`, "no second slot"},
		{"run/slot", `{"esp":"/dev/vda1"} true`, "slot"},
		{"idle", missing, "idle"},
	} {
		dir := t.TempDir()
		files := imageFiles(t, dir)
		if files[c.path] = c.content; c.content == missing || c.path == "" {
			delete(files, c.path)
		}
		for path, content := range files {
			full := filepath.Join(dir, path)
			if err := os.MkdirAll(filepath.Dir(full), 0o700); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(full, []byte(content), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		d := newBox(places{
			release: dir + "/release.json", share: dir + "/share", run: dir + "/run", state: dir + "/state", sys: dir, tpm: "none:",
		}, mountDevice, slog.New(slog.DiscardHandler))
		if got := d.releases.now().Unavailable; (got == "") != (c.want == "") || !strings.Contains(got, c.want) {
			t.Errorf("%s %.60q: %q; want %q", c.path, c.content, got, c.want)
		}
		if (d.releases.updater == nil) != (c.want != "") {
			t.Errorf("%s %.60q: there is an updater: %v", c.path, c.content, d.releases.updater != nil)
		}
		if err := d.close(); err != nil {
			t.Error(err)
		}
	}
}
