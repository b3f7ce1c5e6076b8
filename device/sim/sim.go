// SPDX-License-Identifier: Apache-2.0

// Package sim has scripted stand-ins for the devices of a room: a camera, a
// microphone with a loudspeaker, and a display.
//
// They are chosen by name, never by fallback, and no release binary links them.
// What they make is a function of the room's name and of a counter, so that a
// test far away from a device knows what it must have seen and heard:
//
//   - [Scene] draws the meeting room that [Camera] films; [Stamp] numbers and
//     times its pictures inside the picture itself;
//   - [Duplex] speaks with a voice that [Recognise] tells from other rooms',
//     and records what the loudspeaker played;
//   - [Display] shows the stage on a web page, and its [Witness] reads the
//     stamps off what is shown.
//
// Time runs by CLOCK_MONOTONIC, the clock of package frame. It does not imitate
// the faults of hardware: package camera has a scripted kernel for those.
package sim

import (
	"crypto/sha256"
	"encoding/binary"
	"math/rand/v2"
)

// script returns the random numbers that belong to one purpose of one room.
// They are the same in every process and for ever: recordings depend on it.
func script(purpose, room string) *rand.Rand {
	sum := sha256.Sum256([]byte(purpose + "\x00" + room))
	return rand.New(rand.NewPCG(binary.BigEndian.Uint64(sum[:8]), binary.BigEndian.Uint64(sum[8:16]))) //nolint:gosec // a script, no secret
}

// uniform returns a number from low up to high.
func uniform(r *rand.Rand, low, high float64) float64 { return low + (high-low)*r.Float64() }
