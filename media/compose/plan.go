// SPDX-License-Identifier: Apache-2.0

package compose

import (
	"image"
	"image/color"
	"time"

	"incamera/media/frame"
)

// frozen is how old a picture may be before it is no longer shown as live.
const frozen = time.Second

// look is how a tile appears.
type look uint8

const (
	live    look = iota
	waiting      // no picture has come yet
	off          // the camera is off on purpose
	stale        // the picture stopped
	lost         // the connection is lost
)

// An item is a tile at its place, with everything that was drawn for it.
type item struct {
	tile  Tile
	box   *mailbox
	place image.Rectangle
	look  look
	since time.Time // of the last picture, where look says that it stopped
	small bool      // the self view in its corner: no name
	round bool      // with rounded corners, among others
	// content is shown to its last pixel; of a camera a little may be cut.
	content bool

	stamps []stamp
	border []image.Rectangle
}

// A stamp is a sprite at its place.
type stamp struct {
	at image.Point
	s  *sprite
}

// A plan is everything the stage draws, worked out once per change.
type plan struct {
	size   image.Rectangle
	scene  *Scene
	items  []item
	stamps []stamp // over all tiles, or the card
}

// appearance tells how the tile of it appears at now.
func (it *item) appearance(now time.Time) look {
	switch {
	case it.tile.Lost:
		return lost
	case it.tile.CameraOff:
		return off
	case !it.box.some:
		return waiting
	case now.Sub(it.box.since) >= frozen:
		return stale
	}
	return live
}

// arrange decides which tile is where.
func arrange(s *Scene, boxes map[ID]*mailbox, size image.Rectangle) []item {
	tiles := make([]Tile, 0, len(s.Tiles)+2)
	if s.Content != nil {
		tiles = append(tiles, *s.Content)
	}
	large := s.Layout == SpeakerLayout && s.Content == nil
	for _, t := range s.Tiles {
		tiles = append(tiles, t)
		if large && t.ID == s.Large { // to the front, the others keep their order
			copy(tiles[1:], tiles[:len(tiles)-1])
			tiles[0] = t
		}
	}
	corner := s.Self != nil && s.SelfView == SelfCorner
	if s.Self != nil && s.SelfView == SelfTile {
		tiles = append(tiles, *s.Self)
	}
	var places []image.Rectangle
	if s.Layout == SpeakerLayout || s.Content != nil {
		places = Speaker(size, len(tiles))
	} else {
		places = Grid(size, len(tiles))
	}
	items := make([]item, 0, len(places)+1)
	for i, place := range places {
		items = append(items, item{tile: tiles[i], box: boxes[tiles[i].ID], place: place, round: len(places) > 1, content: i == 0 && s.Content != nil})
	}
	if corner {
		if place := Corner(size); !place.Empty() {
			items = append(items, item{tile: *s.Self, box: boxes[s.Self.ID], place: place, small: true})
		}
	}
	return items
}

// newPlan draws what the scene needs.
func (st *Stage) newPlan(s *Scene, boxes map[ID]*mailbox, size image.Rectangle, now time.Time) *plan {
	p := &plan{size: size, scene: s, items: arrange(s, boxes, size)}
	for i := range p.items {
		it := &p.items[i]
		it.look, it.since = it.appearance(now), it.box.since
		st.dress(it, size)
	}
	if len(s.Tiles) == 0 && s.Content == nil && s.Card != nil && (s.Self == nil || s.SelfView != SelfTile) {
		p.stamps = st.card(s.Card, size)
	}
	if text := clean(s.Banner); text != "" {
		px := max(size.Dy()/30, 9)
		b := st.sprite(spriteKey{kind: bannerSprite, text: text, size: px, width: size.Dx() * 3 / 5}, func() *sprite {
			t := st.letters
			line := style{size: px}
			text := t.shorten(line, text, size.Dx()*3/5)
			return t.line([]piece{{text: text, style: line, ink: ink}}, backdrop)
		})
		at := image.Pt(size.Min.X+(size.Dx()-b.Width)/2, size.Max.Y-b.Height-3*spacing(size))
		p.stamps = append(p.stamps, place(at, b))
	}
	return p
}

// place puts a sprite on even pixels.
func place(at image.Point, s *sprite) stamp { return stamp{image.Pt(at.X&^1, at.Y&^1), s} }

// dress draws what stands on a tile.
func (st *Stage) dress(it *item, size image.Rectangle) {
	it.stamps, it.border = it.stamps[:0], it.border[:0]
	px := nameSize(it.place, size)
	margin := max(spacing(size), it.place.Dy()/40&^1)
	if it.round {
		for i, s := range st.corners(max(it.place.Dy()/36, 4)) {
			at := image.Pt(it.place.Min.X, it.place.Min.Y)
			if i%2 == 1 {
				at.X = it.place.Max.X - s.Width
			}
			if i/2 == 1 {
				at.Y = it.place.Max.Y - s.Height
			}
			it.stamps = append(it.stamps, stamp{at, s})
		}
		if it.tile.Speaking {
			it.border = frameOf(it.place, max(size.Dy()/180, 2)&^1)
		}
	}
	if it.small {
		it.border = frameOf(it.place, 2)
	}
	if it.look != live {
		st.message(it, px)
	}
	if it.small {
		return // no room for a name
	}
	tile := it.tile
	if it.named() {
		tile.Name = ""
	}
	s := st.label(&tile, px, it.place.Dx()-2*margin)
	if s == nil {
		return
	}
	it.stamps = append(it.stamps, place(image.Pt(it.place.Min.X+margin, it.place.Max.Y-margin-s.Height+1), s))
}

// named reports whether the name stands large in the middle, where a picture
// would be.
func (it *item) named() bool { return it.look != live && !it.hasPicture() }

