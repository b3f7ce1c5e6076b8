// SPDX-License-Identifier: Apache-2.0

package codec

import (
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/pion/opus"

	"incamera/media/frame"
)

// The one shape of sound on the wire: mono, 48 kHz, 20 ms a packet, every
// packet of one size, because sizes betray speech.
const (
	OpusSamples    = 2 * frame.PeriodSamples // of one packet
	OpusDuration   = 2 * frame.Period        // of one packet
	OpusPacketSize = 256                     // bytes
	opusBitRate    = 48_000                  // bits a second, on average
)

// errOpusPacket is one error for every malformed packet: nobody acts on which.
var errOpusPacket = errors.New("codec: not an Opus packet of 20 ms in mono")

// silence is a packet of digital silence: CELT, full band, 20 ms, mono.
var silence = []byte{0xf8, 0xff, 0xfe}

// fit appends packet to dst as exactly [OpusPacketSize] bytes that decode to
// the same samples, or reports that it does not fit. Packets of one frame only
// (code 0) are known: an encoder of 20 ms makes no other.
//
// Code 3 with padding (RFC 6716, Section 3.2.5), where count says one frame,
// constant bit rate and whether there is padding:
//
//	+--------+--------+---------+- - - - - - -+- - - - - - -+
//	| TOC, 3 | count  | padding | the frame   | zeros       |
//	+--------+--------+---------+- - - - - - -+- - - - - - -+
//
// One byte of padding length is enough: it counts up to 254 zeros.
func fit(dst, packet []byte) ([]byte, bool) {
	const oneFrame, padded = 0x01, 0x40
	if len(packet) == 0 || packet[0]&3 != 0 {
		return dst, false
	}
	spare := OpusPacketSize - len(packet)
	switch {
	case spare < 0:
		return dst, false
	case spare == 0:
		return append(dst, packet...), true
	case spare == 1:
		dst = append(dst, packet[0]|3, oneFrame)
		return append(dst, packet[1:]...), true
	}
	dst = append(dst, packet[0]|3, oneFrame|padded, byte(spare-2))
	dst = append(dst, packet[1:]...)
	for range spare - 2 {
		dst = append(dst, 0)
	}
	return dst, true
}

// opusFrame returns the TOC byte and the one compressed frame of a packet of
// 20 ms in mono, wherever that packet has padding. All else is refused before
// a decoder sees it: other durations, stereo, several frames, a frame over
// 1275 bytes (RFC 6716, Section 3.4).
func opusFrame(packet []byte) (toc byte, data []byte, err error) {
	const maxFrame = 1275
	if len(packet) < 1 {
		return 0, nil, errOpusPacket
	}
	toc, data = packet[0], packet[1:]
	if toc&4 != 0 || frameDuration(toc) != OpusDuration {
		return 0, nil, errOpusPacket
	}
	switch toc & 3 {
	case 0:
	case 3:
		if data, err = unpad(data); err != nil {
			return 0, nil, err
		}
	default: // two frames, 40 ms
		return 0, nil, errOpusPacket
	}
	if len(data) == 0 || len(data) > maxFrame {
		return 0, nil, errOpusPacket
	}
	return toc &^ 3, data, nil
}

// unpad takes the frame out of what follows the TOC byte of a code 3 packet
// with a single frame.
func unpad(b []byte) ([]byte, error) {
	if len(b) < 1 || b[0]&0x3f != 1 {
		return nil, errOpusPacket
	}
	// The bit for frames of varying size means nothing for a single one.
	padded, b := b[0]&0x40 != 0, b[1:]
	for padded {
		if len(b) < 1 {
			return nil, errOpusPacket
		}
		n := int(b[0])
		b = b[1:]
		if padded = n == 255; padded { // 254 bytes, and another length follows
			n = 254
		}
		if n > len(b) {
			return nil, errOpusPacket
		}
		b = b[:len(b)-n]
	}
	return b, nil
}

// frameDuration reads the duration of one frame from a TOC byte (RFC 6716,
// Section 3.1, table 2).
func frameDuration(toc byte) time.Duration {
	switch config := toc >> 3; {
	case config < 12: // SILK
		return [...]time.Duration{10 * time.Millisecond, 20 * time.Millisecond, 40 * time.Millisecond, 60 * time.Millisecond}[config&3]
	case config < 16: // hybrid
		return 10 * time.Millisecond << (config & 1)
	default: // CELT
		return 2500 * time.Microsecond << (config & 3)
	}
}

// An OpusDecoder decodes one stream of packets of 20 ms. It is pure Go.
type OpusDecoder struct {
	d       opus.Decoder
	packet  []byte // one packet without its padding
	conceal concealer
}

// NewOpusDecoder makes a decoder.
func NewOpusDecoder() (*OpusDecoder, error) {
	d := &OpusDecoder{packet: make([]byte, 0, 1+1275)}
	if err := d.reset(); err != nil {
		return nil, err
	}
	return d, nil
}

func (d *OpusDecoder) reset() (err error) {
	if d.d, err = opus.NewDecoderWithOutput(frame.SampleRate, 1); err != nil {
		return fmt.Errorf("codec: make an Opus decoder: %w", err)
	}
	return nil
}

// Decode decodes one packet of 20 ms in mono. It does not keep packet. After
// an error dst is unchanged, the caller conceals, and the next packet decodes.
func (d *OpusDecoder) Decode(dst *[OpusSamples]float32, packet []byte) error {
	toc, data, err := opusFrame(packet)
	if err != nil {
		return err
	}
	d.packet = append(append(d.packet[:0], toc), data...)
	var out [OpusSamples]float32
	if err := d.decode(&out); err != nil {
		return err
	}
	for i, v := range out {
		// A packet can be made to overflow the decoder's floats. Not a number
		// or an infinity would stay in every filter behind us.
		if !(v > -8 && v < 8) {
			out[i] = 0
		}
	}
	d.conceal.heard(&out)
	*dst = out
	return nil
}

// Conceal makes 20 ms that stand for a packet that did not come: the sound
// before it, repeated by its pitch and faded to the noise floor in 60 ms.
func (d *OpusDecoder) Conceal(dst *[OpusSamples]float32) { d.conceal.missed(dst) }

// decode gives one bounded packet to pion/opus.
func (d *OpusDecoder) decode(out *[OpusSamples]float32) error {
	n, err := d.d.DecodeToFloat32(d.packet, out[:])
	switch {
	case err != nil:
		err = fmt.Errorf("codec: decode a packet: %w", err)
	case n != OpusSamples:
		err = fmt.Errorf("codec: decode a packet: %d samples came out", n)
	default:
		return nil
	}
	return errors.Join(err, d.reset())
}

// sane makes a sample fit for an encoder: in range, and a number.
func sane(v float32) float32 {
	if v != v {
		return 0
	}
	return float32(math.Max(-1, math.Min(1, float64(v))))
}
