// SPDX-License-Identifier: Apache-2.0

package sim

import (
	"context"
	"encoding/binary"
	"errors"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"incamera/media/frame"
)

func newDuplex(t testing.TB, s Sound) *Duplex {
	t.Helper()
	d, err := NewDuplex(s)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = d.Close() })
	return d
}

func TestExchangeKeepsTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDuplex(t, Sound{Room: "Vauban"})
		voice := newVoice("Vauban")
		var play, heard frame.PCM
		began := time.Now()
		var first time.Duration
		for n := range 300 {
			if err := d.Exchange(t.Context(), &play, &heard); err != nil {
				t.Fatal(err)
			}
			if n == 0 {
				first = heard.PTS
			}
			want := time.Duration(n) * frame.Period
			if heard.PTS-first != want || time.Since(began) != want {
				t.Fatalf("period %d has time %v and came after %v; want %v", n, heard.PTS-first, time.Since(began), want)
			}
			if heard.Samples[7] != voice[n*frame.PeriodSamples+7] {
				t.Fatalf("period %d is not the room's voice", n)
			}
			if n%50 == 49 {
				time.Sleep(25 * time.Millisecond) // late, but within the buffer of a card
				if err := d.Exchange(t.Context(), &play, &heard); err != nil {
					t.Fatal(err)
				}
				if got := heard.PTS - first; got != want+frame.Period {
					t.Fatalf("after a pause: %v; want %v", got, want+frame.Period)
				}
				return
			}
		}
	})
}

func TestExchangeLosesOldSound(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDuplex(t, Sound{Room: "Vauban"})
		var play, heard frame.PCM
		if err := d.Exchange(t.Context(), &play, &heard); err != nil {
			t.Fatal(err)
		}
		first := heard.PTS
		time.Sleep(205 * time.Millisecond)
		if err := d.Exchange(t.Context(), &play, &heard); err != nil {
			t.Fatal(err)
		}
		voice := newVoice("Vauban")
		if got := heard.PTS - first; got != 200*time.Millisecond || d.Overruns() != 1 || heard.Samples[3] != voice[20*frame.PeriodSamples+3] {
			t.Errorf("after 205 ms: time %v, %d overruns", got, d.Overruns())
		}
	})
}

func TestExchangeEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDuplex(t, Sound{})
		var play, heard frame.PCM
		heard.Samples[5] = 1
		if err := d.Exchange(t.Context(), &play, &heard); err != nil || heard.Samples[5] != 0 {
			t.Fatalf("a room without voice: %v, %v", heard.Samples[5], err)
		}
		cause := errors.New("the meeting is over")
		ctx, cancel := context.WithCancelCause(t.Context())
		cancel(cause)
		if err := d.Exchange(ctx, &play, &heard); !errors.Is(err, cause) {
			t.Errorf("cancelled: %v", err)
		}
		go func() {
			time.Sleep(time.Millisecond)
			_ = errors.Join(d.Close(), d.Close())
		}()
		if err := d.Exchange(t.Context(), &play, &heard); !errors.Is(err, errClosed) {
			t.Errorf("closed: %v", err)
		}
	})
}

func TestEcho(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDuplex(t, Sound{Echo: Echo{Delay: 35 * time.Millisecond, Gain: 0.5, Decay: 80 * time.Millisecond}})
		if d.Delay() != 35*time.Millisecond {
			t.Errorf("Delay = %v", d.Delay())
		}
		var heard []float32
		for n := range 40 {
			var play, got frame.PCM
			if n == 2 {
				play.Samples[100] = 0.8
			}
			if err := d.Exchange(t.Context(), &play, &got); err != nil {
				t.Fatal(err)
			}
			heard = append(heard, got.Samples[:]...)
		}
		at := 2*frame.PeriodSamples + 100 + 35*48
		var tail float64
		for i, v := range heard {
			switch {
			case i < at && v != 0:
				t.Fatalf("sample %d is heard before it can be", i)
			case i == at && v != 0.4:
				t.Fatalf("the direct sound is %v; want 0.4", v)
			case i > at && i <= at+80*48:
				tail += float64(v * v)
			case i > at+80*48 && v != 0:
				t.Fatalf("sample %d is heard after the echo is over", i)
			}
		}
		if tail == 0 || tail > 0.16 {
			t.Errorf("the tail has the energy %v", tail)
		}
	})
	for _, e := range []Echo{{Gain: 2}, {Gain: 1, Delay: 2 * time.Second}, {Gain: 1, Delay: -1}, {Gain: 1, Decay: time.Hour}} {
		if _, err := NewDuplex(Sound{Echo: e}); err == nil {
			t.Errorf("%+v is accepted", e)
		}
	}
}

