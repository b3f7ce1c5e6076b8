// SPDX-License-Identifier: Apache-2.0

//go:build cgo

package codec

import (
	"errors"
	"math"
	"strings"
	"testing"
	"time"

	"incamera/media/frame"
)

// scene is a synthetic meeting room: a still, textured wall, and in front of it
// a lit ball and a box that move.
type scene struct {
	wall *frame.Picture
	fps  int
}

func newScene(width, height, fps int) *scene {
	s := &scene{wall: frame.NewPicture(width, height), fps: fps}
	y := s.wall.Y()
	for r := range height {
		for c := range width {
			v := 90 + 40*math.Sin(float64(c)/37)*math.Cos(float64(r)/53) + float64(c*7^r*13)/float64(1<<30)
			y[r*width+c] = byte(v)
		}
	}
	for i := range s.wall.Cb() {
		s.wall.Cb()[i], s.wall.Cr()[i] = byte(118+i%width/64), byte(130+i/width/32)
	}
	return s
}

// draw paints picture n.
func (s *scene) draw(p *frame.Picture, n int) {
	p.CopyFrom(s.wall)
	p.Number, p.PTS = uint64(n), time.Second+time.Duration(n)*time.Second/time.Duration(s.fps)
	w, h, t := p.Width, p.Height, float64(n)/float64(s.fps)
	x0, y0 := float64(w)*(0.5+0.3*math.Sin(t)), float64(h)*(0.5+0.2*math.Cos(1.3*t))
	radius := float64(h) / 6
	for r := max(0, int(y0-radius)); r < min(h, int(y0+radius)); r++ {
		for c := max(0, int(x0-radius)); c < min(w, int(x0+radius)); c++ {
			dx, dy := (float64(c)-x0)/radius, (float64(r)-y0)/radius
			if d := dx*dx + dy*dy; d < 1 {
				p.Y()[r*w+c] = byte(60 + 150*math.Sqrt(1-d))
			}
		}
	}
	left := int(math.Mod(t*120, float64(w-w/8)))
	for r := h - h/5; r < h-h/10; r++ {
		for c := left; c < left+w/8; c++ {
			p.Y()[r*w+c] = byte(40 + (c-left)/2 + r%16)
		}
	}
}

// psnr compares luma, in decibels.
func psnr(a, b *frame.Picture) float64 {
	var sum float64
	for i, v := range a.Y() {
		d := float64(v) - float64(b.Y()[i])
		sum += d * d
	}
	if sum == 0 {
		return 100
	}
	return 10 * math.Log10(255*255*float64(len(a.Y()))/sum)
}

func encoder(t testing.TB, c VideoConfig) *VP8Encoder {
	t.Helper()
	e, err := NewVP8Encoder(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { e.Close() })
	return e
}

func decoder(t testing.TB) *VP8Decoder {
	t.Helper()
	d, err := NewVP8Decoder()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.Close() })
	return d
}

var hd = VideoConfig{Width: 1280, Height: 720, FPS: 30, BitRate: 1_500_000}

// TestQualityAndRate plays 9 s of 720p: the picture after decoding is the one
// that went in, and the rate holds before and after the target is halved.
func TestQualityAndRate(t *testing.T) {
	s, e, d := newScene(hd.Width, hd.Height, hd.FPS), encoder(t, hd), decoder(t)
	p, got, out := frame.NewPicture(2, 2), &frame.Picture{}, &frame.Encoded{}
	worst, bits, keys := math.Inf(1), 0, 0
	for n := range 9 * hd.FPS {
		if n == 5*hd.FPS {
			if err := e.SetBitRate(hd.BitRate / 2); err != nil {
				t.Fatal(err)
			}
		}
		s.draw(p, n)
		if err := e.Encode(out, p); err != nil {
			t.Fatal(err)
		}
		if out.PTS != p.PTS || len(out.Data) == 0 {
			t.Fatalf("picture %d: %d bytes of instant %v, want some of %v", n, len(out.Data), out.PTS, p.PTS)
		}
		if out.Key {
			keys++
		}
		if err := d.Decode(got, out.Data, p.PTS); err != nil {
			t.Fatal(err)
		}
		if got.Width != p.Width || got.Height != p.Height || got.PTS != p.PTS || got.Number != uint64(n) {
			t.Fatalf("picture %d came back as %dx%d, %v, number %d", n, got.Width, got.Height, got.PTS, got.Number)
		}
		if n < 5*hd.FPS {
			worst = min(worst, psnr(p, got))
		}
		bits += 8 * len(out.Data)
		if n%hd.FPS == hd.FPS-1 {
			t.Logf("second %d: %d kb/s", n/hd.FPS, bits/1000)
		}
		target := 0
		switch n { // the third second of each half is over, the fourth and fifth count
		case 3*hd.FPS - 1, 7*hd.FPS - 1:
			bits = 0
		case 5*hd.FPS - 1:
			target = hd.BitRate * 2
		case 9*hd.FPS - 1:
			target = hd.BitRate
		}
		if target != 0 {
			if off := float64(bits)/float64(target) - 1; math.Abs(off) > 0.10 {
				t.Errorf("%d bits in 2 s for a target of %d: off by %.1f %%", bits, target, 100*off)
			}
			bits = 0
		}
	}
	if worst < 36 {
		t.Errorf("PSNR fell to %.1f dB, want 36", worst)
	}
	if keys != 1 {
		t.Errorf("%d key frames that nobody asked for, want only the first", keys)
	}
	t.Logf("worst PSNR %.1f dB", worst)
}

