// SPDX-License-Identifier: Apache-2.0

//go:build simtpm && cgo && !release

package tpm

const built = true
