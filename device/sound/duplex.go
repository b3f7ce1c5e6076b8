// SPDX-License-Identifier: Apache-2.0

//go:build cgo

package sound

import (
	"fmt"
	"runtime"
	"strings"
	"time"
	"unsafe"

	"github.com/gen2brain/malgo"

	"incamera/media/frame"
)

// periods is how many periods of 10 ms the device's own buffers hold: with two
// every delay of the system is heard, and each more is 10 ms of delay.
const periods = 3

// Devices lists the sound devices that ALSA knows, each name once.
func Devices() ([]Device, error) { return devices(malgo.BackendAlsa) }

func devices(backend malgo.Backend) (all []Device, err error) {
	audio, err := newContext(backend)
	if err != nil {
		return nil, err
	}
	defer freeContext(audio)
	for _, kind := range []malgo.DeviceType{malgo.Capture, malgo.Playback} {
		infos, err := audio.Devices(kind)
		if err != nil {
			return nil, fmt.Errorf("sound: list devices: %w", err)
		}
		for _, info := range infos {
			all = add(all, info, kind)
		}
	}
	return all, nil
}

func add(all []Device, info malgo.DeviceInfo, kind malgo.DeviceType) []Device {
	name := clean(info.Name())
	at := -1
	for i := range all {
		if all[i].Name == name {
			at = i
		}
	}
	if at < 0 {
		all, at = append(all, Device{Name: name}), len(all)
	}
	d := &all[at]
	d.Capture = d.Capture || kind == malgo.Capture
	d.Play = d.Play || kind == malgo.Playback
	d.Default = d.Default || info.IsDefault != 0
	return all
}

// clean drops from a name, which a USB device may choose, what is not text.
func clean(name string) string {
	return strings.TrimSpace(strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r == 0xfffd {
			return -1
		}
		return r
	}, name))
}

// A Duplex is a microphone and a loudspeaker on one clock, open and running.
type Duplex struct {
	*stream
	audio  *malgo.AllocatedContext
	device *malgo.Device
}

// Open starts the devices that c names: mono float32 at 48 kHz in periods of
// 480 samples, to which miniaudio converts what the hardware has. The error
// wraps [ErrNotFound] if a device is not there. The caller closes the Duplex.
func Open(c Config) (*Duplex, error) { return open(c, malgo.BackendAlsa) }

func open(c Config, backend malgo.Backend) (*Duplex, error) {
	audio, err := newContext(backend)
	if err != nil {
		return nil, err
	}
	d := &Duplex{stream: newStream(), audio: audio}
	if err := d.start(c); err != nil {
		freeContext(audio)
		return nil, err
	}
	return d, nil
}

func (d *Duplex) start(c Config) error {
	config := malgo.DefaultDeviceConfig(malgo.Duplex)
	config.SampleRate, config.PeriodSizeInFrames, config.Periods = frame.SampleRate, frame.PeriodSamples, periods
	config.PerformanceProfile = malgo.LowLatency
	config.Capture.Format, config.Capture.Channels = malgo.FormatF32, 1
	config.Playback.Format, config.Playback.Channels = malgo.FormatF32, 1
	config.Alsa.NoMMap = 1 // reads and writes work on every driver
	// The identities are Go memory that the C configuration points to.
	var pin runtime.Pinner
	defer pin.Unpin()
	for _, want := range []struct {
		name string
		kind malgo.DeviceType
		id   *unsafe.Pointer
	}{
		{c.Capture, malgo.Capture, &config.Capture.DeviceID},
		{c.Play, malgo.Playback, &config.Playback.DeviceID},
	} {
		if want.name == "" {
			continue
		}
		id, err := d.find(want.name, want.kind)
		if err != nil {
			return err
		}
		pin.Pin(id)
		*want.id = unsafe.Pointer(id) //nolint:gosec // pinned
	}
	device, err := malgo.InitDevice(d.audio.Context, config, malgo.DeviceCallbacks{
		Data: func(play, heard []byte, _ uint32) { d.data(play, heard) },
		Stop: d.lose,
	})
	if err != nil {
		return fmt.Errorf("sound: open %q and %q: %w: another program may use them, or there is no sound card", c.Capture, c.Play, err)
	}
	if err := device.Start(); err != nil {
		device.Uninit()
		return fmt.Errorf("sound: start %q and %q: %w", c.Capture, c.Play, err)
	}
	d.device = device
	return nil
}

func (d *Duplex) find(name string, kind malgo.DeviceType) (*malgo.DeviceID, error) {
	infos, err := d.audio.Devices(kind)
	if err != nil {
		return nil, fmt.Errorf("sound: list devices: %w", err)
	}
	for _, info := range infos {
		if clean(info.Name()) == name {
			id := info.ID
			return &id, nil
		}
	}
	return nil, fmt.Errorf("%w: %q: check its cable, or choose another in the settings", ErrNotFound, name)
}

// Delay is the time from what Exchange takes until it is heard again: what
// waits to be played, and the buffers of the device, which are taken as full
// for playing and as one period for capturing. It is good to some 20 ms; the
// canceller finds the rest.
func (d *Duplex) Delay() time.Duration {
	return time.Duration(d.toPlay.held())*time.Second/frame.SampleRate + (periods+1)*frame.Period
}

// Close stops the device and ends a waiting Exchange. It may be called twice.
func (d *Duplex) Close() error {
	d.once.Do(func() {
		close(d.closed)
		d.device.Uninit()
		freeContext(d.audio)
	})
	return nil
}

func newContext(backend malgo.Backend) (*malgo.AllocatedContext, error) {
	audio, err := malgo.InitContext([]malgo.Backend{backend}, malgo.ContextConfig{}, nil)
	if err != nil {
		return nil, fmt.Errorf("sound: no sound system: %w: is libasound2 installed?", err)
	}
	return audio, nil
}

func freeContext(audio *malgo.AllocatedContext) {
	_ = audio.Uninit() // it fails only for a context that is none
	audio.Free()
}
