// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"log/slog"
	"strings"

	"incamera/cmd/internal/box"
	"incamera/secureboot/tpm"
)

// openBox opens the TPM that the configuration names. A simulated one is a whole
// box: it is made, provisioned and started here.
func openBox(ctx context.Context, c config, log *slog.Logger) (*roomBox, error) {
	if arg, ok := strings.CutPrefix(c.TPM, "sim:"); ok {
		return simulateBox(ctx, c, arg, log)
	}
	t, err := tpm.Open(ctx, c.TPM)
	if err != nil {
		return nil, err
	}
	b, err := box.Provisioned(t, &c.Trust.Config)
	if err != nil {
		return nil, errors.Join(err, t.Close())
	}
	return &roomBox{Box: b}, nil
}
