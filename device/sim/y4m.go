// SPDX-License-Identifier: Apache-2.0

package sim

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"incamera/media/frame"
)

// errY4M is in every error about the contents of a YUV4MPEG2 file.
var errY4M = errors.New("not a YUV4MPEG2 file of 8-bit 4:2:0 pictures")

// maxY4MLine bounds the header of the file and those of its pictures.
const maxY4MLine = 256

// A y4mHeader is the first line of a YUV4MPEG2 file: the magic word and then
// parameters of one letter, each after one space.
type y4mHeader struct {
	width, height int
	num, den      int64 // pictures in seconds
	full          bool  // luma from 0 to 255
}

func parseY4MHeader(line string) (h y4mHeader, err error) {
	words := strings.Split(line, " ")
	if words[0] != "YUV4MPEG2" {
		return h, errY4M
	}
	h.num, h.den = 30, 1
	for _, w := range words[1:] {
		if w == "" {
			return h, fmt.Errorf("%w: two spaces in its header", errY4M)
		}
		ok, value := true, w[1:]
		switch w[0] {
		case 'W':
			h.width, ok = y4mNumber(value)
		case 'H':
			h.height, ok = y4mNumber(value)
		case 'F':
			num, den, found := strings.Cut(value, ":")
			n, ok1 := y4mNumber(num)
			d, ok2 := y4mNumber(den)
			h.num, h.den = int64(n), int64(d)
			ok = found && ok1 && ok2 && n > 0 && d > 0 && n/d <= 1000 && d/n <= 100
		case 'C':
			switch value {
			case "420", "420jpeg", "420mpeg2", "420paldv": // they differ in where chroma is sampled
			default:
				ok = false
			}
		case 'X':
			h.full = h.full || value == "COLORRANGE=FULL"
		}
		if !ok {
			return h, fmt.Errorf("%w: %.40q in its header", errY4M, w)
		}
	}
	if err := frame.CheckSize(h.width, h.height); err != nil {
		return h, fmt.Errorf("%w: %w", errY4M, err)
	}
	return h, nil
}

// y4mNumber reads a decimal number without sign.
func y4mNumber(s string) (int, bool) {
	if s == "" || len(s) > 9 || s[0] == '+' || s[0] == '-' {
		return 0, false
	}
	n, err := strconv.Atoi(s)
	return n, err == nil
}

// A y4mClip reads pictures one after another; it never holds more than one.
type y4mClip struct {
	header y4mHeader
	in     io.ReadSeeker
	r      *bufio.Reader
	count  int64 // pictures read since the beginning
}

func newY4M(in io.ReadSeeker) (*y4mClip, error) {
	c := &y4mClip{in: in, r: bufio.NewReaderSize(in, 1<<16)}
	return c, c.readHeader()
}

func (c *y4mClip) readHeader() error {
	line, err := c.line()
	if err != nil {
		return fmt.Errorf("%w: no header", errY4M)
	}
	c.header, err = parseY4MHeader(line)
	return err
}

// line reads a line without its end. The error is io.EOF where nothing is left.
func (c *y4mClip) line() (string, error) {
	b, err := c.r.Peek(maxY4MLine)
	if len(b) == 0 {
		if errors.Is(err, io.EOF) {
			return "", io.EOF
		}
		return "", err
	}
	end := strings.IndexByte(string(b), '\n')
	if end < 0 {
		return "", fmt.Errorf("%w: no end of line", errY4M)
	}
	line := string(b[:end])
	_, err = c.r.Discard(end + 1)
	return line, err
}

func (c *y4mClip) size() (width, height int) { return c.header.width, c.header.height }

// next reads the next picture. The error is io.EOF behind the last one.
func (c *y4mClip) next(dst *frame.Picture) (time.Duration, error) {
	line, err := c.line()
	if err != nil {
		return 0, err
	}
	if line != "FRAME" && !strings.HasPrefix(line, "FRAME ") {
		return 0, fmt.Errorf("%w: picture %d does not begin with FRAME", errY4M, c.count)
	}
	resize(dst, c.header.width, c.header.height)
	if _, err := io.ReadFull(c.r, dst.Pix); err != nil {
		return 0, fmt.Errorf("%w: picture %d is cut short", errY4M, c.count)
	}
	if c.header.full {
		limitedRange(dst)
	}
	at := c.at(c.count)
	c.count++
	return at, nil
}

// at is when picture n is shown.
func (c *y4mClip) at(n int64) time.Duration {
	whole, part := n/c.header.num, n%c.header.num
	return time.Duration(whole*c.header.den)*time.Second + time.Duration(part*c.header.den)*time.Second/time.Duration(c.header.num)
}

// end is when the clip is over, once its last picture was read.
func (c *y4mClip) end() time.Duration { return c.at(c.count) }

func (c *y4mClip) rewind() error {
	if _, err := c.in.Seek(0, io.SeekStart); err != nil {
		return err
	}
	c.r.Reset(c.in)
	c.count = 0
	return c.readHeader()
}

func (c *y4mClip) close() error { return nil }

// resize gives p a size and keeps its memory where that is enough.
func resize(p *frame.Picture, width, height int) {
	p.Width, p.Height = width, height
	if n := width * height * 3 / 2; cap(p.Pix) >= n {
		p.Pix = p.Pix[:n]
	} else {
		p.Pix = make([]byte, n)
	}
}

// limitedRange converts a picture from the full range of JFIF.
func limitedRange(p *frame.Picture) {
	luma := p.Y()
	for i, v := range luma {
		luma[i] = uint8(16 + (int(v)*219+127)/255)
	}
	colour := p.Pix[len(luma):]
	for i, v := range colour {
		colour[i] = uint8(16 + (int(v)*224+127)/255)
	}
}
