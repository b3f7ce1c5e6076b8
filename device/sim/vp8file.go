// SPDX-License-Identifier: Apache-2.0

package sim

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"time"

	"github.com/at-wat/ebml-go"
	"github.com/pion/webrtc/v4/pkg/media/ivfreader"

	"incamera/media/frame"
)

// A Decoder decodes VP8. Packages of devices know no codec: who opens a
// [FileCamera] supplies one.
type Decoder interface {
	// Decode decodes one frame to dst and sets its size and PTS. It keeps
	// neither argument.
	Decode(dst *frame.Picture, data []byte, pts time.Duration) error
	Close() error
}

// Bounds of coded clips, which are held in memory.
const (
	maxCoded      = 32 << 20 // bytes of a file: two minutes at 2 Mb/s
	maxCodedFrame = 4 << 20
	maxClip       = time.Hour
)

// errVP8File is in every error about the contents of an IVF or WebM file.
var errVP8File = errors.New("not a readable file of VP8 pictures")

// A vp8Clip is a clip in memory that is decoded as it is read.
type vp8Clip struct {
	width, height int
	frames        []vp8Frame
	decoder       Decoder
	count         int
}

type vp8Frame struct {
	data []byte
	at   time.Duration // never before the one in front
}

func (c *vp8Clip) size() (width, height int) { return c.width, c.height }

func (c *vp8Clip) next(dst *frame.Picture) (time.Duration, error) {
	if c.count == len(c.frames) {
		return 0, io.EOF
	}
	f := c.frames[c.count]
	if err := c.decoder.Decode(dst, f.data, f.at); err != nil {
		return 0, fmt.Errorf("picture %d: %w", c.count, err)
	}
	if dst.Width != c.width || dst.Height != c.height {
		return 0, fmt.Errorf("%w: picture %d is %dx%d, the file says %dx%d", errVP8File, c.count, dst.Width, dst.Height, c.width, c.height)
	}
	c.count++
	return f.at, nil
}

// end lets the last picture last as long as the mean of the others.
func (c *vp8Clip) end() time.Duration {
	n := time.Duration(len(c.frames))
	last := c.frames[n-1].at
	if n == 1 || last == 0 {
		return last + 33*time.Millisecond
	}
	return last + last/(n-1)
}

func (c *vp8Clip) rewind() error { c.count = 0; return nil }
func (c *vp8Clip) close() error  { return c.decoder.Close() }

// check looks at what both kinds of files must have.
func (c *vp8Clip) check() error {
	if err := frame.CheckSize(c.width, c.height); err != nil {
		return fmt.Errorf("%w: %w", errVP8File, err)
	}
	if len(c.frames) == 0 {
		return fmt.Errorf("%w: there are none", errVP8File)
	}
	first := c.frames[0]
	if len(first.data) == 0 || first.data[0]&1 != 0 { // RFC 6386, Section 9.1
		return fmt.Errorf("%w: the first is no key frame", errVP8File)
	}
	var last time.Duration
	for i := range c.frames {
		f := &c.frames[i]
		f.at -= first.at
		if len(f.data) == 0 || len(f.data) > maxCodedFrame || f.at < last || f.at > maxClip {
			return fmt.Errorf("%w: picture %d has %d bytes and comes at %v", errVP8File, i, len(f.data), f.at)
		}
		last = f.at
	}
	return nil
}

const ivfHeaderLen, ivfFrameHeaderLen = 32, 12

func parseIVF(b []byte) (*vp8Clip, error) {
	// The reader allocates what a frame's header asks for: look first.
	if len(b) < ivfHeaderLen {
		return nil, fmt.Errorf("%w: no header", errVP8File)
	}
	n := 0
	for rest := b[ivfHeaderLen:]; len(rest) > 0; n++ {
		if len(rest) < ivfFrameHeaderLen {
			return nil, fmt.Errorf("%w: picture %d is cut short", errVP8File, n)
		}
		size := int64(binary.LittleEndian.Uint32(rest))
		rest = rest[ivfFrameHeaderLen:]
		if size > int64(len(rest)) {
			return nil, fmt.Errorf("%w: picture %d is cut short", errVP8File, n)
		}
		rest = rest[size:]
	}
	r, header, err := ivfreader.NewWith(bytes.NewReader(b))
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errVP8File, err)
	}
	if header.FourCC != "VP80" {
		return nil, fmt.Errorf("%w: the codec is %.8q", errVP8File, header.FourCC)
	}
	c := &vp8Clip{width: int(header.Width), height: int(header.Height)}
	at := b[ivfHeaderLen:]
	for range n {
		data, head, err := r.ParseNextFrame()
		if err != nil {
			return nil, fmt.Errorf("%w: %w", errVP8File, err)
		}
		// The reader multiplies where it must divide (its ptsToTimestamp), so
		// the count of units is taken from the file.
		units := binary.LittleEndian.Uint64(at[4:])
		at = at[ivfFrameHeaderLen+int(head.FrameSize):]
		t, ok := inUnits(units, float64(header.TimebaseNumerator)/float64(header.TimebaseDenominator)*float64(time.Second))
		if !ok {
			return nil, fmt.Errorf("%w: picture at %d units", errVP8File, units)
		}
		c.frames = append(c.frames, vp8Frame{data, t})
	}
	return c, c.check()
}

// inUnits converts n units of that many nanoseconds.
func inUnits(n uint64, unit float64) (time.Duration, bool) {
	t := float64(n) * unit
	return time.Duration(t + 0.5), t < float64(math.MaxInt64/4)
}

// A webmFile is the part of a WebM file that matters here.
type webmFile struct {
	Segment struct {
		Info struct {
			TimecodeScale uint64 // nanoseconds
		}
		Tracks struct {
			TrackEntry []struct {
				TrackNumber uint64
				CodecID     string
				Video       struct{ PixelWidth, PixelHeight uint64 }
			}
		}
		Cluster []struct {
			Timecode    uint64
			SimpleBlock []ebml.Block
			BlockGroup  []struct{ Block ebml.Block }
		}
	}
}

func parseWebM(b []byte) (*vp8Clip, error) {
	var f webmFile
	if err := ebml.Unmarshal(bytes.NewReader(b), &f, ebml.WithMaxLeafElementSize(maxCodedFrame)); err != nil {
		return nil, fmt.Errorf("%w: %w", errVP8File, err)
	}
	scale := f.Segment.Info.TimecodeScale
	if scale == 0 {
		scale = uint64(time.Millisecond)
	}
	for _, t := range f.Segment.Tracks.TrackEntry {
		if t.CodecID != "V_VP8" || t.Video.PixelWidth > frame.MaxSide || t.Video.PixelHeight > frame.MaxSide {
			continue
		}
		c := &vp8Clip{width: int(t.Video.PixelWidth), height: int(t.Video.PixelHeight)}
		for _, cluster := range f.Segment.Cluster {
			blocks := cluster.SimpleBlock
			for _, g := range cluster.BlockGroup {
				blocks = append(blocks, g.Block)
			}
			for _, block := range blocks {
				if block.TrackNumber != t.TrackNumber {
					continue
				}
				at, ok := inUnits(cluster.Timecode+uint64(int64(block.Timecode)), float64(scale))
				if !ok || len(block.Data) != 1 {
					return nil, fmt.Errorf("%w: a block of %d pictures", errVP8File, len(block.Data))
				}
				c.frames = append(c.frames, vp8Frame{block.Data[0], at})
			}
		}
		return c, c.check()
	}
	return nil, fmt.Errorf("%w: no VP8 track", errVP8File)
}
