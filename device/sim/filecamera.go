// SPDX-License-Identifier: Apache-2.0

package sim

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"image"
	"io"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pion/mediadevices/pkg/driver"
	"github.com/pion/mediadevices/pkg/io/video"
	"github.com/pion/mediadevices/pkg/prop"

	"incamera/media/frame"
)

// A FileCamera films a clip, in a loop, as a driver of pion/mediadevices. It
// gives pictures of the size and at the rate that it is asked for; where the
// clip has others, it scales into black bars, repeats and leaves out.
//
// The picture that a reader returned is overwritten by the next call of Read.
type FileCamera struct {
	session
	name    string
	decoder func() (Decoder, error)
	stamp   bool
	late    atomic.Uint64

	width, height int // of the clip

	mu      sync.Mutex // guards what follows; held while a picture is read, not while one is waited for
	running *projector // nil: not running
}

var (
	_ driver.Adapter       = (*FileCamera)(nil)
	_ driver.VideoRecorder = (*FileCamera)(nil)
)

// A clip gives pictures and the times at which they are shown, from 0.
type clip interface {
	size() (width, height int)
	next(dst *frame.Picture) (at time.Duration, err error) // io.EOF: no more
	end() time.Duration                                    // when the clip is over, once next gave io.EOF
	rewind() error
	close() error
}

// NewFileCamera returns a camera that films the file name: YUV4MPEG2 (.y4m),
// or VP8 in IVF or WebM, for which it calls decoder at each start. decoder may
// be nil where no VP8 is filmed. With stamp it writes a [Stamp] into each
// picture. A file that cannot be filmed is refused with the remedy.
func NewFileCamera(name string, decoder func() (Decoder, error), stamp bool) (*FileCamera, error) {
	c := &FileCamera{name: name, decoder: decoder, stamp: stamp}
	film, file, err := c.film()
	if err != nil {
		return nil, err
	}
	defer file.Close()
	c.width, c.height = film.size()
	if _, err := film.next(new(frame.Picture)); err != nil {
		err = c.remedy(err)
		return nil, errors.Join(err, film.close())
	}
	return c, film.close()
}

// remedy names the file and what can be done.
func (c *FileCamera) remedy(err error) error {
	if errors.Is(err, io.EOF) {
		err = errors.New("it holds no pictures")
	}
	return fmt.Errorf("sim: %s cannot be filmed: %w; convert it with: ffmpeg -i IN -pix_fmt yuv420p -t 20 OUT.y4m", c.name, err)
}

// film opens the clip. Its kind is told by its contents.
func (c *FileCamera) film() (clip, *os.File, error) {
	f, err := os.Open(c.name)
	if err != nil {
		return nil, nil, fmt.Errorf("sim: open clip: %w", err)
	}
	film, err := c.parse(f)
	if err != nil {
		f.Close() //nolint:gosec // it was only read
		return nil, nil, c.remedy(err)
	}
	return film, f, nil
}

func (c *FileCamera) parse(f io.ReadSeeker) (clip, error) {
	var magic [4]byte
	if _, err := io.ReadFull(f, magic[:]); err != nil {
		return nil, errors.New("it is empty")
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return nil, err
	}
	parse := parseIVF
	switch {
	case string(magic[:]) == "YUV4":
		return newY4M(f)
	case string(magic[:]) == "DKIF":
	case bytes.Equal(magic[:], []byte{0x1a, 0x45, 0xdf, 0xa3}): // EBML
		parse = parseWebM
	default:
		return nil, errors.New("it is neither YUV4MPEG2, nor IVF, nor WebM")
	}
	if c.decoder == nil {
		return nil, errors.New("it is coded, and there is no decoder here")
	}
	data, err := io.ReadAll(io.LimitReader(f, maxCoded+1))
	if err != nil {
		return nil, err
	}
	if len(data) > maxCoded {
		return nil, fmt.Errorf("it is longer than %d MiB", maxCoded>>20)
	}
	film, err := parse(data)
	if err != nil {
		return nil, err
	}
	film.decoder, err = c.decoder()
	return film, err
}

// Late counts the pictures left out because nobody waited for them.
func (c *FileCamera) Late() uint64 { return c.late.Load() }

// Properties implements [driver.Adapter].
func (c *FileCamera) Properties() []prop.Media { return []prop.Media{media(c.width, c.height, 30)} }

// VideoRecord implements [driver.VideoRecorder]. What p leaves zero is the size
// of the clip at 30 pictures a second.
func (c *FileCamera) VideoRecord(p prop.Media) (video.Reader, error) {
	width, height, rate, err := wanted(p, c.width, c.height)
	if err != nil {
		return nil, err
	}
	closed, err := c.life()
	if err != nil {
		return nil, err
	}
	film, file, err := c.film()
	if err != nil {
		return nil, err
	}
	pr := &projector{film: film, file: file}
	c.mu.Lock()
	c.running = pr
	c.mu.Unlock()
	pace, p0 := newPacer(rate, time.Second), frame.NewPicture(width, height)
	var number uint64
	return video.ReaderFunc(func() (image.Image, func(), error) {
		c.late.Add(uint64(pace.skip()))
		if err := c.expose(pr, p0, pace.at(pace.next)); err != nil {
			return nil, nil, err
		}
		p0.Number, p0.PTS = number, pace.tick()
		if c.stamp {
			Stamp{uint32(number & stampMask), p0.PTS}.Write(p0)
		}
		if pace.wait(context.Background(), closed) != nil {
			return nil, nil, io.EOF
		}
		number++
		return p0, func() {}, nil
	}), nil
}

