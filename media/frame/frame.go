// SPDX-License-Identifier: Apache-2.0

// Package frame is the vocabulary that devices and media share: pictures,
// sound and encoded frames, each with the instant at which it was captured.
//
// It is plain data and imports nothing of the project, so both islands may
// name it. Every instant is a reading of CLOCK_MONOTONIC, as [Now] gives it: it
// has no relation to the time of day and is comparable only between processes
// of one computer.
package frame

import (
	"time"

	"golang.org/x/sys/unix"
)

// A Kind says what a frame carries. Its value is the context of the frame's
// key identifier (RFC 9605, Section 5.2) and is part of the wire format.
type Kind uint8

// The kinds of frames.
const (
	Audio   Kind = 0 // the room's microphones, Opus
	Camera  Kind = 1 // the room's camera, VP8
	Content Kind = 2 // what the room shares, VP8
)

// String names the kind as logs and the panel do.
func (k Kind) String() string {
	switch k {
	case Audio:
		return "audio"
	case Camera:
		return "camera"
	case Content:
		return "content"
	}
	return "unknown"
}

// An Encoded frame is the output of one encoder for one picture or for one
// packet of sound. It is in clear and never leaves the room.
type Encoded struct {
	Data []byte        // owned by whoever holds the frame
	Kind Kind          //
	Key  bool          // a picture that needs no other to be decoded; always true for sound
	PTS  time.Duration // capture instant of the first sample or of the picture
}

// Now reads CLOCK_MONOTONIC, the clock of every PTS.
func Now() time.Duration {
	var ts unix.Timespec
	// It fails only for a clock that the kernel does not know.
	_ = unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts)
	return time.Duration(ts.Nano())
}
