// SPDX-License-Identifier: Apache-2.0

// Initramfs writes an initial file system for the kernel: a cpio archive in the
// form "newc", compressed by gzip. The same files give the same bytes: owners,
// times and inode numbers do not come from this computer.
//
//	initramfs -out FILE PATH=FILE:MODE ... PATH/ ...
package main

import (
	"bytes"
	"compress/gzip"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"
)

func main() {
	if err := run(os.Args[1:], os.Stderr); err != nil {
		fmt.Fprintln(os.Stderr, "initramfs:", err)
		os.Exit(1)
	}
}

func run(args []string, stderr io.Writer) error {
	flags := flag.NewFlagSet("initramfs", flag.ContinueOnError)
	flags.SetOutput(stderr)
	out := flags.String("out", "", "`file` to write")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if *out == "" || flags.NArg() == 0 {
		return errors.New("usage: initramfs -out FILE PATH=FILE:MODE PATH/, the last two as often as wanted")
	}
	entries, err := parse(flags.Args())
	if err != nil {
		return err
	}
	b, err := write(entries)
	if err != nil {
		return err
	}
	return os.WriteFile(*out, b, 0o644) //nolint:gosec // it becomes part of a public image
}

// An entry is a file or, without data, a directory or a device.
type entry struct {
	path         string
	mode         uint32 // type and permissions, as in stat
	major, minor uint32
	data         []byte
}

const (
	typeDir  = 0o040000
	typeFile = 0o100000
	typeChar = 0o020000
)

// parse reads files and directories, and adds the console: the kernel opens it
// for process 1 before anything can mount a file system of devices.
func parse(args []string) ([]entry, error) {
	entries := []entry{
		{path: "dev", mode: typeDir | 0o755},
		{path: "dev/console", mode: typeChar | 0o600, major: 5, minor: 1},
	}
	for _, arg := range args {
		if dir, ok := strings.CutSuffix(arg, "/"); ok {
			entries = append(entries, entry{path: dir, mode: typeDir | 0o755})
			continue
		}
		name, rest, ok := strings.Cut(arg, "=")
		colon := strings.LastIndexByte(rest, ':')
		if !ok || colon < 0 {
			return nil, fmt.Errorf("%q is neither PATH=FILE:MODE nor PATH/", arg)
		}
		mode, err := strconv.ParseUint(rest[colon+1:], 8, 9)
		if err != nil {
			return nil, fmt.Errorf("%q: mode: %w", arg, err)
		}
		data, err := os.ReadFile(rest[:colon])
		if err != nil {
			return nil, err
		}
		entries = append(entries, entry{path: name, mode: typeFile | uint32(mode), data: data})
	}
	return entries, nil
}

// write encodes the entries, sorted, so that a directory comes before what is in
// it (kernel: driver-api/early-userspace/buffer-format.rst).
func write(entries []entry) ([]byte, error) {
	slices.SortFunc(entries, func(a, b entry) int { return strings.Compare(a.path, b.path) })
	var cpio bytes.Buffer
	isDir := map[string]bool{".": true}
	for i, e := range entries {
		if err := e.check(isDir); err != nil {
			return nil, fmt.Errorf("%q: %w", e.path, err)
		}
		isDir[e.path] = e.mode&typeDir != 0
		add(&cpio, i+1, e)
	}
	add(&cpio, 0, entry{path: trailer})
	var out bytes.Buffer
	z, err := gzip.NewWriterLevel(&out, gzip.BestCompression)
	if err != nil {
		return nil, err
	}
	if _, err := z.Write(cpio.Bytes()); err != nil {
		return nil, err
	}
	if err := z.Close(); err != nil {
		return nil, err
	}
	return out.Bytes(), nil
}

// trailer is the name that ends an archive.
const trailer = "TRAILER!!!"

// check refuses what the kernel would leave out without a word, or put elsewhere.
// isDir has the entries before this one.
func (e entry) check(isDir map[string]bool) error {
	_, twice := isDir[e.path]
	switch {
	case twice:
		return errors.New("twice")
	case !fs.ValidPath(e.path) || len(e.path) > 255 || e.path == trailer:
		return errors.New("no path in an archive")
	case strings.ContainsFunc(e.path, func(c rune) bool { return c < ' ' || c == 0x7F }):
		return errors.New("a control character")
	case !isDir[path.Dir(e.path)]:
		return errors.New("its folder is not there")
	case len(e.data) > 1<<30:
		return errors.New("too large")
	}
	return nil
}

// add appends one record: thirteen numbers, the name with its NUL, the data; both
// padded to 4 bytes.
func add(b *bytes.Buffer, inode int, e entry) {
	pad := func() { b.Write(make([]byte, -b.Len()&3)) }
	fmt.Fprintf(b, "070701%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x",
		inode, e.mode, 0, 0, 1, 0, len(e.data), 0, 0, e.major, e.minor, len(e.path)+1, 0)
	b.WriteString(e.path)
	b.WriteByte(0)
	pad()
	b.Write(e.data)
	pad()
}
