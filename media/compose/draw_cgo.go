// SPDX-License-Identifier: Apache-2.0

//go:build cgo

package compose

/*
#cgo LDFLAGS: -lyuv
#cgo noescape I420Scale
#cgo nocallback I420Scale
#cgo noescape I420Copy
#cgo nocallback I420Copy
#cgo noescape I420Blend
#cgo nocallback I420Blend
#cgo noescape I420Rect
#cgo nocallback I420Rect
#include <libyuv/convert.h>
#include <libyuv/planar_functions.h>
#include <libyuv/scale.h>
*/
import "C"

import (
	"image"

	"incamera/media/frame"
)

const built = true

// planes are the first bytes of a part of a picture, and the rows' lengths.
type planes struct {
	y, u, v *C.uint8_t
	sy, suv C.int
}

// part gives the planes of p from at on. at is even and inside p.
func part(p *frame.Picture, at image.Point) planes {
	n, half := p.Width*p.Height, p.Width/2
	uv := at.Y/2*half + at.X/2
	return planes{
		(*C.uint8_t)(&p.Pix[at.Y*p.Width+at.X]),
		(*C.uint8_t)(&p.Pix[n+uv]),
		(*C.uint8_t)(&p.Pix[n+n/4+uv]),
		C.int(p.Width), C.int(half),
	}
}

// drawable reports whether r may be drawn: C checks nothing.
func drawable(p *frame.Picture, r image.Rectangle) bool {
	return !r.Empty() && r.In(image.Rect(0, 0, p.Width, p.Height)) &&
		(r.Min.X|r.Min.Y|r.Max.X|r.Max.Y)&1 == 0 && whole(p)
}

func whole(p *frame.Picture) bool {
	return frame.CheckSize(p.Width, p.Height) == nil && len(p.Pix) == p.Width*p.Height*3/2
}

// fill paints r.
func fill(p *frame.Picture, r image.Rectangle, c colour) {
	if !drawable(p, r) {
		return
	}
	d := part(p, image.Point{})
	C.I420Rect(d.y, d.sy, d.u, d.suv, d.v, d.suv,
		C.int(r.Min.X), C.int(r.Min.Y), C.int(r.Dx()), C.int(r.Dy()), C.int(c.y), C.int(c.cb), C.int(c.cr))
}

// scale draws the part from of src into all of r. Of one size it copies.
func scale(p *frame.Picture, r image.Rectangle, src *frame.Picture, from image.Rectangle) {
	if !drawable(p, r) || !drawable(src, from) {
		return
	}
	s, d := part(src, from.Min), part(p, r.Min)
	if from.Size() == r.Size() {
		C.I420Copy(s.y, s.sy, s.u, s.suv, s.v, s.suv, d.y, d.sy, d.u, d.suv, d.v, d.suv, C.int(r.Dx()), C.int(r.Dy()))
		return
	}
	C.I420Scale(s.y, s.sy, s.u, s.suv, s.v, s.suv, C.int(from.Dx()), C.int(from.Dy()),
		d.y, d.sy, d.u, d.suv, d.v, d.suv, C.int(r.Dx()), C.int(r.Dy()), C.kFilterBilinear)
}

// lay blends a sprite over the canvas with its corner at at.
func lay(p *frame.Picture, at image.Point, s *sprite) {
	if s == nil || !drawable(p, image.Rectangle{at, at.Add(s.size())}) {
		return
	}
	f, d := part(&s.Picture, image.Point{}), part(p, at)
	C.I420Blend(f.y, f.sy, f.u, f.suv, f.v, f.suv, d.y, d.sy, d.u, d.suv, d.v, d.suv,
		(*C.uint8_t)(&s.alpha[0]), C.int(s.Width), d.y, d.sy, d.u, d.suv, d.v, d.suv, C.int(s.Width), C.int(s.Height))
}

// veil lays one colour over r; v holds it and how much of it, for one row.
func (v *veil) lay(p *frame.Picture, r image.Rectangle) {
	if !drawable(p, r) || r.Dx() > frame.MaxSide {
		return
	}
	d := part(p, r.Min)
	// Every row is the first one: strides are 0.
	y, u, cr := (*C.uint8_t)(&v.y[0]), (*C.uint8_t)(&v.cb[0]), (*C.uint8_t)(&v.cr[0])
	C.I420Blend(y, 0, u, 0, cr, 0, d.y, d.sy, d.u, d.suv, d.v, d.suv,
		(*C.uint8_t)(&v.alpha[0]), 0, d.y, d.sy, d.u, d.suv, d.v, d.suv, C.int(r.Dx()), C.int(r.Dy()))
}
