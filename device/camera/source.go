// SPDX-License-Identifier: Apache-2.0

package camera

import (
	"context"
	"errors"
	"fmt"
	"image"
	"sync"

	"github.com/pion/mediadevices/pkg/driver"
	mdframe "github.com/pion/mediadevices/pkg/frame"
	"github.com/pion/mediadevices/pkg/io/video"
	"github.com/pion/mediadevices/pkg/prop"

	"incamera/media/frame"
)

// ErrNotFound means that no camera of that name is registered. The caller
// looks again when a device has been plugged in.
var ErrNotFound = errors.New("camera: no such camera")

// manager guards the steps of look up, then open, or look up, then register:
// the manager of mediadevices locks each step alone.
var manager sync.Mutex

// Register offers a camera under a stable name, which no other camera has.
func Register(label string, a driver.Adapter) error {
	if _, ok := a.(driver.VideoRecorder); !ok {
		return fmt.Errorf("camera: %T is no camera", a)
	}
	manager.Lock()
	defer manager.Unlock()
	if len(find(label)) > 0 {
		return fmt.Errorf("camera: the name %q is taken", label)
	}
	return driver.GetManager().Register(a, driver.Info{Label: label, DeviceType: driver.Camera, Name: label})
}

// Unregister takes a camera off the list. A [Source] that is open stays open
// until it is closed.
func Unregister(label string) {
	manager.Lock()
	defer manager.Unlock()
	for _, d := range find(label) {
		driver.GetManager().Delete(d.ID())
	}
}

// Labels are the names of all registered cameras, in no order.
func Labels() []string {
	var all []string
	for _, d := range driver.GetManager().Query(driver.FilterVideoRecorder()) {
		all = append(all, d.Info().Label)
	}
	return all
}

func find(label string) []driver.Driver {
	return driver.GetManager().Query(func(d driver.Driver) bool {
		_, ok := d.(driver.VideoRecorder)
		return ok && d.Info().Label == label
	})
}

// A Source is an open camera. One goroutine calls Next; Close may be called by
// any.
type Source struct {
	driver driver.Driver
	asks   chan struct{}
	gives  chan taken
	asked  bool
	done   chan struct{}
	once   sync.Once
	err    error
	ended  chan struct{}
}

type taken struct {
	picture *frame.Picture
	err     error
}

// Open starts the registered camera with this name. Width and height are in
// pixels, fps is pictures a second; the driver says if it cannot do that. The
// error wraps [ErrNotFound] if there is no such camera.
//
// ctx bounds the opening only. The caller closes the source.
func Open(ctx context.Context, label string, width, height, fps int) (*Source, error) {
	manager.Lock()
	defer manager.Unlock()
	if err := context.Cause(ctx); err != nil {
		return nil, err
	}
	found := find(label)
	if len(found) == 0 {
		return nil, fmt.Errorf("%w: %q: check its cable, or choose another in the settings", ErrNotFound, label)
	}
	d := found[0]
	if err := d.Open(); err != nil {
		return nil, fmt.Errorf("camera: open %q: %w", label, err)
	}
	reader, err := d.(driver.VideoRecorder).VideoRecord(prop.Media{Video: prop.Video{
		Width: width, Height: height, FrameRate: float32(fps), FrameFormat: mdframe.FormatI420,
	}})
	if err != nil { // VideoRecord has closed the driver
		return nil, fmt.Errorf("camera: start %q: %w", label, err)
	}
	s := &Source{driver: d, asks: make(chan struct{}), gives: make(chan taken, 1), done: make(chan struct{}), ended: make(chan struct{})}
	go s.read(reader)
	return s, nil
}

// read serves one picture for each question. A driver's Read knows no context:
// so it waits here, and Next can leave.
func (s *Source) read(r video.Reader) {
	defer close(s.ended)
	release := func() {}
	for {
		select {
		case <-s.asks:
		case <-s.done:
			return
		}
		release() // the picture before
		img, give, err := r.Read()
		t := taken{err: err}
		release = func() {}
		if err == nil {
			release = give
			t.picture, t.err = asPicture(img)
		}
		s.gives <- t // has room: one question, one answer
	}
}

func asPicture(img image.Image) (*frame.Picture, error) {
	p, ok := img.(*frame.Picture)
	if !ok {
		return nil, fmt.Errorf("camera: the driver gives %T, not pictures with a time", img)
	}
	return p, nil
}

// Next waits for the next picture of the camera. The picture belongs to the
// camera, which writes to it again in the next call of Next and after Close.
//
// The error is the cause of ctx, or the reason why there will be no more
// pictures. After the former, Next may be called again.
func (s *Source) Next(ctx context.Context) (*frame.Picture, error) {
	if !s.asked {
		select {
		case s.asks <- struct{}{}:
			s.asked = true
		case <-s.ended:
			return nil, errClosed
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
	select {
	case t := <-s.gives:
		s.asked = false
		select { // closed, the camera answers, too
		case <-s.done:
			return nil, errClosed
		default:
		}
		if t.err != nil {
			return nil, fmt.Errorf("camera: read: %w", t.err)
		}
		return t.picture, nil
	case <-s.done:
		return nil, errClosed
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

var errClosed = errors.New("camera: closed")

// Close stops the camera, ends a waiting Next and returns when the camera is
// free again. It may be called twice.
func (s *Source) Close() error {
	s.once.Do(func() {
		close(s.done)
		manager.Lock()
		s.err = s.driver.Close()
		manager.Unlock()
		<-s.ended
	})
	return s.err
}
