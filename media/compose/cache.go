// SPDX-License-Identifier: Apache-2.0

package compose

import "image/color"

// A spriteKey is everything that a drawing depends on.
type spriteKey struct {
	kind        spriteKind
	text        string
	size, width int
	bold, muted bool
	badge       Badge
	ink         color.RGBA
}

type spriteKind uint8

const (
	textSprite spriteKind = iota
	labelSprite
	plaqueSprite
	bannerSprite
	badgeSprite
	callSprite
)

// maxSprites bounds the cache: a full stage uses about 30.
const maxSprites = 128

// drawn is a sprite and the last plan that used it.
type drawn struct {
	s   *sprite
	age uint64
}

// sprite gives the drawing for k, made by draw if no earlier plan had it: a
// scene that changes in one tile draws one label.
func (st *Stage) sprite(k spriteKey, draw func() *sprite) *sprite {
	d := st.sprites[k]
	if d == nil {
		if len(st.sprites) >= maxSprites {
			clear(st.sprites) // those in use stay with the plan
		}
		d = &drawn{s: draw()}
		st.sprites[k] = d
	}
	d.age = st.age
	return d.s
}

// sweep forgets what neither this plan nor the one before used.
func (st *Stage) sweep() {
	for k, d := range st.sprites {
		if d.age+1 < st.age {
			delete(st.sprites, k)
		}
	}
	if len(st.rounds) > maxFaces {
		clear(st.rounds)
	}
	st.age++
}

// text is a line without a backdrop, nil if nothing of it fits.
func (st *Stage) text(s string, bold bool, size, width int, c color.RGBA) *sprite {
	k := spriteKey{kind: textSprite, text: s, bold: bold, size: size, width: width, ink: c}
	return st.sprite(k, func() *sprite { return st.letters.text(s, bold, size, width, c) })
}

// plaque is a line on a backdrop, in the colour of a warning.
func (st *Stage) plaque(s string, size, width int) *sprite {
	return st.sprite(spriteKey{kind: plaqueSprite, text: s, size: size, width: width}, func() *sprite {
		line := style{size: size}
		s := st.letters.shorten(line, s, width-size*5/4)
		return st.letters.line([]piece{{text: s, style: line, ink: warning}}, backdrop)
	})
}

// label is the name of a tile with its marks.
func (st *Stage) label(t *Tile, size, width int) *sprite {
	k := spriteKey{kind: labelSprite, text: t.Name, size: size, width: width, muted: t.Muted, badge: t.Badge}
	return st.sprite(k, func() *sprite { return st.letters.label(t, &st.words, size, width) })
}

func (st *Stage) corners(radius int) [4]*sprite {
	c, ok := st.rounds[radius]
	if !ok {
		c = corners(radius)
		st.rounds[radius] = c
	}
	return c
}
