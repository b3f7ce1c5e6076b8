// SPDX-License-Identifier: Apache-2.0

package compose

import (
	"fmt"
	"image"
	"image/color"

	"golang.org/x/image/font"
	"golang.org/x/image/font/gofont/gobold"
	"golang.org/x/image/font/gofont/gomedium"
	"golang.org/x/image/font/opentype"
	"golang.org/x/image/math/fixed"
)

// maxFaces bounds the sizes of type kept ready; a stage uses about six.
const maxFaces = 24

// A typesetter draws text. One goroutine uses it.
type typesetter struct {
	medium, bold *opentype.Font
	faces        map[style]font.Face
}

type style struct {
	bold bool
	size int // pixels
}

func newTypesetter() (*typesetter, error) {
	medium, err := opentype.Parse(gomedium.TTF)
	if err != nil {
		return nil, fmt.Errorf("compose: embedded typeface: %w", err)
	}
	bold, err := opentype.Parse(gobold.TTF)
	if err != nil {
		return nil, fmt.Errorf("compose: embedded typeface: %w", err)
	}
	return &typesetter{medium: medium, bold: bold, faces: map[style]font.Face{}}, nil
}

func (t *typesetter) face(s style) font.Face {
	if f := t.faces[s]; f != nil {
		return f
	}
	if len(t.faces) >= maxFaces {
		clear(t.faces)
	}
	from := t.medium
	if s.bold {
		from = t.bold
	}
	f, err := opentype.NewFace(from, &opentype.FaceOptions{Size: float64(s.size), DPI: 72, Hinting: font.HintingNone})
	if err != nil {
		panic(err) // NewFace has no error to give
	}
	t.faces[s] = f
	return f
}

func (t *typesetter) width(s style, text string) int {
	return font.MeasureString(t.face(s), text).Ceil()
}

// shorten cuts text so that it fits, with an ellipsis.
func (t *typesetter) shorten(s style, text string, width int) string {
	if t.width(s, text) <= width {
		return text
	}
	runes := []rune(text)
	for len(runes) > 1 {
		runes = runes[:len(runes)-1]
		if short := string(runes) + "…"; t.width(s, short) <= width {
			return short
		}
	}
	return "…"
}

// A piece is a part of a line: a mark or text.
type piece struct {
	text  string
	style style
	mark  mark // drawn instead of text; as high as a capital and a half
	ink   color.RGBA
	gap   int // in front
}

func (t *typesetter) wide(p piece) int {
	if p.mark != nil {
		return p.gap + markSize(p.style)
	}
	return p.gap + t.width(p.style, p.text)
}

func markSize(s style) int { return s.size * 9 / 8 }

func (t *typesetter) length(line []piece) int {
	n := 0
	for _, p := range line {
		n += t.wide(p)
	}
	return n
}

// line draws pieces beside each other, on a rounded backdrop if behind is not
// transparent. The pieces share one size.
func (t *typesetter) line(pieces []piece, behind color.RGBA) *sprite {
	if len(pieces) == 0 {
		return nil
	}
	size := pieces[0].style.size
	height := size * 3 / 2
	side := 0
	if behind.A > 0 {
		height, side = size*15/8, size*5/8
	}
	height = (height + 1) &^ 1
	m := image.NewRGBA(image.Rect(0, 0, (t.length(pieces)+2*side+1)&^1, height))
	if behind.A > 0 {
		rounded(m, m.Rect, float32(height)*0.3, premultiplied(behind))
	}
	// Capitals of the Go fonts are 0.72 of their size high: they stand in the
	// middle of the line.
	base := height/2 + size*36/100
	x := side
	for _, p := range pieces {
		x += p.gap
		if p.mark != nil {
			n := markSize(p.style)
			p.mark(t, m, image.Rect(x, (height-n)/2, x+n, (height-n)/2+n))
			x += n
			continue
		}
		d := font.Drawer{Dst: m, Src: image.NewUniform(p.ink), Face: t.face(p.style), Dot: fixed.P(x, base)}
		d.DrawString(p.text)
		x += t.width(p.style, p.text)
	}
	return newSprite(m)
}

// text is a line of one piece without a backdrop, at most width wide.
func (t *typesetter) text(s string, bold bool, size, width int, c color.RGBA) *sprite {
	st := style{bold, size}
	if s = t.shorten(st, s, width); s == "" || s == "…" {
		return nil
	}
	return t.line([]piece{{text: s, style: st, ink: c}}, color.RGBA{})
}

// label is the name of a tile, if it has one, with its marks, at most width
// wide; nil if it has neither. What does not fit goes in this order: the badge's word, then the end of the name; the
// marks stay.
func (t *typesetter) label(tile *Tile, w *Words, size, width int) *sprite {
	st := style{size: size}
	width -= size * 10 / 8 // the backdrop's sides
	var muted, badge []piece
	if tile.Muted {
		muted = []piece{{style: st, mark: microphoneOff}}
	}
	if tile.Badge != NoBadge {
		badge = []piece{
			{style: st, mark: tile.Badge.mark(), gap: size * 5 / 8},
			{style: st, text: w.badge(tile.Badge), ink: tile.Badge.colour(), gap: size / 4},
		}
	}
	name := piece{text: clean(tile.Name), style: style{bold: true, size: size}, ink: ink}
	if name.text == "" {
		if len(muted) == 0 && len(badge) > 0 {
			badge[0].gap = 0
		}
		return t.line(append(muted, badge...), backdrop)
	}
	if len(muted) > 0 {
		name.gap = size * 3 / 8
	}
	if len(badge) > 0 && t.length(muted)+t.wide(name)+t.length(badge) > width {
		badge = badge[:1]
	}
	name.text = t.shorten(name.style, name.text, width-t.length(muted)-t.length(badge)-name.gap)
	line := append(muted, name)
	return t.line(append(line, badge...), backdrop)
}

func premultiplied(c color.RGBA) color.RGBA {
	return color.RGBAModel.Convert(color.NRGBA(c)).(color.RGBA)
}
