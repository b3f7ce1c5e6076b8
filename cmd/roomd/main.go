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
	"io/fs"
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
	setup := flags.Bool("setup", false, "where that file is missing, let people set the room up at its panel, which writes it")
	image := flags.String("image", "", "`file` that says what a set-up begins with; default: what every image does")
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
	var b *roomBox
	if *setup && errors.Is(err, fs.ErrNotExist) {
		c, b, err = setUp(ctx, *path, *image, log)
	}
	switch {
	case ctx.Err() != nil && err != nil:
		return nil //nolint:nilerr // it was told to stop, which is no error
	case err != nil:
		return err
	}
	if c.self = *setup; c.self {
		// After a power cut the file is still there, with an invitation in it.
		if err := c.draftFile().Remove(); err != nil {
			log.Warn("what was entered at the set-up is still there", "err", err)
		}
	}
	log.Info("starting", "version", version, "room", c.Name)
	if err := serve(ctx, c, b, log); err != nil && ctx.Err() == nil {
		failedStart(ctx, &c, err, log)
		return err
	}
	return nil
}

// serve is the daemon of a room. The box is one that is open already, or nil.
func serve(ctx context.Context, c config, b *roomBox, log *slog.Logger) error {
	var id *identity
	var place *standing
	var err error
	if c.TPM == none {
		id, err = readIdentity(c.Identity)
	} else if place, err = newStanding(ctx, c, b, log.With("part", "trust")); err == nil {
		defer place.close()
		id, err = place.box.identity(place.id)
	}
	if err != nil {
		return err
	}
	parts, err := wire(ctx, c, id, place, log)
	if err != nil {
		return err
	}
	return supervise.Run(ctx, log, supervise.Limits{}, parts...)
}
