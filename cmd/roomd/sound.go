// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"log/slog"

	"incamera/media/audio"
	"incamera/media/frame"
)

// A duplex is a sound device that is open.
type duplex interface {
	audio.Duplex
	Close() error
}

// A speakerphone is the loop of the room's sound over whatever device there is.
type speakerphone struct {
	open  func(context.Context) (duplex, error)
	mixer *audio.Mixer
	chime *audio.Chime
	loop  *audio.Loop
	heard func(*frame.PCM) // set before run
	room  *roomState
}

// startVolume is the loudspeaker's at the start, in percent.
const startVolume = 60

func newSpeakerphone(hw *hardware, room *roomState, log *slog.Logger) (*speakerphone, error) {
	s := &speakerphone{open: hw.sound, mixer: audio.NewMixer(startVolume), chime: &audio.Chime{}, room: room}
	s.mixer.Add(s.chime)
	var canceller audio.Processor
	canceller, err := audio.NewCanceller()
	if errors.Is(err, audio.ErrNotBuilt) {
		log.Warn("built without an echo canceller")
		canceller = audio.Null{}
	} else if err != nil {
		return nil, err
	}
	s.loop = audio.NewLoop(s.mixer, canceller, func(p *frame.PCM) { s.heard(p) }, room.levels)
	return s, nil
}

// run moves sound until ctx is done or the device fails.
func (s *speakerphone) run(ctx context.Context, ready func()) error {
	device, err := s.open(ctx)
	s.room.condition("sound", err, "Check the cable of the microphone and the loudspeaker.")
	if err != nil {
		return err
	}
	ready()
	err = s.loop.Run(ctx, device)
	return errors.Join(err, device.Close())
}
