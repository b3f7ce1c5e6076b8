// SPDX-License-Identifier: Apache-2.0

package sim

import (
	"image"
	"math"

	"golang.org/x/image/font"
	"golang.org/x/image/font/gofont/gobold"
	"golang.org/x/image/font/opentype"
	"golang.org/x/image/math/fixed"
)

// Where the window is in the design space, before mirroring.
const (
	windowLeft, windowTop, windowRight, windowBottom = 96, 96, 404, 430
)

// A wallPainter paints what does not move, in full precision: smooth gradients
// must not show steps.
type wallPainter struct {
	view
	width, height int
	pix           []rgb
}

// fill lays paint over the part of the rectangle, in the design space, where
// cover, from 0 to 1, lets it.
func (w *wallPainter) fill(x0, y0, x1, y1 float64, cover func(x, y float64) float64, paint func(x, y float64) rgb) {
	left, right := max(int(w.x(x0)), 0), min(int(w.x(x1))+1, w.width)
	top, bottom := max(int(w.y(y0)), 0), min(int(w.y(y1))+1, w.height)
	for py := top; py < bottom; py++ {
		y := (float64(py) + 0.5) / w.scale
		for px := left; px < right; px++ {
			x := (float64(px) + 0.5 - w.left) / w.scale
			if part := min(cover(x, y), 1); part > 0 {
				at := &w.pix[py*w.width+px]
				*at = at.mix(paint(x, y), part)
			}
		}
	}
}

// box covers a rectangle with corners rounded by r and edges blurred by soft.
func box(x0, y0, x1, y1, r, soft float64) func(x, y float64) float64 {
	cx, cy, hx, hy := (x0+x1)/2, (y0+y1)/2, (x1-x0)/2-r, (y1-y0)/2-r
	return func(x, y float64) float64 {
		dx, dy := max(math.Abs(x-cx)-hx, 0), max(math.Abs(y-cy)-hy, 0)
		return 0.5 - (math.Hypot(dx, dy)-r)/soft
	}
}

func (w *wallPainter) box(x0, y0, x1, y1, r, soft float64, paint func(x, y float64) rgb) {
	w.fill(x0-soft, y0-soft, x1+soft, y1+soft, box(x0, y0, x1, y1, r, soft), paint)
}

func plain(c rgb) func(x, y float64) rgb { return func(_, _ float64) rgb { return c } }

// shadow darkens softly.
func (w *wallPainter) shadow(x0, y0, x1, y1, r, soft, depth float64) {
	cover := box(x0, y0, x1, y1, r, soft)
	w.fill(x0-soft, y0-soft, x1+soft, y1+soft,
		func(x, y float64) float64 { c := min(max(cover(x, y), 0), 1); return depth * c * c * (3 - 2*c) },
		plain(rgb{0.03, 0.03, 0.05}))
}

// background paints the room without what moves, as Picture.Pix.
func (l *look) background(width, height int, room string) []byte {
	w := &wallPainter{view: newView(width, height), width: width, height: height, pix: make([]rgb, width*height)}
	everywhere := func(_, _ float64) float64 { return 1 }
	x0, x1 := -w.left/w.scale, (float64(width)-w.left)/w.scale
	window := l.side((windowLeft + windowRight) / 2)

	// The wall is bright near the window and falls off to the corners.
	w.fill(x0, 0, x1, 720, everywhere, func(x, y float64) rgb {
		d := math.Hypot((x-window)/900, (y-260)/620)
		return l.wall.times(1.08-0.52*math.Min(d, 1.25)).mix(hex(0xfff1d6), 0.10*math.Exp(-d*d*6))
	})
	l.paintWindow(w)
	l.paintWall(w, room)

	// A beam of light falls from the window across the wall.
	lean := 1.0
	if l.mirrored {
		lean = -1
	}
	w.fill(x0, 120, x1, 600, func(x, y float64) float64 {
		u := (x-window)*lean - 190 - (y-120)*0.55
		in := math.Min(u/60, (210-u)/60)
		return 0.16 * min(max(in, 0), 1) * (1 - (y-120)/480) * min((y-120)/90, 1)
	}, plain(hex(0xffe9bd)))

	// The chair behind the person, then the table in front.
	w.shadow(500, 300, 810, 640, 80, 90, 0.35)
	w.box(508, 300, 772, 640, 58, 3, func(x, y float64) rgb {
		return hex(0x3a3d42).times(1.15 - 0.5*math.Abs(x-640)/132 - 0.0006*(y-300))
	})
	l.paintTable(w, x0, x1)
	return w.picture()
}

