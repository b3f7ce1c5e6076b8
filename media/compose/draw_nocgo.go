// SPDX-License-Identifier: Apache-2.0

//go:build !cgo

package compose

import (
	"image"

	"incamera/media/frame"
)

// Without libyuv nothing draws: New refuses with ErrNotBuilt.
const built = false

func whole(*frame.Picture) bool { return false }

func fill(*frame.Picture, image.Rectangle, colour) {}

func scale(*frame.Picture, image.Rectangle, *frame.Picture, image.Rectangle) {}

func lay(*frame.Picture, image.Point, *sprite) {}

func (*veil) lay(*frame.Picture, image.Rectangle) {}
