// SPDX-License-Identifier: Apache-2.0

//go:build cgo

package codec

import (
	"bytes"
	"math"
	"math/rand/v2"
	"os"
	"os/exec"
	"testing"
	"time"

	"incamera/media/frame"
)

func opusEncoder(t testing.TB) *OpusEncoder {
	t.Helper()
	e, err := NewOpusEncoder()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { e.Close() })
	return e
}

// sounds are what a room hears, by sample number.
var sounds = map[string]func(n int) float64{
	"silence":   func(int) float64 { return 0 },
	"tone":      func(n int) float64 { return 0.5 * math.Sin(2*math.Pi*440*float64(n)/frame.SampleRate) },
	"noise":     func(int) float64 { return rand.Float64()*2 - 1 },
	"too loud":  func(n int) float64 { return 40 * math.Sin(float64(n)/20) },
	"no number": func(n int) float64 { return math.NaN() },
	"infinity":  func(n int) float64 { return math.Inf(1 - n%2*2) },
	"voice": func(n int) float64 { // bursts of a rich tone with breath between
		t := float64(n) / frame.SampleRate
		v := 0.002 * (rand.Float64() - 0.5)
		if math.Mod(t, 0.7) < 0.4 {
			for h := 1.0; h < 20; h++ {
				v += 0.3 / h * math.Sin(2*math.Pi*(130+20*math.Sin(5*t))*h*t)
			}
		}
		return v
	},
	"clicks": func(n int) float64 {
		if n%4801 == 0 {
			return 1
		}
		return 0
	},
}

// TestOpusConstantSize checks that nothing that a room can hear changes the
// size of a packet, that each decodes, and how many were replaced.
func TestOpusConstantSize(t *testing.T) {
	for name, sound := range sounds {
		t.Run(name, func(t *testing.T) {
			e, d := opusEncoder(t), opusDecoder(t)
			out := &frame.Encoded{}
			var pcm [OpusSamples]float32
			for n := range 1000 {
				in := &frame.PCM{PTS: time.Duration(n) * frame.Period}
				for i := range in.Samples {
					in.Samples[i] = float32(sound(n*frame.PeriodSamples + i))
				}
				ready, err := e.Encode(out, in)
				if err != nil {
					t.Fatal(err)
				}
				if want := n%2 == 1; ready != want {
					t.Fatalf("period %d: ready %v, want %v", n, ready, want)
				}
				if !ready {
					continue
				}
				if len(out.Data) != OpusPacketSize || !out.Key || out.PTS != time.Duration(n-1)*frame.Period {
					t.Fatalf("packet %d: %d bytes, key %v, instant %v", n/2, len(out.Data), out.Key, out.PTS)
				}
				if err := d.Decode(&pcm, out.Data); err != nil {
					t.Fatalf("packet %d: %v", n/2, err)
				}
			}
			t.Logf("%d of 500 packets were replaced", e.Replaced())
			if e.Replaced() > 25 {
				t.Errorf("%d of 500 packets were replaced by silence", e.Replaced())
			}
		})
	}
}

// TestOpusPaddingChangesNothing decodes each packet as it came from libopus and
// padded, and compares the samples.
func TestOpusPaddingChangesNothing(t *testing.T) {
	e, plain, padded := opusEncoder(t), opusDecoder(t), opusDecoder(t)
	var a, b [OpusSamples]float32
	for n := range 200 {
		for i := range e.block.Data {
			e.block.Data[i] = float32(sounds["voice"](n*OpusSamples + i))
		}
		packet, _, err := e.enc.Read()
		if err != nil {
			t.Fatal(err)
		}
		big, ok := fit(nil, packet)
		if !ok {
			t.Fatalf("packet %d of %d bytes does not fit", n, len(packet))
		}
		if err := plain.Decode(&a, packet); err != nil {
			t.Fatal(err)
		}
		if err := padded.Decode(&b, big); err != nil {
			t.Fatal(err)
		}
		if a != b {
			t.Fatalf("packet %d of %d bytes decodes to other samples with padding", n, len(packet))
		}
	}
}