func TestKeyFrameOnRequest(t *testing.T) {
	c := VideoConfig{Width: 320, Height: 180, FPS: 30, BitRate: 300_000}
	s, e := newScene(c.Width, c.Height, c.FPS), encoder(t, c)
	p, out := frame.NewPicture(2, 2), &frame.Encoded{}
	for n := range 20 {
		if n == 10 {
			e.ForceKeyFrame()
		}
		s.draw(p, n)
		if err := e.Encode(out, p); err != nil {
			t.Fatal(err)
		}
		if want := n == 0 || n == 10; out.Key != want || IsVP8Key(out.Data) != want {
			t.Errorf("picture %d: key frame %v by flag, %v by its first byte; want %v", n, out.Key, IsVP8Key(out.Data), want)
		}
	}
}

func TestEncoderRefuses(t *testing.T) {
	for name, c := range map[string]VideoConfig{
		"odd width":         {Width: 321, Height: 180, FPS: 30, BitRate: 300_000},
		"no height":         {Width: 320, FPS: 30, BitRate: 300_000},
		"no rate":           {Width: 320, Height: 180, BitRate: 300_000},
		"too many a second": {Width: 320, Height: 180, FPS: 61, BitRate: 300_000},
		"no bit rate":       {Width: 320, Height: 180, FPS: 30},
		"overflow":          {Width: 320, Height: 180, FPS: 30, BitRate: math.MaxInt32},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := NewVP8Encoder(c); err == nil {
				t.Errorf("NewVP8Encoder(%+v) made one", c)
			}
		})
	}
	e := encoder(t, VideoConfig{Width: 320, Height: 180, FPS: 30, BitRate: 300_000})
	if err := e.Encode(&frame.Encoded{}, frame.NewPicture(160, 90)); err == nil || !strings.Contains(err.Error(), "160x90") || !strings.Contains(err.Error(), "320x180") {
		t.Errorf("a picture of another size: %v; want an error that names both sizes", err)
	}
	short := frame.NewPicture(320, 180)
	short.Pix = short.Pix[:len(short.Pix)-1]
	if err := e.Encode(&frame.Encoded{}, short); err == nil {
		t.Error("a picture that is too short was encoded")
	}
	if err := e.SetBitRate(0); err == nil {
		t.Error("SetBitRate(0) was taken")
	}
	if err := e.SetEffort(Least + 1); err == nil {
		t.Error("an effort that there is not was taken")
	}
	e.Close()
	e.Close()
	if err := e.Encode(&frame.Encoded{}, frame.NewPicture(320, 180)); !errors.Is(err, errClosed) {
		t.Errorf("Encode after Close: %v", err)
	}
	if err := e.SetBitRate(400_000); !errors.Is(err, errClosed) {
		t.Errorf("SetBitRate after Close: %v", err)
	}
}

