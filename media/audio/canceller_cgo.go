// SPDX-License-Identifier: Apache-2.0

//go:build cgo

package audio

/*
#cgo CXXFLAGS: -std=c++17 -O2
#cgo noescape apm_render
#cgo nocallback apm_render
#cgo noescape apm_capture
#cgo nocallback apm_capture
#cgo noescape apm_forget
#cgo nocallback apm_forget
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
//
// The library finds the delay of the echo in the sound, but after a jump of
// 200 ms it needs 10 s. So the canceller watches what the device tells: after a
// jump it forgets the room, and has learnt it anew within 2 s.
type Canceller struct {
	apm   *C.apm
	jumps jumps
}

// NewCanceller makes a canceller that knows nothing of the room yet. It learns
// within some seconds of sound.
func NewCanceller() (*Canceller, error) {
	a := C.apm_new()
	if a == nil {
		return nil, errors.New("audio: webrtc-audio-processing does not start")
	}
	return &Canceller{apm: a}, nil
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
	ms := int(min(max(delay.Milliseconds(), 0), maxDelay))
	if c.jumps.add(ms) {
		if e := C.apm_forget(c.apm); e != 0 {
			return fmt.Errorf("audio: canceller does not begin anew: code %d", int(e))
		}
	}
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
