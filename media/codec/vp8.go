// SPDX-License-Identifier: Apache-2.0

package codec

import (
	"errors"
	"fmt"

	"incamera/media/frame"
)

// errVP8Header is one error for every malformed header: nobody acts on which.
var errVP8Header = errors.New("codec: not a VP8 frame")

// A vp8Header is what the first bytes of a VP8 frame say (RFC 6386, Section
// 9.1).
//
//	 0                   1                   2
//	 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3
//	+-+-----+-+-------------------------------------+
//	|D| ver |S|      size of the first partition    |  little endian
//	+-+-----+-+-------------------------------------+
//
// D is 0 for a key frame, S is 1 for a picture to be shown. A key frame goes
// on with the bytes 9d 01 2a, then width and height of 14 bits, each below two
// bits of scaling that only a player would heed.
type vp8Header struct {
	key           bool
	width, height int // of a key frame
}

// parseVP8 reads the header of a frame and refuses what this package will not
// give to libvpx: another profile than we send, a picture that is not to be
// shown, a first partition longer than the frame, a size out of bounds.
func parseVP8(b []byte) (vp8Header, error) {
	if len(b) < 4 {
		return vp8Header{}, errVP8Header
	}
	tag := uint32(b[0]) | uint32(b[1])<<8 | uint32(b[2])<<16
	h := vp8Header{key: tag&1 == 0}
	version, shown, first := tag>>1&7, tag>>4&1 == 1, int(tag>>5)
	body := b[3:]
	if h.key {
		if len(body) < 8 || body[0] != 0x9d || body[1] != 0x01 || body[2] != 0x2a {
			return vp8Header{}, errVP8Header
		}
		h.width = (int(body[3]) | int(body[4])<<8) & 0x3fff
		h.height = (int(body[5]) | int(body[6])<<8) & 0x3fff
		body = body[7:]
		if err := frame.CheckSize(h.width, h.height); err != nil {
			return vp8Header{}, err
		}
		if h.width > MaxWidth || h.height > MaxHeight {
			return vp8Header{}, fmt.Errorf("codec: picture of %dx%d: at most %dx%d is decoded", h.width, h.height, MaxWidth, MaxHeight)
		}
	}
	if version > 3 || !shown || first == 0 || first > len(body) {
		return vp8Header{}, errVP8Header
	}
	return h, nil
}

// IsVP8Key reports whether the first byte of a VP8 frame says that it is a key
// frame. On a sealed frame, whose first byte stays clear, it is only a hint
// until the seal is opened.
func IsVP8Key(b []byte) bool { return len(b) > 0 && b[0]&1 == 0 }
