// SPDX-License-Identifier: Apache-2.0

package sim

import (
	"context"
	"fmt"
	"image"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pion/mediadevices/pkg/driver"
	mdframe "github.com/pion/mediadevices/pkg/frame"
	"github.com/pion/mediadevices/pkg/io/video"
	"github.com/pion/mediadevices/pkg/prop"

	"incamera/media/frame"
)

// maxRate bounds what a simulated camera is asked for, in pictures a second.
const maxRate = 60

// A Camera films the [Scene] of a room, as a driver of pion/mediadevices. Its
// pictures come at even intervals of CLOCK_MONOTONIC. A picture that nobody
// waited for is left out and has no number: a receiver that misses a number
// knows that the picture was lost after the camera.
//
// The picture that a reader returned is overwritten by the next call of Read.
type Camera struct {
	session
	room  string
	stamp bool
	late  atomic.Uint64
}

var (
	_ driver.Adapter       = (*Camera)(nil)
	_ driver.VideoRecorder = (*Camera)(nil)
)

// NewCamera returns the camera of a room. With stamp it writes a [Stamp] into
// each picture.
func NewCamera(room string, stamp bool) *Camera { return &Camera{room: room, stamp: stamp} }

// Late counts the pictures left out because nobody waited for them.
func (c *Camera) Late() uint64 { return c.late.Load() }

// Properties implements [driver.Adapter]. Other even sizes work, too.
func (c *Camera) Properties() []prop.Media {
	var all []prop.Media
	for _, size := range [][2]int{{1280, 720}, {1920, 1080}, {640, 360}} {
		all = append(all, media(size[0], size[1], 30))
	}
	return all
}

func media(width, height int, rate float32) prop.Media {
	return prop.Media{Video: prop.Video{Width: width, Height: height, FrameRate: rate, FrameFormat: mdframe.FormatI420}}
}

// VideoRecord implements [driver.VideoRecorder]. What p leaves zero is 1280 by
// 720 pixels at 30 pictures a second.
func (c *Camera) VideoRecord(p prop.Media) (video.Reader, error) {
	width, height, rate, err := wanted(p, 1280, 720)
	if err != nil {
		return nil, err
	}
	scene, err := NewScene(c.room, width, height)
	if err != nil {
		return nil, err
	}
	closed, err := c.life()
	if err != nil {
		return nil, err
	}
	pace, p0 := newPacer(rate, time.Second), frame.NewPicture(width, height)
	var number uint64
	return video.ReaderFunc(func() (image.Image, func(), error) {
		c.late.Add(uint64(pace.skip()))
		// Drawn before its instant, the picture is there when it is due.
		scene.Draw(p0, number, pace.tick())
		if c.stamp {
			Stamp{uint32(number & stampMask), p0.PTS}.Write(p0)
		}
		if err := pace.wait(context.Background(), closed); err != nil {
			return nil, nil, io.EOF
		}
		number++
		return p0, func() {}, nil
	}), nil
}

// A session is the life of a driver between Open and Close. Close ends a call
// of Read that waits.
type session struct {
	mu     sync.Mutex
	closed chan struct{} // nil: not open
}

// Open implements [driver.Adapter].
func (s *session) Open() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed != nil {
		return fmt.Errorf("sim: the camera is in use")
	}
	s.closed = make(chan struct{})
	return nil
}

// Close implements [driver.Adapter]. It may be called twice.
func (s *session) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed != nil {
		close(s.closed)
		s.closed = nil
	}
	return nil
}

func (s *session) life() (<-chan struct{}, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed == nil {
		return nil, errClosed
	}
	return s.closed, nil
}
