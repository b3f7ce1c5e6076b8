// SPDX-License-Identifier: Apache-2.0

//go:build e2e

package e2e

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"testing"

	"incamera/buildroot/e2e/harness"
)

// TestMain lets the network start this program as the way to a service.
func TestMain(m *testing.M) {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	relayed, err := harness.Relay(ctx, os.Args)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	if relayed {
		return
	}
	code := m.Run()
	printFigures(os.Stdout)
	os.Exit(code)
}
