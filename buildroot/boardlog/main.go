// SPDX-License-Identifier: Apache-2.0

// Boardlog starts the probe on the emulated board once, under the firmware, the
// keys and the TPM that rooms have there, and keeps the event log that the
// firmware wrote: what mkbundle reference takes as -board-log.
//
//	boardlog -disk FILE -keys FOLDER -out FILE
package main

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"time"

	"incamera/buildroot/e2e/harness"
)

// bootFor bounds the boot: emulated, on a busy computer.
const bootFor = 3 * time.Minute

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	err := run(ctx, os.Args[1:], os.Stderr)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "boardlog:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string, stderr io.Writer) (err error) {
	flags := flag.NewFlagSet("boardlog", flag.ContinueOnError)
	flags.SetOutput(stderr)
	disk := flags.String("disk", "", "`file` of a disk that starts the probe")
	keys := flags.String("keys", "", "`folder` with PK.crt, KEK.crt and db.crt for the firmware")
	out := flags.String("out", "", "`file` to write")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if *disk == "" || *keys == "" || *out == "" || flags.NArg() > 0 {
		return errors.New("usage: boardlog -disk FILE -keys FOLDER -out FILE")
	}
	dir, err := os.MkdirTemp("", "boardlog-*")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	ctx, cancel := context.WithTimeout(ctx, bootFor)
	defer cancel()
	m, err := harness.New(ctx, dir, 0, *disk, *keys)
	if err != nil {
		return err
	}
	r, err := m.Boot(ctx, "probe", harness.Options{})
	if err != nil {
		return err
	}
	defer r.Stop()
	log, err := hear(func(word string) (string, error) {
		return r.Expect(ctx, word, "probe: stopped", "Kernel panic", "Access denied")
	})
	if err != nil {
		return err
	}
	return os.WriteFile(*out, log, 0o644) //nolint:gosec // what firmware measures of itself is no secret
}

// maxLines bounds the log: 1 MiB in lines of 48 bytes.
const maxLines = 1<<20/48 + 1

// hear reads the log from what the probe says: expect returns what follows a
// word on its line.
func hear(expect func(word string) (string, error)) ([]byte, error) {
	if _, err := expect("probe: ready"); err != nil {
		return nil, err
	}
	head, err := expect("probe: log ")
	if err != nil {
		return nil, err
	}
	f := strings.Fields(head)
	if len(f) != 3 {
		return nil, fmt.Errorf("the log begins with %q", head)
	}
	size, err1 := strconv.Atoi(f[0])
	sum, err2 := hex.DecodeString(f[1])
	lines, err3 := strconv.Atoi(f[2])
	if err := errors.Join(err1, err2, err3); err != nil {
		return nil, fmt.Errorf("the log begins with %q: %w", head, err)
	}
	if lines < 1 || lines > maxLines {
		return nil, fmt.Errorf("a log of %d lines", lines)
	}
	var log []byte
	for range lines {
		line, err := expect("probe: | ")
		if err != nil {
			return nil, err
		}
		b, err := base64.StdEncoding.DecodeString(strings.TrimSpace(line))
		if err != nil {
			return nil, fmt.Errorf("line %q: %w", line, err)
		}
		log = append(log, b...)
	}
	// A serial console may lose or add bytes; a log that did would vouch for
	// nothing.
	if got := sha256.Sum256(log); len(log) != size || !strings.EqualFold(hex.EncodeToString(got[:]), hex.EncodeToString(sum)) {
		return nil, fmt.Errorf("the log of %d bytes arrived as %d others", size, len(log))
	}
	return log, nil
}
