// SPDX-License-Identifier: Apache-2.0

// Init is process 1 of the initial file system, and the only program in it. It
// finds the system partition that belongs to the running image, has the kernel
// verify what is read from it, opens the room's data by the TPM, and hands over
// to systemd.
//
// It formats a partition that was never used, once, while the room is set up,
// and no other. Where the data does not open it says why and waits for the
// recovery key.
//
// From the verified system partition it is called again as "init phase WORD",
// which notes how far the start has come.
package main

import (
	"context"
	"fmt"
	"os"
)

func main() {
	if os.Getpid() != 1 {
		if err := runPhase(context.Background(), os.Args[1:]); err != nil {
			fmt.Fprintln(os.Stderr, "init:", err)
			os.Exit(1)
		}
		return
	}
	// It returns with an error only. The kernel panics when process 1 ends, and
	// restarts the box after the time that the command line says.
	err := boot(context.Background())
	say("stopped: %v", err)
	os.Exit(1)
}

// newRoot is where the system partition is mounted.
const newRoot = "/newroot"

// boot is the whole start, in order.
func boot(ctx context.Context) error {
	if err := mountKernel(); err != nil {
		return err
	}
	dog := openWatchdog(watchdogDevice)
	go dog.run(ctx)
	text, err := readUpTo("/proc/cmdline", maxCommandLine)
	if err != nil {
		return err
	}
	image, err := parseCommandLine(string(text))
	if err != nil {
		return err
	}
	release, err := readRelease("/etc/in-camera")
	if err != nil {
		return err
	}
	say("release %s, root hash %x, Secure Boot %s", release.version, image.rootHash, secureBoot(secureBootVariable))

	chip, err := openChip(ctx)
	if err != nil {
		// The system starts without: nothing secret is reached, and the recovery
		// screen says why.
		say("no TPM: %v", err)
	} else if err := chip.enter("enter-initrd"); err != nil {
		return err
	}
	disk, err := findDisk(ctx, image)
	if err != nil {
		return err
	}
	if err := mountESP(disk.esp); err != nil {
		return err
	}
	dog.step()
	if err := resetIfAsked(ctx, chip, disk, release, dog); err != nil {
		return err
	}
	dog.step()
	trial := onTrial()
	if err := leaveSlot(runDir, disk, trial); err != nil {
		return err
	}
	if err := mountSystem(disk, image, trial); err != nil {
		return err
	}
	dog.step()
	if err := openData(ctx, chip, disk, release, dog); err != nil {
		return err
	}
	if chip != nil {
		if err := chip.enter("leave-initrd"); err != nil {
			return err
		}
		if err := chip.Close(); err != nil {
			return err
		}
	}
	dog.step()
	return switchRoot()
}
