// SPDX-License-Identifier: Apache-2.0

//go:build cgo

package sound

import (
	"errors"
	"testing"
	"time"

	"github.com/gen2brain/malgo"

	"incamera/media/frame"
)

// These tests run miniaudio's null device, which keeps time and is silent,
// through all of our code. No sound card took part.

// nullBackend is ma_backend_null of miniaudio. The constant BackendNull of malgo
// v0.11.24 is one short of it: it leaves out ma_backend_custom.
const nullBackend = malgo.BackendNull + 1

func openNull(t *testing.T, c Config) *Duplex {
	t.Helper()
	d, err := open(c, nullBackend)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = d.Close() })
	return d
}

func nullName(t *testing.T) string {
	t.Helper()
	all, err := devices(nullBackend)
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range all {
		if d.Capture {
			return d.Name
		}
	}
	t.Fatalf("no device captures among %+v", all)
	return ""
}

func TestNullDevice(t *testing.T) {
	all, err := devices(nullBackend)
	if err != nil {
		t.Fatal(err)
	}
	var capture, play string
	for _, d := range all {
		if d.Capture {
			capture = d.Name
		}
		if d.Play {
			play = d.Name
		}
		if !d.Default {
			t.Errorf("%+v is not the default", d)
		}
	}
	d := openNull(t, Config{Capture: capture, Play: play})
	var pcm, heard frame.PCM
	var first, last time.Duration
	for n := range 60 {
		heard.Samples[7] = 1
		if err := d.Exchange(t.Context(), &pcm, &heard); err != nil {
			t.Fatal(err)
		}
		if heard.Samples[7] != 0 {
			t.Fatal("the null device is not silent")
		}
		if n == 10 {
			first = heard.PTS
		}
		last = heard.PTS
	}
	// 49 periods are 490 ms; a machine that stands still meanwhile adds to it.
	if took := last - first; took < 400*time.Millisecond {
		t.Errorf("50 periods span %v", took)
	}
	if now := frame.Now(); last > now || now-last > time.Second {
		t.Errorf("the last period is from %v; now is %v", last, now)
	}
	if delay := d.Delay(); delay <= 0 || delay > 300*time.Millisecond {
		t.Errorf("delay = %v", delay)
	}
	if err := errors.Join(d.Close(), d.Close()); err != nil {
		t.Error(err)
	}
	if err := d.Exchange(t.Context(), &pcm, &heard); !errors.Is(err, errClosed) {
		t.Errorf("Exchange after Close = %v", err)
	}
}

func TestDeviceStops(t *testing.T) {
	d := openNull(t, Config{})
	var play, heard frame.PCM
	if err := d.Exchange(t.Context(), &play, &heard); err != nil {
		t.Fatal(err)
	}
	if err := d.device.Stop(); err != nil { // as the backend does when a cable is pulled
		t.Fatal(err)
	}
	if err := d.Exchange(t.Context(), &play, &heard); !errors.Is(err, ErrLost) {
		t.Errorf("Exchange = %v; want ErrLost", err)
	}
}

func TestUnknownDevice(t *testing.T) {
	for _, c := range []Config{{Capture: "Speakerphone"}, {Capture: nullName(t), Play: "Speakerphone"}} {
		if d, err := open(c, nullBackend); !errors.Is(err, ErrNotFound) {
			t.Errorf("open(%+v) = %v, %v; want ErrNotFound", c, d, err)
		}
	}
}

// TestWithoutSoundCard runs the real backend: on a computer with a sound card
// it says nothing, on one without it must fail in words.
func TestWithoutSoundCard(t *testing.T) {
	if d, err := Open(Config{Capture: "no such microphone"}); err == nil {
		t.Error("a microphone that is not there was opened:", d)
	} else {
		t.Log(err)
	}
}

func TestClean(t *testing.T) {
	if got := clean(" Jabra\x00\x1b[2J Speak\xff 510\n"); got != "Jabra[2J Speak 510" {
		t.Errorf("clean = %q", got)
	}
}
