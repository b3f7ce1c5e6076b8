// SPDX-License-Identifier: Apache-2.0

//go:build e2e

package e2e

import (
	"crypto/sha256"
	"io"
	"os"
	"path/filepath"
	"testing"

	"incamera/buildroot/e2e/harness"
)

// TestFactoryButton: a button held at power-on makes a box that was set up a new
// one, and the data that was on it opens no more. Held on, it erases nothing twice.
func TestFactoryButton(t *testing.T) {
	b := newBox(t)
	first := b.boot(t, "first")
	if rest := first.expect(t, "Secure Boot ", stopped...); rest != "on" {
		t.Fatalf("Secure Boot is %s", rest)
	}
	b.setUp(t, first)
	first.expect(t, "in-camera: starting the system", stopped...)
	first.Stop()

	held := b.bootWith(t, "held", bootFor, harness.Options{Button: true, Restarts: true})
	held.expect(t, "in-camera: RESET: hold the button for ", "unlocked the data")
	held.expect(t, "in-camera: RESET: begun by the button", "unlocked the data")
	held.expect(t, "in-camera: factory state", "unlocked the data")
	held.expect(t, "in-camera: nothing to erase", "unlocked the data")
	held.expect(t, "in-camera: a new room: it is being set up", "unlocked the data")
}

// TestForeignTPM puts a disk into another box: the data stays locked, and no byte
// of the disk changes. The recovery key opens it.
func TestForeignTPM(t *testing.T) {
	b := newBox(t)
	home := b.boot(t, "home")
	key := b.setUp(t, home)
	home.panel(t)
	home.Stop()
	before := b.fingerprint(t)

	if err := b.NewTPM(t.Context()); err != nil {
		t.Fatal(err)
	}
	away := b.boot(t, "away")
	if cause := away.expect(t, "RECOVERY: the room's data stays locked, cause ", "unlocked the data"); cause != "foreign" {
		t.Errorf("cause %q", cause)
	}
	away.expect(t, "nothing was changed or erased")
	// A key of another room: well formed, and of no use.
	if err := away.Type("0000-0000-0000-0000-0000-0000-0000"); err != nil {
		t.Fatal(err)
	}
	away.expect(t, "in-camera: not unlocked: ", "unlocked the data by")
	away.Stop()
	if b.fingerprint(t) != before {
		t.Error("the disk changed though it stayed locked")
	}

	rescued := b.boot(t, "rescued")
	rescued.expect(t, "nothing was changed or erased", "unlocked the data")
	if err := rescued.Type(key); err != nil {
		t.Fatal(err)
	}
	rescued.expect(t, "in-camera: unlocked the data by the recovery key", "not unlocked")
	rescued.panel(t)
}

// TestRefusedUKI has the firmware refuse what is not ours.
func TestRefusedUKI(t *testing.T) {
	for _, c := range []struct {
		name string
		uki  func(b *box, t *testing.T) string
	}{
		{"Unsigned", func(b *box, _ *testing.T) string { return filepath.Join(b.image, "uki.unsigned.efi") }},
		{"SignedByStranger", (*box).signedByStranger},
		{"OneBitFlipped", (*box).bitFlipped},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := newBox(t)
			b.copyToESP(t, c.uki(b, t), b.uki(t))
			b.boot(t, "refused").expect(t, "Access denied", "in-camera:", "Linux version")
		})
	}
}

// TestFlippedRoot damages one bit of the system partition. On trial a boot reads
// all of it and goes no further. The same box, with the bit flipped back, starts.
func TestFlippedRoot(t *testing.T) {
	b := newBox(t)
	b.onTrial(t)
	whole := b.boot(t, "whole")
	whole.expect(t, "in-camera: on trial: read all ", stopped...)
	whole.Stop()

	b.flip(t, "system_a", b.middleOfRoot(t))
	damaged := b.boot(t, "damaged")
	damaged.expect(t, "is corrupted", "in-camera: starting the system", "on trial: read all")
	damaged.expect(t, "in-camera: stopped: the system partition is damaged", "in-camera: starting the system")
}

// fingerprint is the SHA-256 of all of the disk.
func (b *box) fingerprint(t *testing.T) [sha256.Size]byte {
	t.Helper()
	f, err := os.Open(b.Disk())
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		t.Fatal(err)
	}
	return [sha256.Size]byte(h.Sum(nil))
}
