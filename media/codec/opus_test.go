// SPDX-License-Identifier: Apache-2.0

package codec

import (
	"bytes"
	"errors"
	"math"
	"testing"
	"time"

	"incamera/media/frame"
)

func opusDecoder(t testing.TB) *OpusDecoder {
	t.Helper()
	d, err := NewOpusDecoder()
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// TestFit checks that every packet that fits gets the one size and keeps its
// frame, and that no other does.
func TestFit(t *testing.T) {
	for n := 2; n <= OpusPacketSize+1; n++ {
		packet := bytes.Repeat([]byte{0x5a}, n)
		packet[0] = 0xf8
		got, ok := fit([]byte("front"), packet)
		if want := n <= OpusPacketSize; ok != want {
			t.Fatalf("%d bytes: fit %v, want %v", n, ok, want)
		}
		if !ok {
			if string(got) != "front" {
				t.Errorf("%d bytes: dst changed to %q", n, got)
			}
			continue
		}
		if got = got[len("front"):]; len(got) != OpusPacketSize {
			t.Errorf("%d bytes: became %d", n, len(got))
		}
		toc, data, err := opusFrame(got)
		if err != nil || toc != 0xf8 || !bytes.Equal(data, packet[1:]) {
			t.Errorf("%d bytes: came back as %#x, %d bytes, %v", n, toc, len(data), err)
		}
	}
	for name, packet := range map[string][]byte{"empty": nil, "code 1": {0xf9, 1, 1}, "code 2": {0xfa, 1, 1, 1}, "code 3": {0xfb, 1, 1}} {
		if _, ok := fit(nil, packet); ok {
			t.Errorf("%s was taken", name)
		}
	}
}

func TestOpusFrame(t *testing.T) {
	long := make([]byte, 2000)
	for name, tt := range map[string]struct {
		packet []byte
		data   []byte // nil: refused
	}{
		"one frame":               {[]byte{0xf8, 1, 2}, []byte{1, 2}},
		"SILK of 20 ms":           {[]byte{0x48, 1}, []byte{1}},
		"hybrid of 20 ms":         {[]byte{0x78, 1}, []byte{1}},
		"code 3, no padding":      {[]byte{0xfb, 0x01, 7}, []byte{7}},
		"code 3, varying":         {[]byte{0xfb, 0x81, 7}, []byte{7}},
		"no bytes of padding":     {[]byte{0xfb, 0x41, 0, 7}, []byte{7}},
		"one byte of padding":     {[]byte{0xfb, 0x41, 1, 7, 0}, []byte{7}},
		"255 bytes of padding":    {append([]byte{0xfb, 0x41, 255, 1, 7}, long[:255]...), []byte{7}},
		"empty":                   {[]byte{}, nil},
		"no frame":                {[]byte{0xf8}, nil},
		"stereo":                  {[]byte{0xfc, 1, 2}, nil},
		"10 ms":                   {[]byte{0xf0, 1, 2}, nil},
		"SILK of 60 ms":           {[]byte{0x58, 1, 2}, nil},
		"two frames":              {[]byte{0xf9, 1, 2}, nil},
		"two frames of two sizes": {[]byte{0xfa, 1, 2, 3}, nil},
		"code 3, two frames":      {[]byte{0xfb, 0x02, 1, 2}, nil},
		"code 3, none":            {[]byte{0xfb, 0x00, 1, 2}, nil},
		"code 3, no count":        {[]byte{0xfb}, nil},
		"no padding length":       {[]byte{0xfb, 0x41}, nil},
		"padding too long":        {[]byte{0xfb, 0x41, 3, 7, 0}, nil},
		"padding without end":     {bytes.Repeat([]byte{0xff}, 600), nil},
		"padding and no frame":    {[]byte{0xfb, 0x41, 1, 0}, nil},
		"frame too long":          {append([]byte{0xf8}, long[:1276]...), nil},
	} {
		t.Run(name, func(t *testing.T) {
			_, data, err := opusFrame(tt.packet)
			if tt.data == nil && !errors.Is(err, errOpusPacket) || tt.data != nil && (err != nil || !bytes.Equal(data, tt.data)) {
				t.Errorf("opusFrame(% x) = % x, %v; want % x", tt.packet, data, err, tt.data)
			}
		})
	}
}

func TestFrameDuration(t *testing.T) {
	for config, want := range map[byte]int64{0: 10, 3: 60, 9: 20, 11: 60, 12: 10, 13: 20, 15: 20, 18: 10, 19: 20, 31: 20} {
		if got := frameDuration(config << 3); got.Milliseconds() != want {
			t.Errorf("configuration %d: %v, want %d ms", config, got, want)
		}
	}
	if got := frameDuration(16 << 3); got != 2500*time.Microsecond {
		t.Errorf("configuration 16: %v, want 2.5 ms", got)
	}
}

// TestSilence checks that the packet of silence is one.
func TestSilence(t *testing.T) {
	packet, ok := fit(nil, silence)
	if !ok {
		t.Fatal("it does not fit")
	}
	pcm := [OpusSamples]float32{1}
	if err := opusDecoder(t).Decode(&pcm, packet); err != nil {
		t.Fatal(err)
	}
	for i, v := range pcm {
		if v > 1e-4 || v < -1e-4 {
			t.Fatalf("sample %d is %v", i, v)
		}
	}
}

// tone fills pcm with a sine of 200 Hz from sample n on.
func tone(pcm []float32, n int, peak float64) {
	for i := range pcm {
		pcm[i] = float32(peak * math.Sin(2*math.Pi*200*float64(n+i)/frame.SampleRate))
	}
}

// TestConceal checks that a tone goes on through a gap without a click, is gone
// after 60 ms, leaves the noise floor, and comes back without a click.
func TestConceal(t *testing.T) {
	const peak, floor = 0.5, 0.002
	var c concealer
	var pcm [OpusSamples]float32
	var all []float32
	for range 100 { // background
		for i := range pcm {
			pcm[i] = floor * float32(i%2*2-1)
		}
		c.heard(&pcm)
	}
	n := 0
	for range 5 {
		tone(pcm[:], n, peak)
		n += len(pcm)
		c.heard(&pcm)
		all = append(all, pcm[:]...)
	}
	for gap := range 5 {
		c.missed(&pcm)
		n += len(pcm)
		all = append(all, pcm[:]...)
		if got, want := float64(rms(pcm[:])), peak/math.Sqrt2*(1-(float64(gap)+0.5)/3); gap < 3 && math.Abs(got-want) > 0.05 {
			t.Errorf("%d ms into the gap: level %.3f, want %.3f", 20*gap, got, want)
		} else if gap >= 3 && (got < floor/2 || got > floor*2) {
			t.Errorf("%d ms into the gap: level %.4f, want the noise floor of %.4f", 20*gap, got, floor)
		}
	}
	tone(pcm[:], n+60, peak) // at its peak
	c.heard(&pcm)
	all = append(all, pcm[:]...)
	// A tone of 200 Hz moves by 0.013 from one sample to the next.
	for i := 1; i < len(all); i++ {
		if step := math.Abs(float64(all[i] - all[i-1])); step > 0.03 {
			t.Errorf("a click of %.3f at sample %d", step, i)
		}
	}
}

func TestSane(t *testing.T) {
	inf, nan := float32(math.Inf(1)), float32(math.NaN())
	for in, want := range map[float32]float32{0.25: 0.25, -1: -1, 1.5: 1, -40: -1, inf: 1, -inf: -1, nan: 0} {
		if got := sane(in); got != want {
			t.Errorf("sane(%v) = %v, want %v", in, got, want)
		}
	}
}

// TestConcealNothing checks that a decoder that has heard nothing is silent.
func TestConcealNothing(t *testing.T) {
	pcm := [OpusSamples]float32{1, 1}
	opusDecoder(t).Conceal(&pcm)
	if rms(pcm[:]) != 0 {
		t.Errorf("level %v before any packet", rms(pcm[:]))
	}
}

// FuzzOpusFrame checks that what is accepted survives being padded.
func FuzzOpusFrame(f *testing.F) {
	for _, seed := range []string{"\xf8\xff\xfe", "\xfb\x41\xfb\xff\xfe", "\xfb\x41\xff\x00", "\x48\x01\x02"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, packet []byte) {
		toc, data, err := opusFrame(packet)
		if err != nil {
			return
		}
		if len(data) == 0 || len(data) >= len(packet) {
			t.Fatalf("a frame of %d bytes in a packet of %d", len(data), len(packet))
		}
		padded, ok := fit(nil, append([]byte{toc}, data...))
		if !ok {
			if len(data) < OpusPacketSize {
				t.Fatalf("a frame of %d bytes does not fit", len(data))
			}
			return
		}
		again, same, err := opusFrame(padded)
		if len(padded) != OpusPacketSize || err != nil || again != toc || !bytes.Equal(same, data) {
			t.Errorf("% x came back as % x, %v", data, same, err)
		}
	})
}

