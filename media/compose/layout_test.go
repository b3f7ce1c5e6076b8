// SPDX-License-Identifier: Apache-2.0

package compose

import (
	"image"
	"math/rand/v2"
	"testing"
)

// stages are sizes of displays, and some that no display has.
func stages() []image.Rectangle {
	list := []image.Rectangle{
		image.Rect(0, 0, 1920, 1080), image.Rect(0, 0, 1280, 720), image.Rect(0, 0, 3840, 2160),
		image.Rect(0, 0, 1080, 1920), image.Rect(0, 0, 1280, 800), image.Rect(0, 0, 320, 180),
		image.Rect(0, 0, 2, 2), image.Rect(0, 0, 8192, 2), image.Rect(0, 0, 2, 8192),
	}
	r := rand.New(rand.NewPCG(1, 2))
	for range 300 {
		list = append(list, image.Rect(0, 0, 2+2*r.IntN(1500), 2+2*r.IntN(1500)))
	}
	return list
}

func TestLayoutsAreSound(t *testing.T) {
	for name, layout := range map[string]func(image.Rectangle, int) []image.Rectangle{"grid": Grid, "speaker": Speaker} {
		for _, stage := range stages() {
			for n := -1; n <= 12; n++ {
				places := layout(stage, n)
				if len(places) > max(n, 0) {
					t.Fatalf("%s of %d on %v has %d places", name, n, stage, len(places))
				}
				for i, p := range places {
					if p.Empty() || !p.In(stage) || (p.Min.X|p.Min.Y|p.Max.X|p.Max.Y)&1 != 0 {
						t.Fatalf("%s of %d on %v: place %d is %v, not inside or not even", name, n, stage, i, p)
					}
					for j, q := range places[:i] {
						if p.Overlaps(q) {
							t.Fatalf("%s of %d on %v: places %d and %d overlap: %v, %v", name, n, stage, j, i, q, p)
						}
					}
				}
			}
		}
	}
}

// TestLayoutsHaveRoom checks on real displays that everyone has a place, of
// the shape of a picture and large enough for a wall.
func TestLayoutsHaveRoom(t *testing.T) {
	stage := image.Rect(0, 0, 1920, 1080)
	for n := 1; n <= MaxGrid; n++ {
		places := Grid(stage, n)
		if len(places) != n {
			t.Fatalf("a grid of %d has %d places", n, len(places))
		}
		for _, p := range places {
			if w := p.Dy() * 16 / 9; p.Dx() < w-4 || p.Dx() > w+4 || p.Dx() < 560 {
				t.Errorf("a grid of %d has a place of %v", n, p.Size())
			}
			if p.Size() != places[0].Size() {
				t.Errorf("a grid of %d has places of %v and %v", n, places[0].Size(), p.Size())
			}
		}
	}
	for n := 2; n <= 1+maxStrip; n++ {
		places := Speaker(stage, n)
		if len(places) != n {
			t.Fatalf("speaker layout of %d has %d places", n, len(places))
		}
		if large := places[0]; large.Dx() < stage.Dx()*3/4 || places[1].Dx() > large.Dx()/3 {
			t.Errorf("speaker layout of %d shows %v large and %v beside", n, large.Size(), places[1].Size())
		}
	}
	if one := Grid(stage, 1)[0]; one != stage {
		t.Errorf("one tile has %v of %v", one, stage)
	}
}

func TestFitKeepsShape(t *testing.T) {
	for _, tt := range []struct {
		box           image.Rectangle
		width, height int
		want          image.Rectangle
	}{
		{image.Rect(0, 0, 1920, 1080), 1280, 720, image.Rect(0, 0, 1920, 1080)},
		{image.Rect(0, 0, 1920, 1080), 1024, 768, image.Rect(240, 0, 1680, 1080)},
		{image.Rect(0, 0, 1280, 800), 1280, 720, image.Rect(0, 40, 1280, 760)},
		{image.Rect(0, 0, 100, 100), 8192, 2, image.Rect(0, 50, 100, 52)},
		{image.Rect(10, 10, 12, 12), 2, 8192, image.Rect(10, 10, 12, 12)},
		{image.Rect(0, 0, 100, 100), 0, 720, image.Rectangle{}},
		{image.Rectangle{}, 1280, 720, image.Rectangle{}},
	} {
		if got := Fit(tt.box, tt.width, tt.height); got != tt.want {
			t.Errorf("Fit(%v, %d, %d) = %v, want %v", tt.box, tt.width, tt.height, got, tt.want)
		}
	}
	r := rand.New(rand.NewPCG(3, 4))
	for range 20000 {
		x, y := 2*r.IntN(100), 2*r.IntN(100)
		box := image.Rect(x, y, x+2+2*r.IntN(1000), y+2+2*r.IntN(1000))
		w, h := 2+2*r.IntN(1000), 2+2*r.IntN(1000)
		got := Fit(box, w, h)
		if got.Empty() || !got.In(box) || (got.Min.X|got.Min.Y|got.Max.X|got.Max.Y)&1 != 0 {
			t.Fatalf("Fit(%v, %d, %d) = %v, not inside or not even", box, w, h, got)
		}
		if got.Dx() < box.Dx()-1 && got.Dy() < box.Dy()-1 {
			t.Fatalf("Fit(%v, %d, %d) = %v, not the largest", box, w, h, got)
		}
	}
}

func TestCornerIsInside(t *testing.T) {
	for _, stage := range stages() {
		c := Corner(stage)
		if !c.Empty() && (!c.In(stage) || (c.Min.X|c.Min.Y|c.Max.X|c.Max.Y)&1 != 0) {
			t.Errorf("Corner(%v) = %v", stage, c)
		}
	}
	stage := image.Rect(0, 0, 1280, 720)
	if c := Corner(stage); c.Min.Y < 64 || c.Min.X < stage.Dx()/2 || c.Dx() < 200 {
		t.Errorf("Corner(%v) = %v, want it visible at the bottom right", stage, c)
	}
}

func TestHalve(t *testing.T) {
	for _, tt := range []struct {
		place         image.Rectangle
		width, height int
		want          image.Rectangle
		ok            bool
	}{
		{image.Rect(0, 0, 640, 360), 1280, 720, image.Rect(0, 0, 1280, 720), true},
		{image.Rect(12, 12, 636, 362), 1280, 720, image.Rect(16, 10, 1264, 710), true},
		{image.Rect(0, 0, 600, 360), 1280, 720, image.Rectangle{}, false}, // too much of the sides
		{image.Rect(0, 0, 640, 340), 1280, 720, image.Rectangle{}, false},
		{image.Rect(0, 0, 642, 360), 1280, 720, image.Rectangle{}, false}, // the picture is too small
		{image.Rect(0, 0, 1280, 720), 1280, 720, image.Rectangle{}, false},
		{image.Rectangle{}, 2, 2, image.Rectangle{}, false},
	} {
		got, ok := Halve(tt.place, tt.width, tt.height)
		if got != tt.want || ok != tt.ok {
			t.Errorf("Halve(%v, %d, %d) = %v, %v, want %v, %v", tt.place, tt.width, tt.height, got, ok, tt.want, tt.ok)
		}
	}
	for _, p := range Grid(image.Rect(0, 0, 1920, 1080), MaxGrid) {
		if from, ok := Halve(p, 1280, 720); !ok || !from.In(image.Rect(0, 0, 1280, 720)) || from.Size() != p.Size().Mul(2) {
			t.Errorf("Halve(%v, 1280, 720) = %v, %v", p, from, ok)
		}
	}
}
