// SPDX-License-Identifier: Apache-2.0

//go:build cgo

package compose

import (
	"bytes"
	"image"
	"image/color"
	"testing"

	"incamera/media/frame"
)

// bars is a test picture by whole numbers: bars of colour, ramps, and a number
// so that two are never equal.
func bars(width, height, seed int) *frame.Picture {
	p := frame.NewPicture(width, height)
	for y := range height {
		for x := range width {
			p.Y()[y*width+x] = byte(40 + (x*8/width*23+y*97/height+seed*31)%180)
		}
	}
	for y := range height / 2 {
		for x := range width / 2 {
			i := y*width/2 + x
			p.Cb()[i] = byte(80 + (x*16/width*29+seed*17)%96)
			p.Cr()[i] = byte(80 + (x*16/width*41+y*60/height+seed*13)%96)
		}
	}
	return p
}

func TestScaleOfOneSizeCopies(t *testing.T) {
	src := bars(64, 36, 1)
	dst := frame.NewPicture(64, 36)
	scale(dst, src.Bounds(), src, src.Bounds())
	if !bytes.Equal(dst.Pix, src.Pix) {
		t.Error("a picture drawn at its own size differs from itself")
	}
}

func TestScaleStaysInside(t *testing.T) {
	dst := frame.NewPicture(64, 36)
	dst.Fill(1, 2, 3)
	src := frame.NewPicture(320, 180)
	src.Fill(200, 100, 50)
	r := image.Rect(10, 6, 42, 24)
	scale(dst, r, src, src.Bounds())
	for y := range 36 {
		for x := range 64 {
			want := color.YCbCr{Y: 1, Cb: 2, Cr: 3}
			if image.Pt(x, y).In(r) {
				want = color.YCbCr{Y: 200, Cb: 100, Cr: 50}
			}
			if got := dst.At(x, y); got != want {
				t.Fatalf("pixel %d,%d = %v, want %v", x, y, got, want)
			}
		}
	}
}

// TestRefusedDrawings gives what C must never see.
func TestRefusedDrawings(t *testing.T) {
	s := newSprite(image.NewRGBA(image.Rect(0, 0, 8, 8)))
	for i := range s.alpha {
		s.alpha[i] = 255
	}
	v := newVeil(colour{200, 100, 50}, 255)
	short := frame.NewPicture(8, 8)
	short.Pix = short.Pix[:95]
	odd := &frame.Picture{Pix: make([]byte, 100), Width: 7, Height: 8}
	for _, r := range []image.Rectangle{
		{},
		image.Rect(-2, 0, 6, 8), image.Rect(0, 0, 80, 8), image.Rect(0, 0, 8, 80), image.Rect(0, -2, 8, 6), image.Rect(58, 0, 66, 8), image.Rect(0, 30, 8, 38),
		image.Rect(1, 0, 9, 8), image.Rect(0, 1, 8, 9),
		{Min: image.Pt(8, 8), Max: image.Pt(0, 0)},
	} {
		p := frame.NewPicture(64, 36)
		before := bytes.Clone(p.Pix)
		fill(p, r, colour{200, 100, 50})
		scale(p, r, bars(8, 8, 1), image.Rect(0, 0, 8, 8))
		scale(p, image.Rect(0, 0, 4, 4), bars(8, 8, 1), r)
		v.lay(p, r)
		if !r.Empty() {
			lay(p, r.Min, s)
		}
		if !bytes.Equal(p.Pix, before) {
			t.Errorf("something was drawn into %v", r)
		}
	}
	p := frame.NewPicture(64, 36)
	before := bytes.Clone(p.Pix)
	scale(p, image.Rect(0, 0, 16, 16), short, image.Rect(0, 0, 8, 8))
	scale(p, image.Rect(0, 0, 16, 16), odd, image.Rect(0, 0, 4, 4))
	lay(p, image.Point{}, nil)
	if !bytes.Equal(p.Pix, before) {
		t.Error("a broken picture was drawn")
	}
	fill(short, image.Rect(0, 0, 8, 8), colour{})
	fill(odd, image.Rect(0, 0, 4, 4), colour{})
}

func TestSpriteCovers(t *testing.T) {
	m := image.NewRGBA(image.Rect(0, 0, 32, 4))
	for y := range 4 {
		for x := range 16 { // right half: nothing
			m.SetRGBA(x, y, color.RGBA{255, 255, 255, 255})
		}
	}
	p := frame.NewPicture(64, 36)
	p.Fill(60, 90, 150)
	lay(p, image.Pt(8, 8), newSprite(m))
	if got, want := p.At(10, 9), (color.YCbCr{Y: 235, Cb: 128, Cr: 128}); got != want {
		t.Errorf("covered pixel = %v, want white %v", got, want)
	}
	for _, at := range []image.Point{{7, 9}, {24, 9}, {39, 11}, {10, 12}, {10, 7}} {
		if got, want := p.At(at.X, at.Y), (color.YCbCr{Y: 60, Cb: 90, Cr: 150}); got != want {
			t.Errorf("pixel %v = %v, want it untouched %v", at, got, want)
		}
	}
}

func TestVeilDims(t *testing.T) {
	p := frame.NewPicture(64, 36)
	p.Fill(216, 128, 128)
	newVeil(colour{16, 128, 128}, 128).lay(p, image.Rect(2, 2, 62, 34))
	if y := p.Y()[18*64+32]; y < 114 || y > 117 {
		t.Errorf("half of 216 and half of 16 = %d, want 115 or 116", y)
	}
	if y := p.Y()[0]; y != 216 {
		t.Errorf("outside = %d, want 216", y)
	}
}

func TestLimitedRange(t *testing.T) {
	for _, tt := range []struct {
		in   color.RGBA
		want colour
	}{
		{color.RGBA{0, 0, 0, 255}, colour{16, 128, 128}},
		{color.RGBA{255, 255, 255, 255}, colour{235, 128, 128}},
		{color.RGBA{255, 0, 0, 255}, colour{82, 90, 240}},
		{color.RGBA{0, 0, 255, 255}, colour{41, 240, 110}},
	} {
		if got := limited(tt.in); got != tt.want {
			t.Errorf("limited(%v) = %v, want %v", tt.in, got, tt.want)
		}
	}
}
