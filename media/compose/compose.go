// SPDX-License-Identifier: Apache-2.0

// Package compose draws the stage, the picture on the room's main display:
// the rooms of the meeting, each with its name and badge, or who this room is
// and what it waits for when nobody else is there.
//
// A [Stage] takes a [Scene], which says what is shown, and decoded pictures,
// and presents whole pictures to a [Surface]. It draws I420 in ordinary memory
// with libyuv; text and marks are drawn once per change and laid on each
// picture. In a steady meeting it allocates nothing.
//
// A picture that stopped is never shown as live: after one second its tile
// dims and says so. Names, badges and states are the caller's, who takes them
// from the ratchet tree and from the verifier; this package shows them as they
// are, in the typeface of golang.org/x/image/font/gofont, which covers Latin,
// Greek and Cyrillic.
package compose

import (
	"errors"
	"time"

	"incamera/media/frame"
)

// ErrNotBuilt means that this binary was built without cgo and cannot draw. A
// room without a stage still has sound.
var ErrNotBuilt = errors.New("compose: built without libyuv")

// A Surface shows pictures. One goroutine uses it.
type Surface interface {
	// Mode is the size and the rate of what is shown.
	Mode() frame.Mode
	// Next lends a canvas, with any content, until Present. It may have
	// another size than the last one. nil means that nothing can be shown now,
	// as on an unplugged display.
	Next() *frame.Picture
	// Present takes the canvas back, shows it at the next vertical blank and
	// tells when that is, on CLOCK_MONOTONIC.
	Present(*frame.Picture) (time.Duration, error)
}
