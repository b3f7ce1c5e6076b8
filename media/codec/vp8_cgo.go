// SPDX-License-Identifier: Apache-2.0

//go:build cgo

package codec

/*
#cgo pkg-config: vpx
#include "vpx_shim.h"
*/
import "C"

import (
	"errors"
	"fmt"
	"sync/atomic"
	"time"
	"unsafe"

	"incamera/media/frame"
)

// clockRate is the time base of VP8 on the wire and in libvpx, in hertz.
const clockRate = 90000

// efforts gives the cpu-used of libvpx for each [Effort].
var efforts = [...]C.int{Normal: -8, Less: -12, Least: -16}

// A VP8Encoder encodes the pictures of one stream, one thread at a time: a
// second thread of libvpx spins and costs more than it brings. A new size
// needs a new encoder.
type VP8Encoder struct {
	c        *C.ic_encoder
	config   VideoConfig
	effort   Effort
	pts      int64 // of the picture before, in units of 1/90000 s
	started  bool
	forceKey atomic.Bool
}

// NewVP8Encoder makes an encoder whose first frame will be a key frame. The
// caller closes it.
func NewVP8Encoder(config VideoConfig) (*VP8Encoder, error) {
	if err := config.check(); err != nil {
		return nil, err
	}
	c := C.ic_encoder_new(C.int(config.Width), C.int(config.Height), C.int(config.BitRate/1000))
	if c == nil {
		return nil, errors.New("codec: libvpx made no VP8 encoder; out of memory, or another version than this was built for")
	}
	return &VP8Encoder{c: c, config: config}, nil
}

// Encode encodes p into dst: Data, whose capacity it reuses, Key and PTS. It
// leaves dst.Kind alone. It does not keep p. Pictures come in the order of
// their instants; libvpx is told a later one if they do not. Data may come out
// empty, which means that the picture was dropped to hold the bit rate.
func (e *VP8Encoder) Encode(dst *frame.Encoded, p *frame.Picture) error {
	dst.Data = dst.Data[:0]
	switch {
	case e.c == nil:
		return errClosed
	case p.Width != e.config.Width || p.Height != e.config.Height || len(p.Pix) != p.Width*p.Height*3/2:
		return fmt.Errorf("codec: a picture of %dx%d with %d bytes for an encoder of %dx%d; a new size needs a new encoder",
			p.Width, p.Height, len(p.Pix), e.config.Width, e.config.Height)
	}
	pts := ticks(p.PTS)
	if e.started && pts <= e.pts {
		pts = e.pts + 1
	}
	e.pts, e.started = pts, true

	var force C.int
	if e.forceKey.Swap(false) {
		force = 1
	}
	out := C.ic_encode(e.c, (*C.uint8_t)(&p.Pix[0]), C.int64_t(pts), C.long(clockRate/e.config.FPS), force)
	if out.err != 0 {
		if force == 1 {
			e.forceKey.Store(true)
		}
		return fmt.Errorf("codec: encode a picture: %w", vpxError(out.err))
	}
	// libvpx reuses its output at the next call.
	dst.Data = append(dst.Data, unsafe.Slice((*byte)(out.data), int(out.size))...)
	dst.Key, dst.PTS = out.key != 0, p.PTS
	return nil
}

// ticks turns an instant into units of 1/90000 s without overflow for any
// instant of CLOCK_MONOTONIC.
func ticks(d time.Duration) int64 { return int64(d/100_000)*9 + int64(d%100_000)*9/100_000 }

// SetBitRate changes the target, in bits a second, from the next picture on.
func (e *VP8Encoder) SetBitRate(bps int) error {
	if e.c == nil {
		return errClosed
	}
	if err := checkBitRate(bps); err != nil {
		return err
	}
	// libvpx counts in kilobits, and each call of enc_config_set unsettles its
	// rate control.
	if bps/1000 == e.config.BitRate/1000 {
		return nil
	}
	if err := C.ic_encoder_bitrate(e.c, C.int(bps/1000)); err != 0 {
		return fmt.Errorf("codec: set the bit rate: %w", vpxError(err))
	}
	e.config.BitRate = bps
	return nil
}

