// SPDX-License-Identifier: Apache-2.0

// Roomd is the daemon of a room: it drives the room's camera, sound and
// display, carries its calls, and serves its touch panel.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"syscall"

	"incamera/cmd/internal/supervise"
)

var version = "dev" // set when the binary is linked

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:], os.Stdout, os.Stderr); err != nil {
		fmt.Fprintln(os.Stderr, "roomd:", err)
		os.Exit(1)
	}
}

// run is main without the process: what it needs are parameters and it does not
// exit, so tests call it. It returns nil once ctx is done and all has stopped.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	if len(args) > 0 && args[0] == "demo" {
		return runDemo(ctx, args[1:], stdout, stderr)
	}
	flags := flag.NewFlagSet("roomd", flag.ContinueOnError)
	flags.SetOutput(stderr)
	path := flags.String("config", "/etc/in-camera/room.json", "`file` that says which room this is")
	show := flags.Bool("version", false, "print the version and end")
	verbose := flags.Bool("verbose", false, "log what a developer wants to see")
	if err := flags.Parse(args); errors.Is(err, flag.ErrHelp) {
		return nil
	} else if err != nil {
		return err
	}
	if *show {
		_, err := fmt.Fprintln(stdout, "roomd", version)
		return err
	}
	level := slog.LevelInfo
	if *verbose {
		level = slog.LevelDebug
	}
	log := slog.New(slog.NewJSONHandler(stderr, &slog.HandlerOptions{Level: level}))
	c, err := readConfig(*path)
	if err != nil {
		return err
	}
	var id *identity
	var place *standing
	if c.TPM == "none" {
		id, err = readIdentity(c.Identity)
	} else if place, err = newStanding(ctx, c, log.With("part", "trust")); err == nil {
		defer place.close()
		id, err = place.box.identity(place.id)
	}
	if err != nil {
		return err
	}
	parts, err := wire(c, id, place, log)
	if err != nil {
		return err
	}
	log.Info("starting", "version", version, "room", c.Name)
	return supervise.Run(ctx, log, supervise.Limits{}, parts...)
}
