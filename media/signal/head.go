// SPDX-License-Identifier: Apache-2.0

package signal

import (
	"encoding/binary"
	"errors"
)

// A WireFormat says what an MLSMessage holds (RFC 9420, Section 17.2).
type WireFormat uint16

// The wire formats of MLS 1.0.
const (
	WirePublic WireFormat = 1 + iota
	WirePrivate
	WireWelcome
	WireGroupInfo
	WireKeyPackage
)

// A ContentType says what a framed message is for (RFC 9420, Section 6).
type ContentType uint8

// The content types.
const (
	ContentApplication ContentType = 1 + iota
	ContentProposal
	ContentCommit
)

// A Head is what an MLSMessage shows to anyone (RFC 9420, Sections 6, 6.2 and
// 6.3). Group, Epoch and Content are zero but in public and private messages.
// Nothing of it is authenticated: members check it, a relay only sorts by it.
type Head struct {
	Wire    WireFormat
	Group   []byte // lies in the message
	Epoch   uint64
	Content ContentType
}

// ErrHead means that bytes do not begin as an MLSMessage of MLS 1.0 does.
var ErrHead = errors.New("signal: no head of an MLS message")

// ReadHead reads the head of msg. What follows the head is not looked at.
func ReadHead(msg []byte) (Head, error) {
	r := reader{rest: msg}
	version, h := r.uint(2), Head{Wire: WireFormat(r.uint(2))}
	if version != 1 || h.Wire < WirePublic || h.Wire > WireKeyPackage {
		return Head{}, ErrHead
	}
	if h.Wire <= WirePrivate {
		h.Group, h.Epoch = r.vector(), r.uint(8)
		if h.Wire == WirePublic {
			switch r.uint(1) { // SenderType
			case 1, 2: // member, external: an index follows
				r.uint(4)
			case 3, 4: // new_member_proposal, new_member_commit
			default:
				return Head{}, ErrHead
			}
			r.vector() // authenticated_data
		}
		h.Content = ContentType(r.uint(1))
		if h.Content < ContentApplication || h.Content > ContentCommit {
			return Head{}, ErrHead
		}
		if h.Wire == WirePublic && h.Content == ContentApplication { // Section 6.2 forbids it
			return Head{}, ErrHead
		}
	}
	if r.short {
		return Head{}, ErrHead
	}
	return h, nil
}

// A reader takes fields off a message; short is set once one was not there.
type reader struct {
	rest  []byte
	short bool
}

func (r *reader) take(n uint64) []byte {
	if n > uint64(len(r.rest)) {
		r.short, r.rest = true, nil
		return nil
	}
	b := r.rest[:n:n]
	r.rest = r.rest[n:]
	return b
}

func (r *reader) uint(size int) uint64 {
	var b [8]byte
	copy(b[8-size:], r.take(uint64(size)))
	return binary.BigEndian.Uint64(b[:])
}

// vector reads a vector with a length of 1, 2 or 4 bytes, the shortest that
// can hold it (RFC 9420, Section 2.1.2).
func (r *reader) vector() []byte {
	first := r.uint(1)
	more := 1<<(first>>6) - 1
	n := first&0x3f<<(8*more) | r.uint(more)
	if first>>6 == 3 || more > 0 && n < 1<<(8*(more/2+1)-2) {
		r.short = true
		return nil
	}
	return r.take(n)
}
