// SPDX-License-Identifier: Apache-2.0

//go:build release

package main

import (
	"context"
	"errors"
	"io"
	"log/slog"
)

var errSimulator = errors.New("this build has no simulators")

func simulate(*hardware, config, *roomState, *slog.Logger) error { return errSimulator }

func runDemo(context.Context, []string, io.Writer, io.Writer) error {
	return errors.New("demo: " + errSimulator.Error())
}
