// SPDX-License-Identifier: Apache-2.0

package mls

// Limits on what comes from outside. They are checked before memory is taken.
// A meeting of rooms is far below each of them.
const (
	maxKeyPackage  = 64 << 10 // bytes of an encoded KeyPackage
	maxApplication = 64 << 10 // bytes of application data, and of its padding
	maxWelcome     = 8 << 20  // bytes of a Welcome, a GroupInfo, a ratchet tree
	maxHandshake   = 2 << 20  // bytes of any other message

	maxMembers = 512  // leaves in use
	maxLeaves  = 1024 // leaf slots of a tree, a power of two

	maxProposals       = 128 // in one commit
	maxCached          = 256 // proposals that wait for a commit
	maxCachedPerSender = 4

	maxExtensions   = 32  // in one list
	maxCapabilities = 256 // entries of one capability list
	maxPSKs         = 8   // in one commit
	maxCertificates = 4   // in one chain
	maxCertificate  = 8 << 10
	maxIdentity     = 1 << 10 // bytes of a basic credential's identity
	maxGroupID      = 255     // bytes
	maxKey          = 4 << 10 // bytes of a public key: ML-KEM-1024 with P-384 has 1,665
	maxSignature    = 1 << 10 // bytes

	maxGenerationJump = 1024 // how far a message may be ahead of its ratchet
	maxSkipped        = 64   // keys kept for messages that were overtaken, per ratchet
	keepEpochs        = 2    // past epochs whose late messages are still opened
	keepResumption    = 16   // past epochs whose resumption PSK can be used
)