func TestListeners(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDuplex(t, Sound{})
		ear, slow := d.Listen(), d.Listen()
		defer slow.Close()
		var play, heard, got frame.PCM
		for n := range 100 {
			play.Samples[0] = float32(n) / 100
			if err := d.Exchange(t.Context(), &play, &heard); err != nil {
				t.Fatal(err)
			}
			if err := ear.Next(t.Context(), &got); err != nil || got.Samples[0] != play.Samples[0] {
				t.Fatalf("period %d: %v, %v", n, got.Samples[0], err)
			}
		}
		if err := slow.Next(t.Context(), &got); err != nil || got.Samples[0] != float32(100-heldPeriods)/100 {
			t.Errorf("who is slow hears %v, %v; want the newest %d periods", got.Samples[0], err, heldPeriods)
		}
		ear.Close()
		ear.Close()
		if err := d.Exchange(t.Context(), &play, &heard); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := ear.Next(ctx, &got); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("a closed listener hears %v", err)
		}
	})
}

// TestRecordingSurvivesItsWriter reads the file at every moment, as if the
// writer had just been killed.
func TestRecordingSurvivesItsWriter(t *testing.T) {
	path := filepath.Join(t.TempDir(), "played.wav")
	r, err := newRecorder(path)
	if err != nil {
		t.Fatal(err)
	}
	var want []float32
	for n := range 45 {
		var pcm frame.PCM
		for i := range pcm.Samples {
			pcm.Samples[i] = float32(n*frame.PeriodSamples+i)/32767 - 0.3
			want = append(want, pcm.Samples[i])
		}
		if err := r.add(&pcm); err != nil {
			t.Fatal(err)
		}
		checkWAV(t, path, want, n/20*20*frame.PeriodSamples)
	}
	// Killed between the sound and its header: the header is that of before.
	before, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := r.close(); err != nil {
		t.Fatal(err)
	}
	checkWAV(t, path, want, len(want))
	after, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	copy(after[:wavHeaderLen], before)
	if err := os.WriteFile(path, after, 0o600); err != nil {
		t.Fatal(err)
	}
	checkWAV(t, path, want, 40*frame.PeriodSamples)
}

func checkWAV(t *testing.T, path string, want []float32, least int) {
	t.Helper()
	got, err := ReadWAV(path)
	if err != nil {
		t.Fatal(err)
	}
	if len(got) < least || len(got) > len(want) {
		t.Fatalf("%d samples are there; want %d to %d", len(got), least, len(want))
	}
	for i, v := range got {
		if math.Abs(float64(v-want[i])) > 1e-4 {
			t.Fatalf("sample %d is %v; want %v", i, v, want[i])
		}
	}
}

func TestRecordingIsBounded(t *testing.T) {
	path := filepath.Join(t.TempDir(), "played.wav")
	r, err := newRecorder(path)
	if err != nil {
		t.Fatal(err)
	}
	r.limit = 40 * 2 * frame.PeriodSamples
	var pcm frame.PCM
	for range 1000 {
		if err := r.add(&pcm); err != nil {
			t.Fatal(err)
		}
	}
	if err := r.close(); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(path); err != nil || info.Size() != wavHeaderLen+r.limit {
		t.Errorf("the file has %v bytes, %v; want %d", info.Size(), err, wavHeaderLen+r.limit)
	}
}

// wav makes a file from its parts.
func wav(tag, channels, rate, bits int, data []byte) []byte {
	b := wavHeader(uint32(len(data)))
	binary.LittleEndian.PutUint16(b[20:], uint16(tag))
	binary.LittleEndian.PutUint16(b[22:], uint16(channels))
	binary.LittleEndian.PutUint32(b[24:], uint32(rate))
	binary.LittleEndian.PutUint16(b[34:], uint16(bits))
	return append(b, data...)
}

