// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// A machine is sysfs and the devices of one that has some disks.
type machine struct {
	t        *testing.T
	sys, dev string
}

func newMachine(t *testing.T) machine {
	t.Helper()
	m := machine{t, t.TempDir(), t.TempDir()}
	if err := os.Mkdir(filepath.Join(m.sys, "class"), 0o755); err != nil {
		t.Fatal(err)
	}
	return m
}

func (m machine) look(i image) (*disk, error) {
	return lookForDisk(filepath.Join(m.sys, "class"), m.dev, i)
}

// add makes a block device with what its uevent says, as the kernel lays it out:
// a link in class to the folder of the device, which for a partition lies in the
// disk's.
func (m machine) add(path, uevent string, content []byte) {
	m.t.Helper()
	name := filepath.Base(path)
	dir := filepath.Join(m.sys, "devices", path)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		m.t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "uevent"), []byte(uevent), 0o644); err != nil {
		m.t.Fatal(err)
	}
	if err := os.Symlink(dir, filepath.Join(m.sys, "class", name)); err != nil {
		m.t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(m.dev, name), content, 0o600); err != nil {
		m.t.Fatal(err)
	}
}

func (m machine) partition(path, label string, content []byte) {
	m.t.Helper()
	m.add(path, "MAJOR=254\nMINOR=1\nDEVNAME="+filepath.Base(path)+"\nDEVTYPE=partition\nPARTN=1\nPARTNAME="+label+"\n", content)
}

// someImage is an image of three blocks, and system the partition that it is on.
func someImage() (image, []byte) {
	i := image{hashOffset: 3 * blockSize}
	for n := range i.rootHash {
		i.rootHash[n] = byte(n + 1)
	}
	b := make([]byte, 5*blockSize)
	copy(b[i.hashOffset:], superblockOf(i, 3))
	return i, b
}

// superblockOf is the superblock that the build writes.
func superblockOf(i image, blocks uint64) []byte {
	b := make([]byte, superblockSize)
	copy(b, "verity")
	le := binary.LittleEndian
	le.PutUint32(b[8:], 1)
	le.PutUint32(b[12:], 1)
	copy(b[16:32], i.rootHash[:16])
	copy(b[32:], "sha256")
	le.PutUint32(b[64:], blockSize)
	le.PutUint32(b[68:], blockSize)
	le.PutUint64(b[72:], blocks)
	le.PutUint16(b[80:], 4)
	copy(b[88:], "salt")
	return b
}

func TestLookForDisk(t *testing.T) {
	i, system := someImage()
	other := make([]byte, len(system))
	for name, slots := range map[string]struct{ a, b []byte }{"system_a runs": {system, other}, "system_b runs": {other, system}, "both are the same": {system, system}} {
		t.Run(name, func(t *testing.T) {
			m := newMachine(t)
			m.add("pci0/vda", "DEVTYPE=disk\n", nil)
			m.partition("pci0/vda/vda1", "esp", nil)
			m.partition("pci0/vda/vda2", "system_a", slots.a)
			m.partition("pci0/vda/vda3", "system_b", slots.b)
			m.partition("pci0/vda/vda4", "data", nil)
			// Another disk with the same labels and nothing that belongs to the image.
			m.partition("usb1/sda/sda1", "esp", nil)
			m.partition("usb1/sda/sda2", "system_a", other)
			m.partition("usb1/sda/sda3", "data", nil)
			d, err := m.look(i)
			if err != nil {
				t.Fatal(err)
			}
			runs, idle := "vda2", "vda3"
			if &slots.a[0] == &other[0] {
				runs, idle = idle, runs
			}
			for got, want := range map[string]string{d.system: runs, d.idle: idle, d.esp: "vda1", d.data: "vda4"} {
				if got != filepath.Join(m.dev, want) {
					t.Errorf("%s; want %s", got, want)
				}
			}
			if d.super.dataBlocks != 3 || string(d.super.salt) != "salt" {
				t.Errorf("superblock %+v", d.super)
			}
		})
	}
}

