// SPDX-License-Identifier: Apache-2.0

//go:build !linux

package tpm

func openDevice(string, string) (wire, error) { return nil, ErrNotBuilt }
