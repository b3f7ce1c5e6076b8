// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"

	"golang.org/x/sys/unix"

	"incamera/secureboot/provision"
	"incamera/secureboot/seal"
)

// Where init mounts the ESP, and what of it is ours.
const (
	espDir   = "/esp"
	ukiDir   = espDir + "/EFI/Linux"
	storeDir = espDir + "/EFI/in-camera"
)

// openData mounts the room's data as /var of the new root. It sets a new room up
// first. Where it cannot, it stays in the recovery screen until somebody types
// the recovery key.
func openData(ctx context.Context, c *chip, d *disk, r release, dog *watchdog) error {
	vault := &luks{device: d.data, header: "/run/in-camera/header", name: "data", root: newRoot, dog: dog}
	talk := newPrompt(os.Stdin, os.Stdout, dog)
	key, err := unlock(ctx, c, vault, r, talk)
	if err == nil {
		err = vault.open(ctx, key)
		if err == nil {
			say("unlocked the data by the TPM")
		}
	}
	if err != nil {
		if key, err = rescue(ctx, vault, storeDir, r, talk, err); err != nil {
			return err
		}
	}
	clear(key)
	if c != nil {
		word, err := vault.identity()
		if err != nil {
			return err
		}
		if err := c.extend(pcrIdentity, word); err != nil {
			return err
		}
	}
	if err := leaveFiles(runDir, ukiDir, storeDir, r); err != nil {
		return err
	}
	if err := unix.Mount(vault.path(), newRoot+"/var", "ext4", unix.MS_NOSUID|unix.MS_NODEV, ""); err != nil {
		return fmt.Errorf("mount the data: %w", err)
	}
	if err := beginReset(newRoot + "/var"); err != nil {
		return err
	}
	if err := unix.Unmount(espDir, 0); err != nil {
		return fmt.Errorf("unmount the ESP: %w", err)
	}
	return leaveBoots(runDir, newRoot+"/var")
}

// mountESP mounts the ESP read-only: FAT has no journal.
func mountESP(device string) error {
	if err := unix.Mount(device, espDir, "vfat", plain|unix.MS_RDONLY, "umask=0077"); err != nil {
		return fmt.Errorf("mount the ESP: %w", err)
	}
	return nil
}

// writeESP mounts the ESP for writing while f runs.
func writeESP(f func() error) (err error) {
	if err := unix.Mount("", espDir, "", unix.MS_REMOUNT|plain|unix.MS_SYNCHRONOUS, ""); err != nil {
		return fmt.Errorf("write to the ESP: %w", err)
	}
	defer func() {
		if again := unix.Mount("", espDir, "", unix.MS_REMOUNT|plain|unix.MS_RDONLY, ""); err == nil && again != nil {
			err = fmt.Errorf("close the ESP: %w", again)
		}
	}()
	return f()
}

var (
	errNoTPM = fmt.Errorf("%w: there is none", seal.ErrSilent)
	errData  = fmt.Errorf("%w: the data partition is in use, and nothing here belongs to it", seal.ErrForeign)
	errEmpty = errors.New("the data partition is empty, though this room was set up")
)

// unlock returns the state key, from the TPM. A room that was not set up yet, or
// not to the end, is set up first.
func unlock(ctx context.Context, c *chip, vault *luks, r release, talk prompt) (seal.Secret, error) {
	if c == nil {
		return nil, errNoTPM
	}
	policies, err := r.policies(ukiDir)
	if err != nil {
		return nil, err
	}
	isNew, err := vault.untouched()
	if err != nil {
		return nil, err
	}
	room, err := openRoom(c, r)
	mustSetUp, err := isToBeSetUp(err, room.Complete, isNew)
	if err != nil {
		return nil, err
	}
	if mustSetUp {
		if room, err = setUp(ctx, c, vault, r, policies, talk); err != nil {
			return nil, err
		}
	}
	if err := provision.LockPlatform(ctx, c, room.SRK); err != nil {
		return nil, err
	}
	store, err := seal.OpenStore(storeDir)
	if err != nil {
		return nil, err
	}
	defer func() { _ = store.Close() }() // what it wrote is synced
	key, _, err := store.Unseal(ctx, c, room.SRK, provision.State, policies)
	return key, err
}

// isToBeSetUp decides whether the room is set up now, by what [provision.Open] says
// of it, whether it was set up to the end, and whether the data partition is one
// that nobody ever wrote to. What was written to is formatted only where a record
// says that setting up has begun, and not ended.
func isToBeSetUp(opened error, complete, isNew bool) (bool, error) {
	switch {
	case errors.Is(opened, fs.ErrNotExist) && !isNew:
		return false, errData
	case errors.Is(opened, fs.ErrNotExist):
		return true, nil
	case opened != nil:
		return false, fmt.Errorf("%w: %w", seal.ErrForeign, opened)
	case !complete:
		return true, nil
	case isNew:
		return false, errEmpty
	}
	return false, nil
}

// openRoom finds what an earlier boot set up.
func openRoom(c *chip, r release) (provision.Room, error) {
	store, err := seal.OpenStore(storeDir)
	if err != nil {
		return provision.Room{}, err
	}
	defer func() { _ = store.Close() }() // what it wrote is synced
	return provision.Open(c, store, r.root.Generation)
}

// setUp provisions the room.
func setUp(ctx context.Context, c *chip, vault *luks, r release, p *seal.Policies, talk prompt) (room provision.Room, err error) {
	say("a new room: it is being set up")
	err = writeESP(func() error {
		room, err = provisionOn(ctx, c, provision.Plan{
			Root: r.root, Policies: p, Version: r.rollback, PolicyKey: r.keygen,
			Disk: vault, Keeper: talk, Log: slog.New(slog.NewTextHandler(os.Stdout, nil)),
		})
		return err
	})
	return room, err
}

func provisionOn(ctx context.Context, c *chip, plan provision.Plan) (provision.Room, error) {
	if err := os.MkdirAll(storeDir, 0o700); err != nil {
		return provision.Room{}, err
	}
	store, err := seal.OpenStore(storeDir)
	if err != nil {
		return provision.Room{}, err
	}
	defer func() { _ = store.Close() }() // what it wrote is synced
	for {
		room, err := provision.Run(ctx, c, store, plan)
		if !errors.Is(err, provision.ErrNotCopied) {
			return room, err
		}
		say("that is not the key; here is a new one")
	}
}