// expose makes p the picture of the clip for the instant at.
func (c *FileCamera) expose(pr *projector, p *frame.Picture, at time.Duration) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.running != pr {
		return io.EOF
	}
	if err := pr.advance(at); err != nil {
		return c.remedy(err)
	}
	fit(p, &pr.shown)
	return nil
}

// Close implements [driver.Adapter]. It may be called twice.
func (c *FileCamera) Close() error {
	err := c.session.Close()
	c.mu.Lock()
	defer c.mu.Unlock()
	if pr := c.running; pr != nil {
		c.running = nil
		err = errors.Join(err, pr.film.close(), pr.file.Close())
	}
	return err
}

// A projector shows a clip in a loop.
type projector struct {
	film        clip
	file        *os.File
	shown       frame.Picture // at the time that advance was last asked for
	ahead       frame.Picture // the one after it
	aheadAt     time.Duration
	round       time.Duration // when the present round of the loop began
	hasAhead    bool
	anyInRound  bool
	hasAnything bool
}

// advance goes on to the picture for the instant at.
func (p *projector) advance(at time.Duration) error {
	for {
		if !p.hasAhead {
			t, err := p.film.next(&p.ahead)
			if errors.Is(err, io.EOF) {
				if !p.anyInRound {
					return errors.New("it holds no pictures")
				}
				p.round += max(p.film.end(), time.Millisecond) // time goes on in any case
				p.anyInRound = false
				if err := p.film.rewind(); err != nil {
					return err
				}
				continue
			}
			if err != nil {
				return err
			}
			p.aheadAt, p.hasAhead, p.anyInRound = p.round+t, true, true
		}
		if p.hasAnything && p.aheadAt > at {
			return nil
		}
		p.shown, p.ahead = p.ahead, p.shown
		p.hasAhead, p.hasAnything = false, true
	}
}

// wanted reads what a camera is asked for.
func wanted(p prop.Media, defaultWidth, defaultHeight int) (width, height, rate int, err error) {
	width, height, rate = p.Width, p.Height, int(p.FrameRate+0.5)
	if width == 0 && height == 0 {
		width, height = defaultWidth, defaultHeight
	}
	if rate == 0 {
		rate = 30
	}
	if rate < 1 || rate > maxRate {
		return 0, 0, 0, fmt.Errorf("sim: %d pictures a second: ask for 1 to %d", rate, maxRate)
	}
	return width, height, rate, frame.CheckSize(width, height)
}

// fit copies src to dst, which keeps its size: scaled as a whole, with black
// bars where the shapes differ.
func fit(dst, src *frame.Picture) {
	if dst.Width == src.Width && dst.Height == src.Height {
		dst.CopyFrom(src)
		return
	}
	width, height := dst.Width, dst.Height
	if src.Width*dst.Height > dst.Width*src.Height {
		height = max(src.Height*dst.Width/src.Width&^1, 2)
	} else {
		width = max(src.Width*dst.Height/src.Height&^1, 2)
	}
	dst.Fill(16, 128, 128)
	x, y := (dst.Width-width)/2&^1, (dst.Height-height)/2&^1
	scale(dst.Y(), dst.Width, x, y, width, height, src.Y(), src.Width, src.Height)
	scale(dst.Cb(), dst.Width/2, x/2, y/2, width/2, height/2, src.Cb(), src.Width/2, src.Height/2)
	scale(dst.Cr(), dst.Width/2, x/2, y/2, width/2, height/2, src.Cr(), src.Width/2, src.Height/2)
}

// scale resamples a plane bilinearly into a rectangle of another.
func scale(dst []byte, stride, x, y, width, height int, src []byte, w, h int) {
	for row := range height {
		sy := max((2*row+1)*h*128/height-128, 0) // in 1/256 of a row
		y0 := sy >> 8
		fy := sy & 255
		top, bottom := src[y0*w:(y0+1)*w], src[min(y0+1, h-1)*w:]
		out := dst[(y+row)*stride+x:][:width]
		for col := range out {
			sx := max((2*col+1)*w*128/width-128, 0)
			x0, fx := sx>>8, sx&255
			x1 := min(x0+1, w-1)
			a := int(top[x0])*(256-fx) + int(top[x1])*fx
			b := int(bottom[x0])*(256-fx) + int(bottom[x1])*fx
			out[col] = byte((a*(256-fy) + b*fy + 1<<15) >> 16)
		}
	}
}
