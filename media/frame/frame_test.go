// SPDX-License-Identifier: Apache-2.0

package frame

import (
	"image/color"
	"testing"
	"time"
)

func TestCheckSize(t *testing.T) {
	for _, tt := range []struct {
		name          string
		width, height int
		ok            bool
	}{
		{"720p", 1280, 720, true},
		{"smallest", 2, 2, true},
		{"largest", MaxSide, MaxSide, true},
		{"odd width", 3, 2, false},
		{"odd height", 2, 3, false},
		{"zero", 0, 2, false},
		{"negative", 2, -2, false},
		{"too wide", MaxSide + 2, 2, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if err := CheckSize(tt.width, tt.height); (err == nil) != tt.ok {
				t.Errorf("CheckSize(%d, %d) = %v, want ok %v", tt.width, tt.height, err, tt.ok)
			}
		})
	}
}

func TestPlanesCoverPicture(t *testing.T) {
	p := NewPicture(6, 4)
	p.Fill(1, 2, 3)
	count := map[byte]int{}
	for _, b := range p.Pix {
		count[b]++
	}
	if count[1] != 24 || count[2] != 6 || count[3] != 6 || len(p.Pix) != 36 {
		t.Errorf("planes of a 6x4 picture hold %v bytes of %d, want 24, 6 and 6 of 36", count, len(p.Pix))
	}
	if got, want := p.At(5, 3), (color.YCbCr{Y: 1, Cb: 2, Cr: 3}); got != want {
		t.Errorf("At(5, 3) = %v, want %v", got, want)
	}
}

func TestCopyFromReusesMemory(t *testing.T) {
	p, q := NewPicture(8, 8), NewPicture(4, 4)
	q.Fill(9, 9, 9)
	q.PTS, q.Number = time.Second, 7
	before := &p.Pix[0]
	p.CopyFrom(q)
	if p.Width != 4 || p.PTS != time.Second || p.Number != 7 || p.Pix[0] != 9 || len(p.Pix) != 24 {
		t.Errorf("copy = %dx%d, %v, number %d, first byte %d, %d bytes", p.Width, p.Height, p.PTS, p.Number, p.Pix[0], len(p.Pix))
	}
	if &p.Pix[0] != before {
		t.Error("the copy did not reuse the memory of a larger picture")
	}
	q.Pix[0] = 1
	if p.Pix[0] != 9 {
		t.Error("the copy shares memory with its original")
	}
}

// TestNowRises also checks that the clock is not the time of day.
func TestNowRises(t *testing.T) {
	a, b := Now(), Now()
	if b < a {
		t.Errorf("clock went back from %v to %v", a, b)
	}
}
