// SPDX-License-Identifier: Apache-2.0

package camera

import (
	"errors"
	"fmt"
	"image"
	"io"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pion/mediadevices/pkg/driver"
	mdframe "github.com/pion/mediadevices/pkg/frame"
	"github.com/pion/mediadevices/pkg/io/video"
	"github.com/pion/mediadevices/pkg/prop"
	"golang.org/x/sys/unix"

	"incamera/media/frame"
)

const (
	buffers = 4 // one is filled, one is read, two for a reader that is late

	// patience is how long a camera may take for a picture: many need a second
	// for the first one.
	patience = 3 * time.Second

	maxBroken   = 30       // pictures in a row: more is no accident
	maxBuffer   = 64 << 20 // bytes: an 8K picture
	defaultRate = 30
)

// A Video is a camera behind a V4L2 device node, as a driver of
// pion/mediadevices. It streams through buffers that it shares with the kernel
// and converts each picture to I420, BT.601 limited range.
//
// The PTS of a picture is the instant that the kernel noted for its capture.
// Who reads late gets the newest picture. The picture that a reader returned
// is overwritten by the next call of Read.
type Video struct {
	kernel kernel
	path   string
	broken atomic.Uint64

	life sync.Mutex // guards what follows
	node node       // nil: not open
	over bool       // Close was called

	reading sync.Mutex // held by Read, and guards what follows
	stream  *stream    // nil: not running
}

var (
	_ driver.Adapter       = (*Video)(nil)
	_ driver.VideoRecorder = (*Video)(nil)
)

// NewVideo returns the camera behind a device node, such as /dev/video0. It
// opens nothing.
func NewVideo(path string) *Video { return &Video{kernel: linux{}, path: path} }

// RegisterAll registers all cameras that [List] finds and that are not yet
// registered. It is called again when a device was plugged in.
func RegisterAll(roots Roots) error {
	found, err := List(roots)
	if err != nil {
		return err
	}
	known := Labels()
	for _, c := range found {
		if !slices.Contains(known, c.Label) {
			err = errors.Join(err, Register(c.Label, NewVideo(c.Path)))
		}
	}
	return err
}

// Broken counts the pictures that were left out because they were incomplete.
func (v *Video) Broken() uint64 { return v.broken.Load() }

// Open implements [driver.Adapter]. Its errors say what a person can do.
func (v *Video) Open() error {
	v.life.Lock()
	defer v.life.Unlock()
	if v.node != nil {
		return errors.New("the camera is in use by this program")
	}
	n, err := v.kernel.open(v.path)
	if err != nil {
		return fmt.Errorf("%s: %w", v.path, explain(err))
	}
	var c capability
	if err := ask(n, reqQueryCap, &c); err != nil {
		return errors.Join(fmt.Errorf("%s is no camera: %w", v.path, explain(err)), n.close())
	}
	caps := c.Capabilities
	if caps&capDeviceCaps != 0 {
		caps = c.DeviceCaps // of this node, not of the whole device
	}
	if caps&capVideoCapture == 0 || caps&capStreaming == 0 {
		return errors.Join(fmt.Errorf("%s gives no stream of pictures: choose another camera", v.path), n.close())
	}
	v.node, v.over = n, false
	return nil
}

// Properties implements [driver.Adapter].
func (v *Video) Properties() []prop.Media {
	v.life.Lock()
	defer v.life.Unlock()
	if v.node == nil {
		return nil
	}
	var all []prop.Media
	for _, m := range modes(v.node) {
		all = append(all, prop.Media{Video: prop.Video{
			Width: m.Width, Height: m.Height, FrameRate: float32(m.Rate), FrameFormat: mdframe.FormatI420,
		}})
	}
	return all
}

