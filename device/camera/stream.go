// SPDX-License-Identifier: Apache-2.0

package camera

import (
	"errors"
	"fmt"
	"time"

	"golang.org/x/sys/unix"

	"incamera/media/frame"
)

// A stream is a node that captures to mapped buffers. One goroutine uses it.
type stream struct {
	node   node
	layout layout
	mapped [][]byte
}

// start sets the format, maps buffers and begins to capture. After an error
// nothing of it is left.
func start(n node, width, height, rate int) (*stream, error) {
	pixelFormat, err := choose(modes(n), width, height, rate)
	if err != nil {
		return nil, err
	}
	s := &stream{node: n}
	if s.layout, err = agree(n, pixelFormat, width, height); err != nil {
		return nil, err
	}
	parm := streamParm{Type: typeVideoCapture, Interval: [2]uint32{1, uint32(rate)}}
	// Some cameras have one rate and no such request: they run at theirs.
	if err := ask(n, reqSetParm, &parm); err != nil && !errors.Is(err, unix.ENOTTY) && !errors.Is(err, unix.EINVAL) {
		return nil, fmt.Errorf("set the rate: %w", explain(err))
	}
	if err := s.begin(); err != nil {
		return nil, errors.Join(err, s.stop())
	}
	return s, nil
}

// agree sets the format. A driver may change what it was asked for.
func agree(n node, pixelFormat uint32, width, height int) (layout, error) {
	f := format{Type: typeVideoCapture, Pix: pixFormat{
		Width: uint32(width), Height: uint32(height), PixelFormat: pixelFormat, Field: fieldNone,
	}}
	if err := ask(n, reqSetFormat, &f); err != nil {
		return layout{}, fmt.Errorf("set the format: %w", explain(err))
	}
	p := f.Pix
	if p.PixelFormat != pixelFormat || p.Width != uint32(width) || p.Height != uint32(height) {
		return layout{}, fmt.Errorf("the camera gives %dx%d %s in place of %dx%d %s",
			p.Width, p.Height, fourccName(p.PixelFormat), width, height, fourccName(pixelFormat))
	}
	l := layout{pixelFormat: pixelFormat, width: width, height: height, stride: int(p.BytesPerLine)}
	compressed := pixelFormat == fourccMJPG || pixelFormat == fourccJPEG
	// JPEG is full range in itself, and its decoder converts.
	l.full = !compressed && p.Quantization == fullRangeQuantization
	least := width
	if pixelFormat == fourccYUYV {
		least = 2 * width
	}
	if l.stride == 0 {
		l.stride = least
	}
	if !compressed && (l.stride < least || l.stride > maxBuffer/height || l.stride%2 != 0) {
		return layout{}, fmt.Errorf("the camera gives rows of %d bytes", p.BytesPerLine)
	}
	return l, nil
}

func (s *stream) begin() error {
	r := requestBuffers{Count: buffers, Type: typeVideoCapture, Memory: memoryMMAP}
	if err := ask(s.node, reqRequestBufs, &r); err != nil {
		return fmt.Errorf("request buffers: %w", explain(err))
	}
	if r.Count < 2 || r.Count > 32 {
		return fmt.Errorf("the camera gives %d buffers", r.Count)
	}
	for i := range r.Count {
		b := buffer{Index: i, Type: typeVideoCapture, Memory: memoryMMAP}
		if err := ask(s.node, reqQueryBuf, &b); err != nil {
			return fmt.Errorf("ask for buffer %d: %w", i, explain(err))
		}
		if b.Length == 0 || b.Length > maxBuffer || int(b.Length) < s.layout.need() {
			return fmt.Errorf("buffer %d has %d bytes", i, b.Length)
		}
		m, err := s.node.mmap(int64(b.Offset), int(b.Length))
		if err != nil {
			return fmt.Errorf("map buffer %d: %w", i, err)
		}
		s.mapped = append(s.mapped, m)
		if err := s.queue(i); err != nil {
			return err
		}
	}
	kind := int32(typeVideoCapture)
	if err := ask(s.node, reqStreamOn, &kind); err != nil {
		return fmt.Errorf("start the stream: %w", explain(err))
	}
	return nil
}

// queue gives a buffer to the kernel.
func (s *stream) queue(index uint32) error {
	b := buffer{Index: index, Type: typeVideoCapture, Memory: memoryMMAP}
	if err := ask(s.node, reqQueueBuf, &b); err != nil {
		return fmt.Errorf("queue buffer %d: %w", index, explain(err))
	}
	return nil
}

// dequeue takes a filled buffer. Its error is EAGAIN where there is none.
func (s *stream) dequeue() (buffer, error) {
	b := buffer{Type: typeVideoCapture, Memory: memoryMMAP}
	if err := ask(s.node, reqDequeueBuf, &b); err != nil {
		return b, err
	}
	if int(b.Index) >= len(s.mapped) || int(b.BytesUsed) > len(s.mapped[b.Index]) {
		return b, fmt.Errorf("the kernel gives buffer %d with %d bytes", b.Index, b.BytesUsed)
	}
	return b, nil
}

// take makes p the newest picture that has been captured, gives all buffers
// back, and returns EAGAIN if there is none, or errPicture if it is broken.
func (s *stream) take(p *frame.Picture) error {
	b, err := s.dequeue()
	if err != nil {
		return err
	}
	for range len(s.mapped) {
		newer, err := s.dequeue()
		if errors.Is(err, unix.EAGAIN) {
			break
		}
		if err != nil {
			return err
		}
		if err := s.queue(b.Index); err != nil {
			return err
		}
		b = newer
	}
	if b.Flags&flagError != 0 {
		err = errPicture
	} else {
		p.PTS = instant(b)
		err = convert(p, s.mapped[b.Index][:b.BytesUsed], s.layout)
	}
	return errors.Join(err, s.queue(b.Index))
}

// instant is when the picture was captured: what the kernel noted, if it reads
// the clock of package frame and is not out of all proportion.
func instant(b buffer) time.Duration {
	now := frame.Now()
	if b.Flags&flagTimestampMask != flagMonotonic || b.Seconds < 0 || b.Seconds > int64(now/time.Second)+1 {
		return now
	}
	at := time.Duration(b.Seconds)*time.Second + time.Duration(b.Microseconds)*time.Microsecond
	if at > now || now-at > patience {
		return now
	}
	return at
}

// stop ends capturing and unmaps the buffers.
func (s *stream) stop() error {
	kind := int32(typeVideoCapture)
	err := ask(s.node, reqStreamOff, &kind)
	if errors.Is(err, unix.ENODEV) {
		err = nil // unplugged: it has stopped
	}
	for _, m := range s.mapped {
		err = errors.Join(err, s.node.munmap(m))
	}
	s.mapped = nil
	none := requestBuffers{Type: typeVideoCapture, Memory: memoryMMAP}
	_ = ask(s.node, reqRequestBufs, &none) // closing frees them, too
	return err
}
