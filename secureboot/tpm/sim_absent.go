// SPDX-License-Identifier: Apache-2.0

//go:build !simtpm || !cgo || release

package tpm

import "context"

func openSimulator(context.Context, string) (wire, error) { return nil, ErrNotBuilt }
