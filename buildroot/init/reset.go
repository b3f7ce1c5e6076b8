// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/google/go-tpm/tpm2/transport"
	"golang.org/x/sys/unix"

	"incamera/secureboot/provision"
	"incamera/secureboot/seal"
)

// A factory reset is asked for by the button, held at power-on, or by the system,
// which leaves a file on the data. Once begun it ends, whatever the power does:
//
//	asked -> marker on the ESP -> TPM cleared -> data zeroed -> store wiped -> marker gone
//
// Each step may be done again, and the next start does them all while the marker
// is there. Who can write to the ESP can begin one, and could as well take the disk
// away: it destroys, and shows nobody anything.
const (
	resetMarker  = "reset"           // in the store's folder; no file of a store is named so
	resetRequest = boxDir + "/reset" // on the data
)

var errReset = errors.New("factory reset")

// resetIfAsked destroys the room if the button is held or a reset has begun, and
// then restarts the box. The ESP is mounted.
func resetIfAsked(ctx context.Context, c *chip, d *disk, r release, dog *watchdog) error {
	e := &eraser{store: storeDir, vault: &luks{device: d.data}, generation: r.root.Generation}
	switch {
	case e.begun():
		say("RESET: going on")
	case !held(ctx, func() bool { return pressed("/dev/input", keyRestart) }):
		return nil
	default:
		if fresh, err := e.nothingToErase(); err != nil || fresh {
			say("nothing to erase: the room was never set up")
			return err
		}
		say("RESET: begun by the button")
	}
	if c != nil {
		e.chip = c
	}
	// Without them a TPM that firmware has locked stays as it is, which is told.
	e.policies, _ = r.policies(ukiDir)
	var notCleared error
	err := writeESP(func() (err error) {
		notCleared, err = e.erase(ctx)
		return err
	})
	if err != nil {
		return fmt.Errorf("%w: %w", errReset, err)
	}
	if notCleared != nil {
		if _, err := newPrompt(os.Stdin, os.Stdout, dog).ask(fmt.Sprintf("RESET: the data is destroyed, but the TPM still belongs to the room\n"+
			"  what happened: %v\n  what helps: clear the TPM in the menu of the firmware\n  press Enter to start again", notCleared)); err != nil {
			return fmt.Errorf("%w: %w", errReset, err)
		}
	} else {
		say("factory state")
	}
	return restart(espDir)
}

// beginReset begins a reset that the system asked for, on the data at root. It
// returns if there is none, or if it cannot begin: the room starts then, and says
// so, rather than never again.
func beginReset(root string) error {
	if !exists(filepath.Join(root, resetRequest)) {
		return nil
	}
	say("RESET: begun by the system")
	if err := writeESP((&eraser{store: storeDir}).begin); err != nil {
		say("RESET: not begun: %v", err)
		return nil
	}
	return restart(root, espDir)
}

// restart unmounts and resets the box. It returns if that fails.
func restart(mounted ...string) error {
	for _, path := range mounted {
		if err := unix.Unmount(path, 0); err != nil {
			return fmt.Errorf("unmount %s: %w", path, err)
		}
	}
	unix.Sync()
	return fmt.Errorf("restart: %w", unix.Reboot(unix.LINUX_REBOOT_CMD_RESTART))
}

// An eraser carries out a factory reset.
type eraser struct {
	chip       transport.TPM // nil if there is none
	store      string        // folder
	vault      *luks
	generation uint8
	policies   *seal.Policies // nil if they are damaged
}

func (e *eraser) marker() string { return filepath.Join(e.store, resetMarker) }
func (e *eraser) begun() bool    { return exists(e.marker()) }

// begin writes the marker.
func (e *eraser) begin() error {
	if err := os.MkdirAll(e.store, 0o700); err != nil {
		return err
	}
	return replace(e.marker(), nil)
}

// erase does all the steps. notCleared says why the TPM is not cleared; then the
// marker stays, and what of the store the next try needs.
func (e *eraser) erase(ctx context.Context) (notCleared, err error) {
	if err := e.begin(); err != nil {
		return nil, err
	}
	store, err := seal.OpenStore(e.store)
	if err != nil {
		return nil, err
	}
	defer func() { _ = store.Close() }() // what it wrote is synced
	notCleared = e.clear(ctx, store)
	if err := e.vault.erase(); err != nil {
		return nil, err
	}
	if notCleared != nil {
		return notCleared, store.Wipe(provision.Needed()...)
	}
	if err := store.Wipe(); err != nil {
		return nil, err
	}
	if err := os.Remove(e.marker()); err != nil {
		return nil, err
	}
	return nil, syncDir(e.store)
}

func (e *eraser) clear(ctx context.Context, store *seal.Store) error {
	if e.chip == nil {
		return errNoTPM
	}
	return provision.Erase(ctx, e.chip, store, e.generation, e.policies)
}

// nothingToErase reports whether the room is as a reset would leave it.
func (e *eraser) nothingToErase() (bool, error) {
	entries, err := os.ReadDir(e.store)
	if err != nil && !errors.Is(err, fs.ErrNotExist) || len(entries) > 0 {
		return false, err
	}
	return e.vault.untouched()
}

// exists reports whether there is a file. One that cannot be looked at is not
// there: nothing is destroyed because a disk does not answer.
func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}