func (l *look) paintWindow(w *wallPainter) {
	left, right := l.side(windowLeft), l.side(windowRight)
	if left > right {
		left, right = right, left
	}
	dusk := hex(0x8fb4d9).mix(hex(0xd9b48f), l.hour*0.7)
	w.shadow(left-16, windowTop-6, right+22, windowBottom+26, 8, 30, 0.35)
	w.box(left-14, windowTop-14, right+14, windowBottom+14, 3, 2, plain(l.trim))
	w.box(left, windowTop, right, windowBottom, 1, 2, func(x, y float64) rgb {
		v := (y - windowTop) / (windowBottom - windowTop)
		sky := dusk.mix(hex(0xf4ead8), v*0.8)
		if hill := 300 + 22*math.Sin(x/47) + 11*math.Sin(x/19+2); y > hill {
			sky = hex(0x6f8a72).mix(dusk, 0.45)
		}
		if hill := 352 + 16*math.Sin(x/31+1) + 6*math.Sin(x/9); y > hill {
			sky = hex(0x496650).mix(dusk, 0.2)
		}
		return sky
	})
	w.box(left-26, windowBottom+12, right+26, windowBottom+30, 3, 2, func(_, y float64) rgb {
		return l.trim.times(1.05 - (y-windowBottom)/60)
	})
}

// mullions paints the bars of the window, in front of the clouds.
func (l *look) mullions(b brush) {
	x := l.side((windowLeft + windowRight) / 2)
	b.bar(l.bar, x-5, windowTop, x+5, windowBottom)
	b.bar(l.bar, l.side(windowLeft)-8, windowTop-8, l.side(windowLeft)+1, windowBottom)
	b.bar(l.bar, l.side(windowRight)-1, windowTop-8, l.side(windowRight)+8, windowBottom)
}

func (b brush) bar(c *paint, x0, y0, x1, y1 float64) {
	for y := int(b.y(y0)); y < int(b.y(y1)); y++ {
		c.span(b.p, y, b.x(x0), b.x(x1))
	}
}

func (l *look) paintWall(w *wallPainter, room string) {
	// A picture on the wall.
	px := l.side(1010)
	w.shadow(px-92, 214, px+108, 388, 6, 26, 0.4)
	w.box(px-100, 206, px+100, 372, 2, 2, plain(hex(0xe9e2d5)))
	w.box(px-86, 220, px+86, 358, 1, 2, func(x, y float64) rgb {
		u, v := (x-px)/86, (y-289)/69
		switch {
		case math.Hypot(u-0.35, v+0.3) < 0.34:
			return l.art[0]
		case v > 0.35+0.25*math.Sin(u*3):
			return l.art[1]
		case v > -0.05+0.3*math.Sin(u*2+1):
			return l.art[2]
		}
		return l.art[3]
	})
	// A shelf or sideboard in the shade and the pot of the plant.
	pot := l.side(1140)
	w.shadow(pot-70, 470, pot+76, 640, 20, 60, 0.35)
	w.box(pot-46, 478, pot+46, 640, 14, 3, func(x, _ float64) rgb {
		return hex(0xcfc6b8).times(1 - 0.35*math.Abs(x-pot)/46)
	})
	w.title(room, px, 176, 44)
}

