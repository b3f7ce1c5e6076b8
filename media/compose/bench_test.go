// SPDX-License-Identifier: Apache-2.0

//go:build cgo

package compose

import (
	"fmt"
	"image"
	"testing"
	"time"

	"incamera/media/frame"
)

func BenchmarkCompose(b *testing.B) {
	for _, size := range []image.Point{{1280, 720}, {1920, 1080}} {
		for _, tiles := range []int{1, MaxGrid} {
			for _, source := range []image.Point{{1280, 720}, {1920, 1080}} {
				if source.X > 1280 && tiles > 1 {
					continue
				}
				b.Run(fmt.Sprintf("%dx%d/%d_tiles_of_%dp", size.X, size.Y, tiles, source.Y), func(b *testing.B) {
					st, err := New(newScreen(size.X, size.Y, 30), English)
					if err != nil {
						b.Fatal(err)
					}
					st.SetScene(Scene{Layout: GridLayout, Tiles: rooms(tiles)})
					for id := range st.boxes {
						st.Picture(id, bars(source.X, source.Y, int(id)))
					}
					canvas, now := frame.NewPicture(size.X, size.Y), time.Now()
					st.compose(canvas, st.scene, st.boxes, now)
					b.SetBytes(int64(len(canvas.Pix)))
					b.ReportAllocs()
					for b.Loop() {
						st.compose(canvas, st.scene, st.boxes, now)
					}
				})
			}
		}
	}
}

// BenchmarkPicture is what the decoder pays to hand over a picture.
func BenchmarkPicture(b *testing.B) {
	st, err := New(newScreen(64, 36, 30), English)
	if err != nil {
		b.Fatal(err)
	}
	st.SetScene(one())
	p := bars(1280, 720, 1)
	b.SetBytes(int64(len(p.Pix)))
	b.ReportAllocs()
	for b.Loop() {
		st.Picture(1, p)
	}
}

// BenchmarkSetScene is a change of one badge in a full grid, drawn.
func BenchmarkSetScene(b *testing.B) {
	st, err := New(newScreen(1280, 720, 30), English)
	if err != nil {
		b.Fatal(err)
	}
	canvas, sc, now := frame.NewPicture(1280, 720), Scene{Layout: GridLayout, Tiles: rooms(MaxGrid)}, time.Now()
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		sc.Tiles[0].Name = fmt.Sprint("Vauban ", i)
		st.SetScene(sc)
		st.compose(canvas, st.scene, st.boxes, now)
	}
}
