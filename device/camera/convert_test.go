// SPDX-License-Identifier: Apache-2.0

package camera

import (
	"bytes"
	"errors"
	"image"
	"image/jpeg"
	"testing"

	"incamera/media/frame"
)

// ramp is a picture in which every sample tells its place.
func ramp(width, height int) *frame.Picture {
	p := frame.NewPicture(width, height)
	for i := range p.Y() {
		p.Y()[i] = byte(16 + (i%width*3+i/width*5)%220)
	}
	for i := range p.Cb() {
		p.Cb()[i], p.Cr()[i] = byte(16+i*7%225), byte(240-i*11%225)
	}
	return p
}

func TestConvertPlanes(t *testing.T) {
	const width, height, pad = 32, 20, 6
	want := ramp(width, height)
	chroma := func(x, y int) (cb, cr byte) {
		at := y/2*(width/2) + x/2
		return want.Cb()[at], want.Cr()[at]
	}
	stride := width + pad
	yu12 := make([]byte, stride*height*3/2)
	nv12 := make([]byte, stride*height*3/2)
	packed := make([]byte, (2*width+pad)*height)
	for y := range height {
		for x := range width {
			v := want.Y()[y*width+x]
			cb, cr := chroma(x, y)
			yu12[y*stride+x], nv12[y*stride+x] = v, v
			at := stride*height + y/2*(stride/2) + x/2
			yu12[at], yu12[at+stride/2*(height/2)] = cb, cr
			at = stride*height + y/2*stride + x&^1
			nv12[at], nv12[at+1] = cb, cr
			at = y*(2*width+pad) + 2*x
			packed[at] = v
			if packed[at+1] = cb; x%2 == 1 {
				packed[at+1] = cr
			}
		}
	}
	for _, tt := range []struct {
		code   uint32
		stride int
		src    []byte
	}{{fourccYU12, stride, yu12}, {fourccNV12, stride, nv12}, {fourccYUYV, 2*width + pad, packed}} {
		l := layout{pixelFormat: tt.code, width: width, height: height, stride: tt.stride}
		got := frame.NewPicture(width, height)
		if err := convert(got, tt.src, l); err != nil || !bytes.Equal(got.Pix, want.Pix) {
			t.Errorf("%s: wrong picture, %v", fourccName(tt.code), err)
		}
		if err := convert(got, tt.src[:len(tt.src)-pad-1], l); len(tt.src)-pad-1 < l.need() && !errors.Is(err, errPicture) {
			t.Errorf("%s cut short: %v", fourccName(tt.code), err)
		}
		if allocs := testing.AllocsPerRun(10, func() { _ = convert(got, tt.src, l) }); allocs != 0 {
			t.Errorf("%s allocates %v times a picture", fourccName(tt.code), allocs)
		}
	}
}

func TestFullRange(t *testing.T) {
	p := frame.NewPicture(2, 2)
	for _, tt := range [][4]byte{{0, 16, 128, 128}, {255, 235, 255, 240}, {128, 126, 0, 16}} {
		src := []byte{tt[0], tt[0], tt[0], tt[0], tt[2], tt[2]}
		if err := convert(p, src, layout{pixelFormat: fourccYU12, width: 2, height: 2, stride: 2, full: true}); err != nil {
			t.Fatal(err)
		}
		if p.Pix[0] != tt[1] || p.Pix[4] != tt[3] {
			t.Errorf("luma %d and chroma %d become %d and %d; want %d and %d", tt[0], tt[2], p.Pix[0], p.Pix[4], tt[1], tt[3])
		}
	}
}

// jpegOf encodes a grey ramp with some colour.
func jpegOf(t testing.TB, width, height int) []byte {
	t.Helper()
	img := image.NewYCbCr(image.Rect(0, 0, width, height), image.YCbCrSubsampleRatio420)
	for i := range img.Y {
		img.Y[i] = byte(i % img.YStride * 255 / img.YStride)
	}
	for i := range img.Cb {
		img.Cb[i], img.Cr[i] = 100, 180
	}
	var b bytes.Buffer
	if err := jpeg.Encode(&b, img, &jpeg.Options{Quality: 95}); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// withoutTables drops the Huffman tables, as many cameras do.
func withoutTables(b []byte) []byte {
	var out []byte
	for at := 2; at+4 <= len(b); {
		size := 2 + int(b[at+2])<<8 + int(b[at+3])
		if b[at+1] == 0xda {
			return append(append([]byte{0xff, 0xd8}, out...), b[at:]...)
		}
		if b[at+1] != 0xc4 {
			out = append(out, b[at:at+size]...)
		}
		at += size
	}
	return nil
}

func TestMotionJPEG(t *testing.T) {
	whole := jpegOf(t, 64, 48)
	l := layout{pixelFormat: fourccMJPG, width: 64, height: 48}
	bare := withoutTables(whole)
	if len(bare) >= len(whole)-400 {
		t.Fatal("the tables are still there")
	}
	for name, src := range map[string][]byte{"with tables": whole, "without": bare, "with rubbish behind it": append(bytes.Clone(whole), 1, 2, 3)} {
		p := frame.NewPicture(64, 48)
		if err := convert(p, src, l); err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		for _, x := range []int{0, 20, 63} {
			want := 16 + (x*255/64)*219/255
			if got := int(p.Y()[64*20+x]); got < want-4 || got > want+4 {
				t.Errorf("%s: luma at %d is %d; want %d", name, x, got, want)
			}
		}
		if cb, cr := int(p.Cb()[100]), int(p.Cr()[100]); cb < 101 || cb > 106 || cr < 171 || cr > 177 {
			t.Errorf("%s: chroma %d, %d; want 104, 174", name, cb, cr)
		}
	}
	for name, src := range map[string][]byte{
		"empty": {}, "no JPEG": []byte("no picture at all"), "cut": whole[:len(whole)/2], "another size": jpegOf(t, 32, 48),
		"a segment without end": {0xff, 0xd8, 0xff, 0xe0, 0xff, 0xff},
	} {
		if err := convert(frame.NewPicture(64, 48), src, l); !errors.Is(err, errPicture) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// FuzzMotionJPEG: what is accepted fills the picture, in limited range.
func FuzzMotionJPEG(f *testing.F) {
	f.Add(jpegOf(f, 32, 16))
	f.Add(withoutTables(jpegOf(f, 32, 16)))
	f.Fuzz(func(t *testing.T, b []byte) {
		p := frame.NewPicture(32, 16)
		before := bytes.Clone(b)
		err := convert(p, b, layout{pixelFormat: fourccMJPG, width: 32, height: 16})
		if !bytes.Equal(before, b) {
			t.Fatal("the buffer was written to")
		}
		if err != nil {
			return
		}
		for i, v := range p.Pix {
			if v < 16 || v > 240 {
				t.Fatalf("sample %d is %d", i, v)
			}
		}
	})
}

func BenchmarkConvert720p(b *testing.B) {
	for name, code := range map[string]uint32{"YUYV": fourccYUYV, "NV12": fourccNV12, "MJPG": fourccMJPG} {
		b.Run(name, func(b *testing.B) {
			src := make([]byte, 1280*720*2)
			l := layout{pixelFormat: code, width: 1280, height: 720, stride: 1280}
			switch code {
			case fourccYUYV:
				l.stride = 2560
			case fourccMJPG:
				src = jpegOf(b, 1280, 720)
			}
			p := frame.NewPicture(1280, 720)
			b.ReportAllocs()
			b.SetBytes(int64(len(p.Pix)))
			for b.Loop() {
				if err := convert(p, src, l); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
