// SPDX-License-Identifier: Apache-2.0

package sim

import (
	"math"

	"incamera/media/frame"
)

// A paint colours one moving part. Its luma varies across the part, as light
// from a window models a round body; its colour does not.
type paint struct {
	luma   [64]uint8 // from the left edge to the right edge
	cb, cr uint8
}

// shaded returns the paint of a round part of the given colour. light is the
// change of luma from the left edge to the right one, round how much darker
// both edges are than the middle.
func shaded(c rgb, light, round float64) *paint {
	y, cb, cr := c.yuv()
	p := &paint{cb: uint8(cb + 0.5), cr: uint8(cr + 0.5)}
	for i := range p.luma {
		u := float64(i)/63*2 - 1
		p.luma[i] = uint8(min(max(y+light*u/2-round*u*u, 24), 225) + 0.5)
	}
	return p
}

// span paints row y from x0 to x1, whose ends fall between pixels and are
// blended. Chroma is painted on even rows.
func (c *paint) span(p *frame.Picture, y int, x0, x1 float64) {
	if y < 0 || y >= p.Height || x1 <= x0 || x1 <= 0 || x0 >= float64(p.Width) {
		return
	}
	row := p.Pix[y*p.Width : (y+1)*p.Width]
	step := int(63 * 65536 / (x1 - x0))
	left, right := max(int(math.Ceil(x0)), 0), min(int(math.Floor(x1)), p.Width)
	u := int((float64(left) - x0) * float64(step))
	for x := left; x < right; x++ {
		row[x] = c.luma[u>>16&63]
		u += step
	}
	if left > 0 && left <= right {
		row[left-1] = blend(row[left-1], c.luma[0], float64(left)-x0)
	}
	if right < p.Width && right >= left {
		row[right] = blend(row[right], c.luma[63], x1-float64(right))
	}
	if y%2 == 0 {
		at, w := y/2*(p.Width/2), p.Width/2
		chroma(p.Cb()[at:at+w], c.cb, x0/2, x1/2)
		chroma(p.Cr()[at:at+w], c.cr, x0/2, x1/2)
	}
}

func chroma(row []byte, v uint8, x0, x1 float64) {
	left, right := max(int(math.Ceil(x0)), 0), min(int(math.Floor(x1)), len(row))
	for x := left; x < right; x++ {
		row[x] = v
	}
	if left > 0 && left <= right {
		row[left-1] = blend(row[left-1], v, float64(left)-x0)
	}
	if right < len(row) && right >= left {
		row[right] = blend(row[right], v, x1-float64(right))
	}
}

func blend(old, v uint8, part float64) uint8 {
	return uint8(float64(old) + (float64(v)-float64(old))*min(max(part, 0), 1) + 0.5)
}

// A view maps the design space, 1280 units wide and 720 high, to a picture. It
// fills the height and keeps the middle in the middle.
type view struct{ scale, left float64 }

func newView(width, height int) view {
	s := float64(height) / 720
	return view{s, float64(width)/2 - 640*s}
}

func (v view) x(x float64) float64 { return v.left + x*v.scale }
func (v view) y(y float64) float64 { return y * v.scale }

// A brush paints moving parts in the design space.
type brush struct {
	p *frame.Picture
	view
}

// ellipse paints an ellipse leaning by the angle lean, in radians, between the
// rows top and bottom.
func (b brush) ellipse(c *paint, cx, cy, rx, ry, lean, top, bottom float64) {
	cx, cy, rx, ry = b.x(cx), b.y(cy), rx*b.scale, ry*b.scale
	sin, cos := math.Sincos(lean)
	// With d the offset from the middle: qa*dx^2 + 2*qb*dx*dy + qc*dy^2 = 1.
	qa := cos*cos/(rx*rx) + sin*sin/(ry*ry)
	qb := cos * sin * (1/(rx*rx) - 1/(ry*ry))
	qc := sin*sin/(rx*rx) + cos*cos/(ry*ry)
	reach := math.Sqrt(rx*rx*sin*sin + ry*ry*cos*cos)
	for y := int(math.Ceil(max(cy-reach, b.y(top)))); y <= int(min(cy+reach, b.y(bottom))); y++ {
		dy := float64(y) - cy
		root := qb*qb*dy*dy - qa*(qc*dy*dy-1)
		if root > 0 {
			r := math.Sqrt(root)
			c.span(b.p, y, cx+(-qb*dy-r)/qa, cx+(-qb*dy+r)/qa)
		}
	}
}

func (b brush) disc(c *paint, cx, cy, rx, ry, lean float64) {
	b.ellipse(c, cx, cy, rx, ry, lean, -1e6, 1e6)
}

// limb paints what a disc covers on its way from one place to another while its
// radius changes.
func (b brush) limb(c *paint, x0, y0, r0, x1, y1, r1 float64) {
	const steps = 24
	x0, y0, r0, x1, y1, r1 = b.x(x0), b.y(y0), r0*b.scale, b.x(x1), b.y(y1), r1*b.scale
	for y := int(math.Ceil(min(y0-r0, y1-r1))); y <= int(max(y0+r0, y1+r1)); y++ {
		low, high := math.Inf(1), math.Inf(-1)
		for i := range steps + 1 {
			t := float64(i) / steps
			r, dy := r0+(r1-r0)*t, float64(y)-(y0+(y1-y0)*t)
			if half := r*r - dy*dy; half > 0 {
				half = math.Sqrt(half)
				x := x0 + (x1-x0)*t
				low, high = min(low, x-half), max(high, x+half)
			}
		}
		c.span(b.p, y, low, high)
	}
}
