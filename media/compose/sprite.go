// SPDX-License-Identifier: Apache-2.0

package compose

import (
	"image"
	"image/color"

	"incamera/media/frame"
)

// A colour is one of BT.601, limited range, as pictures have it.
type colour struct{ y, cb, cr byte }

// limited converts sRGB to BT.601 limited range, by the rounded integers of
// ITU-R BT.601 in 8 bits.
func limited(c color.RGBA) colour {
	r, g, b := int(c.R), int(c.G), int(c.B)
	return colour{
		byte((66*r+129*g+25*b+128)>>8 + 16),
		byte((-38*r-74*g+112*b+128)>>8 + 128),
		byte((112*r-94*g-18*b+128)>>8 + 128),
	}
}

// A sprite is a drawing to be laid on pictures: the colours of a picture and
// how much of them covers what is below.
type sprite struct {
	frame.Picture
	alpha []byte // Width*Height
}

func (s *sprite) size() image.Point { return image.Pt(s.Width, s.Height) }

// newSprite converts a drawing, which has even sides.
func newSprite(m *image.RGBA) *sprite {
	w, h := m.Rect.Dx(), m.Rect.Dy()
	s := &sprite{*frame.NewPicture(w, h), make([]byte, w*h)}
	luma, cb, cr := s.Y(), s.Cb(), s.Cr()
	for y := 0; y < h; y += 2 {
		for x := 0; x < w; x += 2 {
			// The chroma of four pixels is the mean by coverage: where
			// nothing covers, a colour has no say.
			var sumB, sumR, weight int
			for _, d := range [...]image.Point{{0, 0}, {1, 0}, {0, 1}, {1, 1}} {
				px := m.RGBAAt(x+d.X, y+d.Y)
				c := limited(straight(px))
				i := (y+d.Y)*w + x + d.X
				luma[i], s.alpha[i] = c.y, px.A
				sumB += int(c.cb) * int(px.A)
				sumR += int(c.cr) * int(px.A)
				weight += int(px.A)
			}
			if weight > 0 {
				i := y/2*(w/2) + x/2
				cb[i], cr[i] = byte((sumB+weight/2)/weight), byte((sumR+weight/2)/weight)
			}
		}
	}
	return s
}

// straight takes the alpha out of the colours, which package image multiplies
// in.
func straight(c color.RGBA) color.RGBA {
	if c.A == 0 {
		return color.RGBA{}
	}
	a := uint32(c.A)
	div := func(v uint8) uint8 { return uint8(min((uint32(v)*255+a/2)/a, 255)) }
	return color.RGBA{div(c.R), div(c.G), div(c.B), 255}
}

// A veil is one row of one colour and its coverage, for the widest picture.
type veil struct{ y, cb, cr, alpha []byte }

func newVeil(c colour, alpha byte) *veil {
	row := func(v byte) []byte {
		b := make([]byte, frame.MaxSide)
		for i := range b {
			b[i] = v
		}
		return b
	}
	return &veil{row(c.y), row(c.cb), row(c.cr), row(alpha)}
}
