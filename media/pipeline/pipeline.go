// SPDX-License-Identifier: Apache-2.0

// Package pipeline moves pictures and sound through a call: from a source to
// the peers, sealed, and from a peer to the stage and the loudspeaker.
//
// Four loops do it, [VideoSender], [AudioSender], [VideoReceiver] and
// [AudioReceiver], one of each for a stream. They meet their neighbours in
// queues that are bounded and never block who puts something in; what does not
// fit is dropped and counted. In the steady state no frame costs an
// allocation.
//
// It knows no network and no keys: frames leave through a [Fanout], sealed by a
// [Sealer], and arrive by a call of Push. Senders begin closed and seal nothing
// until somebody opens them.
package pipeline

import (
	"context"
	"time"

	"incamera/media/codec"
	"incamera/media/e2ee"
	"incamera/media/frame"
)

// A Source gives pictures, such as a camera.
type Source interface {
	// Next waits for the next picture. It stays the source's and may be
	// written to again at the next call of Next. Once ctx is done, Next returns
	// its cause promptly. An error ends the sender that asks.
	Next(ctx context.Context) (*frame.Picture, error)
}

// A Sealer seals frames for the members of the meeting, as [e2ee.Keyring] does.
type Sealer interface {
	// Seal appends f to dst, sealed. With e2ee.ErrNoKey nothing may be sent
	// now, and the frame is dropped. It keeps neither dst nor f.
	Seal(dst []byte, f *frame.Encoded) (e2ee.Sealed, error)
}

// An Opener opens what a member of the meeting sealed, as [e2ee.Keyring] does.
type Opener interface {
	// Open appends to dst the frame of the given kind that the member from
	// sealed. With e2ee.ErrUnknownEpoch it may be tried again for 250 ms.
	Open(dst []byte, kind frame.Kind, from e2ee.Leaf, wire []byte) ([]byte, error)
}

// A Fanout hands each frame to every peer.
type Fanout interface {
	// Send must not block. It may keep s as long as it likes: the memory of a
	// sealed frame is not written again.
	Send(s e2ee.Sealed)
}

// A VideoEncoder is a [codec.VP8Encoder].
type VideoEncoder interface {
	Encode(dst *frame.Encoded, p *frame.Picture) error
	SetBitRate(bps int) error
	SetEffort(codec.Effort) error
	ForceKeyFrame()
	Close() error
}

// A VideoDecoder is a [codec.VP8Decoder].
type VideoDecoder interface {
	Decode(dst *frame.Picture, data []byte, pts time.Duration) error
	Close() error
}

// An AudioEncoder is a [codec.OpusEncoder].
type AudioEncoder interface {
	Encode(dst *frame.Encoded, pcm *frame.PCM) (ready bool, err error)
	Discard()
	Close() error
}

func newVP8Encoder(c codec.VideoConfig) (VideoEncoder, error) { return codec.NewVP8Encoder(c) }
func newVP8Decoder() (VideoDecoder, error)                    { return codec.NewVP8Decoder() }
func newOpusEncoder() (AudioEncoder, error)                   { return codec.NewOpusEncoder() }
