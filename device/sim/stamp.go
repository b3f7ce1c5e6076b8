// SPDX-License-Identifier: Apache-2.0

package sim

import (
	"image"
	"time"

	"incamera/media/frame"
)

// A Stamp is what a camera of this package writes into its pictures, so that it
// can be read off a stage after encoding, decoding and composing:
//
//	24 bits  number of the picture, modulo 1<<24
//	48 bits  capture instant on CLOCK_MONOTONIC in units of 100 µs, modulo 1<<48
//	24 bits  CRC-24 of RFC 9580, Section 6.1.1, of the 9 bytes above
//
// The 96 bits, most significant first, are four rows of 24 grey blocks of 16 by
// 16 pixels, a one being bright: one bit in each macroblock of VP8.
type Stamp struct {
	Number uint32        // below 1<<24
	Time   time.Duration // cut to 100 µs
}

// Size of a stamp in pixels; a smaller picture gets none.
const (
	StampWidth  = stampColumns * stampBlock
	StampHeight = stampRows * stampBlock

	stampColumns, stampRows, stampBlock = 24, 4, 16
	stampBytes                          = 9
	stampUnit                           = 100 * time.Microsecond

	stampZero, stampOne          = 44, 208 // luma of the blocks
	stampBelow, stampAbove       = 100, 152
	stampMask                    = 1<<24 - 1
	stampTime              int64 = 1<<48 - 1
)

func (s Stamp) bits() (b [stampBytes + 3]byte) {
	n, t := s.Number&stampMask, int64(s.Time/stampUnit)&stampTime
	for i := range 3 {
		b[i] = byte(n >> (16 - 8*i))
	}
	for i := range 6 {
		b[3+i] = byte(t >> (40 - 8*i))
	}
	sum := crc24(b[:stampBytes])
	for i := range 3 {
		b[stampBytes+i] = byte(sum >> (16 - 8*i))
	}
	return b
}

func crc24(b []byte) uint32 {
	sum := uint32(0xb704ce)
	for _, v := range b {
		sum ^= uint32(v) << 16
		for range 8 {
			if sum <<= 1; sum&(1<<24) != 0 {
				sum ^= 0x1864cfb
			}
		}
	}
	return sum
}

// Write stamps the top left corner of p and reports whether there was room.
func (s Stamp) Write(p *frame.Picture) bool {
	if p.Width < StampWidth || p.Height < StampHeight {
		return false
	}
	luma, bits := p.Y(), s.bits()
	for i := range stampColumns * stampRows {
		v := byte(stampZero)
		if bits[i/8]>>(7-i%8)&1 == 1 {
			v = stampOne
		}
		x, y := i%stampColumns*stampBlock, i/stampColumns*stampBlock
		for row := range stampBlock {
			set(luma[(y+row)*p.Width+x:][:stampBlock], v)
		}
	}
	for _, plane := range [][]byte{p.Cb(), p.Cr()} {
		for row := range StampHeight / 2 {
			set(plane[row*(p.Width/2):][:StampWidth/2], 128)
		}
	}
	return true
}

func set(b []byte, v byte) {
	for i := range b {
		b[i] = v
	}
}

// ReadStamp reads the stamp of a picture that lies unscaled on p with its top
// left corner at x, y.
func ReadStamp(p *frame.Picture, x, y int) (Stamp, bool) {
	return readStamp(p, image.Pt(x, y), 1)
}

// ReadStampIn reads the stamp of a picture of the given width that was scaled
// to the rectangle tile of p.
func ReadStampIn(p *frame.Picture, tile image.Rectangle, width int) (Stamp, bool) {
	if width <= 0 {
		return Stamp{}, false
	}
	return readStamp(p, tile.Min, float64(tile.Dx())/float64(width))
}

// readStamp takes the mean of the middle quarter of each block. A mean between
// dark and bright, as on a grey picture, is no stamp; neither is one whose
// checksum or spelling is wrong.
func readStamp(p *frame.Picture, at image.Point, scale float64) (Stamp, bool) {
	block := stampBlock * scale
	if at.X < 0 || at.Y < 0 || block < 4 ||
		float64(at.X)+block*stampColumns > float64(p.Width) || float64(at.Y)+block*stampRows > float64(p.Height) {
		return Stamp{}, false
	}
	luma := p.Y()
	var got [stampBytes + 3]byte
	for i := range stampColumns * stampRows {
		left, top := float64(at.X)+float64(i%stampColumns)*block, float64(at.Y)+float64(i/stampColumns)*block
		x0, x1, y0, y1 := int(left+block/4), int(left+block*3/4), int(top+block/4), int(top+block*3/4)
		sum := 0
		for y := y0; y < y1; y++ {
			for _, v := range luma[y*p.Width+x0 : y*p.Width+x1] {
				sum += int(v)
			}
		}
		switch mean := sum / ((x1 - x0) * (y1 - y0)); {
		case mean > stampAbove:
			got[i/8] |= 1 << (7 - i%8)
		case mean > stampBelow:
			return Stamp{}, false
		}
	}
	var s Stamp
	for _, b := range got[:3] {
		s.Number = s.Number<<8 | uint32(b)
	}
	var t int64
	for _, b := range got[3:stampBytes] {
		t = t<<8 | int64(b)
	}
	// A time that overflows does not spell the same bits again.
	s.Time = time.Duration(t) * stampUnit
	return s, s.bits() == got
}
