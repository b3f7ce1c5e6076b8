// SPDX-License-Identifier: Apache-2.0

package studio

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"testing"
	"time"

	"incamera/media/audio"
	"incamera/media/call"
	"incamera/media/compose"
	"incamera/media/e2ee"
	"incamera/media/frame"
	"incamera/media/peer"
)

// A room is a studio with a camera of one colour, and what it sends.
type room struct {
	*Studio
	mixer *audio.Mixer
	stage *surface
	gate  gate

	mu      sync.Mutex
	sent    []e2ee.Sealed
	camera  func() error // what opening the camera says
	trouble []error      // as told to OnCamera
	to      call.Sink
}

func newRoom(t *testing.T, name string, y byte) *room {
	t.Helper()
	r := &room{mixer: audio.NewMixer(100), stage: &surface{}, camera: func() error { return nil }}
	stage, err := compose.New(r.stage, compose.English)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); _ = stage.Run(ctx) }() // ends with ctx
	r.Studio = New(Config{
		Name: name, Mixer: r.mixer, Chime: &audio.Chime{}, Loop: &r.gate, Stage: stage, Log: slog.New(slog.DiscardHandler),
		Camera: func(context.Context) (Camera, error) {
			r.mu.Lock()
			defer r.mu.Unlock()
			return &colour{y: y}, r.camera()
		},
		OnCamera: func(err error) {
			r.mu.Lock()
			defer r.mu.Unlock()
			r.trouble = append(r.trouble, err)
		},
	})
	t.Cleanup(func() {
		r.End()
		r.Wait()
		cancel()
		<-done
	})
	return r
}

// Send implements [call.Out]: it hands the frame to the other room, if any.
func (r *room) Send(s e2ee.Sealed) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.sent = append(r.sent, s)
	if r.to != nil {
		r.to.Frame(peer.Received{
			Kind: s.Kind(), Wire: append([]byte(nil), s.Bytes()...), Time: s.PTS(), Seq: uint32(len(r.sent)), Arrived: frame.Now(),
		})
	}
}

func (r *room) count(kind frame.Kind) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	n := 0
	for _, s := range r.sent {
		if s.Kind() == kind {
			n++
		}
	}
	return n
}

// colour is a camera that films a wall.
type colour struct {
	y byte
	n uint64
}

func (c *colour) Next(ctx context.Context) (*frame.Picture, error) {
	select {
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	case <-time.After(33 * time.Millisecond):
	}
	p := frame.NewPicture(Width, Height)
	p.Fill(c.y, 128, 128)
	p.PTS, p.Number = frame.Now(), c.n
	c.n++
	return p, nil
}

func (*colour) Close() error { return nil }

// surface keeps the brightness of the middle of what is shown.
type surface struct {
	canvas *frame.Picture
	mu     sync.Mutex
	middle byte
}

func (s *surface) Mode() frame.Mode { return frame.Mode{Width: Width, Height: Height, Rate: 60} }

func (s *surface) Next() *frame.Picture {
	if s.canvas == nil {
		s.canvas = frame.NewPicture(Width, Height)
	}
	return s.canvas
}

func (s *surface) Present(p *frame.Picture) (time.Duration, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.middle = p.Y()[Width*Height/2+Width/2]
	return frame.Now(), nil
}

func (s *surface) shows(y byte) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.middle > y-8 && s.middle < y+8
}

type gate struct {
	mu    sync.Mutex
	muted bool
}

func (g *gate) SetMuted(muted bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.muted = muted
}

// ring makes the keyring of one of two members.
func ring(t *testing.T, self e2ee.Leaf) *e2ee.Keyring {
	t.Helper()
	k := e2ee.NewKeyring()
	if err := k.Install(e2ee.EpochKeys{Epoch: 1, Self: self, Slots: 2, Leaves: []e2ee.Leaf{0, 1}, BaseKey: make([]byte, 32)}); err != nil {
		t.Fatal(err)
	}
	if err := k.SendWith(1); err != nil {
		t.Fatal(err)
	}
	return k
}

