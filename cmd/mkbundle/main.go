// SPDX-License-Identifier: Apache-2.0

// Mkbundle makes what a release needs besides its programs: unified kernel
// images, the policies by which a room's TPM opens its keys for them, the
// software bill of materials, the reference values that rooms are compared with,
// and the bundle that rooms update from. It needs no TPM.
//
// Its exit status is 0 if all was done, 1 if an input was refused or a file
// could not be read or written, 2 if it was called wrongly. Each output is
// written whole or not at all, and only after everything was checked; the log of
// reference values is written before the documents that are in it.
package main

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"strings"
)

var version = "dev" // set when the binary is linked

func main() {
	err := run(os.Args[1:], os.Stdout, os.Stderr)
	if err != nil {
		fmt.Fprintln(os.Stderr, "mkbundle:", err)
	}
	os.Exit(status(err))
}

// A usageError means that the program was called wrongly.
type usageError struct{ error }

func (e usageError) Unwrap() error { return e.error }

// status returns the exit status for what run returned.
func status(err error) int {
	var usage usageError
	switch {
	case err == nil:
		return 0
	case errors.As(err, &usage):
		return 2
	default:
		return 1
	}
}

// A command is a subcommand. Its set function defines its flags and returns what
// does the work once they are parsed.
type command struct {
	name, does string
	set        func(c *call) func() error
}

func commands() []command {
	return []command{
		{"keys", "make keys for development and tests, in a new folder", setKeys},
		{"uki", "write a unified kernel image and say what it will measure", setUKI},
		{"measure", "say what an image will measure", setMeasure},
		{"delegate", "sign, with the root key, what a policy key may do", setDelegate},
		{"policies", "sign, with a policy key, what an image may open", setPolicies},
		{"sbom", "write the software bill of materials", setSBOM},
		{"reference", "write, sign and log the reference values of an image", setReference},
		{"bundle", "sign and write the bundle that rooms update from", setBundle},
	}
}

// run is main without the process.
func run(args []string, stdout, stderr io.Writer) error {
	if len(args) == 0 {
		usage(stderr)
		return usageError{errors.New("which command?")}
	}
	switch args[0] {
	case "-h", "-help", "--help", "help":
		usage(stdout)
		return nil
	case "-version", "--version":
		_, err := fmt.Fprintln(stdout, "mkbundle", version)
		return err
	}
	for _, c := range commands() {
		if c.name == args[0] {
			return c.run(args[1:], stdout, stderr)
		}
	}
	usage(stderr)
	return usageError{fmt.Errorf("no command %q", args[0])}
}

func usage(w io.Writer) {
	text := "usage: mkbundle COMMAND [flags]; mkbundle COMMAND -h lists them\n"
	for _, c := range commands() {
		text += fmt.Sprintf("  %-10s %s\n", c.name, c.does)
	}
	text += "exit status: 0 done; 1 an input was refused or a file failed; 2 called wrongly\n"
	_, _ = io.WriteString(w, text) // nothing is left to do if it fails
}

func (c command) run(args []string, stdout, stderr io.Writer) error {
	k := &call{FlagSet: flag.NewFlagSet("mkbundle "+c.name, flag.ContinueOnError), stdout: stdout}
	k.SetOutput(stderr)
	k.BoolVar(&k.json, "json", false, "print JSON")
	work := c.set(k)
	if err := k.Parse(args); errors.Is(err, flag.ErrHelp) {
		return nil
	} else if err != nil {
		return usageError{err}
	}
	if k.NArg() > 0 {
		return usageError{fmt.Errorf("%s takes no arguments, only flags: %q", c.name, k.Args())}
	}
	var missing []string
	for _, name := range k.required {
		if k.Lookup(name).Value.String() == k.Lookup(name).DefValue {
			missing = append(missing, "-"+name)
		}
	}
	if missing != nil {
		return usageError{fmt.Errorf("%s needs %s", c.name, strings.Join(missing, ", "))}
	}
	if err := work(); err != nil {
		return fmt.Errorf("%s: %w", c.name, err)
	}
	return nil
}

// A call is one call of a command.
type call struct {
	*flag.FlagSet

	stdout   io.Writer
	json     bool
	required []string
}

// need defines a flag that must be given.
func (c *call) need(name, what string) *string {
	c.required = append(c.required, name)
	return c.String(name, "", what)
}

// needNumber defines a number from 1 that must be given.
func (c *call) needNumber(name, what string) *uint64 {
	c.required = append(c.required, name)
	return c.Uint64(name, 0, what)
}

// print writes v as JSON if that was asked for, and text otherwise.
func (c *call) print(v any, text string) error {
	if c.json {
		b, err := json.MarshalIndent(v, "", "  ")
		if err != nil {
			return err
		}
		text = string(b) + "\n"
	}
	_, err := io.WriteString(c.stdout, text)
	return err
}

// several collects a flag that may be given more than once.
type several []string

func (s *several) String() string     { return strings.Join(*s, " ") }
func (s *several) Set(v string) error { *s = append(*s, v); return nil }
