// SPDX-License-Identifier: Apache-2.0

package frame

import "time"

// The format of all sound inside a room: mono, 48 kHz, float32 from -1 to 1,
// in periods of 10 ms.
const (
	SampleRate    = 48000 // hertz
	PeriodSamples = 480
	Period        = 10 * time.Millisecond
)

// A PCM is one period of sound.
type PCM struct {
	Samples [PeriodSamples]float32
	PTS     time.Duration // instant of the first sample on CLOCK_MONOTONIC
}