// FuzzOpusDecode gives one decoder a row of hostile packets: each gives an
// error or samples in range, and a good packet decodes afterwards.
func FuzzOpusDecode(f *testing.F) {
	f.Add([]byte("\x03\xf8\xff\xfe\x05\x48\x10\x20\x30\x40\x05\x78\x10\x20\x30\x40"))
	f.Add([]byte("\x09\x08\xb0\x5c\x11\x22\x33\x44\x55\x66\x09\x78\xb0\x5c\x11\x22\x33\x44\x55\x66\x09\xf8\xb0\x5c\x11\x22\x33\x44\x55\x66"))
	for config := range byte(32) {
		f.Add(append([]byte{21, config << 3}, bytes.Repeat([]byte{config, 0xa5, 0x3c, 0x0f}, 5)...))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		d := opusDecoder(t)
		var pcm [OpusSamples]float32
		for len(data) > 0 {
			n := min(int(data[0]), len(data)-1)
			err := d.Decode(&pcm, data[1:1+n])
			data = data[1+n:]
			if err != nil {
				d.Conceal(&pcm)
			}
			for i, v := range pcm {
				if !(v >= -8 && v <= 8) {
					t.Fatalf("sample %d is %v", i, v)
				}
			}
		}
		if err := d.Decode(&pcm, silence); err != nil {
			t.Errorf("silence afterwards: %v", err)
		}
	})
}

func BenchmarkConceal(b *testing.B) {
	var c concealer
	var pcm [OpusSamples]float32
	tone(pcm[:], 0, 0.5)
	b.ReportAllocs()
	for b.Loop() {
		c.heard(&pcm)
		c.missed(&pcm)
	}
}
