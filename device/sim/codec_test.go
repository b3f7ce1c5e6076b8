// SPDX-License-Identifier: Apache-2.0

//go:build cgo

package sim

import (
	"image"
	"io"
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"

	opusenc "github.com/pion/mediadevices/pkg/codec/opus"
	"github.com/pion/mediadevices/pkg/codec/vpx"
	"github.com/pion/mediadevices/pkg/io/audio"
	"github.com/pion/mediadevices/pkg/io/video"
	"github.com/pion/mediadevices/pkg/prop"
	mdwave "github.com/pion/mediadevices/pkg/wave"
	"github.com/pion/opus"

	"incamera/media/frame"
)

// coded returns what a receiver hears of pcm after Opus at 48 kb/s.
func coded(t *testing.T, pcm []float32) []float32 {
	t.Helper()
	params, err := opusenc.NewParams()
	if err != nil {
		t.Fatal(err)
	}
	params.BitRate = 48000
	at := 0
	enc, err := params.BuildAudioEncoder(audio.ReaderFunc(func() (mdwave.Audio, func(), error) {
		if at+960 > len(pcm) {
			return nil, nil, io.EOF
		}
		chunk := mdwave.NewFloat32Interleaved(mdwave.ChunkInfo{Len: 960, Channels: 1, SamplingRate: frame.SampleRate})
		copy(chunk.Data, pcm[at:])
		at += 960
		return chunk, func() {}, nil
	}), prop.Media{Audio: prop.Audio{SampleRate: frame.SampleRate, ChannelCount: 1}})
	if err != nil {
		t.Fatal(err)
	}
	defer enc.Close()
	dec, err := opus.NewDecoderWithOutput(frame.SampleRate, 1)
	if err != nil {
		t.Fatal(err)
	}
	var out []float32
	for {
		packet, _, err := enc.Read()
		if err != nil {
			return out
		}
		var pcm [960]float32
		if _, err := dec.DecodeToFloat32(packet, pcm[:]); err != nil {
			t.Fatal(err)
		}
		out = append(out, pcm[:]...)
	}
}

// TestRecogniseAfterOpus sends each voice through the codec of a call, alone,
// among three others, with packets lost, and behind a crude noise gate.
func TestRecogniseAfterOpus(t *testing.T) {
	rooms := []string{"Vauban", "Curie", "Nobel", "Lyon 3"}
	heard := map[string][]float32{}
	for _, room := range rooms {
		heard[room] = coded(t, newVoice(room))
	}
	mix := make([]float32, len(heard["Curie"]))
	for _, pcm := range heard {
		for i, v := range pcm {
			mix[i] += v
		}
	}
	r := rand.New(rand.NewPCG(5, 6))
	for i, room := range rooms {
		lossy, gated := append([]float32(nil), heard[room]...), append([]float32(nil), heard[room]...)
		for at := 0; at+960 <= len(lossy); at += 960 {
			if r.Float64() < 0.05 {
				clear(lossy[at : at+960])
			}
			var e float64
			for _, v := range gated[at : at+960] {
				e += float64(v * v)
			}
			if e < 0.5 {
				clear(gated[at : at+960])
			}
		}
		dropped := append(append([]float32(nil), lossy[:100000]...), lossy[100480:]...) // 10 ms left out by a jitter buffer
		for name, pcm := range map[string][]float32{
			"alone": heard[room], "5 % lost": lossy, "jitter": dropped, "gated": gated, "three seconds": heard[room][50000:194000],
		} {
			score, ok := Recognise(pcm, room)
			t.Logf("%-7s %-14s %.3f", room, name, score)
			if !ok {
				t.Errorf("%s is not recognised: %s, score %.3f", room, name, score)
			}
		}
		score, ok := Recognise(mix, room)
		t.Logf("%-7s %-14s %.3f", room, "among three", score)
		if !ok {
			t.Errorf("%s is not recognised among three others, score %.3f", room, score)
		}
		other := rooms[(i+1)%len(rooms)]
		score, ok = Recognise(heard[room], other)
		t.Logf("%-7s heard, taken for %-7s %.3f", room, other, score)
		if ok {
			t.Errorf("%s is taken for %s, score %.3f", room, other, score)
		}
	}
}

