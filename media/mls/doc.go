// SPDX-License-Identifier: Apache-2.0

// Package mls implements Messaging Layer Security, the group key agreement of
// [RFC 9420], with the classical cipher suites 1, 2, 3, 5 and 7 and hybrid
// post-quantum ones.
//
// A [Group] is one member's view of one group. [Group.Commit] and
// [Group.Stage] prepare the next epoch and leave the group as it is; Apply
// moves it there by one assignment. Private keys stay behind [Signer] and
// [HPKEKey], so that they can live in a TPM.
//
// The package opens no file or socket, leaves no goroutine behind when a call
// returns (signatures of a whole tree are verified on all cores), reads no clock
// and keeps no state but in memory. It does not order messages (a delivery
// service does), does not judge who may be a member (the caller does, from the
// [Diff] of an epoch) and does not check certificates beyond their form (the
// caller's [Authenticator] does).
//
// A file is one part of the RFC and is named for it. Section numbers in
// comments are those of RFC 9420.
//
// [RFC 9420]: https://www.rfc-editor.org/rfc/rfc9420.html
package mls
