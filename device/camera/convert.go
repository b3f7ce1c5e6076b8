// SPDX-License-Identifier: Apache-2.0

package camera

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"image"
	"image/jpeg"

	"incamera/media/frame"
)

// A layout is what the camera agreed to send.
type layout struct {
	pixelFormat   uint32
	width, height int
	stride        int  // bytes from one row of luma, or of packed pixels, to the next
	full          bool // full range, as JPEG has
}

// errPicture means that one picture is broken, as they are now and then on
// USB. It is left out.
var errPicture = errors.New("camera: broken picture")

// decoders convert what a camera sends to dst, whose size is set.
var decoders = map[uint32]func(dst *frame.Picture, src []byte, l layout) error{
	fourccYU12: fromYU12,
	fourccNV12: fromNV12,
	fourccYUYV: fromYUYV,
	fourccMJPG: fromJPEG,
	fourccJPEG: fromJPEG,
}

// need is how many bytes a picture has, 0 if that varies.
func (l layout) need() int {
	switch l.pixelFormat {
	case fourccYU12, fourccNV12:
		return l.stride * l.height * 3 / 2
	case fourccYUYV:
		return l.stride * l.height
	}
	return 0
}

// convert makes dst the picture that src holds.
func convert(dst *frame.Picture, src []byte, l layout) error {
	if len(src) < l.need() {
		return fmt.Errorf("%w: %d bytes of %d", errPicture, len(src), l.need())
	}
	if err := decoders[l.pixelFormat](dst, src, l); err != nil {
		return err
	}
	if l.full {
		limit(dst.Pix[:len(dst.Y())], 219)
		limit(dst.Pix[len(dst.Y()):], 224)
	}
	return nil
}

// limit converts from full range to a limited one of so many steps above 16.
func limit(b []byte, steps int) {
	for i, v := range b {
		b[i] = byte(16 + (int(v)*steps+127)/255)
	}
}

func rows(dst []byte, width int, src []byte, stride int) {
	for y := 0; y*width < len(dst); y++ {
		copy(dst[y*width:(y+1)*width], src[y*stride:])
	}
}

func fromYU12(dst *frame.Picture, src []byte, l layout) error {
	rows(dst.Y(), l.width, src, l.stride)
	src = src[l.stride*l.height:]
	rows(dst.Cb(), l.width/2, src, l.stride/2)
	rows(dst.Cr(), l.width/2, src[l.stride/2*(l.height/2):], l.stride/2)
	return nil
}

func fromNV12(dst *frame.Picture, src []byte, l layout) error {
	rows(dst.Y(), l.width, src, l.stride)
	src = src[l.stride*l.height:]
	cb, cr := dst.Cb(), dst.Cr()
	for y := range l.height / 2 {
		row := src[y*l.stride:][:l.width]
		at := y * (l.width / 2)
		for x := 0; x < len(row); x += 2 {
			cb[at], cr[at] = row[x], row[x+1]
			at++
		}
	}
	return nil
}

// fromYUYV takes the mean of the chroma of two rows.
func fromYUYV(dst *frame.Picture, src []byte, l layout) error {
	luma, cb, cr := dst.Y(), dst.Cb(), dst.Cr()
	for y := 0; y < l.height; y += 2 {
		a, b := src[y*l.stride:][:2*l.width], src[(y+1)*l.stride:][:2*l.width]
		ya, yb := luma[y*l.width:][:l.width], luma[(y+1)*l.width:][:l.width]
		at := y / 2 * (l.width / 2)
		u, v := cb[at:][:l.width/2], cr[at:][:l.width/2]
		for x := range u { // two pixels of two rows
			p, q := binary.LittleEndian.Uint32(a[4*x:]), binary.LittleEndian.Uint32(b[4*x:])
			binary.LittleEndian.PutUint16(ya[2*x:], uint16(p&0xff|p>>8&0xff00))
			binary.LittleEndian.PutUint16(yb[2*x:], uint16(q&0xff|q>>8&0xff00))
			u[x] = byte((p>>8&0xff + q>>8&0xff + 1) / 2)
			v[x] = byte((p>>24 + q>>24 + 1) / 2)
		}
	}
	return nil
}

