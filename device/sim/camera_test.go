// SPDX-License-Identifier: Apache-2.0

package sim

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/at-wat/ebml-go"
	"github.com/pion/mediadevices/pkg/prop"

	"incamera/device/camera"
	"incamera/media/frame"
)

func TestCameraKeepsTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := NewCamera("Vauban", true)
		if err := c.Open(); err != nil {
			t.Fatal(err)
		}
		r, err := c.VideoRecord(prop.Media{Video: prop.Video{Width: 640, Height: 360, FrameRate: 30}})
		if err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		var first time.Duration
		for n := range uint64(90) {
			img, release, err := r.Read()
			if err != nil {
				t.Fatal(err)
			}
			p := img.(*frame.Picture)
			if n == 0 {
				first = p.PTS
			}
			want := time.Duration(n) * time.Second / 30
			if p.Number != n || p.PTS-first != want || time.Since(began) != want {
				t.Fatalf("picture %d has number %d, time %v, and came after %v; want %v", n, p.Number, p.PTS-first, time.Since(began), want)
			}
			if s, ok := ReadStamp(p, 0, 0); !ok || s.Number != uint32(n) || s.Time != p.PTS.Truncate(stampUnit) {
				t.Fatalf("picture %d has stamp %+v, %v", n, s, ok)
			}
			release()
		}
		// Half a second late: pictures are left out, numbers are not.
		time.Sleep(500 * time.Millisecond)
		img, _, err := r.Read()
		if err != nil {
			t.Fatal(err)
		}
		p := img.(*frame.Picture)
		if age := time.Since(began) - (p.PTS - first); p.Number != 90 || age < 0 || age > time.Second/30 {
			t.Errorf("after a pause: picture %d, %v old", p.Number, age)
		}
		if c.Late() != 14 {
			t.Errorf("%d pictures left out; want 14", c.Late())
		}
		go func() {
			time.Sleep(time.Millisecond)
			_ = c.Close()
		}()
		if _, _, err := r.Read(); !errors.Is(err, io.EOF) {
			t.Errorf("Read after Close = %v", err)
		}
	})
}

func TestCameraThroughManager(t *testing.T) {
	if err := camera.Register("Simulated camera", NewCamera("Vauban", true)); err != nil {
		t.Fatal(err)
	}
	defer camera.Unregister("Simulated camera")
	for range 2 { // it can be opened again
		s, err := camera.Open(t.Context(), "Simulated camera", 640, 360, 60)
		if err != nil {
			t.Fatal(err)
		}
		for n := range uint64(3) {
			p, err := s.Next(t.Context())
			if err != nil || p.Number != n || p.Width != 640 {
				t.Fatalf("picture %d: %v, %v", n, p, err)
			}
		}
		if err := errors.Join(s.Close(), s.Close()); err != nil {
			t.Fatal(err)
		}
	}
}

func TestCameraRefuses(t *testing.T) {
	c := NewCamera("Vauban", false)
	if _, err := c.VideoRecord(prop.Media{}); err == nil {
		t.Error("a camera that is not open started")
	}
	if err := c.Open(); err != nil {
		t.Fatal(err)
	}
	for _, v := range []prop.Video{{Width: 641, Height: 360}, {Width: 640}, {Width: 640, Height: 360, FrameRate: 500}, {Width: 640, Height: 360, FrameRate: -3}} {
		if _, err := c.VideoRecord(prop.Media{Video: v}); err == nil {
			t.Errorf("the camera agrees to %+v", v)
		}
	}
	if err := c.Open(); err == nil {
		t.Error("the camera was opened twice")
	}
	if err := errors.Join(c.Close(), c.Close()); err != nil {
		t.Error(err)
	}
}

// plainDecoder stands for VP8: the second byte of a frame is the luma of the
// whole picture.
type plainDecoder struct{ open *int }

