// SPDX-License-Identifier: Apache-2.0

//go:build cgo

package compose

import (
	"flag"
	"image"
	"image/color"
	"image/png"
	"os"
	"path/filepath"
	"testing"
	"time"

	"incamera/media/frame"
)

var update = flag.Bool("update", false, "write the golden pictures")

// rgb converts a canvas as a display does.
func rgb(p *frame.Picture) *image.RGBA {
	m := image.NewRGBA(image.Rect(0, 0, p.Width, p.Height))
	clamp := func(v int) uint8 { return uint8(min(max((v+128)>>8, 0), 255)) }
	for y := range p.Height {
		for x := range p.Width {
			c := y/2*(p.Width/2) + x/2
			l, u, v := 298*(int(p.Y()[y*p.Width+x])-16), int(p.Cb()[c])-128, int(p.Cr()[c])-128
			m.SetRGBA(x, y, color.RGBA{clamp(l + 409*v), clamp(l - 100*u - 208*v), clamp(l + 516*u), 255})
		}
	}
	return m
}

func rooms(n int) []Tile {
	names := []string{"Vauban", "Curie", "Lyon 3", "Salle du Conseil", "Amphithéâtre Ampère", "Foch", "Rennes", "Brest", "Nîmes"}
	var tiles []Tile
	for i := range n {
		tiles = append(tiles, Tile{ID: ID(i + 1), Name: names[i], Badge: Badge(1 + i%4), Muted: i%3 == 1, Speaking: i == 2})
	}
	return tiles
}

// TestGolden compares whole stages with pictures that a person has looked at.
func TestGolden(t *testing.T) {
	self := &Tile{ID: 100, Name: "Curie", Badge: Verified}
	for name, sc := range map[string]Scene{
		"one":     {Tiles: rooms(1), Self: self, SelfView: SelfCorner, Banner: "Security code 48213 00917"},
		"grid":    {Tiles: rooms(4), Layout: GridLayout, Self: self, SelfView: SelfTile},
		"speaker": {Tiles: rooms(5), Large: 3},
		"content": {Tiles: rooms(3), Content: &Tile{ID: 200, Name: "Lyon 3 shares"}},
		"states": {Layout: GridLayout, Tiles: []Tile{
			{ID: 1, Name: "Vauban", Badge: Verified, CameraOff: true, Muted: true},
			{ID: 2, Name: "Curie", Badge: Caution, Lost: true},
			{ID: 300, Name: "Lyon 3", Badge: Failed},
			{ID: 4, Name: "Brest", Badge: Unverified},
		}},
		"idle": {Card: &Card{Title: "Curie", Clock: "14:05", Lines: []string{"Next: 14:30 Revue de projet", "Touch the panel to begin"}}},
		"ringing": {
			Card: &Card{Title: "Vauban is calling", Calling: true, Badge: Verified, Lines: []string{"Answer on the panel"}},
			Self: self, SelfView: SelfCorner,
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := newScreen(640, 360, 30)
			st, err := New(s, English)
			if err != nil {
				t.Fatal(err)
			}
			st.SetScene(sc)
			now := time.Date(2026, 3, 2, 14, 5, 9, 0, time.UTC)
			for id, box := range st.boxes {
				switch {
				case id == 300: // has sent nothing yet
				case id == 200:
					box.put(bars(320, 240, 200), now)
				case id == 4 && name == "states":
					box.put(bars(320, 180, 4), now.Add(-5*time.Second))
				default:
					box.put(bars(320, 180, int(id)), now)
				}
			}
			canvas := s.Next()
			st.compose(canvas, st.scene, st.boxes, now)
			compare(t, filepath.Join("testdata", name+".golden.png"), rgb(canvas))
		})
	}
}

// compare allows for the rounding of libyuv, which differs between its
// versions for different processors.
func compare(t *testing.T, path string, got *image.RGBA) {
	t.Helper()
	if *update {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		f, err := os.Create(path)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		if err := (&png.Encoder{CompressionLevel: png.BestCompression}).Encode(f, got); err != nil {
			t.Fatal(err)
		}
		return
	}
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	want, err := png.Decode(f)
	if err != nil {
		t.Fatal(err)
	}
	if want.Bounds() != got.Bounds() {
		t.Fatalf("%s is %v, got %v", path, want.Bounds(), got.Bounds())
	}
	const slack = 8 // of 255: three steps of luma and chroma
	var worst, count int
	for y := range got.Rect.Dy() {
		for x := range got.Rect.Dx() {
			r, g, b, _ := want.At(x, y).RGBA()
			c := got.RGBAAt(x, y)
			d := max(apart(r, c.R), apart(g, c.G), apart(b, c.B))
			worst = max(worst, d)
			if d > slack {
				count++
			}
		}
	}
	if count > 0 {
		seen := filepath.Join(t.ArtifactDir(), filepath.Base(path))
		if f, err := os.Create(seen); err == nil {
			_ = png.Encode(f, got)
			f.Close()
		}
		t.Errorf("%d pixels differ from %s by up to %d; see %s", count, path, worst, seen)
	}
}

func apart(a uint32, b uint8) int {
	d := int(a>>8) - int(b)
	return max(d, -d)
}
