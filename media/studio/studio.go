// SPDX-License-Identifier: Apache-2.0

// Package studio is the room's own end of a meeting: its camera and its
// microphone on the way out, and what the other rooms send on the way to the
// stage and to the loudspeakers.
//
// A [Studio] is the engine's [call.Media]. It joins the loops of package
// pipeline with the sound of package audio and the picture of package compose;
// it knows neither group nor network. Between meetings the camera is closed
// and nothing is encoded.
package studio

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"incamera/media/audio"
	"incamera/media/call"
	"incamera/media/compose"
	"incamera/media/e2ee"
	"incamera/media/frame"
	"incamera/media/pipeline"
)

// A Camera is an open camera.
type Camera interface {
	pipeline.Source
	Close() error
}

// Config is what a studio needs.
type Config struct {
	Name string // of this room, for its stage

	// Camera opens the room's camera; it is called when a meeting begins, and
	// again after the camera failed. nil: the room has none.
	Camera func(context.Context) (Camera, error)
	Mixer  *audio.Mixer
	Chime  *audio.Chime
	Loop   Gate
	Stage  *compose.Stage // nil: the room has no display
	Log    *slog.Logger

	// OnCamera is told why there is no camera, and nil when there is one. It
	// may be called by any goroutine and must not block.
	OnCamera func(error)
}

// A Gate is the mute gate of the room's sound, as [audio.Loop] has it.
type Gate interface{ SetMuted(bool) }

// A Studio is the room's end of its meetings, one after the other. Its methods
// may be called by any goroutine.
type Studio struct {
	config Config
	sound  atomic.Pointer[pipeline.AudioSender] // of the present meeting

	mu      sync.Mutex
	meeting *meeting // nil: none
	muted   bool
	dark    bool
	status  call.Status
	layout  compose.Layout
	self    bool
	work    sync.WaitGroup
}

// A meeting is what runs as long as the room is in one.
type meeting struct {
	ctx     context.Context
	cancel  context.CancelCauseFunc
	keys    lateKeys
	picture *pipeline.VideoSender // nil: no camera
	sound   *pipeline.AudioSender
}

var errOver = errors.New("studio: the meeting is over")

const (
	soundBits = 48_000 + 32_000 // a second: 256 bytes 50 times, and what the network adds
	startBits = 1_500_000       // for pictures: rooms meet on a LAN, and congestion control corrects it within a second
	reopen    = time.Second     // between two tries to open a camera
	selfID    = compose.ID(0)
)

// The camera's mode in meetings.
const (
	Width  = 1280
	Height = 720
	Rate   = 30
)

// New returns a studio outside any meeting.
func New(c Config) *Studio { return &Studio{config: c} }

// Wait returns when everything that the studio started has ended, after End.
func (s *Studio) Wait() { s.work.Wait() }

// Heard takes what the microphone heard, 10 ms at a time, and does not keep it.
// Outside a meeting it goes nowhere.
func (s *Studio) Heard(p *frame.PCM) {
	if sound := s.sound.Load(); sound != nil {
		sound.Put(p)
	}
}

// Begin implements [call.Media].
func (s *Studio) Begin(out call.Out) {
	ctx, cancel := context.WithCancelCause(context.Background())
	m := &meeting{ctx: ctx, cancel: cancel}
	m.sound = pipeline.NewAudioSender(pipeline.AudioSenderConfig{Sealer: &m.keys, Out: out})
	s.mu.Lock()
	defer s.mu.Unlock()
	s.meeting = m
	s.sound.Store(m.sound)
	m.sound.SetMuted(s.muted)
	s.config.Loop.SetMuted(s.muted)
	s.work.Go(func() { s.ended("sound", m.sound.Run(ctx)) })
	if s.config.Camera == nil {
		return
	}
	source := &cameraSource{}
	m.picture = pipeline.NewVideoSender(pipeline.VideoSenderConfig{
		Kind: frame.Camera, Source: source, Sealer: &m.keys, Out: out, Preview: s.preview, BitRate: startBits,
	})
	m.picture.SetOpen(!s.dark)
	s.work.Go(func() { s.film(m, source) })
}

// Use implements [call.Media].
func (s *Studio) Use(keys *e2ee.Keyring) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.meeting != nil {
		s.meeting.keys.ring.Store(keys)
	}
}

// lateKeys is the keyring of a meeting whose group may not exist yet. Without a
// group nothing is sealed and nothing opens.
type lateKeys struct{ ring atomic.Pointer[e2ee.Keyring] }

