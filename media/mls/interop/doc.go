// SPDX-License-Identifier: Apache-2.0

// Package interop runs package mls against other implementations of RFC 9420.
//
// It is tests only, behind the build tag interop: they start the peers in
// testdata/node as children of the test and exchange JSON lines with them.
// "make interop" installs what they need and runs them; a peer that is missing
// is a failure.
package interop
