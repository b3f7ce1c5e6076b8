// SPDX-License-Identifier: Apache-2.0

package camera

import (
	"context"
	"errors"
	"image"
	"io"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pion/mediadevices/pkg/driver"
	"github.com/pion/mediadevices/pkg/io/video"
	"github.com/pion/mediadevices/pkg/prop"

	"incamera/media/frame"
)

// A slow camera gives a picture a second.
type slow struct {
	foreign bool
	closed  chan struct{}
	opens   int
}

func (s *slow) Open() error              { s.closed = make(chan struct{}); s.opens++; return nil }
func (s *slow) Close() error             { close(s.closed); s.opens--; return nil }
func (s *slow) Properties() []prop.Media { return nil }
func (s *slow) VideoRecord(p prop.Media) (video.Reader, error) {
	if p.Width != 64 || p.Height != 48 || p.FrameRate != 30 {
		return nil, errors.New("not that")
	}
	var n uint64
	return video.ReaderFunc(func() (image.Image, func(), error) {
		select {
		case <-time.After(time.Second):
			n++
			if s.foreign {
				return image.NewRGBA(image.Rect(0, 0, 2, 2)), func() {}, nil
			}
			return &frame.Picture{Number: n - 1}, func() {}, nil
		case <-s.closed:
			return nil, nil, io.EOF
		}
	}), nil
}

var (
	_ driver.Adapter       = (*slow)(nil)
	_ driver.VideoRecorder = (*slow)(nil)
)

func TestSource(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cam := &slow{}
		if err := Register("slow", cam); err != nil {
			t.Fatal(err)
		}
		defer Unregister("slow")
		if err := Register("slow", &slow{}); err == nil {
			t.Error("a name was given twice")
		}
		s, err := Open(t.Context(), "slow", 64, 48, 30)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := Open(t.Context(), "slow", 64, 48, 30); err == nil {
			t.Error("a camera in use was opened")
		}
		// A wait that was given up loses no picture.
		cause := errors.New("later")
		ctx, cancel := context.WithTimeoutCause(t.Context(), 300*time.Millisecond, cause)
		defer cancel()
		if _, err := s.Next(ctx); !errors.Is(err, cause) {
			t.Errorf("Next = %v; want %v", err, cause)
		}
		for n := range uint64(3) {
			if p, err := s.Next(t.Context()); err != nil || p.Number != n {
				t.Fatalf("picture %d: %v, %v", n, p, err)
			}
		}
		go func() {
			time.Sleep(100 * time.Millisecond)
			_ = s.Close()
		}()
		if _, err := s.Next(t.Context()); err == nil {
			t.Error("Next gives a picture after Close")
		}
		synctest.Wait()
		if err := s.Close(); err != nil || cam.opens != 0 {
			t.Errorf("Close = %v; open %d times", err, cam.opens)
		}
		if _, err := s.Next(t.Context()); !errors.Is(err, errClosed) {
			t.Errorf("Next after Close = %v", err)
		}
		s, err = Open(t.Context(), "slow", 64, 48, 30)
		if err != nil {
			t.Fatalf("it cannot be opened again: %v", err)
		}
		_ = s.Close()
	})
}

func TestOpenSource(t *testing.T) {
	if _, err := Open(t.Context(), "nobody's", 64, 48, 30); !errors.Is(err, ErrNotFound) {
		t.Errorf("a camera that is not there: %v", err)
	}
	synctest.Test(t, func(t *testing.T) {
		if err := Register("foreign", &slow{foreign: true}); err != nil {
			t.Fatal(err)
		}
		defer Unregister("foreign")
		if _, err := Open(t.Context(), "foreign", 2, 2, 30); err == nil {
			t.Error("a size was agreed to that the camera refuses")
		}
		s, err := Open(t.Context(), "foreign", 64, 48, 30)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := s.Next(t.Context()); err == nil {
			t.Error("a picture without time was accepted")
		}
		_ = s.Close()
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := Open(ctx, "foreign", 64, 48, 30); !errors.Is(err, context.Canceled) {
			t.Errorf("Open with an ended context = %v", err)
		}
	})
	if n := len(Labels()); n != 0 {
		t.Errorf("%d cameras are left", n)
	}
}
