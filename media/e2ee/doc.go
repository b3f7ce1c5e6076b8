// SPDX-License-Identifier: Apache-2.0

// Package e2ee turns the epochs of a meeting's MLS group into keys for its
// media, a roster and a security code.
//
// A [Session] is one meeting: one goroutine owns the group (RFC 9420), admits
// and removes rooms, and judges every commit before it takes effect. A
// [Keyring] holds the SFrame keys (RFC 9605) of the newest epochs; frames are
// sealed and opened through it and never wait for MLS.
//
// The package knows no network: a [Delivery] carries its messages, and what
// comes back through [Session.Deliver] is hostile until it verified. It opens
// no file, and all state is memory. No key or no checked roster means no media:
// only a Keyring makes a [Sealed], and peers send nothing else.
package e2ee
