// SPDX-License-Identifier: Apache-2.0

// Boxd does what needs privilege on a box, so that roomd, which speaks to the
// network, needs none: it installs releases and judges their trial, reads USB
// sticks, configures the network, restarts, and asks for a factory reset.
//
// It is asked over a unix socket alone, see package boxlink. It listens to no
// network, fetches nothing, and takes from its caller neither paths nor text that
// another program reads.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"strconv"
	"syscall"
	"time"
)

var version = "dev" // set when the binary is linked

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:], os.Stdout, os.Stderr); err != nil {
		fmt.Fprintln(os.Stderr, "boxd:", err)
		os.Exit(1)
	}
}

// run is main without the process.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	flags := flag.NewFlagSet("boxd", flag.ContinueOnError)
	flags.SetOutput(stderr)
	network := flags.Bool("network", false, "write the configuration of the network, and end")
	pairing := flags.Bool("pairing", false, "write to the standard output how to pair a panel, and end")
	show := flags.Bool("version", false, "print the version and end")
	if err := flags.Parse(args); errors.Is(err, flag.ErrHelp) {
		return nil
	} else if err != nil {
		return err
	}
	if flags.NArg() != 0 {
		return fmt.Errorf("what is %q", flags.Arg(0))
	}
	if *show {
		_, err := fmt.Fprintln(stdout, "boxd", version)
		return err
	}
	if *pairing {
		return showNotice(theBox.notice, stdout)
	}
	log := slog.New(slog.NewJSONHandler(stderr, nil))
	if *network {
		return newNetwork(theBox, log).render()
	}
	ln, err := inherited()
	if err != nil {
		return err
	}
	log.Info("starting", "version", version)
	return newBox(theBox, mountDevice, log).serve(ctx, ln)
}

// inherited returns the socket that systemd made (sd_listen_fds(3)): it sets owner
// and mode before anybody can connect, and keeps the socket while boxd restarts.
func inherited() (net.Listener, error) {
	const first = 3
	if os.Getenv("LISTEN_PID") != strconv.Itoa(os.Getpid()) || os.Getenv("LISTEN_FDS") != "1" {
		return nil, errors.New("no socket: boxd is started by boxd.socket")
	}
	for _, name := range []string{"LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"} {
		if err := os.Unsetenv(name); err != nil { // not for what boxd starts
			return nil, err
		}
	}
	f := os.NewFile(first, "boxd.socket")
	defer f.Close() // the listener has a duplicate
	ln, err := net.FileListener(f)
	if err != nil {
		return nil, fmt.Errorf("socket: %w", err)
	}
	if ln.Addr().Network() != "unix" {
		return nil, errors.New("the socket is not a unix socket")
	}
	return ln, nil
}

// places are where the box keeps what boxd works on.
type places struct {
	release string // of the running system, JSON
	share   string // public keys of the image
	run     string // what init left
	notice  string // of roomd, how to pair a panel
	state   string // boxd's own, on the encrypted partition
	mounts  string // where devices are mounted, for boxd alone
	network string // what networkd reads
	sys     string // sysfs
	dev     string
	tpm     string // as package tpm names it
	control string // systemctl

	watch time.Duration // between two looks at the room's daemon, on trial
	trial time.Duration // of a network configuration
}

var theBox = places{
	release: "/usr/lib/in-camera/release.json",
	share:   "/usr/share/in-camera",
	run:     "/run/in-camera",
	notice:  "/run/in-camera-roomd/pairing",
	state:   "/var/lib/in-camera-box",
	mounts:  "/run/in-camera-box",
	network: "/run/systemd/network",
	sys:     "/sys",
	dev:     "/dev",
	tpm:     "device:tpmrm0",
	control: "/usr/bin/systemctl",
	watch:   5 * time.Second,
	trial:   2 * time.Minute,
}