func (k *lateKeys) Seal(dst []byte, f *frame.Encoded) (e2ee.Sealed, error) {
	if ring := k.ring.Load(); ring != nil {
		return ring.Seal(dst, f)
	}
	return e2ee.Sealed{}, e2ee.ErrNoKey
}

func (k *lateKeys) Open(dst []byte, kind frame.Kind, from e2ee.Leaf, wire []byte) ([]byte, error) {
	if ring := k.ring.Load(); ring != nil {
		return ring.Open(dst, kind, from, wire)
	}
	return nil, e2ee.ErrUnknownEpoch
}

// cameraSource is the camera that is open now. It belongs to film.
type cameraSource struct{ Camera }

// film sends the camera until the meeting is over, and opens it again when it
// failed.
func (s *Studio) film(m *meeting, source *cameraSource) {
	for {
		camera, err := s.config.Camera(m.ctx)
		if err == nil {
			s.config.OnCamera(nil)
			source.Camera = camera
			err = m.picture.Run(m.ctx)
			if closed := camera.Close(); closed != nil {
				s.config.Log.Warn("camera not closed", "err", closed)
			}
		}
		if m.ctx.Err() != nil {
			return
		}
		s.config.Log.Warn("no camera", "err", err)
		s.config.OnCamera(err)
		select {
		case <-m.ctx.Done():
			return
		case <-time.After(reopen):
		}
	}
}

func (s *Studio) preview(p *frame.Picture) {
	s.mu.Lock()
	show := s.self && s.config.Stage != nil
	s.mu.Unlock()
	if show {
		s.config.Stage.Picture(selfID, p)
	}
}

// ended logs a loop that ended before its meeting did.
func (s *Studio) ended(what string, err error) {
	if !errors.Is(err, errOver) {
		s.config.Log.Error("media ended", "what", what, "err", err)
	}
}

// End implements [call.Media].
func (s *Studio) End() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if m := s.meeting; m != nil {
		m.cancel(errOver)
		s.meeting = nil
		s.sound.Store(nil)
		s.config.Loop.SetMuted(true)
		s.log(m)
	}
}

func (s *Studio) log(m *meeting) {
	sound := m.sound.Stats()
	args := []any{"packets", sound.Sent, "packets_without_key", sound.NoKey}
	if m.picture != nil {
		picture := m.picture.Stats()
		args = append(args, "frames", picture.Sent, "key_frames", picture.KeySent, "frames_without_key", picture.NoKey)
	}
	s.config.Log.Info("media of the meeting sent", args...)
}

// KeyFrame implements [call.Media].
func (s *Studio) KeyFrame(kind frame.Kind) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if kind == frame.Camera && s.meeting != nil && s.meeting.picture != nil {
		s.meeting.picture.RequestKeyFrame()
	}
}

// SetTarget implements [call.Media].
func (s *Studio) SetTarget(bits int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.meeting != nil && s.meeting.picture != nil {
		s.meeting.picture.SetBitRate(max(bits-soundBits, 0))
	}
}

// SetMuted implements [call.Media].
func (s *Studio) SetMuted(muted bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.muted = muted
	if s.meeting != nil {
		s.meeting.sound.SetMuted(muted)
		s.config.Loop.SetMuted(muted)
	}
}

// SetCameraOff implements [call.Media].
func (s *Studio) SetCameraOff(off bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.dark = off
	if s.meeting != nil && s.meeting.picture != nil {
		s.meeting.picture.SetOpen(!off)
	}
}

// Sent counts what this room sent in the present meeting.
type Sent struct {
	Frames, KeyFrames, Packets uint64
	NoKey                      uint64 // frames and packets dropped for want of a key
	BitRate                    int    // of the encoder, bits a second
	EncodeTime                 time.Duration
}

// Sent returns the counters of the present meeting, zero outside one.
func (s *Studio) Sent() Sent {
	s.mu.Lock()
	defer s.mu.Unlock()
	m := s.meeting
	if m == nil {
		return Sent{}
	}
	sound := m.sound.Stats()
	all := Sent{Packets: sound.Sent, NoKey: sound.NoKey}
	if m.picture != nil {
		picture := m.picture.Stats()
		all.Frames, all.KeyFrames, all.BitRate, all.EncodeTime = picture.Sent, picture.KeySent, picture.BitRate, picture.EncodeTime
		all.NoKey += picture.NoKey
	}
	return all
}

// Member implements [call.Media].
func (s *Studio) Member(from e2ee.Leaf, ask func(frame.Kind)) call.Sink {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.meeting == nil {
		return deafSink{}
	}
	return newRemote(s, s.meeting, from, ask)
}
