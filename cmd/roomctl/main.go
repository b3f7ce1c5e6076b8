// SPDX-License-Identifier: Apache-2.0

// Roomctl is the operator's tool: it provisions and enrols the box that it runs
// on, has rooms challenged, and does what security staff do at a verifier. Its
// exit statuses are in the README of cmd.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"

	"incamera/secureboot/enrol/client"
)

var version = "dev" // set when the binary is linked

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	err := run(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr)
	if err != nil {
		fmt.Fprintln(os.Stderr, "roomctl:", err)
	}
	os.Exit(status(err))
}

// Exit statuses. They are as stable as the codes of the API.
const (
	exitDone    = 0
	exitFailed  = 1 // here: a file, the TPM
	exitUsage   = 2
	exitSilent  = 3 // verifier or room did not answer: ask again
	exitRefused = 4 // the verifier refused the request
	exitVerdict = 5 // the verdict refuses the room
	exitWaiting = 6 // for staff to admit the room
)

// errUsage means that the program was called wrongly.
var errUsage = errors.New("called wrongly")

// errVerdict means that the verdict refuses the room. It was printed.
var errVerdict = errors.New("the room is refused")

func status(err error) int {
	_, problem := errors.AsType[*client.Problem](err)
	switch {
	case err == nil:
		return exitDone
	case errors.Is(err, errUsage):
		return exitUsage
	case errors.Is(err, client.ErrUnavailable):
		return exitSilent
	case errors.Is(err, client.ErrWaiting):
		return exitWaiting
	case errors.Is(err, errVerdict), errors.Is(err, client.ErrRefused):
		return exitVerdict
	case problem, errors.Is(err, client.ErrIdentity):
		return exitRefused
	}
	return exitFailed
}

// A command is a subcommand. Set defines its flags and returns what does the
// work; args says how many words stand behind the flags.
type command struct {
	name, words, does string
	args              int
	set               func(*call) func(context.Context) error
}

func commands() []command {
	return []command{
		{"provision", "", "set up the TPM of a box whose image does not do so when it first starts", 0, setProvision},
		{"enrol", "", "have this box join a site, by an invitation or code on standard input, or a voucher", 0, setEnrol},
		{"identity", "", "print who this box is", 0, setIdentity},
		{"verify", "ROOM", "challenge a room and print the verdict", 1, setVerify},
		{"evidence", "ROOM", "challenge a room and keep the evidence", 1, setEvidence},
		{"rooms", "", "list the rooms of the site", 0, setRooms},
		{"code", "", "make an activation code with its invitation, or a voucher, for a box", 0, setCode},
		{"approve", "ROOM", "admit a room that waits", 1, setApprove},
		{"approve-chip", "HASH", "list a chip without a certificate", 1, setApproveChip},
		{"revoke", "ROOM", "withdraw a room", 1, setRevoke},
		{"reference add", "", "give the verifier a release's reference values", 0, setReferenceAdd},
		{"reference list", "", "list the releases that the verifier knows", 0, setReferenceList},
		{"bundle add", "FILE", "give the verifier a release for rooms", 1, setBundleAdd},
		{"bundle approve", "VERSION", "let rooms have a release", 1, setBundleApprove},
		{"bundle withdraw", "VERSION", "have the verifier forget a release: no room gets it any more", 1, setBundleWithdraw},
		{"bundle list", "", "list the releases that the verifier holds for rooms", 0, setBundleList},
	}
}

// A call is one run of a command.
type call struct {
	*flag.FlagSet
	in   *bufio.Reader
	out  io.Writer
	json bool
}

// run is main without the process.
func run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) error {
	if len(args) == 0 {
		usage(stderr)
		return errUsage
	}
	switch args[0] {
	case "-h", "-help", "--help", "help":
		usage(stdout)
		return nil
	case "-version", "--version":
		_, err := fmt.Fprintln(stdout, "roomctl", version)
		return err
	}
	for _, c := range commands() {
		words := strings.Fields(c.name)
		if len(args) < len(words) || !slices.Equal(args[:len(words)], words) {
			continue
		}
		k := &call{FlagSet: flag.NewFlagSet("roomctl "+c.name, flag.ContinueOnError), in: bufio.NewReader(stdin), out: stdout}
		k.SetOutput(stderr)
		k.Usage = func() {
			_, _ = fmt.Fprintf(stderr, "usage: roomctl %s [flags]\n%s\n", strings.TrimSpace(c.name+" "+c.words), c.does) // nothing is left to do if it fails
			k.PrintDefaults()
		}
		k.BoolVar(&k.json, "json", false, "print JSON")
		work := c.set(k)
		if err := k.parse(args[len(words):]); errors.Is(err, flag.ErrHelp) {
			return nil
		} else if err != nil {
			return fmt.Errorf("%w: %w", errUsage, err)
		}
		if k.NArg() != c.args {
			return fmt.Errorf("%w: usage: roomctl %s [flags] %s", errUsage, c.name, c.words)
		}
		return work(ctx)
	}
	usage(stderr)
	return fmt.Errorf("%w: no command %q", errUsage, args[0])
}

// parse takes flags before and behind the words: roomctl verify ROOM --json.
func (k *call) parse(args []string) error {
	var words []string
	for {
		if err := k.Parse(args); err != nil {
			return err
		}
		if k.NArg() == 0 {
			break
		}
		words = append(words, k.Arg(0))
		args = k.Args()[1:]
	}
	return k.Parse(append([]string{"--"}, words...))
}

func usage(w io.Writer) {
	text := "usage: roomctl COMMAND [flags]; roomctl COMMAND -h lists them\n"
	for _, c := range commands() {
		text += fmt.Sprintf("  %-22s %s\n", strings.TrimSpace(c.name+" "+c.words), c.does)
	}
	_, _ = io.WriteString(w, text) // nothing is left to do if it fails
}

// print prints v as JSON, or text for people.
func (k *call) print(v any, text string, args ...any) error {
	if !k.json {
		_, err := fmt.Fprintf(k.out, text, args...)
		return err
	}
	enc := json.NewEncoder(k.out)
	enc.SetIndent("", "  ")
	return enc.Encode(v)
}
