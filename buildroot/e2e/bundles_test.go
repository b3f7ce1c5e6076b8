// SPDX-License-Identifier: Apache-2.0

//go:build e2e

package e2e

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/x509"
	"encoding/binary"
	"encoding/pem"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/mod/sumdb/note"

	"incamera/buildroot/e2e/harness"
	"incamera/secureboot/update"
)

// The bundles of the stick that no room may take: made of B, with the reason for
// which each is refused.
var badBundles = []struct {
	file, reason string
	make         func(t *testing.T, b *box) []byte
}{
	{"in-camera-9.0.1.bundle", "truncated", func(t *testing.T, b *box) []byte {
		whole := readFile(t, b.bundle("B"))
		return whole[:len(whole)*2/3]
	}},
	{"in-camera-9.0.2.bundle", "tampered", func(t *testing.T, b *box) []byte {
		return flipped(t, b, func(manifest, size int) int { return size / 2 }) // in the system image
	}},
	{"in-camera-9.0.3.bundle", "sig_invalid", func(t *testing.T, b *box) []byte {
		return flipped(t, b, func(manifest, _ int) int { return manifest / 2 })
	}},
	{"in-camera-9.0.4.bundle", "wrong_board", otherBoard},
}

// flipped is B's bundle with one bit changed at an offset that follows from the
// end of its manifest and its size.
func flipped(t *testing.T, b *box, at func(manifest, size int) int) []byte {
	t.Helper()
	bundle := readFile(t, b.bundle("B"))
	manifest := 12 + int(binary.BigEndian.Uint32(bundle[8:]))
	bundle[at(manifest, len(bundle))] ^= 1
	return bundle
}

// otherBoard is B's bundle, signed by the same key for other hardware.
func otherBoard(t *testing.T, b *box) []byte {
	t.Helper()
	block, _ := pem.Decode(readFile(t, filepath.Join(b.keys, "bundle.key")))
	if block == nil {
		t.Fatal("bundle.key is no PEM")
	}
	private, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	key, ok := private.(*ecdsa.PrivateKey)
	if !ok {
		t.Fatalf("bundle.key is a %T", private)
	}
	log, err := note.NewVerifier(strings.TrimSpace(string(readFile(t, filepath.Join(b.keys, "log.pub")))))
	if err != nil {
		t.Fatal(err)
	}
	m, _, err := update.OpenForSite(bytes.NewReader(readFile(t, b.bundle("B"))), []crypto.PublicKey{key.Public()}, log)
	if err != nil {
		t.Fatal(err)
	}
	m.Board = "imx8mp-evk/buildroot"
	system, uki := readFile(t, filepath.Join(b.releases, "B", "system.img")), readFile(t, filepath.Join(b.releases, "B", "uki.efi"))
	var out bytes.Buffer
	if err := update.Write(&out, m, key, bytes.NewReader(system), bytes.NewReader(uki)); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// plug puts a stick with all bundles into the room's box. The image is made once.
func (w *world) plug(t *testing.T, r *room) {
	t.Helper()
	if w.stick == "" {
		w.stick = filepath.Join(w.site.dir, "stick.img")
		files := []string{r.bundle("A"), r.bundle("B"), r.bundle("C")}
		for _, bad := range badBundles {
			path := w.site.path(bad.file)
			writeFile(t, path, bad.make(t, r.box))
			files = append(files, path)
		}
		if err := harness.Stick(t.Context(), w.stick, files...); err != nil {
			t.Fatal(err)
		}
		for _, bad := range badBundles {
			if err := os.Remove(w.site.path(bad.file)); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := r.on.Plug(t.Context(), w.stick); err != nil {
		t.Fatal(err)
	}
}

// badBundles: each bundle that no room may take is refused with its reason, and the
// room goes on as it is.
func (w *world) badBundles(t *testing.T) {
	w.plug(t, w.b)
	names := map[string]string{"truncated": "TruncatedRefused", "tampered": "TamperedRefused", "sig_invalid": "UnsignedRefused", "wrong_board": "WrongBoardRefused"}
	for _, bad := range badBundles {
		t.Run(names[bad.reason], func(t *testing.T) {
			w.b.offered(t, bad.file)
			w.b.refused(t, bad.file, false, bad.reason)
		})
	}
	w.b.verify(t, versionA)
}