// fromJPEG decodes one picture of Motion JPEG, in 4:2:0 or 4:2:2.
func fromJPEG(dst *frame.Picture, src []byte, l layout) error {
	src = withTables(src)
	config, err := jpeg.DecodeConfig(bytes.NewReader(src))
	if err != nil {
		return fmt.Errorf("%w: %w", errPicture, err)
	}
	if config.Width != l.width || config.Height != l.height { // before memory is taken for it
		return fmt.Errorf("%w: it is %dx%d", errPicture, config.Width, config.Height)
	}
	img, err := jpeg.Decode(bytes.NewReader(src))
	if err != nil {
		return fmt.Errorf("%w: %w", errPicture, err)
	}
	p, ok := img.(*image.YCbCr)
	if !ok {
		return fmt.Errorf("%w: %T", errPicture, img)
	}
	rows(dst.Y(), l.width, p.Y, p.YStride)
	chroma := rows
	if p.SubsampleRatio == image.YCbCrSubsampleRatio422 {
		chroma = halve
	} else if p.SubsampleRatio != image.YCbCrSubsampleRatio420 {
		return fmt.Errorf("%w: chroma is sampled %v", errPicture, p.SubsampleRatio)
	}
	chroma(dst.Cb(), l.width/2, p.Cb, p.CStride)
	chroma(dst.Cr(), l.width/2, p.Cr, p.CStride)
	limit(dst.Y(), 219)
	limit(dst.Pix[len(dst.Y()):], 224)
	return nil
}

// halve takes the mean of each two rows.
func halve(dst []byte, width int, src []byte, stride int) {
	for y := 0; y*width < len(dst); y++ {
		a, b := src[2*y*stride:][:width], src[(2*y+1)*stride:][:width]
		for x := range width {
			dst[y*width+x] = byte((int(a[x]) + int(b[x]) + 1) / 2)
		}
	}
}

// withTables puts the usual Huffman tables into a picture that has none:
// Motion JPEG may leave them out, as files of AVI do.
func withTables(src []byte) []byte {
	if len(src) < 4 || src[0] != 0xff || src[1] != 0xd8 {
		return src // the decoder says what is wrong
	}
	for at := 2; at+4 <= len(src) && src[at] == 0xff; {
		switch src[at+1] {
		case 0xc4: // DHT
			return src
		case 0xda: // SOS: no table came before it
			return append(append(append(make([]byte, 0, len(src)+len(usualTables)), src[:at]...), usualTables...), src[at:]...)
		}
		at += 2 + int(src[at+2])<<8 + int(src[at+3])
	}
	return src
}

// usualTables are the Huffman tables of ITU-T T.81, Annex K.3, as a segment.
var usualTables = func() []byte {
	segment := []byte{0xff, 0xc4, 0x01, 0xa2}
	for _, table := range []struct {
		class  byte
		counts string
		values []byte
	}{
		{0x00, "\x00\x01\x05\x01\x01\x01\x01\x01\x01\x00\x00\x00\x00\x00\x00\x00", counting(12)},
		{0x10, "\x00\x02\x01\x03\x03\x02\x04\x03\x05\x05\x04\x04\x00\x00\x01\x7d", lumaAC()},
		{0x01, "\x00\x03\x01\x01\x01\x01\x01\x01\x01\x01\x01\x00\x00\x00\x00\x00", counting(12)},
		{0x11, "\x00\x02\x01\x02\x04\x04\x03\x04\x07\x05\x04\x04\x00\x01\x02\x77", chromaAC()},
	} {
		segment = append(append(append(segment, table.class), table.counts...), table.values...)
	}
	return segment
}()

func counting(n byte) (b []byte) {
	for i := range n {
		b = append(b, i)
	}
	return b
}

// lumaAC and chromaAC list the values of Tables K.5 and K.6: the frequent ones
// in order of their length, then the rest, which rises by run and size.
func lumaAC() []byte {
	return rest([]byte("\x01\x02\x03\x00\x04\x11\x05\x12\x21\x31\x41\x06\x13\x51\x61\x07\x22\x71\x14\x32\x81\x91\xa1\x08" +
		"\x23\x42\xb1\xc1\x15\x52\xd1\xf0\x24\x33\x62\x72\x82"))
}

func chromaAC() []byte {
	return rest([]byte("\x00\x01\x02\x03\x11\x04\x05\x21\x31\x06\x12\x41\x51\x07\x61\x71\x13\x22\x32\x81\x08\x14\x42\x91" +
		"\xa1\xb1\xc1\x09\x23\x33\x52\xf0\x15\x62\x72\xd1\x0a\x16\x24\x34\xe1\x25\xf1"))
}

func rest(values []byte) []byte {
	known := [256]bool{}
	for _, v := range values {
		known[v] = true
	}
	for run := range 16 {
		for size := 1; size <= 10; size++ {
			if v := byte(run<<4 | size); !known[v] {
				values = append(values, v)
			}
		}
	}
	return values
}