// message writes into the middle of a tile why there is no picture.
func (st *Stage) message(it *item, px int) {
	why, colour := "", soft
	switch it.look {
	case live:
		return
	case waiting:
		why = st.words.Connecting
	case off:
		why = st.words.CameraOff
	case stale:
		why = st.words.NoPictureSince + " " + it.since.Format("15:04:05")
	case lost:
		why, colour = st.words.ConnectionLost, warning
	}
	width := it.place.Dx() * 9 / 10
	if it.small {
		px = max(it.place.Dy()/9, 9)
	}
	var lines []*sprite
	switch {
	case !it.named():
		lines = append(lines, st.plaque(why, px, width))
	case it.small:
		lines = append(lines, st.text(why, false, px, width, colour))
	default:
		lines = append(lines,
			st.text(clean(it.tile.Name), true, largeSize(it.place), width, ink),
			st.text(why, false, px, width, colour))
	}
	it.stamps = append(it.stamps, column(it.place, lines, px/2)...)
}

// column puts lines below each other into the middle of r. What does not fit
// is left out.
func column(r image.Rectangle, lines []*sprite, gap int) []stamp {
	height := -gap
	for _, s := range lines {
		if s != nil {
			height += s.Height + gap
		}
	}
	var out []stamp
	y := r.Min.Y + (r.Dy()-height)/2
	for _, s := range lines {
		if s == nil {
			continue
		}
		at := image.Pt(r.Min.X+(r.Dx()-s.Width)/2, y)
		if at.X >= r.Min.X && at.Y >= r.Min.Y && at.Y+s.Height <= r.Max.Y {
			out = append(out, place(at, s))
		}
		y += s.Height + gap
	}
	return out
}

// frameOf gives four bars inside r.
func frameOf(r image.Rectangle, w int) []image.Rectangle {
	if r.Dx() <= 2*w || r.Dy() <= 2*w {
		return nil
	}
	return []image.Rectangle{
		image.Rect(r.Min.X, r.Min.Y, r.Max.X, r.Min.Y+w),
		image.Rect(r.Min.X, r.Max.Y-w, r.Max.X, r.Max.Y),
		image.Rect(r.Min.X, r.Min.Y+w, r.Min.X+w, r.Max.Y-w),
		image.Rect(r.Max.X-w, r.Min.Y+w, r.Max.X, r.Max.Y-w),
	}
}

// card draws what fills the stage while nobody else is there.
func (st *Stage) card(c *Card, size image.Rectangle) []stamp {
	h, width := size.Dy(), size.Dx()*9/10
	var lines []*sprite
	if c.Calling {
		px := h / 6
		lines = append(lines, st.sprite(spriteKey{kind: callSprite, size: px}, func() *sprite {
			m := image.NewRGBA(image.Rect(0, 0, px&^1, px&^1))
			handset(st.letters, m, m.Rect)
			return newSprite(m)
		}))
	}
	if clock := clean(c.Clock); clock != "" {
		lines = append(lines, st.text(clock, false, h/5, width, ink))
	}
	titleSize, titleInk := h/10, ink
	if c.Clock != "" {
		titleSize, titleInk = h/14, accent
	}
	lines = append(lines, st.text(clean(c.Title), true, titleSize, width, titleInk))
	if c.Badge != NoBadge {
		lines = append(lines, st.sprite(spriteKey{kind: badgeSprite, size: h / 26, badge: c.Badge}, func() *sprite {
			line := style{size: h / 26}
			return st.letters.line([]piece{
				{style: line, mark: c.Badge.mark()},
				{style: line, text: st.words.badge(c.Badge), ink: c.Badge.colour(), gap: h / 80},
			}, color.RGBA{})
		}))
	}
	for i, l := range c.Lines {
		if i == maxLines {
			break
		}
		lines = append(lines, st.text(clean(l), false, h/26, width, soft))
	}
	return column(size, lines, h/40)
}

const maxLines = 4

// draw executes the plan.
func (st *Stage) draw(canvas *frame.Picture, p *plan) {
	full := len(p.items) > 0 && p.items[0].covers(p.size)
	if !full {
		fill(canvas, p.size, st.ground)
	}
	for i := range p.items {
		it := &p.items[i]
		st.drawItem(canvas, it, !full || i > 0)
	}
	for _, s := range p.stamps {
		lay(canvas, s.at, s.s)
	}
}

// covers reports whether the picture of it leaves nothing of size free.
func (it *item) covers(size image.Rectangle) bool {
	if !it.hasPicture() {
		return false
	}
	r, _ := it.fit()
	return r == size
}

// fit tells where on the stage the picture is drawn, and which part of it.
func (it *item) fit() (on, from image.Rectangle) {
	p := &it.box.shown
	if middle, ok := Halve(it.place, p.Width, p.Height); ok && !it.content {
		return it.place, middle
	}
	return Fit(it.place, p.Width, p.Height), p.Bounds()
}

// hasPicture reports whether a picture is shown, live or dimmed.
func (it *item) hasPicture() bool {
	return it.box.some && (it.look == live || it.look == stale || it.look == lost)
}

func (st *Stage) drawItem(canvas *frame.Picture, it *item, behind bool) {
	if it.hasPicture() {
		r, from := it.fit()
		if behind && r != it.place {
			fill(canvas, it.place, st.panel)
		}
		scale(canvas, r, &it.box.shown, from)
		if it.look != live {
			st.dim.lay(canvas, r)
		}
	} else {
		fill(canvas, it.place, st.panel)
	}
	c := st.accent
	if it.small && !it.tile.Speaking {
		c = st.panel
	}
	for _, r := range it.border {
		fill(canvas, r, c)
	}
	for _, s := range it.stamps {
		lay(canvas, s.at, s.s)
	}
}
