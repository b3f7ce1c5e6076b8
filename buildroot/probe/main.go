// SPDX-License-Identifier: Apache-2.0

// Probe is a process 1 that does next to nothing: with it a build learns what the
// firmware of the emulated board measures before our first byte runs, and how
// long the kernel alone takes to start.
//
// It says that it is ready, writes the firmware's event log to the console, and
// switches the box off:
//
//	probe: ready after SECONDS s
//	probe: log SIZE SHA256 LINES
//	probe: | base64 of 48 bytes, LINES times
//	probe: end
package main

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"io"
	"os"
	"slices"
	"time"

	"golang.org/x/sys/unix"
)

func main() {
	if os.Getpid() != 1 {
		fmt.Fprintln(os.Stderr, "probe: only as process 1 of a box that was started for it")
		os.Exit(2)
	}
	if err := tell(context.Background(), os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "probe: stopped:", err)
	}
	fmt.Fprintln(os.Stderr, "probe: still on:", unix.Reboot(unix.LINUX_REBOOT_CMD_POWER_OFF)) // it returns with an error only
}

// The kernel's file of the log (Documentation/security/tpm/tpm_event_log.rst).
const log = "/sys/kernel/security/tpm0/binary_bios_measurements"

const (
	maxLog   = 1 << 20 // bytes; a log has some ten KiB
	lineSize = 48      // bytes of it in a line
	waitFor  = 20 * time.Second
	waitStep = 10 * time.Millisecond
)

// tell writes that the kernel has started, and the log once the kernel has it.
func tell(ctx context.Context, w io.Writer) error {
	var since unix.Timespec // since the kernel began to keep time
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &since); err != nil {
		return err
	}
	if _, err := fmt.Fprintf(w, "probe: ready after %.2f s\n", time.Duration(since.Nano()).Seconds()); err != nil {
		return err
	}
	if err := unix.Mount("sysfs", "/sys", "sysfs", unix.MS_RDONLY, ""); err != nil {
		return fmt.Errorf("mount /sys: %w", err)
	}
	if err := unix.Mount("securityfs", "/sys/kernel/security", "securityfs", unix.MS_RDONLY, ""); err != nil {
		return fmt.Errorf("mount securityfs: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, waitFor)
	defer cancel()
	for {
		f, err := os.Open(log)
		if err == nil {
			defer f.Close()
			return write(w, io.LimitReader(f, maxLog))
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(waitStep):
		}
	}
}

// write encodes the log for a console.
func write(w io.Writer, r io.Reader) error {
	b, err := io.ReadAll(r)
	if err != nil {
		return err
	}
	lines := slices.Collect(slices.Chunk(b, lineSize))
	text := fmt.Appendf(nil, "probe: log %d %x %d\n", len(b), sha256.Sum256(b), len(lines))
	for _, line := range lines {
		text = fmt.Appendf(text, "probe: | %s\n", base64.StdEncoding.EncodeToString(line))
	}
	_, err = w.Write(append(text, "probe: end\n"...))
	return err
}