// Close implements [driver.Adapter]. It ends a waiting Read and frees the
// camera. It may be called twice.
func (v *Video) Close() error {
	v.life.Lock()
	n := v.node
	v.over = true
	if n != nil {
		n.interrupt()
	}
	v.life.Unlock()
	if n == nil {
		return nil
	}
	v.reading.Lock()
	defer v.reading.Unlock()
	v.life.Lock()
	defer v.life.Unlock()
	if v.node != n {
		return nil // another Close was faster
	}
	v.node = nil
	var err error
	if v.stream != nil {
		err, v.stream = v.stream.stop(), nil
	}
	return errors.Join(err, n.close())
}

// VideoRecord implements [driver.VideoRecorder]. What p leaves zero is 1280 by
// 720 pixels at 30 pictures a second.
func (v *Video) VideoRecord(p prop.Media) (video.Reader, error) {
	v.reading.Lock()
	defer v.reading.Unlock()
	v.life.Lock()
	n := v.node
	v.life.Unlock()
	if n == nil || v.stream != nil {
		return nil, errors.New("the camera is closed, or running already")
	}
	if p.Width == 0 && p.Height == 0 {
		p.Width, p.Height = 1280, 720
	}
	rate := int(p.FrameRate + 0.5)
	if rate == 0 {
		rate = defaultRate
	}
	if err := frame.CheckSize(p.Width, p.Height); err != nil || rate < 1 || rate > 240 {
		return nil, fmt.Errorf("no camera gives %dx%d at %d pictures a second", p.Width, p.Height, rate)
	}
	s, err := start(n, p.Width, p.Height, rate)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", v.path, err)
	}
	v.stream = s
	picture := frame.NewPicture(p.Width, p.Height)
	var number uint64
	return video.ReaderFunc(func() (image.Image, func(), error) {
		v.reading.Lock()
		defer v.reading.Unlock()
		if err := v.read(s, picture); err != nil {
			return nil, nil, err
		}
		picture.Number = number
		number++
		return picture, func() {}, nil
	}), nil
}

// read waits for a whole picture.
func (v *Video) read(s *stream, p *frame.Picture) error {
	for broken := 0; broken <= maxBroken; {
		if v.stream != s {
			return io.EOF
		}
		ready, err := s.node.wait(patience)
		v.life.Lock()
		over := v.over
		v.life.Unlock()
		switch {
		case over:
			return io.EOF
		case err != nil:
			return fmt.Errorf("%s: wait: %w", v.path, explain(err))
		case !ready:
			return fmt.Errorf("%s gave no picture for %v: unplug the camera and plug it in again", v.path, patience)
		}
		switch err := s.take(p); {
		case err == nil:
			return nil
		case errors.Is(err, unix.EAGAIN): // poll was wrong; it must not be for ever
			broken++
		case errors.Is(err, errPicture):
			v.broken.Add(1)
			broken++
		default:
			return fmt.Errorf("%s: %w", v.path, explain(err))
		}
	}
	return fmt.Errorf("%s gave %d broken pictures in a row: use another cable or socket", v.path, maxBroken)
}

// choose picks the mode for a size: the least work among those that are fast
// enough, else the fastest.
func choose(all []Mode, width, height, rate int) (uint32, error) {
	order := []uint32{fourccYU12, fourccNV12, fourccYUYV, fourccMJPG, fourccJPEG}
	var best uint32
	bestRate := -1
	var sizes []string
	for _, f := range order {
		for _, m := range all {
			if m.Format != fourccName(f) {
				continue
			}
			if size := fmt.Sprintf("%dx%d", m.Width, m.Height); !slices.Contains(sizes, size) {
				sizes = append(sizes, size)
			}
			if m.Width != width || m.Height != height {
				continue
			}
			speed := m.Rate
			if speed == 0 || speed > rate {
				speed = rate
			}
			if speed > bestRate {
				best, bestRate = f, speed
			}
		}
	}
	switch {
	case len(sizes) == 0:
		return 0, errors.New("the camera has no format that is understood (YU12, NV12, YUYV, MJPG): choose another camera")
	case best == 0:
		return 0, fmt.Errorf("the camera has no %dx%d; it has %s", width, height, strings.Join(sizes, ", "))
	}
	return best, nil
}
