// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"incamera/cmd/internal/boxlink"
)

// plug puts a disk behind a USB host into the sysfs of dir.
func plug(t *testing.T, dir, disk string, parts ...string) {
	t.Helper()
	device(t, dir, "devices/platform/usb1/1-1/1-1:1.0/host0/target0:0:0/0:0:0:0", disk, parts...)
}

// device puts a disk into the sysfs of dir, below a device.
func device(t *testing.T, dir, parent, disk string, parts ...string) {
	t.Helper()
	sys := filepath.Join(dir, "sys")
	block := filepath.Join(sys, parent, "block", disk)
	for _, p := range append([]string{"."}, parts...) {
		if err := os.MkdirAll(filepath.Join(block, p), 0o700); err != nil {
			t.Fatal(err)
		}
		if p != "." {
			if err := os.WriteFile(filepath.Join(block, p, "partition"), []byte("1\n"), 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := os.MkdirAll(filepath.Join(sys, "block"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(block, filepath.Join(sys, "block", disk)); err != nil {
		t.Fatal(err)
	}
}

// TestPulled: a stick that cannot be read on is not a bundle that ends.
func TestPulled(t *testing.T) {
	folder, err := os.Open(t.TempDir()) // which gives no bytes
	if err != nil {
		t.Fatal(err)
	}
	defer folder.Close()
	_, err = pulled{folder}.Read(make([]byte, 1))
	if refusal, ok := errors.AsType[*boxlink.Refusal](err); !ok || refusal.Reason != boxlink.Absent {
		t.Errorf("%v", err)
	}
	end, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer end.Close()
	if _, err := (pulled{end}).Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
		t.Errorf("at its end: %v", err)
	}
}

// drawer is a set of sticks: what a mounter finds in a folder of devices.
func drawer(t *testing.T, own slots) (*sticks, string) {
	t.Helper()
	dir := t.TempDir()
	s := &sticks{
		sys: filepath.Join(dir, "sys"), dev: filepath.Join(dir, "dev"), folder: filepath.Join(dir, "stick"), own: own,
		log: slog.New(slog.DiscardHandler), turn: make(chan struct{}, 1),
		mount: func(device, folder, kind string, write bool) (func() error, error) {
			has, err := os.ReadFile(device + ".kind")
			if err != nil || string(has) != kind || write {
				return nil, fmt.Errorf("%s is no %s, or not for writing", device, kind)
			}
			return func() error { return os.Remove(folder) }, os.Symlink(device, folder)
		},
	}
	return s, dir
}

// fill makes a file system on a device.
func fill(t *testing.T, dir, device, kind string, names ...string) {
	t.Helper()
	at := filepath.Join(dir, "dev", device)
	if err := os.MkdirAll(at, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(at+".kind", []byte(kind), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		if err := os.WriteFile(filepath.Join(at, name), []byte(device), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

func TestDevices(t *testing.T) {
	s, dir := drawer(t, slots{ESP: "/dev/sdz1", Idle: "/dev/sdz3", Data: "/dev/sdz4"})
	plug(t, dir, "sda", "sda1", "sda2")
	plug(t, dir, "sdb")
	plug(t, dir, "sdz", "sdz1", "sdz2", "sdz3", "sdz4") // the box starts from it
	device(t, dir, "devices/pci0000:00/0000:00:01.0/virtio0", "vda", "vda1")
	device(t, dir, "devices/platform/30b60000.mmc/mmc_host/mmc2/mmc2:0001", "mmcblk2", "mmcblk2p1")
	if err := os.Symlink(filepath.Join(dir, "gone"), filepath.Join(dir, "sys/block/sdc")); err != nil {
		t.Fatal(err)
	}
	got, err := s.devices()
	if want := []string{"sda1", "sda2", "sdb"}; err != nil || !slices.Equal(got, want) {
		t.Errorf("found %v, %v; want %v", got, err, want)
	}
	for i := range 2 * maxSticks {
		plug(t, dir, fmt.Sprintf("sdd%02d", i))
	}
	if got, err := s.devices(); err != nil || len(got) != maxSticks {
		t.Errorf("of many: %d, %v", len(got), err)
	}
}

func TestStick(t *testing.T) {
	s, dir := drawer(t, slots{})
	plug(t, dir, "sda", "sda1", "sda2")
	plug(t, dir, "sdb")
	fill(t, dir, "sda1", "ext4", "in-camera-9.9.9.bundle") // of which a room reads nothing
	fill(t, dir, "sda2", "vfat", "in-camera-1.5.0.bundle", "in-camera-1.5.0.bundle.part", "in-camera-.bundle", "holiday.jpg",
		"in-camera-1.5.0-rc.1.bundle", "in-camera-1.5.bundle", "IN-CAMERA-1.7.0.BUNDLE", "in-camera-1.8.0\n.bundle")
	fill(t, dir, "sdb", "exfat", "in-camera-1.5.0.bundle", "in-camera-1.6.0.bundle")
	for path, make := range map[string]func(string) error{
		"sda2/in-camera-2.0.0.bundle": func(p string) error { return os.Mkdir(p, 0o700) },
		"sda2/in-camera-2.0.1.bundle": func(p string) error { return os.Symlink("/etc/passwd", p) },
		"sda2/in-camera-2.0.2.bundle": func(p string) error { return os.WriteFile(p, nil, 0o600) },
		"sda2/in-camera-2.0.3.bundle": func(p string) error {
			return errors.Join(os.WriteFile(p, []byte("a"), 0o600), os.Truncate(p, maxBundle+1))
		},
	} {
		if err := make(filepath.Join(dir, "dev", path)); err != nil {
			t.Fatal(err)
		}
	}
	list, err := s.list(t.Context())
	want := []boxlink.Bundle{{Name: "in-camera-1.5.0-rc.1.bundle", Size: 4}, {Name: "in-camera-1.5.0.bundle", Size: 4}, {Name: "in-camera-1.6.0.bundle", Size: 3}}
	if err != nil || !slices.Equal(list, want) {
		t.Errorf("listed %v, %v; want %v", list, err, want)
	}
	// Of a name that is there twice the one that was listed is read.
	for name, from := range map[string]string{"in-camera-1.5.0.bundle": "sda2", "in-camera-1.6.0.bundle": "sdb"} {
		err := s.open(t.Context(), name, func(r io.Reader) error {
			b, err := io.ReadAll(r)
			if string(b) != from {
				t.Errorf("%s is from %s; want %s", name, b, from)
			}
			// Meanwhile there is no other use of the place.
			_, busy := s.list(t.Context())
			if refusal, ok := errors.AsType[*boxlink.Refusal](busy); !ok || refusal.Reason != boxlink.Busy {
				t.Errorf("listed while one is read: %v", busy)
			}
			return err
		})
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, name := range []string{"", "in-camera-3.0.0.bundle", "in-camera-9.9.9.bundle", "../sdb/in-camera-1.6.0.bundle", "in-camera-2.0.0.bundle", "in-camera-2.0.1.bundle", "holiday.jpg"} {
		err := s.open(t.Context(), name, func(io.Reader) error { t.Errorf("%q was opened", name); return nil })
		if refusal, ok := errors.AsType[*boxlink.Refusal](err); !ok || refusal.Reason != boxlink.Absent {
			t.Errorf("%q: %v", name, err)
		}
	}
	why := errors.New("not taken")
	if err := s.open(t.Context(), "in-camera-1.6.0.bundle", func(io.Reader) error { return why }); !errors.Is(err, why) {
		t.Errorf("what became of it: %v", err)
	}
	if _, err := os.Lstat(s.folder); err == nil {
		t.Error("a stick is still mounted")
	}
}
