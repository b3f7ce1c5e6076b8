// SPDX-License-Identifier: Apache-2.0

//go:build release || !simtpm || !cgo

package main

import (
	"context"
	"log/slog"

	"incamera/secureboot/tpm"
)

// simulateBox is not in this build: see box_sim.go.
func simulateBox(context.Context, config, string, *slog.Logger) (*roomBox, error) {
	return nil, tpm.ErrNotBuilt
}
