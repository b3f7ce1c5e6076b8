// SPDX-License-Identifier: Apache-2.0

//go:build !simtpm || release

package tpm

import "context"

func openSwtpm(context.Context, string) (wire, error) { return nil, ErrNotBuilt }