func wait(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for began := time.Now(); !ok(); time.Sleep(10 * time.Millisecond) {
		if time.Since(began) > 20*time.Second {
			t.Fatalf("waited for %s", what)
		}
	}
}

// TestRoomsSeeOneAnother joins two studios by their sealed frames alone: each
// stage shows the other's wall.
func TestRoomsSeeOneAnother(t *testing.T) {
	a, b := newRoom(t, "Vauban", 90), newRoom(t, "Curie", 180)
	for i, r := range []*room{a, b} {
		r.Begin(r)
		r.Use(ring(t, e2ee.Leaf(i)))
	}
	link := func(from, to *room, leaf e2ee.Leaf) {
		sink := to.Member(leaf, from.KeyFrame)
		to.Show(call.Status{State: call.Connected, Members: []call.Member{{Leaf: leaf, Name: from.config.Name}}})
		from.mu.Lock()
		from.to = sink
		from.mu.Unlock()
	}
	link(a, b, 0)
	link(b, a, 1)
	wait(t, "Curie's wall on Vauban's stage", func() bool { return a.stage.shows(180) })
	wait(t, "Vauban's wall on Curie's stage", func() bool { return b.stage.shows(90) })
	if got := a.to.Counts(); got.Opened == 0 || got.Decoded == 0 || got.Refused != 0 {
		t.Errorf("counts %+v", got)
	}
	a.End()
	before := a.count(frame.Camera)
	time.Sleep(200 * time.Millisecond)
	if got := a.count(frame.Camera); got > before+1 {
		t.Errorf("%d frames after the end", got-before)
	}
}

// TestGates: without a key, muted or dark, nothing of the kind is sent.
func TestGates(t *testing.T) {
	r := newRoom(t, "Vauban", 90)
	hear := func() {
		var p frame.PCM
		for range 20 {
			r.Heard(&p)
			time.Sleep(5 * time.Millisecond)
		}
	}
	hear() // outside a meeting it goes nowhere
	r.SetCameraOff(true)
	r.SetMuted(true)
	r.Begin(r)
	hear()
	r.Use(ring(t, 0))
	hear()
	time.Sleep(200 * time.Millisecond)
	if p, s := r.count(frame.Camera), r.count(frame.Audio); p+s != 0 {
		t.Fatalf("%d pictures and %d packets of a dark and muted room", p, s)
	}
	r.SetMuted(false)
	wait(t, "sound", func() bool { hear(); return r.count(frame.Audio) > 0 })
	if n := r.count(frame.Camera); n != 0 {
		t.Errorf("%d pictures of a dark room", n)
	}
	r.SetCameraOff(false)
	wait(t, "pictures", func() bool { return r.count(frame.Camera) > 0 })
	r.End()
	if !r.gate.muted {
		t.Error("the gate of the sound is open after the meeting")
	}
}

func TestNoKeyNoFrame(t *testing.T) {
	r := newRoom(t, "Vauban", 90)
	r.Begin(r)
	wait(t, "a picture that could not be sealed", func() bool { return r.Sent().NoKey > 0 })
	if got := r.Sent(); got.Frames != 0 || r.count(frame.Camera) != 0 {
		t.Errorf("sent %+v without a key", got)
	}
}

// TestCameraComesBack: a camera that cannot be opened is told, and tried again.
func TestCameraComesBack(t *testing.T) {
	r := newRoom(t, "Vauban", 90)
	unplugged := errors.New("unplugged")
	r.camera = func() error { return unplugged }
	r.Begin(r)
	r.Use(ring(t, 0))
	told := func() []error {
		r.mu.Lock()
		defer r.mu.Unlock()
		return r.trouble
	}
	wait(t, "the trouble", func() bool { return len(told()) > 0 })
	if err := told()[0]; !errors.Is(err, unplugged) {
		t.Errorf("told %v", err)
	}
	r.mu.Lock()
	r.camera = func() error { return nil }
	r.mu.Unlock()
	wait(t, "pictures", func() bool { return r.count(frame.Camera) > 0 })
	if all := told(); all[len(all)-1] != nil {
		t.Errorf("the trouble is not over: %v", all)
	}
}
