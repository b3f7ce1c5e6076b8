// SPDX-License-Identifier: Apache-2.0

package compose

import (
	"image"
	"image/color"
	"image/draw"
	"math"

	"golang.org/x/image/font"
	"golang.org/x/image/math/fixed"
	"golang.org/x/image/vector"
)

// A mark draws a sign into a square.
type mark func(t *typesetter, m *image.RGBA, box image.Rectangle)

func (b Badge) mark() mark {
	switch b {
	case NoBadge, Unverified:
	case Verified:
		return shield
	case Caution:
		return triangle
	case Failed:
		return octagon
	}
	return circle
}

// A pen draws filled shapes in the unit square, which it maps to box.
type pen struct {
	m   *image.RGBA
	box image.Rectangle
	r   *vector.Rasterizer
}

func newPen(m *image.RGBA, box image.Rectangle) *pen {
	return &pen{m, box, vector.NewRasterizer(box.Dx(), box.Dy())}
}

func (p *pen) at(x, y float32) (float32, float32) {
	return x * float32(p.box.Dx()), y * float32(p.box.Dy())
}

func (p *pen) move(x, y float32) { p.r.MoveTo(p.at(x, y)) }
func (p *pen) line(x, y float32) { p.r.LineTo(p.at(x, y)) }
func (p *pen) quad(bx, by, x, y float32) {
	b, c := p.at(bx, by)
	d, e := p.at(x, y)
	p.r.QuadTo(b, c, d, e)
}

// polygon adds the points of a closed shape.
func (p *pen) polygon(xy ...float32) {
	for i := 1; i < len(xy); i += 2 {
		if x, y := xy[i-1], xy[i]; i == 1 {
			p.move(x, y)
		} else {
			p.line(x, y)
		}
	}
	p.r.ClosePath()
}

// disc adds a circle, or with other corners a regular polygon, turned by half
// a corner.
func (p *pen) disc(x, y, radius float32, corners int) {
	xy := make([]float32, 0, 2*corners)
	for i := range corners {
		s, c := math.Sincos(2 * math.Pi * (float64(i) + 0.5) / float64(corners))
		xy = append(xy, x+radius*float32(c), y+radius*float32(s))
	}
	p.polygon(xy...)
}

// stroke draws lines with round ends. Each part is inked on its own, since
// shapes that overlap in one path may cancel out.
func (p *pen) stroke(c color.RGBA, width float32, xy ...float32) {
	for i := 0; i+1 < len(xy); i += 2 {
		p.disc(xy[i], xy[i+1], width/2, 24)
		p.ink(c)
		if i == 0 {
			continue
		}
		x0, y0, x1, y1 := xy[i-2], xy[i-1], xy[i], xy[i+1]
		dx, dy := x1-x0, y1-y0
		n := width / 2 / float32(math.Hypot(float64(dx), float64(dy)))
		nx, ny := -dy*n, dx*n
		p.polygon(x0+nx, y0+ny, x1+nx, y1+ny, x1-nx, y1-ny, x0-nx, y0-ny)
		p.ink(c)
	}
}

// ink fills what was added and begins anew.
func (p *pen) ink(c color.RGBA) {
	p.r.DrawOp = draw.Over
	p.r.Draw(p.m, p.box, image.NewUniform(c), image.Point{})
	p.r.Reset(p.box.Dx(), p.box.Dy())
}

// shield with a tick: verified.
func shield(_ *typesetter, m *image.RGBA, box image.Rectangle) {
	p := newPen(m, box)
	p.move(0.5, 0.02)
	p.quad(0.7, 0.15, 0.92, 0.16)
	p.line(0.92, 0.48)
	p.quad(0.9, 0.82, 0.5, 0.98)
	p.quad(0.1, 0.82, 0.08, 0.48)
	p.line(0.08, 0.16)
	p.quad(0.3, 0.15, 0.5, 0.02)
	p.r.ClosePath()
	p.ink(good)
	p.stroke(ground, 0.12, 0.28, 0.5, 0.45, 0.66, 0.73, 0.34)
}

// triangle with an exclamation mark: caution.
func triangle(_ *typesetter, m *image.RGBA, box image.Rectangle) {
	p := newPen(m, box)
	p.polygon(0.5, 0.04, 0.99, 0.93, 0.01, 0.93)
	p.ink(warning)
	p.stroke(ground, 0.11, 0.5, 0.36, 0.5, 0.6)
	p.disc(0.5, 0.78, 0.065, 24)
	p.ink(ground)
}

