// SPDX-License-Identifier: Apache-2.0

//go:build cgo

package codec

import (
	"fmt"
	"time"

	"github.com/pion/mediadevices/pkg/codec"
	opusenc "github.com/pion/mediadevices/pkg/codec/opus"
	"github.com/pion/mediadevices/pkg/io/audio"
	"github.com/pion/mediadevices/pkg/prop"
	"github.com/pion/mediadevices/pkg/wave"

	"incamera/media/frame"
)

// An OpusEncoder encodes one stream of sound into packets of 20 ms, every one
// of [OpusPacketSize] bytes. It allocates: the framework copies its input and
// its output, some 9 kB a packet.
type OpusEncoder struct {
	enc      codec.ReadCloser
	block    *wave.Float32Interleaved // what enc reads, 20 ms
	filled   int                      // samples in block
	pts      time.Duration            // of the first of them
	replaced uint64
}

// NewOpusEncoder makes an encoder. The caller closes it.
func NewOpusEncoder() (*OpusEncoder, error) {
	params, err := opusenc.NewParams()
	if err != nil {
		return nil, fmt.Errorf("codec: settings of the Opus encoder: %w", err)
	}
	params.BitRate = opusBitRate
	e := &OpusEncoder{block: wave.NewFloat32Interleaved(wave.ChunkInfo{
		Len: OpusSamples, Channels: 1, SamplingRate: frame.SampleRate,
	})}
	e.enc, err = params.BuildAudioEncoder(audio.ReaderFunc(e.read), prop.Media{Audio: prop.Audio{
		SampleRate: frame.SampleRate, ChannelCount: 1, Latency: OpusDuration,
		SampleSize: 4, IsFloat: true, IsInterleaved: true,
	}})
	if err != nil {
		return nil, fmt.Errorf("codec: make an Opus encoder: %w", err)
	}
	return e, nil
}

// Encode takes 10 ms. Every second time it sets dst to a packet of 20 ms with
// the instant of its first sample and reports ready; dst.Kind it leaves alone.
// It reuses the capacity of dst.Data and does not keep pcm. Samples out of
// range are clipped.
func (e *OpusEncoder) Encode(dst *frame.Encoded, pcm *frame.PCM) (ready bool, err error) {
	dst.Data = dst.Data[:0]
	if e.enc == nil {
		return false, errClosed
	}
	if e.filled == 0 {
		e.pts = pcm.PTS
	}
	// libopus must be given numbers only: the framework slices with its error
	// codes, and that panics.
	for i, v := range pcm.Samples {
		e.block.Data[e.filled+i] = sane(v)
	}
	if e.filled += frame.PeriodSamples; e.filled < OpusSamples {
		return false, nil
	}
	e.filled = 0
	packet, release, err := e.enc.Read()
	if err != nil {
		return false, fmt.Errorf("codec: encode sound: %w", err)
	}
	defer release()
	var ok bool
	if dst.Data, ok = fit(dst.Data, packet); !ok {
		dst.Data, _ = fit(dst.Data, silence)
		e.replaced++
	}
	dst.Key, dst.PTS = true, e.pts
	return true, nil
}

// read gives the framework its 20 ms, from inside Encode.
func (e *OpusEncoder) read() (wave.Audio, func(), error) { return e.block, func() {}, nil }

// Discard forgets the 10 ms that wait for their second half, so that sound
// from before a pause is not sent after it.
func (e *OpusEncoder) Discard() { e.filled = 0 }

// Replaced counts the packets that did not fit and were replaced by silence.
func (e *OpusEncoder) Replaced() uint64 { return e.replaced }

// Close frees what C holds. It may be called twice.
func (e *OpusEncoder) Close() error {
	if e.enc == nil {
		return nil
	}
	enc := e.enc
	e.enc = nil
	return enc.Close()
}
