// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"compress/gzip"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// golang asks the go command.
func golang(ctx context.Context, args ...string) (string, error) {
	out, err := exec.CommandContext(ctx, "go", args...).Output() //nolint:gosec // the arguments are this program's
	if err != nil {
		return "", fmt.Errorf("go %s: %w", args[0], err)
	}
	return strings.TrimSpace(string(out)), nil
}

// module builds the panel's half of SPAKE2+ as WebAssembly, compressed as it is
// served. The same sources give the same bytes.
func module(ctx context.Context) ([]byte, error) {
	folder, err := os.MkdirTemp("", "pin-*")
	if err != nil {
		return nil, err
	}
	defer func() { _ = os.RemoveAll(folder) }() // nothing is lost
	path := filepath.Join(folder, "pin.wasm")
	build := exec.CommandContext(ctx, "go", "build", "-trimpath", "-buildvcs=false", "-ldflags=-s -w -buildid=", "-o", path, "incamera/device/pairing/page") //nolint:gosec // a path of this program's
	build.Env = append(os.Environ(), "GOOS=js", "GOARCH=wasm", "CGO_ENABLED=0")
	build.Stderr = os.Stderr
	if err := build.Run(); err != nil {
		return nil, fmt.Errorf("build the module of pairing: %w", err)
	}
	raw, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var out bytes.Buffer
	z, err := gzip.NewWriterLevel(&out, gzip.BestCompression)
	if err != nil {
		return nil, err
	}
	if _, err := z.Write(raw); err != nil {
		return nil, err
	}
	if err := z.Close(); err != nil {
		return nil, err
	}
	return out.Bytes(), nil
}

// licences returns those of what is in the module: Go's own packages and
// filippo.io/nistec.
func licences(ctx context.Context, goroot string) ([]byte, error) {
	nistec, err := golang(ctx, "list", "-m", "-f", "{{.Dir}}", "filippo.io/nistec")
	if err != nil {
		return nil, err
	}
	var out []byte
	for _, part := range []struct{ name, path string }{
		{"Go", filepath.Join(goroot, "LICENSE")}, {"filippo.io/nistec", filepath.Join(nistec, "LICENSE")},
	} {
		text, err := os.ReadFile(part.path)
		if err != nil {
			return nil, fmt.Errorf("licence of %s: %w", part.name, err)
		}
		out = fmt.Appendf(out, "\n%s\n\n%s", part.name, text)
	}
	return out, nil
}
