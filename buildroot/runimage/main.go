// SPDX-License-Identifier: Apache-2.0

// Runimage boots the image in QEMU for a person: its serial console is this
// terminal, a line typed here is a line typed there, and the panel for paired
// browsers answers on this computer. The box keeps disk, firmware variables and
// TPM in its folder, from run to run, and reaches nothing but the verifier that it
// is told of. Ctrl-C pulls the plug.
//
//	runimage -image FILE -keys FOLDER -box FOLDER [-reset] [-verifier HOST:PORT]
package main

import (
	"bufio"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"incamera/buildroot/e2e/harness"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args, os.Stdin, os.Stdout, os.Stderr)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "runimage:", err)
		os.Exit(1)
	}
}

// console is the name of the boot, and of its log.
const console = "console"

// options of a run.
type options struct {
	image, keys, box, verifier string
	reset                      bool
}

func run(ctx context.Context, args []string, in io.Reader, out, stderr io.Writer) (err error) {
	// The network starts this program as the way to the verifier.
	if relayed, err := harness.Relay(ctx, args); relayed || err != nil {
		return err
	}
	o, err := parse(args[1:], stderr)
	if err != nil {
		return err
	}
	m, err := open(ctx, o)
	if err != nil {
		return err
	}
	services := map[int]string{}
	if o.verifier != "" {
		_, port, err := net.SplitHostPort(o.verifier)
		if err != nil {
			return fmt.Errorf("-verifier: %w", err)
		}
		n, err := strconv.ParseUint(port, 10, 16)
		if err != nil {
			return fmt.Errorf("-verifier: %w", err)
		}
		services[int(n)] = o.verifier
	}
	cables, err := os.MkdirTemp("", "runimage-*") // nothing of a network is kept
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(cables)) }()
	w, err := harness.NewNetwork(ctx, cables, 1, services)
	if err != nil {
		return err
	}
	defer w.Close()
	r, err := m.Boot(ctx, console, harness.Options{Network: w, Restarts: true})
	if err != nil {
		return err
	}
	defer r.Stop()
	text := fmt.Sprintf("runimage: the box in %s; Ctrl-C pulls the plug\nrunimage: its panel, for browsers that are paired: https://%s/\n",
		m.Dir, w.Reach(0, harness.PortPaired))
	for port, host := range services {
		text += fmt.Sprintf("runimage: it reaches the verifier at %s under https://%s/\n", host, w.Service(port))
	}
	if _, err := io.WriteString(out, text); err != nil {
		return err
	}
	go typing(in, r)
	out = &hinter{out: out, box: "https://" + w.Address(0) + "/", local: "https://" + w.Reach(0, harness.PortPaired) + "/"}
	return show(ctx, r, filepath.Join(m.Dir, console+".log"), out)
}

func parse(args []string, stderr io.Writer) (o options, err error) {
	flags := flag.NewFlagSet("runimage", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.StringVar(&o.image, "image", "", "`file` of the disk that a new box leaves the factory with")
	flags.StringVar(&o.keys, "keys", "", "`folder` with PK.crt, KEK.crt and db.crt for its firmware")
	flags.StringVar(&o.box, "box", "", "`folder` in which the box is kept")
	flags.BoolVar(&o.reset, "reset", false, "make a new box, and lose what was in the folder")
	flags.StringVar(&o.verifier, "verifier", "", "`host:port` of the site's verifier, which the box may reach")
	if err := flags.Parse(args); err != nil {
		return o, err
	}
	if o.image == "" || o.keys == "" || o.box == "" || flags.NArg() > 0 {
		return o, errors.New("usage: runimage -image FILE -keys FOLDER -box FOLDER [-reset] [-verifier HOST:PORT]")
	}
	o.box, err = filepath.Abs(o.box)
	return o, err
}

// made is the file that says that a box was made to its end. It holds the address
// of its network card.
const made = "made"

// open takes the box from its folder, or makes it there.
func open(ctx context.Context, o options) (*harness.Machine, error) {
	mark := filepath.Join(o.box, made)
	if mac, err := os.ReadFile(mark); err == nil && !o.reset {
		return &harness.Machine{Dir: o.box, MAC: string(mac)}, nil
	}
	if err := os.RemoveAll(o.box); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(o.box, 0o700); err != nil {
		return nil, err
	}
	m, err := harness.New(ctx, o.box, 0, o.image, o.keys)
	if err != nil {
		return nil, err
	}
	return m, os.WriteFile(mark, []byte(m.MAC), 0o600)
}

// typing sends what is typed to the box, a line at a time.
func typing(in io.Reader, r *harness.Run) {
	for s := bufio.NewScanner(in); s.Scan(); {
		if r.Type(s.Text()) != nil {
			return // the box is off
		}
	}
}

// showStep is how often to look for more of the console.
const showStep = 50 * time.Millisecond

// show copies the console from its log, which holds half lines as well, until the
// box goes off.
func show(ctx context.Context, r *harness.Run, path string, out io.Writer) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	for off := false; ; {
		if _, err := io.Copy(out, f); err != nil || off {
			return err
		}
		select {
		case <-r.Off():
			off = true // what it said last comes yet
		case <-ctx.Done():
			return nil
		case <-time.After(showStep):
		}
	}
}
