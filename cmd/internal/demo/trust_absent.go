// SPDX-License-Identifier: Apache-2.0

//go:build !simtpm || !cgo || release

package demo

import (
	"context"
	"errors"
)

// A Trust is not in this build, which has no simulated TPM.
type Trust struct{}

// NewTrust returns an error: see trust.go.
func NewTrust(context.Context, string, string, int) (*Trust, error) {
	return nil, errors.New("demo: this build has no simulated TPM: build it with make build")
}

// Give is not in this build.
func (*Trust) Give(context.Context, *Room, string, bool, string) error { return nil }

// Admit is not in this build.
func (*Trust) Admit(context.Context, *Room) error { return nil }

// Verify is not in this build.
func (*Trust) Verify(*Room) []string { return nil }

// Revoke is not in this build.
func (*Trust) Revoke(context.Context, *Room) error { return nil }

// Stop is not in this build.
func (*Trust) Stop() error { return nil }