// TestInstants checks that instants which stand still or go back stop nothing.
func TestInstants(t *testing.T) {
	c := VideoConfig{Width: 320, Height: 180, FPS: 30, BitRate: 300_000}
	e, p, out := encoder(t, c), frame.NewPicture(320, 180), &frame.Encoded{}
	for _, pts := range []time.Duration{time.Hour, time.Hour, time.Second, 0, -time.Second, 2000 * time.Hour, 90_000 * time.Hour} {
		p.PTS = pts
		before, begun := e.pts, e.started
		if err := e.Encode(out, p); err != nil || out.PTS != pts {
			t.Errorf("instant %v: came out as %v, %v", pts, out.PTS, err)
		}
		if begun && e.pts <= before {
			t.Errorf("instant %v: libvpx was told %d after %d", pts, e.pts, before)
		}
	}
	for d, want := range map[time.Duration]int64{time.Second: 90_000, time.Second / 30: 2999, 200_000 * time.Hour: 64_800_000_000_000} {
		if got := ticks(d); got != want {
			t.Errorf("ticks(%v) = %d, want %d", d, got, want)
		}
	}
}

// TestDecoderComesBack feeds what must not be decoded and checks that a key
// frame helps, and that it takes one.
func TestDecoderComesBack(t *testing.T) {
	c := VideoConfig{Width: 320, Height: 180, FPS: 30, BitRate: 300_000}
	s, e := newScene(c.Width, c.Height, c.FPS), encoder(t, c)
	p, got := frame.NewPicture(2, 2), &frame.Picture{}
	var frames [3][]byte
	for n := range frames {
		out := &frame.Encoded{}
		s.draw(p, n)
		if err := e.Encode(out, p); err != nil {
			t.Fatal(err)
		}
		frames[n] = out.Data
	}
	key, delta := frames[0], frames[1]
	damage := func(b []byte, f func([]byte) []byte) []byte { return f(append([]byte(nil), b...)) }
	for name, bad := range map[string][]byte{
		"empty":           {},
		"three bytes":     key[:3],
		"no size":         key[:9],
		"truncated key":   key[:len(key)/2],
		"truncated delta": delta[:6],
		"start code":      damage(key, func(b []byte) []byte { b[3] = 0; return b }),
		"odd width":       damage(key, func(b []byte) []byte { b[6] |= 1; return b }),
		"no width":        damage(key, func(b []byte) []byte { b[6], b[7] = 0, 0; return b }),
		"too wide":        damage(key, func(b []byte) []byte { b[6], b[7] = 0x82, 0x07; return b }), // 1922
		"too high":        damage(key, func(b []byte) []byte { b[8], b[9] = 0x42, 0x04; return b }), // 1090
		"version":         damage(delta, func(b []byte) []byte { b[0] |= 0x0e; return b }),
		"not shown":       damage(delta, func(b []byte) []byte { b[0] &^= 0x10; return b }),
		"first partition": damage(delta, func(b []byte) []byte { b[2] = 0xff; return b }),
	} {
		t.Run(name, func(t *testing.T) {
			d := decoder(t)
			if err := d.Decode(got, delta, 0); !errors.Is(err, ErrKeyFrameNeeded) {
				t.Fatalf("a delta frame first: %v, want %v", err, ErrKeyFrameNeeded)
			}
			if err := d.Decode(got, key, 0); err != nil {
				t.Fatal(err)
			}
			before := *got
			if err := d.Decode(got, bad, 1); err == nil {
				t.Error("it was decoded")
			}
			if got.PTS != before.PTS || got.Number != before.Number || got.Width != before.Width {
				t.Error("the picture changed")
			}
			if err := d.Decode(got, delta, 2); !errors.Is(err, ErrKeyFrameNeeded) {
				t.Errorf("a delta frame afterwards: %v, want %v", err, ErrKeyFrameNeeded)
			}
			if err := d.Decode(got, key, 3); err != nil {
				t.Errorf("a key frame afterwards: %v", err)
			}
			if err := d.Decode(got, delta, 4); err != nil {
				t.Errorf("a delta frame after it: %v", err)
			}
			d.Close()
			d.Close()
			if err := d.Decode(got, key, 5); !errors.Is(err, errClosed) {
				t.Errorf("Decode after Close: %v", err)
			}
		})
	}
}

