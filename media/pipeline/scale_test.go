// SPDX-License-Identifier: Apache-2.0

package pipeline

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"incamera/media/frame"
)

func TestFitted(t *testing.T) {
	for _, tt := range []struct{ width, height, step, w, h int }{
		{1280, 720, 720, 1280, 720},
		{1280, 720, 1080, 1280, 720}, // never enlarged
		{1280, 720, 360, 640, 360},
		{1920, 1080, 720, 1280, 720},
		{1920, 1080, 360, 640, 360},
		{3840, 2160, 1080, 1920, 1080},
		{1600, 1200, 720, 960, 720}, // 4:3
		{2560, 1080, 720, 1280, 540},
		{8192, 2, 360, 640, 2},
		{2, 8192, 360, 2, 360},
		{1366, 768, 360, 640, 358},
	} {
		if w, h := fitted(tt.width, tt.height, Step{Height: tt.step}); w != tt.w || h != tt.h {
			t.Errorf("%dx%d on the step of %d: %dx%d, want %dx%d", tt.width, tt.height, tt.step, w, h, tt.w, tt.h)
		}
	}
}

// TestScaleKeepsThePicture scales a picture of three flat colours with a ramp
// and checks colour, position and mean.
func TestScaleKeepsThePicture(t *testing.T) {
	for _, size := range [][4]int{{1280, 720, 640, 360}, {1920, 1080, 1280, 720}, {1920, 1080, 640, 360}, {64, 48, 64, 48}, {3840, 216, 640, 36}, {100, 100, 66, 52}} {
		t.Run(fmt.Sprint(size), func(t *testing.T) {
			src, dst := frame.NewPicture(size[0], size[1]), &frame.Picture{}
			src.Fill(0, 90, 200)
			src.PTS, src.Number = time.Second, 5
			for i := range src.Y() {
				src.Y()[i] = byte(20 + 200*(i%src.Width)/src.Width)
			}
			var s scaler
			for range 2 { // the second time with what the first one left
				s.scale(dst, src, size[2], size[3])
				if dst.Width != size[2] || dst.Height != size[3] || len(dst.Pix) != size[2]*size[3]*3/2 || dst.PTS != time.Second || dst.Number != 5 {
					t.Fatalf("%dx%d with %d bytes, %v, number %d", dst.Width, dst.Height, len(dst.Pix), dst.PTS, dst.Number)
				}
				for i, v := range dst.Y() {
					if want := 20 + 200*(float64(i%dst.Width)+0.5)/float64(dst.Width); float64(v) < want-2.5 || float64(v) > want+2.5 {
						t.Fatalf("luma of column %d is %d, want %.1f", i%dst.Width, v, want)
					}
				}
				for i := range dst.Cb() {
					if dst.Cb()[i] != 90 || dst.Cr()[i] != 200 {
						t.Fatalf("chroma %d is %d and %d, want 90 and 200", i, dst.Cb()[i], dst.Cr()[i])
					}
				}
			}
		})
	}
}

// TestTaps checks for all ratios that a picture can have that each source pixel
// is inside, and that nothing gets brighter or darker.
func TestTaps(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 1))
	for range 3000 {
		to := 1 + r.IntN(700)
		from := to + r.IntN(to+2)
		for i, tap := range tapsFor(from, to) {
			sum := uint32(0)
			for k, w := range tap.weight {
				if sum += w; w > 0 && (tap.start+k >= from || tap.start < 0) {
					t.Fatalf("%d to %d: pixel %d takes from %d", from, to, i, tap.start+k)
				}
			}
			if sum != 256 {
				t.Fatalf("%d to %d: the weights of pixel %d make %d", from, to, i, sum)
			}
		}
	}
}

// TestScaleAnySize scales between random sizes: nothing is out of bounds, and
// white stays white.
func TestScaleAnySize(t *testing.T) {
	r := rand.New(rand.NewPCG(2, 2))
	var s scaler
	dst := &frame.Picture{}
	for range 50 {
		src := frame.NewPicture(2+2*r.IntN(400), 2+2*r.IntN(400))
		src.Fill(235, 128, 128)
		step := Step{Height: 2 + 2*r.IntN(200)}
		w, h := fitted(src.Width, src.Height, step)
		if err := frame.CheckSize(w, h); err != nil {
			t.Fatalf("%dx%d on the step of %d: %v", src.Width, src.Height, step.Height, err)
		}
		s.scale(dst, src, w, h)
		for i, v := range dst.Pix {
			if want := src.Pix[0]; i < w*h && v != want {
				t.Fatalf("%dx%d to %dx%d: byte %d is %d, want %d", src.Width, src.Height, w, h, i, v, want)
			}
		}
	}
}

func BenchmarkScale(b *testing.B) {
	for _, size := range [][4]int{{1280, 720, 640, 360}, {1920, 1080, 1280, 720}, {1920, 1080, 640, 360}} {
		b.Run(fmt.Sprintf("%dto%d", size[1], size[3]), func(b *testing.B) {
			src, dst := frame.NewPicture(size[0], size[1]), &frame.Picture{}
			var s scaler
			b.ReportAllocs()
			b.SetBytes(int64(len(src.Pix)))
			for b.Loop() {
				s.scale(dst, src, size[2], size[3])
			}
		})
	}
}
