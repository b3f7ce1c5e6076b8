// SPDX-License-Identifier: Apache-2.0

//go:build !cgo

package codec

import (
	"time"

	"incamera/media/frame"
)

// A VP8Encoder cannot be made without cgo.
type VP8Encoder struct{}

// NewVP8Encoder returns [ErrNotBuilt].
func NewVP8Encoder(VideoConfig) (*VP8Encoder, error) { return nil, ErrNotBuilt }

// Encode returns [ErrNotBuilt].
func (*VP8Encoder) Encode(*frame.Encoded, *frame.Picture) error { return ErrNotBuilt }

// SetBitRate returns [ErrNotBuilt].
func (*VP8Encoder) SetBitRate(int) error { return ErrNotBuilt }

// SetEffort returns [ErrNotBuilt].
func (*VP8Encoder) SetEffort(Effort) error { return ErrNotBuilt }

// ForceKeyFrame does nothing.
func (*VP8Encoder) ForceKeyFrame() {}

// Close does nothing.
func (*VP8Encoder) Close() error { return nil }

// A VP8Decoder cannot be made without cgo.
type VP8Decoder struct{}

// NewVP8Decoder returns [ErrNotBuilt].
func NewVP8Decoder() (*VP8Decoder, error) { return nil, ErrNotBuilt }

// Decode returns [ErrNotBuilt].
func (*VP8Decoder) Decode(*frame.Picture, []byte, time.Duration) error { return ErrNotBuilt }

// Close does nothing.
func (*VP8Decoder) Close() error { return nil }

// An OpusEncoder cannot be made without cgo.
type OpusEncoder struct{}

// NewOpusEncoder returns [ErrNotBuilt].
func NewOpusEncoder() (*OpusEncoder, error) { return nil, ErrNotBuilt }

// Encode returns [ErrNotBuilt].
func (*OpusEncoder) Encode(*frame.Encoded, *frame.PCM) (bool, error) { return false, ErrNotBuilt }

// Discard does nothing.
func (*OpusEncoder) Discard() {}

// Replaced returns 0.
func (*OpusEncoder) Replaced() uint64 { return 0 }

// Close does nothing.
func (*OpusEncoder) Close() error { return nil }
