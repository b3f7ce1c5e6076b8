// SPDX-License-Identifier: Apache-2.0

//go:build cgo

package compose

import (
	"bytes"
	"context"
	"errors"
	"image"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"incamera/media/frame"
)

// A screen is a surface that remembers when it was given what. Its canvases
// take turns and hold what was drawn before, as a display's do.
type screen struct {
	mode frame.Mode

	mu       sync.Mutex
	canvases [2]*frame.Picture
	dark     bool
	fail     error
	shown    []time.Time
	last     frame.Picture
}

func newScreen(width, height, rate int) *screen {
	s := &screen{mode: frame.Mode{Width: width, Height: height, Rate: rate}}
	for i := range s.canvases {
		s.canvases[i] = frame.NewPicture(width, height)
		s.canvases[i].Fill(99, 88, 77)
	}
	return s
}

func (s *screen) Mode() frame.Mode { return s.mode }

func (s *screen) Next() *frame.Picture {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.dark {
		return nil
	}
	return s.canvases[len(s.shown)%2]
}

func (s *screen) Present(p *frame.Picture) (time.Duration, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.shown = append(s.shown, time.Now())
	s.last.CopyFrom(p)
	return time.Duration(len(s.shown)), s.fail
}

func (s *screen) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.shown)
}

// picture gives the last picture shown.
func (s *screen) picture() *frame.Picture {
	s.mu.Lock()
	defer s.mu.Unlock()
	p := &frame.Picture{}
	p.CopyFrom(&s.last)
	return p
}

// on runs a stage on s in a bubble until f returns.
func on(t *testing.T, s *screen, f func(*Stage)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		st, err := New(s, English)
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancelCause(t.Context())
		done := make(chan error, 1)
		go func() { done <- st.Run(ctx) }()
		synctest.Wait()
		f(st)
		over := errors.New("over")
		cancel(over)
		if err := <-done; !errors.Is(err, over) {
			t.Errorf("Run = %v, want the cause of the context", err)
		}
	})
}

// one is a meeting with one other room, number 1.
func one() Scene { return Scene{Tiles: []Tile{{ID: 1, Name: "Vauban", Badge: Verified}}} }

func TestPictureIsShownAtOnce(t *testing.T) {
	s := newScreen(64, 36, 30)
	on(t, s, func(st *Stage) {
		st.SetScene(one())
		time.Sleep(200 * time.Millisecond)
		n, src := s.count(), bars(64, 36, 1)
		st.Picture(1, src)
		synctest.Wait()
		if s.count() != n+1 {
			t.Errorf("after a picture came, and no time passed, %d more are shown, want 1", s.count()-n)
		}
		if got := s.picture(); !bytes.Equal(got.Y()[:10*64], src.Y()[:10*64]) {
			t.Error("the stage does not show the picture that came")
		}
	})
}

func TestRate(t *testing.T) {
	s := newScreen(64, 36, 30)
	on(t, s, func(st *Stage) {
		st.SetScene(one())
		time.Sleep(time.Second)
		n, p := s.count(), bars(64, 36, 1)
		for range 3000 {
			st.Picture(1, p)
			time.Sleep(time.Millisecond)
		}
		if got := s.count() - n; got < 88 || got > 92 {
			t.Errorf("1000 pictures a second for 3 s: %d shown, want 90 at 30 Hz", got)
		}
		for i := 1; i < len(s.shown); i++ {
			if d := s.shown[i].Sub(s.shown[i-1]); d < 16*time.Millisecond {
				t.Errorf("pictures %d and %d are %v apart", i-1, i, d)
			}
		}
		if st.Stats().Replaced < 2800 {
			t.Errorf("%d pictures counted as overtaken, want some 2900", st.Stats().Replaced)
		}
	})
}