// TestWAVFormats reads a tone of 440 Hz from each format that is understood.
func TestWAVFormats(t *testing.T) {
	for _, tt := range []struct{ tag, channels, rate, bits int }{
		{tagPCM, 1, 48000, 16}, {tagPCM, 2, 44100, 16}, {tagFloat, 1, 16000, 32}, {tagFloat, 2, 96000, 32}, {tagPCM, 1, 8000, 16}, {tagPCM, 3, 44101, 16},
	} {
		var data []byte
		for i := range tt.rate / 2 {
			v := 0.5 * math.Sin(2*math.Pi*440*float64(i)/float64(tt.rate))
			for range tt.channels {
				if tt.bits == 16 {
					data = binary.LittleEndian.AppendUint16(data, uint16(int16(v*32767)))
				} else {
					data = binary.LittleEndian.AppendUint32(data, math.Float32bits(float32(v)))
				}
			}
		}
		got, err := parseWAV(wav(tt.tag, tt.channels, tt.rate, tt.bits, data))
		if err != nil {
			t.Fatalf("%+v: %v", tt, err)
		}
		if len(got) < 23990 || len(got) > 24000 {
			t.Errorf("%+v: %d samples; want 24000", tt, len(got))
		}
		var worst float64
		for i := 2000; i < 22000; i++ {
			worst = max(worst, math.Abs(float64(got[i])-0.5*math.Sin(2*math.Pi*440*float64(i)/frame.SampleRate)))
		}
		if worst > 0.005 {
			t.Errorf("%+v: off by %.4f", tt, worst)
		}
	}
}

func TestWAVRefuses(t *testing.T) {
	good := wav(tagPCM, 1, 48000, 16, make([]byte, 100))
	for name, b := range map[string][]byte{
		"empty":                 {},
		"other file":            []byte("This is a letter, no sound at all, and rather long."),
		"8 bits":                wav(tagPCM, 1, 48000, 8, make([]byte, 10)),
		"compressed":            wav(85, 1, 48000, 16, make([]byte, 10)),
		"no channels":           wav(tagPCM, 0, 48000, 16, make([]byte, 10)),
		"many channels":         wav(tagPCM, 9, 48000, 16, make([]byte, 10)),
		"no rate":               wav(tagPCM, 1, 0, 16, make([]byte, 10)),
		"a high rate":           wav(tagPCM, 1, 400000, 16, make([]byte, 10)),
		"header only":           good[:36],
		"sound first":           append([]byte("RIFF____WAVEdata\x04\x00\x00\x00"), 1, 2, 3, 4),
		"a long chunk":          append([]byte("RIFF____WAVELIST\xff\xff\xff\x7f"), 1, 2, 3, 4),
		"longer than it may be": wav(tagPCM, 1, 8000, 16, make([]byte, maxWAVTime*8000*2+2)),
	} {
		if _, err := parseWAV(b); !errors.Is(err, errWAV) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if got, err := parseWAV(good[:len(good)-7]); err != nil || len(got) != 46 {
		t.Errorf("a file cut short: %d samples, %v; want 46", len(got), err)
	}
	if _, err := NewDuplex(Sound{File: filepath.Join(t.TempDir(), "none.wav")}); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a missing file: %v", err)
	}
	if _, err := NewDuplex(Sound{File: write(t, "empty.wav", wavHeader(0))}); err == nil {
		t.Error("a file without sound is accepted")
	}
}

