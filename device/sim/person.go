// SPDX-License-Identifier: Apache-2.0

package sim

import "math"

const tableTop = 590 // row of the table's far edge in the design space

// person paints somebody who sits behind the table, sways, talks, blinks and
// gestures in turn with one hand and with both.
func (l *look) person(b brush, t float64) {
	t += l.phase
	sway, breath, nod := 7*wave(t, 6.1, 0), 2*wave(t, 3.7, 0.3), wave(t, 2.3, 0.6)
	mid := 640 + sway

	// Shoulders and chest, then the collar.
	b.limb(l.shirt, mid-96, 452+breath, 62, mid+96, 452+breath, 62)
	b.ellipse(l.shirt, mid, 640+breath, 172, 260, 0, 440, tableTop+8)
	b.limb(l.skinShade, mid+sway/6, 330, 34, mid, 406+breath, 42)
	b.limb(l.shirtDark, mid-50, 398+breath, 9, mid, 448+breath, 8)
	b.limb(l.shirtDark, mid+50, 398+breath, 9, mid, 448+breath, 8)

	l.head(b, t, mid+sway*0.6+3*wave(t, 4.3, 0.1), 268+breath+3*nod, 0.05*wave(t, 5.3, 0.2)+0.004*sway)

	// Each arm rests or gestures. lift rises and falls over a few seconds.
	for _, side := range []float64{-1, 1} {
		lift := math.Max(0, wave(t, 7.3, 0.25+0.21*side))
		lift = lift * lift * (3 - 2*lift)
		beat := lift * wave(t, 1.1, 0.1*side)
		sx, sy := mid+side*122, 452+breath
		ex, ey := mid+side*(196+10*lift), 566-26*lift
		hx, hy := mid+side*(104+74*lift+16*beat), 596-196*lift+22*beat
		b.limb(l.sleeve, sx, sy, 44, ex, ey, 37)
		b.limb(l.sleeve, ex, ey, 37, ex+(hx-ex)*0.8, ey+(hy-ey)*0.8, 25)
		b.limb(l.skinShade, ex+(hx-ex)*0.8, ey+(hy-ey)*0.8, 20, hx, hy, 23)
		b.disc(l.skin, hx, hy-8, 26, 31, side*(0.4-0.7*lift)+0.2*beat)
		for f := range 3 { // fingers
			spread := side * (float64(f-1)*0.33 - 0.15 + 0.2*beat)
			reach := 34 + 12*lift
			b.limb(l.skin, hx, hy-12, 10, hx+reach*math.Sin(spread), hy-12-reach*math.Cos(spread), 7)
		}
	}
}

func (l *look) head(b brush, t, x, y, lean float64) {
	sin, cos := math.Sincos(lean)
	// at places a feature of the face, given from the middle of the head.
	at := func(dx, dy float64) (float64, float64) { return x + dx*cos - dy*sin, y + dx*sin + dy*cos }
	turn := 9 * wave(t, 4.7, 0.4) // looking about

	switch l.hairStyle {
	case 0: // long
		b.disc(l.hair, x, y+18, 100, 132, lean)
	case 1: // short
		b.disc(l.hair, x, y-30, 88, 92, lean)
	case 2: // bun
		bx, by := at(0, -128)
		b.disc(l.hair, bx, by, 40, 36, lean)
		b.disc(l.hair, x, y-26, 90, 98, lean)
	}
	for _, side := range []float64{-1, 1} {
		ex, ey := at(side*82-turn*0.2, 6)
		b.disc(l.skinShade, ex, ey, 14, 24, lean)
	}
	b.disc(l.skin, x, y, 82, 108, lean)
	b.ellipse(l.hair, x, y-2, 85, 112, lean, -1e6, y-62)
	fx, fy := at(-30, -66)
	b.disc(l.hair, fx, fy, 50, 22, lean-0.3)
	fx, fy = at(38, -68)
	b.disc(l.hair, fx, fy, 44, 18, lean+0.35)

	lid := 1.0
	if blink := math.Mod(t, 3.9); blink < 0.14 {
		lid = math.Abs(blink-0.07) / 0.07
	}
	for _, side := range []float64{-1, 1} {
		ex, ey := at(side*32+turn, -12)
		b.disc(l.white, ex, ey, 13, 1+6*lid, lean)
		b.disc(l.dark, ex+turn*0.25, ey, 6.5, 1+5.5*lid, lean)
		b0x, b0y := at(side*17+turn, -33-2*wave(t, 3.1, 0.5))
		b1x, b1y := at(side*47+turn, -32)
		b.limb(l.hair, b0x, b0y, 4, b1x, b1y, 3)
	}
	n0x, n0y := at(turn*1.1, -6)
	n1x, n1y := at(turn*1.5, 22)
	b.limb(l.skinShade, n0x, n0y, 5, n1x, n1y, 9)
	open := math.Abs(math.Sin(t*9.2)) * math.Max(0, wave(t, 2.9, 0.15)+0.35)
	mx, my := at(turn*1.1, 54)
	b.disc(l.lip, mx, my, 27-4*open, 6+10*open, lean)
	b.disc(l.dark, mx, my, 20-4*open, 1.5+8*open, lean)
	for _, side := range []float64{-1, 1} { // the corners of a friendly mouth
		c0x, c0y := at(side*(20-3*open)+turn*1.1, 53)
		c1x, c1y := at(side*(29-3*open)+turn*1.1, 47)
		b.limb(l.lip, c0x, c0y, 4, c1x, c1y, 2)
	}
}

// A paintedPlant is a plant whose leaves stir in the draught of the window.
type paintedPlant struct {
	leaf, dark *paint
	x, y       float64
	leaves     []leafShape
}

type leafShape struct{ angle, length, width, phase float64 }

func (l *look) plant(room string) paintedPlant {
	r := script("plant", room)
	p := paintedPlant{leaf: l.leaf, dark: l.leafDark, x: l.side(1140), y: 486}
	order := r.Perm(13 + r.IntN(6))
	for _, place := range order {
		p.leaves = append(p.leaves, leafShape{
			angle:  -1.25 + 2.5*float64(place)/float64(len(order)-1) + uniform(r, -0.08, 0.08),
			length: uniform(r, 120, 210), width: uniform(r, 11, 19), phase: r.Float64(),
		})
	}
	return p
}

func (p *paintedPlant) draw(b brush, t float64) {
	for i, f := range p.leaves {
		a := f.angle + 0.05*wave(t, 3.4, f.phase)
		sin, cos := math.Sincos(a)
		c := p.leaf
		if i%2 == 0 {
			c = p.dark
		}
		kx, ky := p.x+f.length*0.55*sin*0.8, p.y-f.length*0.6*cos
		tx, ty := p.x+f.length*sin*1.15, p.y-f.length*(cos*0.9-0.12*math.Abs(sin))
		b.limb(c, p.x, p.y, 4, kx, ky, f.width)
		b.limb(c, kx, ky, f.width, tx, ty, 2)
	}
}