// TestEveryPictureOfItsOwnRate sends as many pictures as the display takes,
// with jitter: none is lost.
func TestEveryPictureOfItsOwnRate(t *testing.T) {
	s := newScreen(64, 36, 30)
	on(t, s, func(st *Stage) {
		st.SetScene(one())
		time.Sleep(time.Second)
		p := bars(64, 36, 1)
		for i := range 300 {
			jitter := time.Duration(i*7919%11-5) * time.Millisecond
			time.Sleep(time.Second/30 + jitter - time.Duration((i+10)*7919%11-5)*time.Millisecond/2)
			st.Picture(1, p)
		}
		if r := st.Stats().Replaced; r > 6 {
			t.Errorf("%d of 300 pictures were overtaken", r)
		}
	})
}

func TestHeartbeat(t *testing.T) {
	s := newScreen(64, 36, 30)
	on(t, s, func(*Stage) {
		n := s.count()
		time.Sleep(10*time.Second + time.Millisecond)
		if got := s.count() - n; got != 10 {
			t.Errorf("10 s without a change: %d pictures, want 10", got)
		}
	})
}

// TestFrozenPictureIsNotLive is the promise of the package.
func TestFrozenPictureIsNotLive(t *testing.T) {
	s := newScreen(320, 180, 30)
	on(t, s, func(st *Stage) {
		st.SetScene(Scene{Tiles: []Tile{{ID: 1}}}) // no name: nothing but the picture
		time.Sleep(300 * time.Millisecond)
		src := bars(320, 180, 1)
		st.Picture(1, src)
		time.Sleep(500 * time.Millisecond)
		st.SetScene(Scene{Tiles: []Tile{{ID: 1}}}) // so the next heartbeat would be late
		time.Sleep(499 * time.Millisecond)
		if !bytes.Equal(s.picture().Pix, src.Pix) {
			t.Error("a picture of 999 ms is no longer shown as it is")
		}
		time.Sleep(2 * time.Millisecond)
		dim := s.picture()
		if before, after := mean(src.Y()), mean(dim.Y()); after > before*2/3 {
			t.Errorf("a picture of 1001 ms has mean luma %d of %d: not dimmed", after, before)
		}
		text := 0
		for _, v := range dim.Y()[70*320 : 110*320] {
			if v > 150 { // the brightest of the dimmed picture has less
				text++
			}
		}
		if text < 50 {
			t.Errorf("the tile does not say that the picture stopped: %d bright pixels in its middle", text)
		}
		src2 := bars(320, 180, 2)
		st.Picture(1, src2)
		synctest.Wait()
		time.Sleep(40 * time.Millisecond)
		if !bytes.Equal(s.picture().Pix, src2.Pix) {
			t.Error("a new picture does not bring the tile back")
		}
	})
}

func mean(b []byte) int {
	n := 0
	for _, v := range b {
		n += int(v)
	}
	return n / len(b)
}

// TestFullScreenIsACopy: a test stamp in the upper rows survives, whatever is
// laid over the picture.
func TestFullScreenIsACopy(t *testing.T) {
	for _, size := range []image.Point{{1280, 720}, {1920, 1080}} {
		s := newScreen(size.X, size.Y, 30)
		on(t, s, func(st *Stage) {
			sc := one()
			sc.Tiles[0].Muted, sc.Tiles[0].Speaking = true, true
			sc.Self, sc.SelfView, sc.Banner = &Tile{ID: 2, Name: "Curie"}, SelfCorner, "Lyon asks to join"
			st.SetScene(sc)
			st.Picture(2, bars(640, 360, 2))
			src := bars(size.X, size.Y, 1)
			st.Picture(1, src)
			time.Sleep(100 * time.Millisecond)
			got := s.picture()
			half := got.Height / 2
			if !bytes.Equal(got.Y()[:half*got.Width], src.Y()[:half*got.Width]) ||
				!bytes.Equal(got.Cb()[:half/2*got.Width/2], src.Cb()[:half/2*got.Width/2]) ||
				!bytes.Equal(got.Cr()[:half/2*got.Width/2], src.Cr()[:half/2*got.Width/2]) {
				t.Errorf("%v: the upper half of a full screen is not the picture itself", size)
			}
			if bytes.Equal(got.Pix, src.Pix) {
				t.Errorf("%v: no name, no banner and no self view were drawn", size)
			}
		})
	}
}