// FuzzWAV: what is accepted is bounded sound of a length that the file can
// hold.
func FuzzWAV(f *testing.F) {
	f.Add(wav(tagPCM, 2, 44100, 16, []byte{1, 2, 3, 4, 5, 6, 7, 8}))
	f.Add(wav(tagFloat, 1, 48000, 32, []byte{0, 0, 0xc0, 0x7f, 0, 0, 0x80, 0xff}))
	f.Add(wav(tagExtensible, 1, 8000, 16, make([]byte, 64)))
	f.Fuzz(func(t *testing.T, b []byte) {
		pcm, err := parseWAV(b)
		if err != nil {
			return
		}
		if len(pcm) > len(b)*frame.SampleRate/minWAVRate/2+1 {
			t.Fatalf("%d samples from %d bytes", len(pcm), len(b))
		}
		for i, v := range pcm {
			if !(v >= -1 && v <= 1) {
				t.Fatalf("sample %d is %v", i, v)
			}
		}
	})
}

func TestRecogniseRefuses(t *testing.T) {
	r := rand.New(rand.NewPCG(8, 8))
	seconds := func(f func(i int) float64) []float32 {
		pcm := make([]float32, 8*frame.SampleRate)
		for i := range pcm {
			pcm[i] = float32(f(i))
		}
		return pcm
	}
	voice := newVoice("Vauban")
	for _, tt := range []struct {
		name string
		pcm  []float32
	}{
		{"nothing", nil},
		{"one second", voice[frame.SampleRate : 2*frame.SampleRate]},
		{"silence", seconds(func(int) float64 { return 0 })},
		{"a very quiet room", seconds(func(int) float64 { return 1e-4 * r.NormFloat64() })},
		{"noise", seconds(func(int) float64 { return 0.1 * r.NormFloat64() })},
		{"a tone", seconds(func(i int) float64 { return 0.3 * math.Sin(float64(i)*0.02) })},
		{"a buzz at a voice's pitch", seconds(func(i int) float64 { return 0.3 * math.Mod(float64(i)/400, 1) })},
		{"no numbers", seconds(func(int) float64 { return math.NaN() })},
		{"infinity", seconds(func(int) float64 { return math.Inf(1) })},
		{"another room", newVoice("Curie")},
		{"a room of almost that name", newVoice("Vauban ")},
	} {
		if score, ok := Recognise(tt.pcm, "Vauban"); ok || score > 0.2 {
			t.Errorf("%s is taken for Vauban, score %.3f", tt.name, score)
		}
	}
	if score, ok := Recognise(voice, "Vauban"); !ok || score < 0.99 {
		t.Errorf("Vauban scores %.3f for itself", score)
	}
	quiet := make([]float32, 0, 45*frame.SampleRate)
	for len(quiet)+len(voice) < cap(quiet) {
		quiet = append(quiet, voice...)
	}
	for i := range quiet {
		quiet[i] *= -0.05 // turned over, and 26 dB quieter
	}
	if score, ok := Recognise(quiet, "Vauban"); !ok {
		t.Errorf("Vauban from afar scores %.3f", score)
	}
}

func TestVoiceLevel(t *testing.T) {
	for _, room := range []string{"Vauban", "Curie", "Nobel", ""} {
		var sum, peak float64
		silent := 0
		voice := newVoice(room)
		for _, v := range voice {
			sum, peak = sum+float64(v)*float64(v), max(peak, math.Abs(float64(v)))
			if v == 0 {
				silent++
			}
		}
		level := 10 * math.Log10(sum/float64(len(voice)))
		pauses := float64(silent) / float64(len(voice))
		t.Logf("%-7s %.1f dB below full scale, peak %.2f, %.0f %% pauses", room, -level, peak, 100*pauses)
		if level < -33 || level > -18 || peak > 0.71 || pauses < 0.1 || pauses > 0.6 {
			t.Errorf("%q: level %.1f dB, peak %.2f, pauses %.2f", room, level, peak, pauses)
		}
	}
}

func TestExchangeAllocatesNothing(t *testing.T) {
	d := newDuplex(t, Sound{Room: "Vauban", Record: filepath.Join(t.TempDir(), "played.wav"), Echo: Echo{Delay: time.Millisecond, Gain: 0.1}})
	ear := d.Listen()
	defer ear.Close()
	var play, heard frame.PCM
	ctx := t.Context()
	if got := testing.AllocsPerRun(10, func() {
		if err := d.Exchange(ctx, &play, &heard); err != nil {
			t.Fatal(err)
		}
	}); got > 0 {
		t.Errorf("Exchange allocates %v times", got)
	}
}
