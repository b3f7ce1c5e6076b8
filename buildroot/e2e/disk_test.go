// SPDX-License-Identifier: Apache-2.0

//go:build e2e

package e2e

import (
	"bytes"
	"encoding/binary"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"unicode/utf16"
)

// espOffset is where genimage puts the first partition, in bytes.
const espOffset = 1 << 20

// tool runs a program of the host.
func tool(t *testing.T, name string, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), name, args...)
	cmd.Env = append(os.Environ(), "MTOOLS_SKIP_CHECK=1")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
	return string(out)
}

func (b *box) esp() string { return b.Disk() + "@@" + strconv.Itoa(espOffset) }

// uki returns the name of the one UKI on the ESP.
func (b *box) uki(t *testing.T) string {
	t.Helper()
	for name := range strings.Lines(tool(t, "mdir", "-b", "-i", b.esp(), "::EFI/Linux")) {
		if name = strings.TrimSpace(name); strings.HasSuffix(name, ".efi") {
			return name
		}
	}
	t.Fatal("no UKI on the ESP")
	return ""
}

func (b *box) copyToESP(t *testing.T, from, to string) {
	t.Helper()
	tool(t, "mcopy", "-o", "-i", b.esp(), from, to)
}

// onTrial renames the UKI so that the loader counts its starts.
func (b *box) onTrial(t *testing.T) {
	t.Helper()
	name := b.uki(t)
	tool(t, "mren", "-i", b.esp(), name, strings.TrimSuffix(name, ".efi")+"+3.efi")
}

// signedByStranger returns the UKI, signed by a key that the firmware does not
// know.
func (b *box) signedByStranger(t *testing.T) string {
	t.Helper()
	key, crt, out := filepath.Join(b.Dir, "stranger.key"), filepath.Join(b.Dir, "stranger.crt"), filepath.Join(b.Dir, "stranger.efi")
	tool(t, "openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=Stranger", "-keyout", key, "-out", crt)
	tool(t, "sbsign", "--key", key, "--cert", crt, "--output", out, filepath.Join(b.image, "uki.unsigned.efi"))
	return out
}

// bitFlipped returns the signed UKI with one bit of its command line changed: the
// last digit of the root hash is another one.
func (b *box) bitFlipped(t *testing.T) string {
	t.Helper()
	uki, err := os.ReadFile(filepath.Join(b.image, "uki.efi"))
	if err != nil {
		t.Fatal(err)
	}
	at := bytes.Index(uki, []byte("incamera.roothash="))
	if at < 0 || bytes.Count(uki, []byte("incamera.roothash=")) != 1 {
		t.Fatal("the command line is not there once")
	}
	uki[at+len("incamera.roothash=")] ^= 1
	path := filepath.Join(b.Dir, "flipped.efi")
	if err := os.WriteFile(path, uki, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// middleOfRoot is an offset in the squashfs.
func (b *box) middleOfRoot(t *testing.T) int64 {
	t.Helper()
	info, err := os.Stat(filepath.Join(b.image, "system.img"))
	if err != nil {
		t.Fatal(err)
	}
	return info.Size() / 2
}

// flip changes one bit of the partition with the label.
func (b *box) flip(t *testing.T, label string, offset int64) {
	t.Helper()
	f, err := os.OpenFile(b.Disk(), os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	// The GPT's entries, in their usual place (UEFI 2.10, Section 5.3.3).
	table := make([]byte, 16<<10)
	if _, err := f.ReadAt(table, 1024); err != nil {
		t.Fatal(err)
	}
	var wide []byte
	for _, c := range utf16.Encode([]rune(label + "\x00")) {
		wide = binary.LittleEndian.AppendUint16(wide, c)
	}
	for ; len(table) > 0; table = table[128:] {
		if !bytes.HasPrefix(table[56:128], wide) {
			continue
		}
		at := int64(binary.LittleEndian.Uint64(table[32:]))*512 + offset
		var b [1]byte
		if _, err := f.ReadAt(b[:], at); err != nil {
			t.Fatal(err)
		}
		b[0] ^= 1
		if _, err := f.WriteAt(b[:], at); err != nil {
			t.Fatal(err)
		}
		return
	}
	t.Fatalf("no partition %q", label)
}