// TestOpusTone checks that what comes out is what went in.
func TestOpusTone(t *testing.T) {
	e, d := opusEncoder(t), opusDecoder(t)
	out := &frame.Encoded{}
	var pcm [OpusSamples]float32
	var sin, cos, all float64
	for n := range 200 {
		in := &frame.PCM{}
		for i := range in.Samples {
			in.Samples[i] = float32(sounds["tone"](n*frame.PeriodSamples + i))
		}
		ready, err := e.Encode(out, in)
		if err != nil {
			t.Fatal(err)
		}
		if !ready {
			continue
		}
		if err := d.Decode(&pcm, out.Data); err != nil {
			t.Fatal(err)
		}
		for i, v := range pcm {
			if at := float64(n/2*OpusSamples + i); n >= 20 {
				sin += float64(v) * math.Sin(2*math.Pi*440*at/frame.SampleRate)
				cos += float64(v) * math.Cos(2*math.Pi*440*at/frame.SampleRate)
				all += float64(v) * float64(v)
			}
		}
	}
	samples := 90 * float64(OpusSamples)
	tone := 2 * (sin*sin + cos*cos) / samples
	if peak := 2 * math.Hypot(sin, cos) / samples; math.Abs(peak-0.5) > 0.02 || tone/all < 0.98 {
		t.Errorf("a tone of 0.5 came back with %.3f and %.1f %% of the power", peak, 100*tone/all)
	}
}

func TestOpusEncoderCloses(t *testing.T) {
	e := opusEncoder(t)
	if ready, err := e.Encode(&frame.Encoded{}, &frame.PCM{}); ready || err != nil {
		t.Fatal(ready, err)
	}
	e.Discard()
	if ready, err := e.Encode(&frame.Encoded{}, &frame.PCM{}); ready || err != nil {
		t.Errorf("the period before Discard was kept: ready %v, %v", ready, err)
	}
	e.Close()
	e.Close()
	if _, err := e.Encode(&frame.Encoded{}, &frame.PCM{}); err == nil {
		t.Error("Encode after Close gave no error")
	}
}

// TestOneOpus checks that the program links the libopus of the framework and
// no system library besides: two of them would mix their states.
func TestOneOpus(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	libraries, err := exec.CommandContext(t.Context(), "ldd", self).Output()
	if err != nil {
		t.Fatal("ldd, of Debian's libc-bin: ", err)
	}
	if bytes.Contains(libraries, []byte("libopus")) {
		t.Errorf("the program links a system libopus too:\n%s", libraries)
	}
	if !bytes.Contains(libraries, []byte("libvpx")) {
		t.Errorf("ldd shows no libvpx, so it would not show libopus either:\n%s", libraries)
	}
}

func BenchmarkOpusEncode(b *testing.B) {
	e, out, in := opusEncoder(b), &frame.Encoded{}, make([]frame.PCM, 70)
	for n := range in {
		for i := range in[n].Samples {
			in[n].Samples[i] = float32(sounds["voice"](n*frame.PeriodSamples + i))
		}
	}
	b.ReportAllocs()
	for n := 0; b.Loop(); n += 2 {
		for k := range 2 {
			if _, err := e.Encode(out, &in[(n+k)%len(in)]); err != nil {
				b.Fatal(err)
			}
		}
	}
}

func BenchmarkOpusDecode(b *testing.B) {
	e, d := opusEncoder(b), opusDecoder(b)
	var packets [35]frame.Encoded
	for n := range 2 * len(packets) {
		in := &frame.PCM{}
		for i := range in.Samples {
			in.Samples[i] = float32(sounds["voice"](n*frame.PeriodSamples + i))
		}
		if _, err := e.Encode(&packets[n/2], in); err != nil {
			b.Fatal(err)
		}
	}
	var pcm [OpusSamples]float32
	b.ReportAllocs()
	for n := 0; b.Loop(); n++ {
		if err := d.Decode(&pcm, packets[n%len(packets)].Data); err != nil {
			b.Fatal(err)
		}
	}
}
