// SPDX-License-Identifier: Apache-2.0

package e2ee

import (
	"errors"
	"time"

	"incamera/media/frame"
)

// A Leaf is the index of a member's leaf in the ratchet tree of the group (RFC
// 9420, Section 4). It names a room as long as the room is a member.
type Leaf = uint32

// A Sealed is one frame sealed for the members of the meeting. Only
// [Keyring.Seal] makes one, so what takes a Sealed can send nothing in clear.
// The zero value is no frame: its Bytes are nil, and peers refuse it.
type Sealed struct {
	wire []byte
	pts  time.Duration
	kind frame.Kind
	key  bool
}

// Bytes returns what goes on the wire; see [Keyring.Seal]. The caller only
// reads it, and only as long as the buffer given to Seal is not used again.
func (s Sealed) Bytes() []byte { return s.wire }

// Kind says what the frame carries.
func (s Sealed) Kind() frame.Kind { return s.kind }

// Key reports whether the frame needs no other to be decoded.
func (s Sealed) Key() bool { return s.key }

// PTS returns the capture instant, as [frame.Encoded] has it.
func (s Sealed) PTS() time.Duration { return s.pts }

// ErrNoKey means that nothing may be sent now: no epoch passed its roster check
// yet, the keyring is held, or the room is out of the meeting. The caller drops
// the frame.
var ErrNoKey = errors.New("e2ee: no key to send with")

// ErrUnknownEpoch means that a frame names an epoch that is not known yet. The
// caller may try the frame again within 250 ms, since media can overtake a
// commit, and drops it after that.
var ErrUnknownEpoch = errors.New("e2ee: frame of an epoch not known yet")

// ErrRefused means that a frame does not open. It does not say why; the caller
// drops the frame and counts.
var ErrRefused = errors.New("e2ee: frame refused")

// ErrFrame means that a frame cannot be sealed: its kind is unknown or it is
// too short or too long for its kind. The caller has a defect.
var ErrFrame = errors.New("e2ee: not a frame that can be sealed")

// ErrEpoch means that a keyring was asked for an epoch that is not what the
// method's doc demands.
var ErrEpoch = errors.New("e2ee: epoch out of order")

// MaxFrameSize bounds an encoded frame in bytes. A key frame of 1080p at the
// rates of this product has a tenth of it.
const MaxFrameSize = 4 << 20

// Overhead is how many bytes a sealed frame is longer than its frame, at the
// most: the SFrame header and the tag.
const Overhead = 17 + 16

// A profile says how frames of one kind are sealed:
//
//	clear || SFrame header || ciphertext || tag
//
// The metadata of RFC 9605 is the codec and then the clear bytes, so both are
// authenticated.
type profile struct {
	codec byte // enters the metadata; part of the wire format
	clear int  // how many leading bytes of the frame stay clear: 0 or 1
}

// Values of profile.codec.
const (
	codecVP8  = 1
	codecOpus = 2
)

// profileOf returns the profile of frames of kind k. Of VP8 the first byte
// stays clear, which tells key frames from others (RFC 7741, Section 4.3); of
// Opus nothing does.
func profileOf(k frame.Kind) (profile, bool) {
	switch k {
	case frame.Audio:
		return profile{codec: codecOpus}, true
	case frame.Camera, frame.Content:
		return profile{codec: codecVP8, clear: 1}, true
	}
	return profile{}, false
}

// kinds is how many kinds there are; they count from 0.
const kinds = int(frame.Content) + 1
