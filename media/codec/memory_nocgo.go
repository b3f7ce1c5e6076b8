// SPDX-License-Identifier: Apache-2.0

//go:build !cgo

package codec

// BoundMemory does nothing: without cgo there is no C library.
func BoundMemory() {}
