// SPDX-License-Identifier: Apache-2.0

package sim

import (
	"bytes"
	"testing"
	"time"

	"incamera/media/frame"
)

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
