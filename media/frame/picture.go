// SPDX-License-Identifier: Apache-2.0

package frame

import (
	"fmt"
	"image"
	"image/color"
	"time"
)

// MaxSide bounds the width and the height of a picture in pixels: twice 4K, so
// that sizes from a file or from the network cannot exhaust memory.
const MaxSide = 8192

// A Picture is one uncompressed picture in I420, BT.601 limited range.
//
// It is an [image.Image], so that it passes through pion/mediadevices and
// keeps its capture instant.
type Picture struct {
	// Pix holds Y, then Cb, then Cr, rows without padding: Width*Height*3/2
	// bytes.
	Pix           []byte
	Width, Height int           // pixels, both even
	PTS           time.Duration // capture instant on CLOCK_MONOTONIC
	Number        uint64        // counts the pictures of one source, from 0
}

// NewPicture returns a black picture. It panics unless both sides are even,
// positive and at most [MaxSide]: sizes from outside are checked with
// [CheckSize] first.
func NewPicture(width, height int) *Picture {
	if err := CheckSize(width, height); err != nil {
		panic(err)
	}
	p := &Picture{Pix: make([]byte, width*height*3/2), Width: width, Height: height}
	p.Fill(16, 128, 128)
	return p
}

// CheckSize reports why no picture can have this size, or nil.
func CheckSize(width, height int) error {
	if width <= 0 || height <= 0 || width > MaxSide || height > MaxSide || width%2 != 0 || height%2 != 0 {
		return fmt.Errorf("frame: picture size %dx%d: sides must be even, positive and at most %d pixels", width, height, MaxSide)
	}
	return nil
}

// Y returns the luma plane: Height rows of Width bytes.
func (p *Picture) Y() []byte { return p.Pix[:p.Width*p.Height] }

// Cb returns the blue-difference plane: Height/2 rows of Width/2 bytes.
func (p *Picture) Cb() []byte {
	n := p.Width * p.Height
	return p.Pix[n : n+n/4]
}

// Cr returns the red-difference plane: Height/2 rows of Width/2 bytes.
func (p *Picture) Cr() []byte {
	n := p.Width * p.Height
	return p.Pix[n+n/4 : n+n/2]
}

// Fill paints the whole picture in one colour.
func (p *Picture) Fill(y, cb, cr byte) {
	fill(p.Y(), y)
	fill(p.Cb(), cb)
	fill(p.Cr(), cr)
}

func fill(b []byte, v byte) {
	for i := range b {
		b[i] = v
	}
}

// CopyFrom makes p a copy of q, with q's size, instant and number. It reuses
// p's memory if that is large enough.
func (p *Picture) CopyFrom(q *Picture) {
	pix := p.Pix
	*p = *q
	p.Pix = append(pix[:0], q.Pix...)
}

// YCbCr returns a view of the picture that shares its memory, for package
// image. Its conversions take the full range of JFIF, ours is limited: use it
// where a small error of contrast does no harm.
func (p *Picture) YCbCr() *image.YCbCr {
	return &image.YCbCr{
		Y: p.Y(), Cb: p.Cb(), Cr: p.Cr(),
		YStride: p.Width, CStride: p.Width / 2,
		SubsampleRatio: image.YCbCrSubsampleRatio420,
		Rect:           image.Rect(0, 0, p.Width, p.Height),
	}
}

// ColorModel implements [image.Image].
func (p *Picture) ColorModel() color.Model { return color.YCbCrModel }

// Bounds implements [image.Image].
func (p *Picture) Bounds() image.Rectangle { return image.Rect(0, 0, p.Width, p.Height) }

// At implements [image.Image].
func (p *Picture) At(x, y int) color.Color { return p.YCbCr().YCbCrAt(x, y) }
