// SPDX-License-Identifier: Apache-2.0

//go:build cgo

package audio

/*
#cgo CXXFLAGS: -std=c++17 -O2
#cgo noescape apm_render
#cgo nocallback apm_render
#cgo noescape apm_capture
#cgo nocallback apm_capture
#include "apm.h"
*/
import "C"

import (
	"errors"
	"fmt"
	"time"

	"incamera/media/frame"
)

// A Canceller is the [Processor] that takes echo, steady noise and rumble out
// of the microphone, by webrtc-audio-processing. One goroutine uses it.
type Canceller struct {
	apm *C.apm
}

// NewCanceller makes a canceller that knows nothing of the room yet. It learns
// within some seconds of sound.
func NewCanceller() (*Canceller, error) {
	a := C.apm_new()
	if a == nil {
		return nil, errors.New("audio: webrtc-audio-processing does not start")
	}
	return &Canceller{a}, nil
}

// Render implements [Processor].
func (c *Canceller) Render(far *frame.PCM) error {
	if c.apm == nil {
		return errClosed
	}
	if e := C.apm_render(c.apm, (*C.float)(&far.Samples[0])); e != 0 {
		return fmt.Errorf("audio: canceller refuses the far end: code %d", int(e))
	}
	return nil
}

// Capture implements [Processor].
func (c *Canceller) Capture(near *frame.PCM, delay time.Duration) error {
	if c.apm == nil {
		return errClosed
	}
	ms := min(max(delay.Milliseconds(), 0), maxDelay)
	if e := C.apm_capture(c.apm, (*C.float)(&near.Samples[0]), C.int(ms)); e != 0 {
		return fmt.Errorf("audio: canceller refuses the near end: code %d", int(e))
	}
	return nil
}

// Close frees the canceller. It may be called twice; the other methods then
// return errors.
func (c *Canceller) Close() error {
	if c.apm != nil {
		C.apm_free(c.apm)
		c.apm = nil
	}
	return nil
}

// maxDelay is the largest delay that the library takes, in milliseconds.
const maxDelay = 500

var errClosed = errors.New("audio: the canceller is closed")
