// SPDX-License-Identifier: Apache-2.0

// Package codec turns pictures and sound into frames and back: VP8 (RFC 6386)
// through libvpx and Opus (RFC 6716).
//
// It is the one package that stands between us and libvpx, and between us and
// the libopus that pion/mediadevices carries. It knows no network, no key and
// no clock: the instants it stamps are those it is given. What C owns is
// copied before a call returns, and C keeps no Go pointer.
//
// An encoder or decoder belongs to one goroutine, but where a method says
// otherwise. Without cgo the package compiles and the constructors that need C
// return [ErrNotBuilt].
package codec

import (
	"errors"
	"fmt"

	"incamera/media/frame"
)

// ErrNotBuilt means that the program was built without cgo and cannot encode
// sound, or pictures either way. Nothing at run time changes that.
var ErrNotBuilt = errors.New("codec: built without cgo; build with CGO_ENABLED=1 and libvpx")

// ErrKeyFrameNeeded means that the decoder has lost its references, or never
// had any: the caller asks for a key frame and feeds no other until it comes.
var ErrKeyFrameNeeded = errors.New("codec: a key frame is needed first")

// errClosed is what every method returns after Close.
var errClosed = errors.New("codec: closed")

// The largest picture that a decoder accepts: 1080p, whose height libvpx and
// many cameras round up to whole macroblocks.
const (
	MaxWidth  = 1920
	MaxHeight = 1088
)

// Bit rates that an encoder accepts, in bits a second. Below the first VP8
// gives no picture of a room; the second bounds a caller's arithmetic.
const (
	MinBitRate = 30_000
	MaxBitRate = 50_000_000
)

// A VideoConfig says what an encoder of pictures will be given and may spend.
type VideoConfig struct {
	Width, Height int // pixels; every picture has exactly this size
	FPS           int // pictures a second that are usual, 1 to 60
	BitRate       int // bits a second
}

func (c VideoConfig) check() error {
	if err := frame.CheckSize(c.Width, c.Height); err != nil {
		return err
	}
	if c.FPS < 1 || c.FPS > 60 {
		return fmt.Errorf("codec: %d pictures a second: must be 1 to 60", c.FPS)
	}
	return checkBitRate(c.BitRate)
}

func checkBitRate(bps int) error {
	if bps < MinBitRate || bps > MaxBitRate {
		return fmt.Errorf("codec: %d bit/s: must be %d to %d", bps, MinBitRate, MaxBitRate)
	}
	return nil
}

// An Effort is how much work an encoder spends on a picture. Less work costs
// quality at the same bit rate.
type Effort int

// The efforts, from the usual one to what an overloaded room falls back to.
const (
	Normal Effort = iota
	Less
	Least
)