// TestNewSize checks that one decoder follows an encoder that was replaced.
func TestNewSize(t *testing.T) {
	d, got := decoder(t), &frame.Picture{}
	for _, size := range [][2]int{{640, 360}, {320, 180}, {1280, 720}, {1920, 1080}} {
		c := VideoConfig{Width: size[0], Height: size[1], FPS: 30, BitRate: 500_000}
		s, e, p, out := newScene(c.Width, c.Height, c.FPS), encoder(t, c), frame.NewPicture(2, 2), &frame.Encoded{}
		for n := range 3 {
			s.draw(p, n)
			if err := e.Encode(out, p); err != nil {
				t.Fatal(err)
			}
			if err := d.Decode(got, out.Data, 0); err != nil {
				t.Fatal(err)
			}
			if quality := psnr(p, got); got.Width != size[0] || got.Height != size[1] || quality < 30 {
				t.Errorf("picture %d of %dx%d came back as %dx%d, %.1f dB", n, size[0], size[1], got.Width, got.Height, quality)
			}
		}
	}
}

func TestVP8AllocatesNothing(t *testing.T) {
	c := VideoConfig{Width: 320, Height: 180, FPS: 30, BitRate: 300_000}
	s, e, d := newScene(c.Width, c.Height, c.FPS), encoder(t, c), decoder(t)
	p, got, out, n := frame.NewPicture(2, 2), &frame.Picture{}, &frame.Encoded{}, 0
	if allocs := testing.AllocsPerRun(100, func() {
		s.draw(p, n)
		n++
		if err := e.Encode(out, p); err != nil {
			t.Fatal(err)
		}
		if err := d.Decode(got, out.Data, 0); err != nil {
			t.Fatal(err)
		}
	}); allocs != 0 {
		t.Errorf("%v allocations a frame, want none", allocs)
	}
}

// FuzzVP8Decode gives the decoder a key frame, then anything, then the key
// frame again, which must decode: no bytes break it.
func FuzzVP8Decode(f *testing.F) {
	c := VideoConfig{Width: 64, Height: 48, FPS: 30, BitRate: 100_000}
	s, e, p, out := newScene(c.Width, c.Height, c.FPS), encoder(f, c), frame.NewPicture(2, 2), &frame.Encoded{}
	var key []byte
	for n := range 3 {
		s.draw(p, n)
		if err := e.Encode(out, p); err != nil {
			f.Fatal(err)
		}
		if n == 0 {
			key = append(key, out.Data...)
		}
		f.Add(append([]byte(nil), out.Data...))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		d, got := decoder(t), &frame.Picture{}
		if err := d.Decode(got, key, 0); err != nil {
			t.Fatal(err)
		}
		if err := d.Decode(got, data, 0); err == nil && (got.Width > MaxWidth || got.Height > MaxHeight || len(got.Pix) != got.Width*got.Height*3/2) {
			t.Errorf("a picture of %dx%d with %d bytes", got.Width, got.Height, len(got.Pix))
		}
		if err := d.Decode(got, key, 0); err != nil || got.Width != 64 {
			t.Errorf("the key frame afterwards: %v", err)
		}
	})
}

func BenchmarkVP8Encode(b *testing.B) {
	for _, effort := range []Effort{Normal, Less, Least} {
		b.Run([]string{"normal", "less", "least"}[effort], func(b *testing.B) {
			s, e, out := newScene(hd.Width, hd.Height, hd.FPS), encoder(b, hd), &frame.Encoded{}
			if err := e.SetEffort(effort); err != nil {
				b.Fatal(err)
			}
			var pictures [30]frame.Picture
			for n := range pictures {
				s.draw(&pictures[n], n)
			}
			b.ReportAllocs()
			b.SetBytes(int64(len(pictures[0].Pix)))
			for n := 0; b.Loop(); n++ {
				p := &pictures[n%len(pictures)]
				p.PTS = time.Duration(n) * time.Second / 30
				if err := e.Encode(out, p); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkVP8Decode(b *testing.B) {
	s, e, d, p, got := newScene(hd.Width, hd.Height, hd.FPS), encoder(b, hd), decoder(b), frame.NewPicture(2, 2), &frame.Picture{}
	var frames [60]frame.Encoded
	for n := range frames {
		s.draw(p, n)
		if err := e.Encode(&frames[n], p); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportAllocs()
	b.SetBytes(int64(hd.Width * hd.Height * 3 / 2))
	for n := 0; b.Loop(); n++ {
		if err := d.Decode(got, frames[n%len(frames)].Data, 0); err != nil {
			b.Fatal(err)
		}
	}
}