// The idle partition may be missing; what the box cannot start without may not.
func TestDisksThatWillNotDo(t *testing.T) {
	i, system := someImage()
	whole := map[string]string{"vda1": "esp", "vda2": "system_a", "vda3": "system_b", "vda4": "data"}
	without := func(name string, more ...string) map[string]string {
		m := map[string]string{}
		for k, v := range whole {
			if k != name {
				m[k] = v
			}
		}
		for n := 0; n < len(more); n += 2 {
			m[more[n]] = more[n+1]
		}
		return m
	}
	for name, c := range map[string]struct {
		partitions map[string]string
		system     []byte
		want       string // in the error; empty if the disk will do
	}{
		"whole":                     {whole, system, ""},
		"no idle partition":         {without("vda3"), system, ""},
		"no ESP":                    {without("vda1"), system, "lacks esp or data"},
		"no data":                   {without("vda4"), system, "lacks esp or data"},
		"two of one label":          {without("vda3", "vda5", "system_a"), system, "two partitions"},
		"two for the data":          {without("", "vda5", "data"), system, "two partitions"},
		"no partition of ours":      {map[string]string{"vda1": "EFI", "vda2": "root"}, system, "not found"},
		"nothing":                   {nil, system, "not found"},
		"another image":             {whole, make([]byte, len(system)), errSuperblock.Error()},
		"shorter than the image":    {without("vda3"), system[:i.hashOffset], "EOF"},
		"label with a prefix":       {without("vda2", "vda2", "system_a2"), system, errSuperblock.Error()},
		"label with another's case": {without("vda2", "vda2", "SYSTEM_A"), system, errSuperblock.Error()},
	} {
		t.Run(name, func(t *testing.T) {
			m := newMachine(t)
			for device, label := range c.partitions {
				content := c.system
				if label != "system_a" {
					content = make([]byte, len(system))
				}
				m.partition("pci0/vda/"+device, label, content)
			}
			d, err := m.look(i)
			if c.want != "" {
				if err == nil || d != nil || !strings.Contains(err.Error(), c.want) {
					t.Errorf("lookForDisk = %v, %v; want %q", d, err, c.want)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if _, ok := c.partitions["vda3"]; (d.idle == "") == ok {
				t.Errorf("idle %q of %v", d.idle, c.partitions)
			}
		})
	}
	if _, err := (machine{t, t.TempDir(), t.TempDir()}).look(i); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("without sysfs: %v", err)
	}
}

// Labels and folders are what sysfs says, whatever it says.
func TestPartition(t *testing.T) {
	for name, c := range map[string]struct{ uevent, label string }{
		"a partition":             {"DEVNAME=vda1\nPARTNAME=esp\n", "esp"},
		"no line's end":           {"PARTNAME=esp", "esp"},
		"a disk":                  {"DEVNAME=vda\nDEVTYPE=disk\n", ""},
		"empty":                   {"", ""},
		"a word that ends alike":  {"XPARTNAME=esp\n", ""},
		"longer than sysfs gives": {"PARTNAME=esp\n" + strings.Repeat("x", maxUevent), ""},
	} {
		t.Run(name, func(t *testing.T) {
			m := newMachine(t)
			m.add("bus/disk/part", c.uevent, nil)
			of, label := partition(filepath.Join(m.sys, "class", "part"))
			if label != c.label {
				t.Errorf("label %q; want %q", label, c.label)
			}
			if label != "" && of != filepath.Join(m.sys, "devices", "bus", "disk") {
				t.Errorf("of %q", of)
			}
		})
	}
	if of, label := partition(filepath.Join(t.TempDir(), "gone")); of != "" || label != "" {
		t.Errorf("what is gone: %q, %q", of, label)
	}
}

func TestLeaveSlot(t *testing.T) {
	d := &disk{system: "/dev/vda2", idle: "/dev/vda3", esp: "/dev/vda1", data: "/dev/vda4"}
	for _, trial := range []bool{false, true} {
		dir := t.TempDir()
		if err := leaveSlot(dir, d, trial); err != nil {
			t.Fatal(err)
		}
		b, err := os.ReadFile(filepath.Join(dir, "slot"))
		if err != nil {
			t.Fatal(err)
		}
		got := map[string]string{}
		if err := json.Unmarshal(b, &got); err != nil || len(got) != 3 ||
			got["esp"] != "/dev/vda1" || got["idle"] != "/dev/vda3" || got["data"] != "/dev/vda4" {
			t.Errorf("slot %s, %v", b, err)
		}
		if _, err := os.Stat(filepath.Join(dir, "trial")); (err == nil) != trial {
			t.Errorf("trial: %v; want it to exist: %v", err, trial)
		}
	}
}