func TestSurfaceFails(t *testing.T) {
	s := newScreen(64, 36, 30)
	s.fail = errors.New("unplugged")
	synctest.Test(t, func(t *testing.T) {
		st, err := New(s, English)
		if err != nil {
			t.Fatal(err)
		}
		if err := st.Run(t.Context()); !errors.Is(err, s.fail) {
			t.Errorf("Run = %v, want what the surface said", err)
		}
	})
}

func TestBrokenCanvas(t *testing.T) {
	s := newScreen(64, 36, 30)
	s.canvases[0].Pix = s.canvases[0].Pix[:10]
	synctest.Test(t, func(t *testing.T) {
		st, err := New(s, English)
		if err != nil {
			t.Fatal(err)
		}
		if err := st.Run(t.Context()); err == nil {
			t.Error("Run = nil for a canvas that is too small")
		}
	})
}

func TestDarkDisplayComesBack(t *testing.T) {
	s := newScreen(64, 36, 30)
	s.dark = true
	on(t, s, func(st *Stage) {
		st.SetScene(one())
		time.Sleep(5 * time.Second)
		if s.count() != 0 {
			t.Fatal("something was presented to a display that is dark")
		}
		s.mu.Lock()
		s.dark = false
		s.canvases = [2]*frame.Picture{frame.NewPicture(128, 72), frame.NewPicture(128, 72)}
		s.mu.Unlock()
		time.Sleep(1001 * time.Millisecond)
		if s.count() == 0 || s.picture().Width != 128 {
			t.Errorf("a second after the display came back: %d pictures of width %d", s.count(), s.picture().Width)
		}
	})
}

// TestRoomThatLeft: its picture is gone with the scene that had it.
func TestRoomThatLeft(t *testing.T) {
	s := newScreen(64, 36, 30)
	on(t, s, func(st *Stage) {
		st.SetScene(Scene{Tiles: []Tile{{ID: 1}}})
		white := frame.NewPicture(64, 36)
		white.Fill(235, 128, 128)
		st.Picture(1, white)
		time.Sleep(50 * time.Millisecond)
		if s.picture().Y()[0] != 235 {
			t.Fatal("the picture is not shown")
		}
		st.SetScene(Scene{})
		st.Picture(1, white)
		time.Sleep(50 * time.Millisecond)
		if y := s.picture().Y(); y[0] != limited(ground).y || st.Stats().Unknown != 1 {
			t.Errorf("after it left: luma %d, %d unknown pictures", y[0], st.Stats().Unknown)
		}
		st.SetScene(Scene{Tiles: []Tile{{ID: 1}}})
		time.Sleep(50 * time.Millisecond)
		if s.picture().Y()[0] == 235 {
			t.Error("a room that came back shows the picture of its last visit")
		}
		st.Picture(1, &frame.Picture{Pix: make([]byte, 3), Width: 64, Height: 36})
		st.Picture(1, &frame.Picture{})
		time.Sleep(50 * time.Millisecond)
	})
}

// TestSceneIsCopied changes what was given to the stage.
func TestSceneIsCopied(t *testing.T) {
	scene := func() Scene {
		return Scene{
			Tiles:   []Tile{{ID: 1, Name: "Vauban"}},
			Self:    &Tile{ID: 5, Name: "Curie"},
			Content: &Tile{ID: 6, Name: "Lyon"}, SelfView: SelfTile,
		}
	}
	s := newScreen(640, 360, 30)
	on(t, s, func(st *Stage) {
		st.SetScene(scene())
		time.Sleep(time.Second)
		want := s.picture()
		st.SetScene(Scene{})
		time.Sleep(time.Second)
		sc := scene()
		s.mu.Lock() // the stage cannot present before this
		st.SetScene(sc)
		sc.Tiles[0].Name, sc.Self.Name, sc.Content.Name = "a", "b", "c"
		s.mu.Unlock()
		time.Sleep(time.Second)
		if !bytes.Equal(want.Pix, s.picture().Pix) {
			t.Error("the stage shows a change that SetScene did not tell")
		}
	})
}
