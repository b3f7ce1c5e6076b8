// SPDX-License-Identifier: Apache-2.0

// Package seal keeps the room's secrets and keys under policies that only a
// signed release, at or above the rollback floor, in the right boot phase, on
// the chip that made them, can satisfy.
//
// A policy has two levels, so that neither an update nor a new signing key
// needs anything sealed again:
//
//	PolicyPCR(11[,7] = predicted)        PolicyNV(floor <= version)   approved by policy key n
//	PolicyAuthorize(policy key n, use)   PolicyNV(keygen <= n)        approved by the root key
//	PolicyAuthorize(root key, use)                                    = authPolicy of the object
//
// The first two lines are computed and signed where releases are built
// ([MakePolicies], [Delegate], [Approve]) and travel as policies.cbor, a
// [Policies], beside the image. The TPM judges them; this package only shows it
// what to judge, over sessions salted to the storage root key.
//
// The package opens no device and knows no disk layout: it takes a
// [transport.TPM] and bytes. It never wipes anything: a failure is an [Error]
// whose cause says what the operator does next.
//
// TPM 2.0 Library, Part 1, Section 19.7 (enhanced authorization) and Part 3,
// Section 23 (policy commands), revision 1.59.
package seal
