// SPDX-License-Identifier: Apache-2.0

package sim

import (
	"math"
)

// An rgb is a colour with components from 0 to 1, as a screen shows them.
type rgb struct{ r, g, b float64 }

func hex(v uint32) rgb {
	return rgb{float64(v>>16&255) / 255, float64(v>>8&255) / 255, float64(v&255) / 255}
}

func (c rgb) mix(d rgb, part float64) rgb {
	return rgb{c.r + (d.r-c.r)*part, c.g + (d.g-c.g)*part, c.b + (d.b-c.b)*part}
}

func (c rgb) times(f float64) rgb { return rgb{c.r * f, c.g * f, c.b * f} }

// yuv gives BT.601 limited range.
func (c rgb) yuv() (y, cb, cr float64) {
	y = 0.299*c.r + 0.587*c.g + 0.114*c.b
	return 16 + 219*y, 128 + 224*(c.b-y)/1.772, 128 + 224*(c.r-y)/1.402
}

// A look is what distinguishes one room and the person in it.
type look struct {
	wall, trim, floor, wood rgb
	art                     [4]rgb
	mirrored                bool // window at the right
	hour                    float64
	hairStyle               int
	phase                   float64 // of the person's movements

	skin, skinShade, hair, shirt, sleeve, shirtDark, dark, white, lip, leaf, leafDark, cloud, bar, mug, mugDark *paint
}

// walls and shirts differ in hue, so that two rooms are told apart at a glance.
var (
	walls  = []rgb{hex(0xb9ab97), hex(0x8fa39a), hex(0x93a3b5), hex(0xb79a87), hex(0xa89fb3), hex(0xa5a88c)}
	shirts = []rgb{hex(0x2f5d8a), hex(0x8c3b3b), hex(0x3f6f5b), hex(0x6a4d86), hex(0xb07a2e), hex(0x3d4754)}
	skins  = []rgb{hex(0xe8b795), hex(0xd39b74), hex(0xa8734c), hex(0x7a5236), hex(0xf0c6a8)}
	hairs  = []rgb{hex(0x2b211c), hex(0x4b3322), hex(0x8a5a2d), hex(0x6b6b70), hex(0x1f1a1a)}
	woods  = []rgb{hex(0x7a5639), hex(0x5f4632), hex(0x94714c), hex(0x6f6157)}
)

func newLook(room string) look {
	// Of many casts, one in which the rooms of the demo differ in all things.
	r := script("look 1908", room)
	l := look{
		wall: walls[r.IntN(len(walls))], wood: woods[r.IntN(len(woods))],
		mirrored: r.IntN(2) == 1, hour: r.Float64(), hairStyle: r.IntN(3), phase: uniform(r, 0, 40),
	}
	l.trim, l.floor = l.wall.mix(hex(0xffffff), 0.55), l.wood.times(0.6)
	for i := range l.art {
		l.art[i] = shirts[r.IntN(len(shirts))].mix(hex(0xf2e8d8), uniform(r, 0.1, 0.6))
	}
	shirt, skin, hair := shirts[r.IntN(len(shirts))], skins[r.IntN(len(skins))], hairs[r.IntN(len(hairs))]
	light := -46.0 // from the window's side
	if l.mirrored {
		light = -light
	}
	l.skin, l.skinShade = shaded(skin, light, 16), shaded(skin.times(0.84), light/2, 6)
	l.hair, l.shirt = shaded(hair, light/2, 8), shaded(shirt, light, 14)
	l.sleeve, l.shirtDark = shaded(shirt.times(0.9), light/1.5, 20), shaded(shirt.times(0.62), light/2, 4)
	l.dark, l.white = shaded(hex(0x241c1a), 0, 0), shaded(hex(0xe9e4de), 0, 6)
	l.lip = shaded(skin.mix(hex(0x8c3a3a), 0.55), 0, 4)
	l.leaf, l.leafDark = shaded(hex(0x4f7d46), light/2, 10), shaded(hex(0x2f5433), light/2, 8)
	l.cloud = shaded(hex(0xe6ebf0), -6, 10)
	l.bar = shaded(l.trim.times(0.92), 0, 0)
	mug := shirts[r.IntN(len(shirts))].mix(hex(0xffffff), 0.35)
	l.mug, l.mugDark = shaded(mug, light, 22), shaded(mug.times(0.45), 0, 0)
	return l
}

// side mirrors a place in the design space if the room is mirrored.
func (l *look) side(x float64) float64 {
	if l.mirrored {
		return 1280 - x
	}
	return x
}

// wave is a smooth movement between -1 and 1 that does not repeat soon.
func wave(t, period, phase float64) float64 {
	a := 2 * math.Pi * (t/period + phase)
	return 0.7*math.Sin(a) + 0.3*math.Sin(a*1.618+phase*7)
}
