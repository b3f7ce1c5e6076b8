// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"crypto/rand"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"incamera/secureboot/seal"
)

// newPartition is a file for a partition that nobody ever wrote to, and a folder
// for the scratch header. What needs the kernel's device mapper is for the tests
// of the booted image: cryptsetup does all else on files.
func newPartition(t testing.TB) *luks {
	t.Helper()
	dir := t.TempDir()
	l := &luks{device: filepath.Join(dir, "data"), header: filepath.Join(dir, "header"), name: "in-camera-test"}
	f, err := os.Create(l.device)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := f.Truncate(luksOffset + 4<<20); err != nil {
		t.Fatal(err)
	}
	return l
}

func randomKey() seal.Secret {
	key := make(seal.Secret, 32)
	_, _ = rand.Read(key) // never fails: crypto/rand
	return key
}

// header makes one that key opens.
func (l *luks) headerFor(t testing.TB, key seal.Secret) []byte {
	t.Helper()
	if err := l.format(t.Context(), key); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(l.header)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func (l *luks) content(t testing.TB) []byte {
	t.Helper()
	b, err := os.ReadFile(l.device)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// adopted is the partition as Adopt leaves it, but for what is in the file system.
func (l *luks) adopted(t testing.TB, key seal.Secret) {
	t.Helper()
	f, err := os.OpenFile(l.device, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := writeHeader(f, l.headerFor(t, key)); err != nil {
		t.Fatal(err)
	}
}

// cryptsetup opens what we write with the key, and with no other; and it is what
// was asked for.
func TestFormat(t *testing.T) {
	l, key := newPartition(t), randomKey()
	fresh, err := l.untouched()
	if err != nil || !fresh {
		t.Fatalf("untouched = %v, %v", fresh, err)
	}
	header := l.headerFor(t, key)
	if fresh, err := l.untouched(); err != nil || !fresh {
		t.Errorf("format wrote to the partition: %v", err)
	}
	if len(header) != luksOffset {
		t.Errorf("header of %d bytes", len(header))
	}
	l.adopted(t, key)
	before := l.content(t)
	if err := l.Adopt(t.Context(), key); err != nil {
		t.Errorf("Adopt again: %v", err)
	}
	if err := l.Adopt(t.Context(), randomKey()); !errors.Is(err, errNotOpened) {
		t.Errorf("Adopt with another key: %v; want errNotOpened", err)
	}
	if fresh, err := l.untouched(); err != nil || fresh {
		t.Errorf("untouched = %v, %v", fresh, err)
	}
	if !bytes.Equal(before, l.content(t)) {
		t.Error("the partition has changed")
	}
	out, err := exec.CommandContext(t.Context(), "cryptsetup", "luksDump", l.device).CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for _, want := range []string{"Version:       \t2\n", "offset: 16777216 [bytes]", "cipher: aes-xts-plain64", "PBKDF:      pbkdf2", "Iterations: 1000"} {
		if !bytes.Contains(out, []byte(want)) {
			t.Errorf("luksDump does not say %q:\n%s", want, out)
		}
	}
}

// A partition in use is never formatted, whatever is on it.
func TestAdoptLeavesAlone(t *testing.T) {
	for name, use := range map[string]func(t *testing.T, l *luks){
		"another key's": func(t *testing.T, l *luks) { l.adopted(t, randomKey()) },
		"a file system": func(t *testing.T, l *luks) {
			if out, err := exec.CommandContext(t.Context(), "mkfs.ext4", "-q", l.device).CombinedOutput(); err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
		},
		"one byte": func(t *testing.T, l *luks) {
			if err := os.WriteFile(l.device, append([]byte{1}, make([]byte, luksOffset)...), 0o600); err != nil {
				t.Fatal(err)
			}
		},
		"one byte at the end of the first block": func(t *testing.T, l *luks) {
			b := make([]byte, luksOffset)
			b[luksFirst-1] = 1
			if err := os.WriteFile(l.device, b, 0o600); err != nil {
				t.Fatal(err)
			}
		},
		"too small": func(t *testing.T, l *luks) {
			if err := os.Truncate(l.device, luksOffset/2); err != nil {
				t.Fatal(err)
			}
		},
		"shorter than a block": func(t *testing.T, l *luks) {
			if err := os.Truncate(l.device, 100); err != nil {
				t.Fatal(err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			l := newPartition(t)
			use(t, l)
			_ = os.Remove(l.header) // of another key
			before := l.content(t)
			if err := l.Adopt(t.Context(), randomKey()); err == nil {
				t.Error("adopted")
			}
			if !bytes.Equal(before, l.content(t)) {
				t.Error("the partition has changed")
			}
			if exists(l.header) {
				t.Error("a header is left in memory")
			}
		})
	}
}

// A disk that is cut from its power at one act: of what was not synced, a part
// that begins somewhere and ends somewhere is on the plates, in sectors.
type cutDisk struct {
	plates  []byte // synced
	pending []write
	left    int // acts until the power fails
}

type write struct {
	at int64
	b  []byte
}

var errPower = errors.New("power is out")

func (d *cutDisk) act() error {
	if d.left == 0 {
		return errPower
	}
	d.left--
	return nil
}

func (d *cutDisk) WriteAt(b []byte, at int64) (int, error) {
	d.pending = append(d.pending, write{at, bytes.Clone(b)}) // it may be on its way
	return len(b), d.act()
}

func (d *cutDisk) Sync() error {
	if err := d.act(); err != nil {
		return err
	}
	for _, w := range d.pending {
		copy(d.plates[w.at:], w.b)
	}
	d.pending = nil
	return nil
}

const sector = 512

// outcomes are what may be on the plates after the cut.
func (d *cutDisk) outcomes() map[string][]byte {
	all := map[string][]byte{"nothing of it": d.plates}
	for name, part := range map[string]func(n int) (from, to int){
		"first sector":          func(int) (int, int) { return 0, sector },
		"all but the first":     func(n int) (int, int) { return sector, n },
		"first half":            func(n int) (int, int) { return 0, n / 2 / sector * sector },
		"second half":           func(n int) (int, int) { return n / 2 / sector * sector, n },
		"all but the last":      func(n int) (int, int) { return 0, n - sector },
		"sectors in the middle": func(n int) (int, int) { return n / 4 / sector * sector, n / 2 / sector * sector },
		"all of it":             func(n int) (int, int) { return 0, n },
	} {
		if len(d.pending) == 0 {
			continue
		}
		b := bytes.Clone(d.plates)
		for _, w := range d.pending {
			from, to := part(len(w.b))
			copy(b[w.at+int64(from):], w.b[from:to])
		}
		all[name] = b
	}
	return all
}

// The power fails at each act of writing a header. The next start either finds a
// new partition and formats it, or one that the key opens. It never finds one that
// it can neither format nor open.
func TestHeaderPowerCuts(t *testing.T) {
	l, key := newPartition(t), randomKey()
	header := l.headerFor(t, key)
	opened, anew, states := 0, 0, 0
	for cut := 0; ; cut++ {
		d := &cutDisk{plates: make([]byte, luksOffset+blockSize), left: cut}
		err := writeHeader(d, header)
		if err == nil {
			if cut != 4 || !bytes.Equal(d.plates[:luksOffset], header) {
				t.Errorf("written after %d acts; want both parts, each synced", cut)
			}
			break
		}
		if !errors.Is(err, errPower) {
			t.Fatal(err)
		}
		for name, b := range d.outcomes() {
			states++
			if err := os.WriteFile(l.device, append(b, make([]byte, 4<<20)...), 0o600); err != nil {
				t.Fatal(err)
			}
			isNew, err := l.zero(luksFirst)
			if err != nil {
				t.Fatal(err)
			}
			if !isNew {
				opened++
				if err := l.Adopt(t.Context(), key); err != nil {
					t.Errorf("cut at act %d, %s: neither new nor ours: %v", cut, name, err)
				}
				continue
			}
			anew++
			l.adopted(t, key) // as Adopt does what is new
			if err := l.Adopt(t.Context(), key); err != nil {
				t.Errorf("cut at act %d, %s: formatted anew: %v", cut, name, err)
			}
		}
	}
	t.Logf("%d states: %d opened, %d formatted anew", states, opened, anew)
	if opened < 5 || anew < 10 {
		t.Errorf("%d states opened, %d formatted anew; want cuts in both parts", opened, anew)
	}
}

func TestZero(t *testing.T) {
	l := newPartition(t)
	for at, want := range map[int64]bool{0: false, luksFirst: false, luksNew - 1: false, luksNew: true, luksOffset: true} {
		if err := os.WriteFile(l.device, make([]byte, luksOffset+1), 0o600); err != nil {
			t.Fatal(err)
		}
		f, err := os.OpenFile(l.device, os.O_WRONLY, 0)
		if err != nil {
			t.Fatal(err)
		}
		_, err = f.WriteAt([]byte{1}, at)
		if err := errors.Join(err, f.Close()); err != nil {
			t.Fatal(err)
		}
		if fresh, err := l.untouched(); err != nil || fresh != want {
			t.Errorf("a byte at %d: untouched = %v, %v; want %v", at, fresh, err, want)
		}
	}
	if err := os.Truncate(l.device, luksNew-1); err != nil {
		t.Fatal(err)
	}
	if fresh, err := l.untouched(); !errors.Is(err, io.ErrUnexpectedEOF) || fresh {
		t.Errorf("of a short partition: %v, %v", fresh, err)
	}
}

// What is erased is new, whatever was there, and no key opens it.
func TestEraseData(t *testing.T) {
	l, key := newPartition(t), randomKey()
	l.adopted(t, key)
	for range 2 {
		if err := l.erase(); err != nil {
			t.Fatal(err)
		}
		if b := l.content(t); bytes.Count(b[:luksOffset], []byte{0}) != luksOffset || len(b) != luksOffset+4<<20 {
			t.Errorf("something is left in %d bytes", len(b))
		}
	}
	if err := os.WriteFile(l.device, []byte("short"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := l.erase(); err != nil || string(l.content(t)) != "\x00\x00\x00\x00\x00" {
		t.Errorf("of a short partition: %q, %v", l.content(t), err)
	}
	if err := (&luks{device: l.device + ".gone"}).erase(); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("of none: %v", err)
	}
}