func (d plainDecoder) Decode(dst *frame.Picture, data []byte, pts time.Duration) error {
	if len(data) < 2 {
		return errors.New("no picture")
	}
	resize(dst, 16, 8)
	dst.Fill(data[1], 128, 128)
	dst.PTS = pts
	return nil
}

func (d plainDecoder) Close() error { *d.open--; return nil }

func y4mFile(header string, lumas ...byte) []byte {
	b := []byte(header)
	for _, y := range lumas {
		p := frame.NewPicture(16, 8)
		p.Fill(y, 128, 128)
		b = append(append(b, "FRAME Ip\n"...), p.Pix...)
	}
	return b
}

func ivfFile(codec string, at []uint64, lumas ...byte) []byte {
	b := append([]byte("DKIF\x00\x00\x20\x00"), codec...)
	b = binary.LittleEndian.AppendUint16(b, 16)
	b = binary.LittleEndian.AppendUint16(b, 8)
	b = binary.LittleEndian.AppendUint32(b, 25) // units in
	b = binary.LittleEndian.AppendUint32(b, 1)  // a second
	b = append(b, 0, 0, 0, 0, 0, 0, 0, 0)
	for i, y := range lumas {
		b = binary.LittleEndian.AppendUint32(b, 2)
		b = binary.LittleEndian.AppendUint64(b, at[i])
		b = append(b, byte(min(i, 1)), y)
	}
	return b
}

