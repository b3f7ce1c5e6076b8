// SPDX-License-Identifier: Apache-2.0

package sim

import (
	"bytes"
	"flag"
	"fmt"
	"image/png"
	"os"
	"path/filepath"
	"testing"
	"time"

	"incamera/media/frame"
)

var looks = flag.String("looks", "", "folder that gets pictures of some scenes as PNG, for people")

func newScene(t testing.TB, room string, width, height int) *Scene {
	t.Helper()
	s, err := NewScene(room, width, height)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestSceneIsAFunctionOfItsNumber(t *testing.T) {
	a, b := newScene(t, "Vauban", 640, 360), newScene(t, "Vauban", 640, 360)
	p, q := new(frame.Picture), new(frame.Picture)
	a.Draw(p, 7, time.Second)
	b.Draw(q, 3, 0)
	b.Draw(q, 7, time.Second)
	if !bytes.Equal(p.Pix, q.Pix) || p.Number != 7 || p.PTS != time.Second {
		t.Error("two scenes of one room drew picture 7 differently")
	}
	b.Draw(q, 8, time.Second)
	if bytes.Equal(p.Pix, q.Pix) {
		t.Error("pictures 7 and 8 are equal: nothing moves")
	}
	newScene(t, "Curie", 640, 360).Draw(q, 7, time.Second)
	if db := psnr(p.Y(), q.Y()); db > 25 {
		t.Errorf("the rooms Vauban and Curie look alike: PSNR %.1f dB", db)
	}
}

// TestSceneStaysInRange keeps film from overflowing and chroma legal, at sizes
// whose rows are no multiple of eight and at sides far from 16:9.
func TestSceneStaysInRange(t *testing.T) {
	for _, size := range [][2]int{{1280, 720}, {642, 362}, {2, 2}, {100, 600}, {600, 100}} {
		s := newScene(t, "Nobel", size[0], size[1])
		p := new(frame.Picture)
		for n := uint64(0); n < 200; n += 23 {
			s.Draw(p, n, 0)
			for i, v := range p.Y() {
				if v < 16 || v > 235 {
					t.Fatalf("%v, picture %d: luma %d at %d", size, n, v, i)
				}
			}
			for i, v := range p.Pix[len(p.Y()):] {
				if v < 16 || v > 240 {
					t.Fatalf("%v, picture %d: chroma %d at %d", size, n, v, i)
				}
			}
		}
	}
}

func TestSceneRefusesSizes(t *testing.T) {
	for _, size := range [][2]int{{0, 0}, {1279, 720}, {1280, -720}, {frame.MaxSide + 2, 2}} {
		if _, err := NewScene("Vauban", size[0], size[1]); err == nil {
			t.Errorf("a scene of %v was made", size)
		}
	}
}

func TestDrawAllocatesNothing(t *testing.T) {
	s, p := newScene(t, "Vauban", 640, 360), frame.NewPicture(640, 360)
	n := uint64(0)
	if got := testing.AllocsPerRun(20, func() { s.Draw(p, n, 0); n++ }); got != 0 {
		t.Errorf("Draw allocates %v times a picture", got)
	}
}

// TestLooks writes pictures for people to judge: go test -run Looks -looks DIR.
func TestLooks(t *testing.T) {
	if *looks == "" {
		t.Skip("no -looks DIR")
	}
	for _, room := range []string{"Vauban", "Curie", "Nobel", "Lyon 3"} {
		s, p := newScene(t, room, 1280, 720), new(frame.Picture)
		for _, n := range []uint64{0, 95} {
			s.Draw(p, n, 0)
			f, err := os.Create(filepath.Join(*looks, fmt.Sprintf("%s-%d.png", room, n)))
			if err != nil {
				t.Fatal(err)
			}
			if err := png.Encode(f, fullRange(new(frame.Picture), p).YCbCr()); err != nil {
				t.Fatal(err)
			}
			if err := f.Close(); err != nil {
				t.Fatal(err)
			}
		}
	}
}

func BenchmarkDraw720p(b *testing.B) {
	s, p := newScene(b, "Vauban", 1280, 720), frame.NewPicture(1280, 720)
	b.ReportAllocs()
	b.SetBytes(int64(len(p.Pix)))
	n := uint64(0)
	for b.Loop() {
		s.Draw(p, n, 0)
		n++
	}
}