// vp8 encodes and decodes n pictures of draw at 30 pictures a second, and
// gives each to see. It returns the bit rate. The wrapper takes microseconds of
// the clock for milliseconds; the clock of a bubble lets us agree with it.
func vp8(t *testing.T, width, height, n, bps int, draw func(p *frame.Picture, n uint64), see func(p *frame.Picture)) (rate int) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		params, err := vpx.NewVP8Params()
		if err != nil {
			t.Fatal(err)
		}
		params.BitRate, params.Deadline, params.KeyFrameInterval = bps, time.Microsecond, 3000
		p := frame.NewPicture(width, height)
		var number uint64
		enc, err := params.BuildVideoEncoder(video.ReaderFunc(func() (image.Image, func(), error) {
			time.Sleep(33 * time.Microsecond)
			draw(p, number)
			number++
			return p.YCbCr(), func() {}, nil
		}), prop.Media{Video: prop.Video{Width: width, Height: height, FrameRate: 30}})
		if err != nil {
			t.Fatal(err)
		}
		defer enc.Close()
		total := 0
		q := frame.NewPicture(width, height)
		dec, err := vpx.NewDecoder(readerFunc(func(b []byte) (int, error) {
			packet, _, err := enc.Read()
			total += len(packet)
			return copy(b, packet), err
		}), prop.Media{Video: prop.Video{Width: width, Height: height}})
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = dec.Close() }()
		for range n {
			img, _, err := dec.Read()
			if err != nil {
				t.Fatal(err)
			}
			c := img.(*image.YCbCr)
			for y := range height {
				copy(q.Y()[y*width:(y+1)*width], c.Y[y*c.YStride:])
			}
			see(q)
		}
		rate = total * 8 * 30 / n
	})
	return rate
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(b []byte) (int, error) { return f(b) }

func TestStampSurvivesVP8(t *testing.T) {
	for _, tt := range []struct{ width, height, bps int }{{1280, 720, 300_000}, {640, 360, 250_000}} {
		s := newScene(t, "Vauban", tt.width, tt.height)
		var next uint32
		rate := vp8(t, tt.width, tt.height, 36, tt.bps, func(p *frame.Picture, n uint64) {
			s.Draw(p, n, 0)
			Stamp{uint32(n), time.Duration(n) * 33 * time.Millisecond}.Write(p)
		}, func(p *frame.Picture) {
			got, ok := ReadStamp(p, 0, 0)
			if !ok || got.Number != next || got.Time != time.Duration(next)*33*time.Millisecond {
				t.Errorf("%dx%d at %d bit/s: stamp %d reads %+v, %v", tt.width, tt.height, tt.bps, next, got, ok)
			}
			next++
		})
		t.Logf("%dx%d: asked for %d bit/s, was %d, %d stamps read", tt.width, tt.height, tt.bps, rate, next)
	}
}

func TestSceneLooksGoodAfterVP8(t *testing.T) {
	s := newScene(t, "Curie", 1280, 720)
	source := new(frame.Picture)
	var n uint64
	var sum, least float64
	least = maxPSNR
	rate := vp8(t, 1280, 720, 36, 1_500_000, func(p *frame.Picture, n uint64) {
		s.Draw(p, n, 0)
		Stamp{Number: uint32(n)}.Write(p)
	}, func(p *frame.Picture) {
		s.Draw(source, n, 0)
		top, bottom := StampHeight*1280, 720*7/10*1280
		db := psnr(source.Y()[top:bottom], p.Y()[top:bottom])
		sum, least = sum+db, min(least, db)
		n++
	})
	t.Logf("asked for 1500000 bit/s, was %d: PSNR %.1f dB in the mean, %.1f at least", rate, sum/float64(n), least)
	if least < 30 {
		t.Errorf("PSNR falls to %.1f dB at %d bit/s", least, rate)
	}
}
