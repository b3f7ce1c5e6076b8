// SPDX-License-Identifier: Apache-2.0

// Package sound plays and captures the room's sound through ALSA, both on one
// clock, by way of miniaudio (malgo).
//
// It offers the microphone and the loudspeaker together, as a [Duplex]: echo
// is cancelled by comparing samples that count the same time. So there is no
// driver of pion/mediadevices here, which could only offer the microphone, on
// a clock of its own; [Devices] lists what there is. It does not mix, cancel
// or encode.
//
// Without cgo it compiles, and Devices and Open return [ErrNotBuilt].
package sound

import "errors"

// ErrNotBuilt means that the program was built without cgo and has no sound.
var ErrNotBuilt = errors.New("sound: this program was built without cgo")

// ErrNotFound means that the device that was asked for is not there. The
// caller waits until it is plugged in, or takes another.
var ErrNotFound = errors.New("sound: no such device")

// ErrLost means that the device went away or fell silent. The caller closes
// the Duplex and opens it again when the device is back.
var ErrLost = errors.New("sound: the device is gone: check its cable")

// A Device can capture sound, play it, or do both.
type Device struct {
	Name    string // as the kernel's drivers tell it, the same after each plugging in
	Capture bool   // it has a microphone
	Play    bool   // it has a loudspeaker
	Default bool   // what an empty name in Config stands for
}

// Config names the devices of a Duplex, as [Devices] lists them; empty names
// stand for the default. Two different devices run on two clocks: prefer one
// speakerphone.
type Config struct {
	Capture, Play string
}

// Counts tells what went wrong since the device was opened.
type Counts struct {
	Underruns uint64 // periods of which a part was played as silence, because none was there in time
	Overruns  uint64 // captured periods that were lost, because nobody took them in time
}
