// SPDX-License-Identifier: Apache-2.0

//go:build !cgo

package audio

import (
	"time"

	"incamera/media/frame"
)

// A Canceller is the [Processor] that takes echo out of the microphone. This
// build has none.
type Canceller struct{}

// NewCanceller returns [ErrNotBuilt].
func NewCanceller() (*Canceller, error) { return nil, ErrNotBuilt }

// Render implements [Processor].
func (*Canceller) Render(*frame.PCM) error { return ErrNotBuilt }

// Capture implements [Processor].
func (*Canceller) Capture(*frame.PCM, time.Duration) error { return ErrNotBuilt }

// Close does nothing.
func (*Canceller) Close() error { return nil }
