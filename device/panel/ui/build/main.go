// SPDX-License-Identifier: Apache-2.0

// Command build bundles the panel's page from device/panel/ui/src into
// device/panel/ui/dist. It runs from anywhere in the module and needs nothing
// but Go and Debian's package node-preact; types are checked by tsc, not here.
package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/evanw/esbuild/pkg/api"
)

func main() {
	if err := run(context.Background(), os.Args[1:], os.Stderr); err != nil {
		fmt.Fprintln(os.Stderr, "ui:", err)
		os.Exit(1) //nolint:forbidigo // this is main
	}
}

func run(ctx context.Context, args []string, stderr io.Writer) error {
	flags := flag.NewFlagSet("build", flag.ContinueOnError)
	flags.SetOutput(stderr)
	preact := flags.String("preact", "/usr/share/nodejs/preact", "folder of Preact 8, from Debian's node-preact")
	licence := flags.String("licence", "/usr/share/doc/node-preact/copyright", "its licence")
	if err := flags.Parse(args); err != nil {
		return err
	}
	folder, err := golang(ctx, "list", "-f", "{{.Dir}}", "incamera/device/panel/ui")
	if err != nil {
		return err
	}
	src, dist := filepath.Join(folder, "src"), filepath.Join(folder, "dist")
	entry := filepath.Join(*preact, "src", "preact.js")
	if _, err := os.Stat(entry); err != nil {
		return fmt.Errorf("preact is missing, install Debian's package node-preact (make deps): %w", err)
	}
	goroot, err := golang(ctx, "env", "GOROOT")
	if err != nil {
		return err
	}
	made := api.Build(api.BuildOptions{
		EntryPointsAdvanced: []api.EntryPoint{
			{InputPath: filepath.Join(src, "main.tsx"), OutputPath: "app"},
			{InputPath: filepath.Join(src, "pairpin.ts"), OutputPath: "pin"},
			{InputPath: filepath.Join(src, "style.css"), OutputPath: "style"},
		},
		Outdir:            dist,
		Bundle:            true,
		Write:             false,
		MinifyWhitespace:  true,
		MinifyIdentifiers: true,
		MinifySyntax:      true,
		Charset:           api.CharsetUTF8,
		LegalComments:     api.LegalCommentsNone, // they are in licences.txt
		Target:            api.ES2019,            // tablets of 2020 hang on walls
		JSX:               api.JSXTransform,
		JSXFactory:        "h",
		Alias:             map[string]string{"preact": entry, "wasm_exec": filepath.Join(goroot, "lib", "wasm", "wasm_exec.js")},
		Define:            map[string]string{"process.env.NODE_ENV": `"production"`},
		LogLevel:          api.LogLevelSilent,
	})
	if len(made.Errors) > 0 {
		return errors.New(strings.Join(api.FormatMessages(made.Errors, api.FormatMessagesOptions{}), "\n"))
	}
	files := map[string][]byte{}
	for _, f := range made.OutputFiles {
		files[filepath.Base(f.Path)] = f.Contents
	}
	for name, from := range map[string]string{
		"index.html":   filepath.Join(src, "index.html"),
		"pair.html":    filepath.Join(src, "pair.html"),
		"icon.svg":     filepath.Join(src, "icon.svg"),
		"licences.txt": *licence,
	} {
		if files[name], err = os.ReadFile(from); err != nil {
			return err
		}
	}
	if files["pin.wasm.gz"], err = module(ctx); err != nil {
		return err
	}
	theirs, err := licences(ctx, goroot)
	if err != nil {
		return err
	}
	files["licences.txt"] = append(files["licences.txt"], theirs...)
	for name, text := range files {
		if err := place(filepath.Join(dist, name), text); err != nil {
			return err
		}
		if _, err := fmt.Fprintf(stderr, "%s: %d bytes\n", name, len(text)); err != nil {
			return err
		}
	}
	return nil
}

// place writes a file at once, so that a build which runs beside this one never
// embeds half of it. What is there already stays as it is.
func place(path string, text []byte) error {
	if old, err := os.ReadFile(path); err == nil && bytes.Equal(old, text) {
		return nil
	}
	beside, err := os.CreateTemp(filepath.Dir(filepath.Dir(path)), ".dist-*") // dist itself is embedded
	if err != nil {
		return err
	}
	defer func() { _ = os.Remove(beside.Name()) }() // gone if all went well
	_, err = beside.Write(text)
	if err := errors.Join(err, beside.Chmod(0o644), beside.Close()); err != nil {
		return err
	}
	return os.Rename(beside.Name(), path)
}