func webmData(t testing.TB, lumas ...byte) []byte {
	t.Helper()
	type entry struct {
		TrackNumber uint64
		CodecID     string
		Video       struct{ PixelWidth, PixelHeight uint64 }
	}
	type cluster struct {
		Timecode    uint64
		SimpleBlock []ebml.Block
	}
	var f struct {
		EBML    struct{ EBMLMaxIDLength uint64 } `ebml:"EBML"`
		Segment struct {
			Info    struct{ TimecodeScale uint64 }
			Tracks  struct{ TrackEntry []entry }
			Cluster []cluster
		}
	}
	f.EBML.EBMLMaxIDLength = 4
	f.Segment.Info.TimecodeScale = 1_000_000
	e := entry{TrackNumber: 1, CodecID: "V_VP8"}
	e.Video.PixelWidth, e.Video.PixelHeight = 16, 8
	f.Segment.Tracks.TrackEntry = []entry{{TrackNumber: 2, CodecID: "A_OPUS"}, e}
	for i, y := range lumas {
		f.Segment.Cluster = append(f.Segment.Cluster, cluster{uint64(40 * i), []ebml.Block{
			{TrackNumber: 2, Data: [][]byte{{1, 2, 3}}}, {TrackNumber: 1, Keyframe: i == 0, Data: [][]byte{{byte(min(i, 1)), y}}},
		}})
	}
	var b bytes.Buffer
	if err := ebml.Marshal(&f, &b); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func write(t *testing.T, name string, b []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

const y4mHeader25 = "YUV4MPEG2 W16 H8 F25:1 Ip A1:1 C420jpeg\n"

// TestFileCamera films three pictures at 25 a second with a camera at 50: each
// is seen twice, in a loop.
func TestFileCamera(t *testing.T) {
	for name, data := range map[string][]byte{
		"clip.y4m":  y4mFile(y4mHeader25, 40, 80, 120),
		"clip.ivf":  ivfFile("VP80", []uint64{7, 8, 9}, 40, 80, 120),
		"clip.webm": webmData(t, 40, 80, 120),
	} {
		t.Run(name, func(t *testing.T) {
			path, open := write(t, name, data), 0
			synctest.Test(t, func(t *testing.T) {
				c, err := NewFileCamera(path, func() (Decoder, error) { open++; return plainDecoder{&open}, nil }, false)
				if err != nil {
					t.Fatal(err)
				}
				if err := c.Open(); err != nil {
					t.Fatal(err)
				}
				r, err := c.VideoRecord(prop.Media{Video: prop.Video{FrameRate: 50}})
				if err != nil {
					t.Fatal(err)
				}
				began := time.Now()
				for n := range 30 {
					img, _, err := r.Read()
					if err != nil {
						t.Fatal(err)
					}
					p := img.(*frame.Picture)
					if want := byte(40 + 40*(n/2%3)); p.Y()[0] != want || p.Number != uint64(n) || p.Width != 16 {
						t.Fatalf("picture %d is %d wide, has luma %d, number %d; want luma %d", n, p.Width, p.Y()[0], p.Number, want)
					}
					if took := time.Since(began); took != time.Duration(n)*20*time.Millisecond {
						t.Fatalf("picture %d came after %v", n, took)
					}
				}
				if err := errors.Join(c.Close(), c.Close()); err != nil {
					t.Error(err)
				}
				if _, _, err := r.Read(); !errors.Is(err, io.EOF) {
					t.Errorf("Read after Close = %v", err)
				}
				if open != 0 {
					t.Errorf("%d decoders are still open", open)
				}
			})
		})
	}
}

func TestFileCameraRefuses(t *testing.T) {
	good := y4mFile(y4mHeader25, 40)
	ivf := ivfFile("VP80", []uint64{0, 1}, 40, 80)
	for name, data := range map[string][]byte{
		"empty":             {},
		"text":              []byte("This is a letter, not a film."),
		"header only":       []byte(y4mHeader25),
		"no end of line":    []byte("YUV4MPEG2 W16 H8"),
		"endless line":      append([]byte("YUV4MPEG2 W16 H8 X"), bytes.Repeat([]byte{'x'}, 1<<16)...),
		"cut":               good[:len(good)-1],
		"no FRAME":          append([]byte(y4mHeader25), good[len(y4mHeader25)+1:]...),
		"4:4:4":             y4mFile("YUV4MPEG2 W16 H8 F25:1 C444\n", 40),
		"10 bits":           y4mFile("YUV4MPEG2 W16 H8 F25:1 C420p10\n", 40),
		"odd":               y4mFile("YUV4MPEG2 W15 H8 F25:1\n", 40),
		"huge":              y4mFile("YUV4MPEG2 W16000 H16000 F25:1\n", 40),
		"no size":           y4mFile("YUV4MPEG2 F25:1\n", 40),
		"rate of zero":      y4mFile("YUV4MPEG2 W16 H8 F0:1\n", 40),
		"rate by zero":      y4mFile("YUV4MPEG2 W16 H8 F25:0\n", 40),
		"negative size":     y4mFile("YUV4MPEG2 W-16 H8\n", 40),
		"two spaces":        y4mFile("YUV4MPEG2  W16 H8\n", 40),
		"ivf header cut":    ivf[:31],
		"ivf frame cut":     ivf[:len(ivf)-1],
		"ivf of VP9":        ivfFile("VP90", []uint64{0}, 40),
		"ivf without end":   append(bytes.Clone(ivf), 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0, 0, 0, 0, 0),
		"ivf backwards":     ivfFile("VP80", []uint64{5, 4}, 40, 80),
		"ivf without start": append(bytes.Clone(ivf[:32]), ivf[32+14:]...),
		"webm cut":          webmData(t, 40, 80)[:60],
	} {
		t.Run(name, func(t *testing.T) {
			path, open := write(t, "clip", data), 0
			_, err := NewFileCamera(path, func() (Decoder, error) { open++; return plainDecoder{&open}, nil }, false)
			if err == nil {
				t.Fatal("the file is accepted")
			}
			if !strings.Contains(err.Error(), path) || !strings.Contains(err.Error(), "ffmpeg") {
				t.Errorf("the error lacks the file or the remedy: %v", err)
			}
			if open != 0 {
				t.Errorf("%d decoders are still open", open)
			}
		})
	}
	if _, err := NewFileCamera(write(t, "clip.ivf", ivf), nil, false); err == nil {
		t.Error("VP8 is accepted without a decoder")
	}
	if _, err := NewFileCamera(filepath.Join(t.TempDir(), "none"), nil, false); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a missing file gives %v", err)
	}
}

func TestFit(t *testing.T) {
	src := newScene(t, "Vauban", 640, 360)
	p, half, back := new(frame.Picture), frame.NewPicture(320, 180), frame.NewPicture(640, 360)
	src.Draw(p, 0, 0)
	fit(half, p)
	fit(back, half)
	if db := psnr(p.Y(), back.Y()); db < 26 {
		t.Errorf("down and up again: PSNR %.1f dB", db)
	}
	for _, size := range [][2]int{{2, 2}, {640, 2}, {2, 640}, {100, 300}, {1000, 200}} {
		q := frame.NewPicture(size[0], size[1])
		fit(q, p)
		r := frame.NewPicture(640, 360)
		fit(r, q)
	}
	wide := frame.NewPicture(640, 360)
	white := frame.NewPicture(20, 20)
	white.Fill(200, 100, 150)
	fit(wide, white)
	if l, m, r := wide.Y()[180*640], wide.Y()[180*640+320], wide.Y()[180*640+639]; l != 16 || m != 200 || r != 16 {
		t.Errorf("a square on a wide picture: luma %d, %d, %d", l, m, r)
	}
}

// FuzzY4M: the header that is accepted describes the pictures that come out,
// and memory stays that of one picture.
func FuzzY4M(f *testing.F) {
	f.Add(y4mFile(y4mHeader25, 40, 80))
	f.Add(y4mFile("YUV4MPEG2 W16 H8 XCOLORRANGE=FULL\n", 0, 255))
	f.Add([]byte("YUV4MPEG2 W8192 H8192\nFRAME\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		c, err := newY4M(bytes.NewReader(b))
		if err != nil {
			return
		}
		if w, h := c.size(); frame.CheckSize(w, h) != nil || w*h > 1<<20 {
			return
		}
		p := new(frame.Picture)
		n, last := 0, time.Duration(-1)
		for ; ; n++ {
			at, err := c.next(p)
			if err != nil {
				break
			}
			if at <= last && c.header.num < 1000 || len(p.Pix) != p.Width*p.Height*3/2 {
				t.Fatalf("picture %d at %v after %v", n, at, last)
			}
			last = at
		}
		if n*(len(p.Pix)+6) > len(b) {
			t.Errorf("%d pictures from %d bytes", n, len(b))
		}
		if err := c.rewind(); err != nil {
			t.Fatal(err)
		}
		for i := range n {
			if _, err := c.next(p); err != nil {
				t.Fatalf("second round, picture %d of %d: %v", i, n, err)
			}
		}
	})
}

// FuzzVP8File: what is accepted has pictures of bounded size in order.
func FuzzVP8File(f *testing.F) {
	f.Add(ivfFile("VP80", []uint64{0, 1}, 40, 80))
	f.Add(webmData(f, 40, 80))
	f.Fuzz(func(t *testing.T, b []byte) {
		for i, parse := range []func([]byte) (*vp8Clip, error){parseIVF, parseWebM} {
			c, err := parse(b)
			if err != nil {
				continue
			}
			total, last := 0, time.Duration(0)
			for _, frame := range c.frames {
				if frame.at < last || frame.at > maxClip || len(frame.data) == 0 {
					t.Fatalf("parser %d: %d bytes at %v after %v", i, len(frame.data), frame.at, last)
				}
				total, last = total+len(frame.data), frame.at
			}
			if total > len(b) || len(c.frames) == 0 || c.end() <= 0 {
				t.Errorf("parser %d: %d pictures of %d bytes from %d, %v long", i, len(c.frames), total, len(b), c.end())
			}
		}
	})
}

func ExampleStamp() {
	p := frame.NewPicture(640, 360)
	Stamp{Number: 42, Time: 1500 * time.Millisecond}.Write(p)
	s, ok := ReadStamp(p, 0, 0)
	fmt.Println(s.Number, s.Time, ok)
	// Output: 42 1.5s true
}