// title writes the room's name on the wall, with its middle at x and its
// baseline at y.
func (w *wallPainter) title(name string, x, y, size float64) {
	parsed, err := opentype.Parse(gobold.TTF)
	if err != nil {
		return // the typeface is part of the program, and a name on the wall an ornament
	}
	face, err := opentype.NewFace(parsed, &opentype.FaceOptions{Size: size * w.scale, DPI: 72, Hinting: font.HintingNone})
	if err != nil {
		return
	}
	if runes := []rune(name); len(runes) > 24 {
		name = string(runes[:24])
	}
	mask := image.NewAlpha(image.Rect(0, 0, w.width, w.height))
	d := font.Drawer{Dst: mask, Src: image.Opaque, Face: face}
	d.Dot = fixed.Point26_6{X: fixed.Int26_6(w.x(x)*64) - d.MeasureString(name)/2, Y: fixed.Int26_6(w.y(y) * 64)}
	d.DrawString(name)
	at := func(px, py int) float64 {
		if !(image.Point{px, py}).In(mask.Rect) {
			return 0
		}
		return float64(mask.Pix[py*mask.Stride+px]) / 255
	}
	drop := max(int(2*w.scale), 1)
	for py := range w.height {
		for px := range w.width {
			c := &w.pix[py*w.width+px]
			*c = c.mix(rgb{0.05, 0.05, 0.06}, 0.35*at(px-drop, py-drop)).mix(hex(0xf5f0e6), 0.85*at(px, py))
		}
	}
}

func (l *look) paintTable(w *wallPainter, x0, x1 float64) {
	w.fill(x0, tableTop, x1, 720, func(_, y float64) float64 { return (y - tableTop) / 2 }, func(x, y float64) rgb {
		depth := (y - tableTop) / (720 - tableTop)
		vein := 0.02*math.Sin(y*0.9+6*math.Sin(x/210)) + 0.015*math.Sin(x/37+y/5)
		shine := 0.30 * math.Exp(-math.Pow((x-l.side(420))/260, 2)) * (1 - depth)
		return l.wood.times(0.95-0.25*depth+vein).mix(hex(0xfff0d8), shine)
	})
	w.shadow(470, tableTop-6, 810, tableTop+44, 20, 46, 0.4)
	// Papers and a pen.
	paper := l.side(860)
	w.shadow(paper-84, 622, paper+88, 668, 4, 20, 0.3)
	w.fill(paper-110, 610, paper+110, 668, func(x, y float64) float64 {
		u := (x - paper) + (y-640)*0.7
		return min((80-math.Abs(u))/2, (24-math.Abs(y-640))/2)
	}, func(_, y float64) rgb { return hex(0xeae6dc).times(1 - 0.12*math.Mod(y, 9)/9) })
}

// sky lets two clouds pass outside the window.
func (l *look) sky(b brush, t float64) {
	const wide = windowRight - windowLeft
	left := math.Min(l.side(windowLeft), l.side(windowRight))
	for i := range 2 {
		x := math.Mod(t*6+float64(i)*190+l.phase*9, wide+120) - 60
		y := 150 + float64(i)*58
		for _, part := range [][3]float64{{-26, 4, 20}, {0, 0, 27}, {28, 5, 18}} {
			// Clouds are cut at the frame of the window.
			cx, r := x+part[0], part[2]
			if cx-r*1.6 > 4 && cx+r*1.6 < wide-4 {
				b.disc(l.cloud, left+cx, y+part[1], r*1.5, r*0.72, 0)
			}
		}
	}
	l.mullions(b)
}

// front paints what stands on the table before the person's hands.
func (l *look) front(b brush) {
	x := l.side(372)
	b.limb(l.mug, x-30, 640, 9, x-46, 652, 9)
	b.limb(l.mug, x, 622, 29, x, 662, 27)
	b.disc(l.mugDark, x, 612, 27, 8, 0)
}

func (w *wallPainter) picture() []byte {
	pix := make([]byte, w.width*w.height*3/2)
	luma, cbs := pix[:w.width*w.height], pix[w.width*w.height:]
	crs := cbs[len(cbs)/2:]
	// Dither hides the steps of eight bits in wide gradients.
	dither := script("dither", "")
	level := func(v float64) byte { return byte(min(max(v+dither.Float64()-0.5, 17), 225) + 0.5) }
	for y := 0; y < w.height; y += 2 {
		for x := 0; x < w.width; x += 2 {
			var cb, cr float64
			for i := range 4 {
				at := (y+i/2)*w.width + x + i%2
				py, pcb, pcr := w.pix[at].yuv()
				luma[at] = level(py)
				cb, cr = cb+pcb/4, cr+pcr/4
			}
			at := y/2*(w.width/2) + x/2
			cbs[at], crs[at] = byte(min(max(cb, 16), 240)+0.5), byte(min(max(cr, 16), 240)+0.5)
		}
	}
	return pix
}
