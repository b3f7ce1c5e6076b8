// SPDX-License-Identifier: Apache-2.0

package compose

import (
	"image"
	"image/color"
)

// The colours of the stage: dark and quiet, so that the faces are the
// brightest thing on the wall. Text has a contrast of at least 7 to 1 on what
// is behind it.
var (
	ground   = color.RGBA{0x0e, 0x13, 0x1a, 0xff} // between the tiles
	panel    = color.RGBA{0x1b, 0x23, 0x2e, 0xff} // of a tile without picture
	ink      = color.RGBA{0xf2, 0xf5, 0xf8, 0xff}
	soft     = color.RGBA{0xaa, 0xb6, 0xc4, 0xff}
	accent   = color.RGBA{0x4c, 0xc2, 0xb4, 0xff} // who speaks, who calls
	good     = color.RGBA{0x5f, 0xd3, 0x9a, 0xff}
	warning  = color.RGBA{0xf5, 0xc0, 0x4e, 0xff}
	bad      = color.RGBA{0xff, 0x8a, 0x80, 0xff}
	backdrop = color.RGBA{0x0a, 0x0e, 0x13, 0xc8} // below names; not premultiplied
)

func (b Badge) colour() color.RGBA {
	switch b {
	case NoBadge, Unverified:
	case Verified:
		return good
	case Caution:
		return warning
	case Failed:
		return bad
	}
	return soft
}

// The sizes of text in pixels, by the height of what it stands in.

// nameSize is for names in a tile: 36 on a full screen of 1080 lines, and not
// much smaller in a tile of a grid.
func nameSize(tile, stage image.Rectangle) int {
	return max(min(tile.Dy()/14, stage.Dy()/30), stage.Dy()/46, 9)
}

// largeSize is for the name in a tile without a picture.
func largeSize(tile image.Rectangle) int { return max(tile.Dy()/8, 10) }
