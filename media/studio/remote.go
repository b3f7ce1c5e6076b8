// SPDX-License-Identifier: Apache-2.0

package studio

import (
	"context"
	"sync"

	"incamera/media/audio"
	"incamera/media/call"
	"incamera/media/codec"
	"incamera/media/compose"
	"incamera/media/e2ee"
	"incamera/media/frame"
	"incamera/media/peer"
	"incamera/media/pipeline"
)

// A remote is the [call.Sink] of one member: its pictures go to the stage, its
// sound into the mix.
type remote struct {
	studio  *Studio
	cancel  context.CancelCauseFunc
	picture *pipeline.VideoReceiver
	sound   *pipeline.AudioReceiver
	player  *audio.Player
	close   sync.Once
}

// tileOf is the member's tile on the stage.
func tileOf(leaf e2ee.Leaf) compose.ID { return selfID + 1 + compose.ID(leaf) }

func newRemote(s *Studio, m *meeting, from e2ee.Leaf, ask func(frame.Kind)) call.Sink {
	decoder, err := codec.NewOpusDecoder()
	if err != nil {
		s.config.Log.Error("a member cannot be heard", "err", err)
		return deafSink{}
	}
	ctx, cancel := context.WithCancelCause(m.ctx)
	r := &remote{studio: s, cancel: cancel, player: audio.NewPlayer(decoder)}
	r.sound = pipeline.NewAudioReceiver(pipeline.AudioReceiverConfig{From: from, Opener: &m.keys, Player: r.player})
	r.picture = pipeline.NewVideoReceiver(pipeline.VideoReceiverConfig{
		Kind: frame.Camera, From: from, Opener: &m.keys, KeyFrameWanted: func() { ask(frame.Camera) },
	})
	s.config.Mixer.Add(r.player)
	s.work.Go(func() { s.ended("sound of a member", r.sound.Run(ctx)) })
	s.work.Go(func() { s.ended("picture of a member", r.picture.Run(ctx)) })
	if s.config.Stage != nil {
		s.work.Go(func() { r.show(ctx, tileOf(from)) })
	}
	return r
}

// show puts each picture on the stage as soon as it is decoded.
func (r *remote) show(ctx context.Context, id compose.ID) {
	var shown *frame.Picture
	for {
		var err error
		if shown, err = r.picture.Next(ctx, shown); err != nil {
			return
		}
		r.studio.config.Stage.Picture(id, shown)
	}
}

// Frame implements [call.Sink].
func (r *remote) Frame(f peer.Received) {
	switch f.Kind {
	case frame.Audio:
		r.sound.Push(f.Wire, f.Seq, f.Arrived)
	case frame.Camera:
		r.picture.Push(f.Wire, f.Time, f.Gap)
	case frame.Content:
		// Rooms share no content yet, so nothing of ours sends any.
	}
}

// Counts implements [call.Sink].
func (r *remote) Counts() call.Counts {
	picture, sound := r.picture.Stats(), r.sound.Stats()
	return call.Counts{
		Received: picture.Received + sound.Received,
		Opened:   picture.Opened + sound.Opened,
		Refused:  picture.Refused + picture.Late + sound.Refused + sound.Late,
		Decoded:  picture.Decoded,
		Heard:    r.player.Level().Voice,
	}
}

// Close implements [call.Sink].
func (r *remote) Close() {
	r.close.Do(func() {
		r.studio.config.Mixer.Remove(r.player)
		r.cancel(errOver)
	})
}

// deafSink takes the frames of a member that this room can do nothing with.
type deafSink struct{}

func (deafSink) Frame(peer.Received) {}
func (deafSink) Counts() call.Counts { return call.Counts{} }
func (deafSink) Close()              {}
