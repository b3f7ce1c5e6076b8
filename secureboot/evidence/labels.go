// SPDX-License-Identifier: Apache-2.0

package evidence

// Labels and names that a draft or a registry may still change stand in this
// file and nowhere else.

// Profile names the claims of this package (RFC 9711, Section 6).
const Profile = "tag:incamera.invalid,2026:room#1"

// earProfile is that of draft-ietf-rats-ear-04, Section 3.
const earProfile = "tag:ietf.org,2026:rats/ear#04"

// corimProfile names our use of CoRIM (draft-ietf-rats-corim-10, Section 4.1.4).
const corimProfile = "tag:incamera.invalid,2026:reference#1"

// mediaEAT is the media type of both statements (RFC 9782); which one it is,
// the indicator of the CMW says (RFC 9999).
const mediaEAT = "application/eat+cwt"

// mediaRIM is the content type of signed reference values.
const mediaRIM = "application/rim+cbor"

// Indicator bits of a CMW record.
const (
	cmwEvidence = 1 << 2
	cmwResults  = 1 << 3
)

// Claims of our own, in the private range of CWT: below -65536. The struct
// tags that use them are checked against this list by a test.
const (
	labelQuote      = -70001
	labelFailures   = -70010
	labelDevice     = -70011
	labelRelease    = -70012
	labelEvidence   = -70013
	labelReferences = -70014
	labelState      = -70015
	labelBoard      = -70002 // in measurement-values-map of CoRIM
)

// CBOR tags of CoRIM (draft-ietf-rats-corim-10, Section 12.1).
const (
	tagCoRIM = 501
	tagCoMID = 506
	tagSVN   = 552
	tagBytes = 560
)

// hashSHA256 is the number of SHA-256 in the Named Information registry, which
// CoRIM uses, and schemeSemver that of semantic versions (RFC 9393).
const (
	hashSHA256   = 1
	schemeSemver = 16384
)

// oemID is of the random form (RFC 9711, Section 4.2.3.1): made once, by
// chance, for all rooms.
var oemID = []byte{
	0xce, 0xc2, 0xac, 0x09, 0x75, 0x16, 0x23, 0x5b, 0x0c, 0x78, 0xc9, 0x19, 0x05, 0xee, 0x40, 0xc3,
}
