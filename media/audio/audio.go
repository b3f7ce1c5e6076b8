// SPDX-License-Identifier: Apache-2.0

// Package audio is the sound of a room between the device and the codec: it
// plays what the members of a meeting say, through one mix, and hands on what
// the room says, without the echo of that mix.
//
// The order of one period of 10 ms, in [Loop]:
//
//	JitterBuffer -> Player --+
//	JitterBuffer -> Player --+-> Mixer (volume, limiter) -> Processor.Render -> Duplex.Exchange -> loudspeaker
//	Chime -------------------+                                                        |
//	                             sink <- mute gate <- Processor.Capture <-- microphone
//
// The far end of the echo canceller is therefore exactly what is played, after
// volume and limiter, with every chime in it. The mute gate is after the
// canceller, so that the canceller stays converged, and nothing at all passes
// the gate while the room is muted.
//
// The package opens no device and knows no codec: both come through small
// interfaces. All sound is mono, 48 kHz, float32, in periods of 10 ms.
package audio

import (
	"context"
	"errors"
	"time"

	"incamera/media/frame"
)

// ErrNotBuilt means that this binary was built without cgo and has no echo
// canceller. The caller uses [Null] and says so on the panel.
var ErrNotBuilt = errors.New("audio: built without the echo canceller")

// A Duplex is a microphone and a loudspeaker on one clock.
type Duplex interface {
	// Exchange waits for the next 10 ms, takes what will be played and gives
	// what was heard, with the instant of its first sample. It keeps neither
	// argument. It returns the cause of ctx, promptly, once ctx is done; after
	// any other error the device is closed and opened anew.
	Exchange(ctx context.Context, play, heard *frame.PCM) error
	// Delay is how long a sample takes from play to heard, through both queues
	// of the device.
	Delay() time.Duration
}

// A Processor cleans the microphone. In each period Render comes first, with
// exactly the samples that will be played; then Capture. Both are called by one
// goroutine.
type Processor interface {
	Render(far *frame.PCM) error
	// Capture cleans near in place. delay is what [Duplex.Delay] says.
	Capture(near *frame.PCM, delay time.Duration) error
}

// Null is the [Processor] for a device that cancels echo itself. It changes
// nothing.
type Null struct{}

// Render implements [Processor].
func (Null) Render(*frame.PCM) error { return nil }

// Capture implements [Processor].
func (Null) Capture(*frame.PCM, time.Duration) error { return nil }

// A Source gives sound to the mix.
type Source interface {
	// Period fills the 480 samples with the next 10 ms and reports true, or
	// reports false for silence and leaves dst in any state. It is called by
	// the sound loop every 10 ms: it does not block and does not allocate.
	Period(dst *[frame.PeriodSamples]float32) bool
}