// SetEffort changes the work spent on a picture, from the next one on.
func (e *VP8Encoder) SetEffort(effort Effort) error {
	if e.c == nil {
		return errClosed
	}
	if effort < Normal || effort > Least {
		return fmt.Errorf("codec: no effort %d", effort)
	}
	if effort == e.effort {
		return nil
	}
	if err := C.ic_encoder_cpu_used(e.c, efforts[effort]); err != 0 {
		return fmt.Errorf("codec: set the effort: %w", vpxError(err))
	}
	e.effort = effort
	return nil
}

// ForceKeyFrame makes the next frame a key frame. Any goroutine may call it.
func (e *VP8Encoder) ForceKeyFrame() { e.forceKey.Store(true) }

// Close frees what C holds. It may be called twice.
func (e *VP8Encoder) Close() error {
	if e.c != nil {
		C.ic_encoder_free(e.c)
		e.c = nil
	}
	return nil
}

// A VP8Decoder decodes one stream.
type VP8Decoder struct {
	c             *C.ic_decoder
	closed        bool
	width, height int // of the last key frame
	number        uint64
}

// NewVP8Decoder makes a decoder that waits for a key frame. The caller closes
// it.
func NewVP8Decoder() (*VP8Decoder, error) {
	d := &VP8Decoder{}
	if err := d.open(); err != nil {
		return nil, err
	}
	return d, nil
}

func (d *VP8Decoder) open() error {
	if d.c = C.ic_decoder_new(); d.c == nil {
		return errors.New("codec: libvpx made no VP8 decoder; out of memory, or another version than this was built for")
	}
	d.width, d.height = 0, 0
	return nil
}

// Decode decodes one frame into dst: picture, size, the given instant and a
// running number. It reuses dst's memory if that is large enough and does not
// keep data. After an error dst is unchanged, and every frame is refused with
// [ErrKeyFrameNeeded] until a key frame comes, which is decoded as the first
// one was. Data may be anything: it is bounded here and then given to libvpx.
func (d *VP8Decoder) Decode(dst *frame.Picture, data []byte, pts time.Duration) error {
	if d.closed {
		return errClosed
	}
	h, err := parseVP8(data)
	if err != nil {
		d.lose()
		return err
	}
	if !h.key && d.width == 0 {
		return ErrKeyFrameNeeded
	}
	if d.c == nil {
		if err := d.open(); err != nil {
			return err
		}
	}
	if h.key {
		d.width, d.height = h.width, h.height
	}
	out := C.ic_decode(d.c, (*C.uint8_t)(&data[0]), C.uint(len(data)))
	switch {
	case out.err != 0:
		err = fmt.Errorf("codec: decode a picture: %w", vpxError(out.err))
	case out.corrupt != 0:
		err = errors.New("codec: decode a picture: its data end too early")
	case int(out.width) != d.width || int(out.height) != d.height:
		err = errors.New("codec: decode a picture: it has another size than its key frame said")
	}
	if err != nil {
		d.lose()
		return err
	}
	size := d.width * d.height * 3 / 2
	if cap(dst.Pix) < size {
		dst.Pix = make([]byte, size)
	}
	dst.Pix = dst.Pix[:size]
	C.ic_decoder_copy(d.c, (*C.uint8_t)(&dst.Pix[0]))
	dst.Width, dst.Height, dst.PTS, dst.Number = d.width, d.height, pts, d.number
	d.number++
	return nil
}

// lose forgets all references. A fresh libvpx decoder is made at the next key
// frame: the state of one that failed is not described.
func (d *VP8Decoder) lose() {
	if d.c != nil {
		C.ic_decoder_free(d.c)
		d.c = nil
	}
	d.width, d.height = 0, 0
}

// Close frees what C holds. It may be called twice.
func (d *VP8Decoder) Close() error {
	d.lose()
	d.closed = true
	return nil
}

// vpxError gives the text that libvpx has for a code.
func vpxError(code C.int) error { return errors.New("libvpx: " + C.GoString(C.ic_error(code))) }
