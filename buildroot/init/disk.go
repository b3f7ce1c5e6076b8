// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// A disk is the one that holds the running image's system partition. Partitions
// of other disks, such as a USB stick's, are not looked at.
type disk struct {
	system, esp, data string // paths of devices
	idle              string // the system partition that does not run; empty if there is none
	super             superblock
}

const (
	findFor  = 20 * time.Second // what a slow disk may take to appear
	findStep = 50 * time.Millisecond
)

// findDisk waits for the disk.
func findDisk(ctx context.Context, i image) (*disk, error) {
	ctx, cancel := context.WithTimeout(ctx, findFor)
	defer cancel()
	for {
		d, err := lookForDisk("/sys/class/block", "/dev", i)
		if err == nil {
			return d, nil
		}
		select {
		case <-ctx.Done():
			return nil, err
		case <-time.After(findStep):
		}
	}
}

// lookForDisk looks once. It takes the roots of sysfs and of the devices.
func lookForDisk(sys, dev string, i image) (*disk, error) {
	entries, err := os.ReadDir(sys)
	if err != nil {
		return nil, err
	}
	var found *disk
	parent, slot := "", ""
	byParent := map[string]map[string]string{}
	refusal := errNotFound
	for _, e := range entries {
		of, label := partition(filepath.Join(sys, e.Name()))
		if label == "" {
			continue
		}
		path := filepath.Join(dev, e.Name())
		if byParent[of] == nil {
			byParent[of] = map[string]string{}
		}
		if _, twice := byParent[of][label]; twice {
			return nil, fmt.Errorf("disk %s has two partitions %q", filepath.Base(of), label)
		}
		byParent[of][label] = path
		if found != nil || label != "system_a" && label != "system_b" {
			continue
		}
		super, err := superblockAt(path, i)
		if err != nil {
			refusal = fmt.Errorf("%s: %w", label, err)
			continue
		}
		found, parent, slot = &disk{system: path, super: super}, of, label
	}
	if found == nil {
		return nil, fmt.Errorf("no system partition for the running image: %w", refusal)
	}
	found.esp, found.data = byParent[parent]["esp"], byParent[parent]["data"]
	found.idle = byParent[parent][map[string]string{"system_a": "system_b", "system_b": "system_a"}[slot]]
	if found.esp == "" || found.data == "" {
		return nil, errors.New("the disk of the system partition lacks esp or data")
	}
	return found, nil
}

func superblockAt(path string, i image) (superblock, error) {
	f, err := os.Open(path)
	if err != nil {
		return superblock{}, err
	}
	defer f.Close()
	return readSuperblock(f, i)
}

// maxUevent bounds what sysfs says of a device, in bytes; a file there is a page.
const maxUevent = 64 << 10

// partition returns the disk that a partition is of, and its label in the GPT.
func partition(path string) (of, label string) {
	uevent, err := readUpTo(filepath.Join(path, "uevent"), maxUevent)
	if err != nil {
		return "", ""
	}
	for line := range strings.Lines(string(uevent)) {
		if name, ok := strings.CutPrefix(strings.TrimSpace(line), "PARTNAME="); ok {
			label = name
		}
	}
	real, err := filepath.EvalSymlinks(path)
	if err != nil {
		return "", ""
	}
	return filepath.Dir(real), label
}
