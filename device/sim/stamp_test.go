// SPDX-License-Identifier: Apache-2.0

package sim

import (
	"image"
	"math/rand/v2"
	"testing"
	"time"

	"incamera/media/frame"
)

var stamps = []Stamp{
	{},
	{Number: 1, Time: stampUnit},
	{Number: stampMask, Time: 292 * 365 * 24 * time.Hour},
	{Number: 0x123456, Time: 123456 * time.Second},
}

func TestStamp(t *testing.T) {
	for _, want := range stamps {
		want.Time = want.Time.Truncate(stampUnit)
		p := frame.NewPicture(640, 360)
		if !want.Write(p) {
			t.Fatal("no room for a stamp")
		}
		if got, ok := ReadStamp(p, 0, 0); !ok || got != want {
			t.Errorf("ReadStamp = %+v, %v; want %+v", got, ok, want)
		}
		// On a tile, scaled up and down.
		for _, tile := range []image.Rectangle{
			image.Rect(20, 30, 20+640, 30+360), image.Rect(0, 0, 960, 540), image.Rect(2, 4, 2+320, 4+180), image.Rect(0, 0, 426, 240),
		} {
			stage := frame.NewPicture(1280, 720)
			q := frame.NewPicture(tile.Dx(), tile.Dy())
			fit(q, p)
			for y := range q.Height {
				copy(stage.Y()[(tile.Min.Y+y)*1280+tile.Min.X:], q.Y()[y*q.Width:(y+1)*q.Width])
			}
			if got, ok := ReadStampIn(stage, tile, 640); !ok || got != want {
				t.Errorf("on %v: %+v, %v; want %+v", tile, got, ok, want)
			}
		}
	}
}

func TestNoStamp(t *testing.T) {
	stamped := frame.NewPicture(640, 360)
	Stamp{Number: 99, Time: time.Hour}.Write(stamped)
	changed := func(f func(p *frame.Picture)) *frame.Picture {
		p := new(frame.Picture)
		p.CopyFrom(stamped)
		f(p)
		return p
	}
	r := rand.New(rand.NewPCG(1, 1))
	for _, tt := range []struct {
		name string
		p    *frame.Picture
		x, y int
	}{
		{"black", frame.NewPicture(640, 360), 0, 0},
		{"grey", changed(func(p *frame.Picture) { p.Fill(128, 128, 128) }), 0, 0},
		{"white", changed(func(p *frame.Picture) { p.Fill(235, 128, 128) }), 0, 0},
		{"a scene", changed(func(p *frame.Picture) { newScene(t, "Vauban", 640, 360).Draw(p, 3, 0) }), 0, 0},
		{"noise", changed(func(p *frame.Picture) {
			for i := range p.Pix {
				p.Pix[i] = byte(r.Uint32())
			}
		}), 0, 0},
		{"another place", stamped, 16, 0},
		{"beyond the edge", stamped, 300, 0},
		{"left of the edge", stamped, -2, 0},
		{"below the edge", stamped, 0, 320},
		{"dimmed, as when no picture comes", changed(func(p *frame.Picture) {
			for i, v := range p.Y() {
				p.Y()[i] = 16 + (v-16)/2
			}
		}), 0, 0},
		{"one bit turned", changed(func(p *frame.Picture) {
			for y := range stampBlock {
				for x := range stampBlock {
					p.Y()[y*640+x+7*stampBlock] ^= 0xff
				}
			}
		}), 0, 0},
	} {
		if got, ok := ReadStamp(tt.p, tt.x, tt.y); ok {
			t.Errorf("%s: read %+v", tt.name, got)
		}
	}
	if (Stamp{}).Write(frame.NewPicture(StampWidth-2, StampHeight)) || (Stamp{}).Write(frame.NewPicture(StampWidth, StampHeight-2)) {
		t.Error("a picture too small was stamped")
	}
	if _, ok := ReadStampIn(stamped, image.Rect(0, 0, 64, 36), 640); ok {
		t.Error("a thumbnail was read")
	}
}

func TestStampAllocatesNothing(t *testing.T) {
	p := frame.NewPicture(640, 360)
	if got := testing.AllocsPerRun(20, func() {
		Stamp{Number: 5}.Write(p)
		if _, ok := ReadStamp(p, 0, 0); !ok {
			t.Fatal("not read")
		}
	}); got != 0 {
		t.Errorf("a stamp allocates %v times", got)
	}
}

// TestCRC24 has the check value of the catalogues: the digits from 1 to 9.
func TestCRC24(t *testing.T) {
	if got := crc24([]byte("123456789")); got != 0x21cf02 {
		t.Errorf("CRC-24 = %06x; want 21cf02", got)
	}
}

// FuzzStamp: what is read is what was written, whatever is drawn over it.
func FuzzStamp(f *testing.F) {
	f.Add(uint32(7), int64(time.Hour), []byte{0, 10, 200})
	f.Add(uint32(1<<25), int64(-1), []byte{})
	f.Fuzz(func(t *testing.T, number uint32, at int64, over []byte) {
		p := frame.NewPicture(StampWidth, StampHeight)
		want := Stamp{number, time.Duration(at)}
		want.Write(p)
		for i := 0; i+2 < len(over); i += 3 {
			p.Y()[(int(over[i])<<8|int(over[i+1]))%len(p.Y())] = over[i+2]
		}
		got, ok := ReadStamp(p, 0, 0)
		if ok && got.bits() != want.bits() {
			t.Errorf("read %+v; wrote %+v", got, want)
		}
		if !ok && len(over) < 3 && at >= 0 {
			t.Errorf("%+v is not read", want)
		}
	})
}