// octagon with a cross: failed.
func octagon(_ *typesetter, m *image.RGBA, box image.Rectangle) {
	p := newPen(m, box)
	p.disc(0.5, 0.5, 0.5, 8)
	p.ink(bad)
	p.stroke(ground, 0.12, 0.32, 0.32, 0.68, 0.68)
	p.stroke(ground, 0.12, 0.68, 0.32, 0.32, 0.68)
}

// circle with a question mark: unknown.
func circle(t *typesetter, m *image.RGBA, box image.Rectangle) {
	p := newPen(m, box)
	p.disc(0.5, 0.5, 0.48, 48)
	p.ink(soft)
	s := style{bold: true, size: max(box.Dy()*3/4, 4)}
	f := t.face(s)
	w := font.MeasureString(f, "?")
	d := font.Drawer{Dst: m, Src: image.NewUniform(ground), Face: f}
	d.Dot = fixed.Point26_6{
		X: fixed.I(box.Min.X) + (fixed.I(box.Dx())-w)/2,
		Y: fixed.I(box.Min.Y) + (fixed.I(box.Dy())+fixed.I(s.size)*72/100)/2,
	}
	d.DrawString("?")
}

// microphoneOff is a microphone, crossed out.
func microphoneOff(_ *typesetter, m *image.RGBA, box image.Rectangle) {
	p := newPen(m, box)
	const line = 0.09
	p.stroke(bad, 0.3, 0.5, 0.22, 0.5, 0.45)
	p.stroke(bad, line, 0.24, 0.42, 0.26, 0.54, 0.34, 0.66, 0.5, 0.71, 0.66, 0.66, 0.74, 0.54, 0.76, 0.42)
	p.stroke(bad, line, 0.5, 0.72, 0.5, 0.92)
	p.stroke(bad, line, 0.34, 0.93, 0.66, 0.93)
	p.stroke(ground, 0.22, 0.14, 0.12, 0.86, 0.84)
	p.stroke(bad, line, 0.12, 0.1, 0.88, 0.86)
}

// handset is a telephone receiver: somebody calls.
func handset(_ *typesetter, m *image.RGBA, box image.Rectangle) {
	p := newPen(m, box)
	p.disc(0.5, 0.5, 0.5, 96)
	p.ink(accent)
	p.stroke(ground, 0.1, 0.36, 0.36, 0.37, 0.46, 0.45, 0.55, 0.54, 0.63, 0.64, 0.64)
	p.stroke(ground, 0.17, 0.35, 0.31, 0.37, 0.39)
	p.stroke(ground, 0.17, 0.69, 0.65, 0.61, 0.63)
}

// rounded fills r with round corners.
func rounded(m *image.RGBA, r image.Rectangle, radius float32, c color.RGBA) {
	v := vector.NewRasterizer(r.Dx(), r.Dy())
	w, h := float32(r.Dx()), float32(r.Dy())
	v.MoveTo(radius, 0)
	v.LineTo(w-radius, 0)
	v.QuadTo(w, 0, w, radius)
	v.LineTo(w, h-radius)
	v.QuadTo(w, h, w-radius, h)
	v.LineTo(radius, h)
	v.QuadTo(0, h, 0, h-radius)
	v.LineTo(0, radius)
	v.QuadTo(0, 0, radius, 0)
	v.ClosePath()
	v.DrawOp = draw.Over
	v.Draw(m, r, image.NewUniform(c), image.Point{})
}

// corners are four sprites of the ground, which round off a tile: top left,
// top right, bottom left, bottom right.
func corners(radius int) [4]*sprite {
	radius = max(radius&^1, 2)
	m := image.NewRGBA(image.Rect(0, 0, 2*radius, 2*radius))
	v := vector.NewRasterizer(2*radius, 2*radius)
	// The mask of the round tile, to be turned inside out.
	p := pen{m, m.Rect, v}
	p.disc(0.5, 0.5, 0.5, 96)
	p.ink(color.RGBA{0, 0, 0, 0xff})
	var s [4]*sprite
	for i := range s {
		x0, y0 := i%2*radius, i/2*radius
		c := image.NewRGBA(image.Rect(0, 0, radius, radius))
		for y := range radius {
			for x := range radius {
				g := color.NRGBA(ground)
				g.A = 0xff - m.RGBAAt(x0+x, y0+y).A
				c.Set(x, y, g)
			}
		}
		s[i] = newSprite(c)
	}
	return s
}
