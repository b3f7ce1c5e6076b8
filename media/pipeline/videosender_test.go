// SPDX-License-Identifier: Apache-2.0

package pipeline

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"incamera/media/codec"
	"incamera/media/e2ee"
	"incamera/media/frame"
)

// A studio is a sender in a bubble, with all that it needs.
type studio struct {
	*VideoSender
	camera  *camera
	encoder *factory
	sealer  *counting

	mu   sync.Mutex
	sent []e2ee.Sealed
	when []time.Time
}

func newStudio(t *testing.T, keys *e2ee.Keyring, width, height, bitRate int) *studio {
	s := &studio{camera: newCamera(width, height, 30), encoder: &factory{}, sealer: &counting{Keyring: keys}}
	s.VideoSender = NewVideoSender(VideoSenderConfig{
		Kind: frame.Camera, Source: s.camera, Sealer: s.sealer, BitRate: bitRate, Encoder: s.encoder.new,
		Out: send(func(v e2ee.Sealed) {
			s.mu.Lock()
			defer s.mu.Unlock()
			s.sent, s.when = append(s.sent, v), append(s.when, time.Now())
		}),
	})
	t.Cleanup(run(t, s.Run))
	return s
}

// take gives what was sent since the last call, and when.
func (s *studio) take() (sent []e2ee.Sealed, when []time.Time) {
	synctest.Wait()
	s.mu.Lock()
	defer s.mu.Unlock()
	sent, when, s.sent, s.when = s.sent, s.when, nil, nil
	return sent, when
}

func TestClosedGateSealsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStudio(t, keyring(t, 0, 0), 640, 12, 1_000_000)
		s.encoder.cost.Store(int64(5 * time.Millisecond))
		time.Sleep(time.Second)
		if sent, _ := s.take(); len(sent) != 0 || s.sealer.asked.Load() != 0 || s.encoder.count != 0 {
			t.Errorf("before it was opened: %d frames sent, %d sealed, %d encoded", len(sent), s.sealer.asked.Load(), s.encoder.count)
		}
		for turn := range 50 {
			s.SetOpen(true)
			time.Sleep(time.Second/4 + time.Duration(turn)*777*time.Microsecond)
			s.SetOpen(false)
			asked := s.sealer.asked.Load()
			sent, _ := s.take()
			if len(sent) < 5 || !sent[0].Key() {
				t.Fatalf("turn %d: %d frames, the first one a key frame: %v", turn, len(sent), len(sent) > 0 && sent[0].Key())
			}
			if slices.ContainsFunc(sent[1:], e2ee.Sealed.Key) {
				t.Errorf("turn %d: a second key frame", turn)
			}
			time.Sleep(time.Second)
			if sent, _ := s.take(); len(sent) != 0 || s.sealer.asked.Load() != asked {
				t.Fatalf("turn %d: %d frames were sent and %d sealed after the gate was closed", turn, len(sent), s.sealer.asked.Load()-asked)
			}
		}
	})
}

// TestNothingFromBeforeTheCameraWasOff turns the camera off for an instant while
// a picture waits for a slow encoder: it is not sent.
func TestNothingFromBeforeTheCameraWasOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStudio(t, keyring(t, 0, 0), 640, 12, 1_000_000)
		s.encoder.cost.Store(int64(40 * time.Millisecond))
		s.SetOpen(true)
		time.Sleep(505 * time.Millisecond)
		s.take()
		off := time.Since(s.camera.began)
		s.SetOpen(false)
		s.SetOpen(true)
		time.Sleep(time.Second)
		sent, _ := s.take()
		if len(sent) == 0 || !sent[0].Key() || sent[0].PTS() < off {
			t.Errorf("the first of %d frames is of %v, want a key frame after %v", len(sent), sent[0].PTS(), off)
		}
	})
}

// TestOnlyAKeyFrameFollowsALoss gives the sender an encoder that does not obey.
func TestOnlyAKeyFrameFollowsALoss(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStudio(t, keyring(t, 0, 0), 640, 12, 1_000_000)
		s.SetOpen(true)
		time.Sleep(time.Second)
		s.take()
		s.encoder.deaf.Store(true)
		s.SetOpen(false)
		s.SetOpen(true)
		time.Sleep(time.Second)
		if sent, _ := s.take(); len(sent) != 0 {
			t.Errorf("%d frames were sent that nobody can decode", len(sent))
		}
		s.encoder.deaf.Store(false)
		time.Sleep(time.Second)
		if sent, _ := s.take(); len(sent) < 28 || !sent[0].Key() {
			t.Errorf("%d frames were sent afterwards, or no key frame first", len(sent))
		}
	})
}

// TestKeyFramesArePaced lets three peers ask all the time.
func TestKeyFramesArePaced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStudio(t, keyring(t, 0, 0), 640, 12, 1_000_000)
		s.SetOpen(true)
		for range 1000 {
			s.RequestKeyFrame()
			time.Sleep(10 * time.Millisecond)
		}
		sent, when := s.take()
		var last time.Time
		keys := 0
		for i, v := range sent {
			if !v.Key() {
				continue
			}
			if keys++; keys > 1 && when[i].Sub(last) < keyInterval {
				t.Errorf("two key frames within %v", when[i].Sub(last))
			}
			last = when[i]
		}
		if keys < 18 || keys > 21 {
			t.Errorf("%d key frames in 10 s, want 19 or 20", keys)
		}
		time.Sleep(time.Second)
		s.take()
		s.RequestKeyFrame() // a while after the last: at once
		time.Sleep(40 * time.Millisecond)
		if sent, _ := s.take(); !slices.ContainsFunc(sent, e2ee.Sealed.Key) {
			t.Error("a single request was not met by the next frame")
		}
		s.RequestKeyFrame() // soon after: late, but not forgotten
		time.Sleep(600 * time.Millisecond)
		if sent, _ := s.take(); !slices.ContainsFunc(sent, e2ee.Sealed.Key) {
			t.Error("a request soon after a key frame was forgotten")
		}
	})
}

// TestNoKey starts without keys and loses them again: nothing is encoded
// meanwhile, and the first frame afterwards is a key frame.
func TestNoKey(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		keys := e2ee.NewKeyring()
		s := newStudio(t, keys, 640, 12, 1_000_000)
		s.SetOpen(true)
		time.Sleep(time.Second)
		if sent, _ := s.take(); len(sent) != 0 || s.encoder.count != 1 || s.Stats().NoKey < 28 {
			t.Errorf("without keys: %d sent, %d encoded, %d counted", len(sent), s.encoder.count, s.Stats().NoKey)
		}
		admit(t, keys, 0, 0)
		time.Sleep(time.Second)
		if sent, _ := s.take(); len(sent) < 28 || !sent[0].Key() || sent[1].Key() {
			t.Errorf("with keys: %d frames in a second, or not one key frame first", len(sent))
		}
		keys.Hold(e2ee.HoldQuestion)
		time.Sleep(time.Second)
		s.take()
		encoded := s.encoder.count
		time.Sleep(time.Second)
		if sent, _ := s.take(); len(sent) != 0 || s.encoder.count != encoded {
			t.Errorf("while held: %d sent, %d encoded", len(sent), s.encoder.count-encoded)
		}
		keys.Release(e2ee.HoldQuestion)
		time.Sleep(time.Second)
		if sent, _ := s.take(); len(sent) < 28 || !sent[0].Key() || sent[1].Key() {
			t.Errorf("after it was released: %d frames in a second, or not one key frame first", len(sent))
		}
		st := s.Stats()
		if st.Captured != st.Skipped+st.Gated+st.Replaced+st.NoKey+st.Sent+st.Failed {
			t.Errorf("pictures are missing from the counts: %+v", st)
		}
	})
}

// TestSourceIsNotBlocked stalls the encoder: the source keeps its pace, and
// what is encoded next is the newest picture.
func TestSourceIsNotBlocked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStudio(t, keyring(t, 0, 0), 640, 12, 1_000_000)
		s.encoder.cost.Store(int64(10 * time.Second))
		s.SetOpen(true)
		time.Sleep(9 * time.Second)
		synctest.Wait()
		if given, st := s.camera.given.Load(), s.Stats(); given < 268 || st.Replaced < 266 {
			t.Errorf("the source gave %d pictures in 9 s, %d were replaced", given, st.Replaced)
		}
		s.encoder.cost.Store(0)
		time.Sleep(2 * time.Second)
		sent, _ := s.take()
		if age := sent[1].PTS() - sent[0].PTS(); age < 9900*time.Millisecond {
			t.Errorf("the second frame shows a picture only %v after the first", age)
		}
	})
}

// TestRates follows the network down the ladder and up again.
func TestRates(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStudio(t, keyring(t, 0, 0), 1280, 24, 1_500_000) // flat, so that scaling takes no time
		s.SetOpen(true)
		for _, tt := range []struct {
			target     int
			after      time.Duration
			width, fps int
			rate       int
		}{
			{1_500_000, 2 * time.Second, 1280, 30, 1_500_000},
			{9_000_000, 20 * time.Second, 1280, 30, 1_500_000}, // the source has no more
			{1_000_000, time.Second, 1280, 15, 1_000_000},
			{500_000, time.Second, 640, 30, 500_000},
			{300_000, time.Second, 640, 15, 300_000},
			{100_000, time.Second, 0, 0, 0},
			{1_500_000, 4 * time.Second, 0, 0, 0},
			{1_500_000, 2 * time.Second, 640, 15, 500_000},
			{1_500_000, 5 * time.Second, 640, 30, 800_000},
			{1_500_000, 5 * time.Second, 1280, 15, 1_500_000},
			{1_500_000, 5 * time.Second, 1280, 30, 1_500_000},
		} {
			s.SetBitRate(tt.target)
			time.Sleep(tt.after - time.Second/2)
			s.SetBitRate(tt.target)
			s.take()
			time.Sleep(time.Second)
			sent, _ := s.take()
			last, _, _, open := s.encoder.now()
			if tt.fps == 0 {
				if len(sent) != 0 || s.Stats().Step != (Step{}) {
					t.Errorf("%d bit/s: %d frames on %+v, want none", tt.target, len(sent), s.Stats().Step)
				}
				continue
			}
			if last.Width != tt.width || last.BitRate != tt.rate || len(sent) < tt.fps-2 || len(sent) > tt.fps+1 || open != 1 {
				t.Errorf("%d bit/s: %d frames in a second, width %d with %d bit/s, %d encoders; want %d, %d, %d, 1",
					tt.target, len(sent), last.Width, last.BitRate, open, tt.fps, tt.width, tt.rate)
			}
		}
		if _, _, made, _ := s.encoder.now(); made != 3 {
			t.Errorf("%d encoders were made, want one for each change of size", made)
		}
	})
}

// TestSlowEncoder gives a room a processor that cannot bear 1080p.
func TestSlowEncoder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStudio(t, keyring(t, 0, 0), 1920, 36, 3_000_000)
		s.SetOpen(true)
		s.encoder.cost.Store(int64(40 * time.Millisecond))
		time.Sleep(4 * time.Second)
		if _, effort, _, _ := s.encoder.now(); effort != codec.Less {
			t.Errorf("after 4 s: effort %d, want %d", effort, codec.Less)
		}
		s.encoder.cost.Store(int64(200 * time.Millisecond))
		time.Sleep(10 * time.Second)
		last, effort, _, _ := s.encoder.now()
		if effort != codec.Least || last.Width == 1920 || s.Stats().Effort != codec.Least {
			t.Errorf("after 14 s: effort %d and width %d, want %d and less than 1920", effort, last.Width, codec.Least)
		}
	})
}

// TestEncoderFails checks that an encoder that fails is replaced, and that one
// that always does ends the sender.
func TestEncoderFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &factory{}
		var mu sync.Mutex
		var keys []bool
		s := NewVideoSender(VideoSenderConfig{
			Kind: frame.Camera, Source: newCamera(640, 360, 30), Sealer: keyring(t, 0, 0), Encoder: f.new,
			Out: send(func(v e2ee.Sealed) {
				mu.Lock()
				defer mu.Unlock()
				keys = append(keys, v.Key())
			}),
		})
		s.SetOpen(true)
		done := make(chan error, 1)
		go func() { done <- s.Run(t.Context()) }()
		time.Sleep(time.Second)
		f.fail.Store(true)
		time.Sleep(200 * time.Millisecond)
		f.fail.Store(false)
		synctest.Wait()
		mu.Lock()
		keys = nil
		mu.Unlock()
		time.Sleep(time.Second)
		synctest.Wait()
		mu.Lock()
		if len(keys) < 10 || !keys[0] || slices.Contains(keys[1:], true) || s.Stats().Failed == 0 {
			t.Errorf("after a failure %d frames came, the first a key frame: %v", len(keys), len(keys) > 0 && keys[0])
		}
		mu.Unlock()
		f.fail.Store(true)
		if err := <-done; !errors.Is(err, errEncoder) {
			t.Errorf("Run = %v, want %v", err, errEncoder)
		}
		if f.open != 0 {
			t.Errorf("%d encoders are left open", f.open)
		}
	})
}

// broken is a Source that fails.
type broken struct{ err error }

func (b broken) Next(context.Context) (*frame.Picture, error) { return nil, b.err }

func TestSourceFails(t *testing.T) {
	gone := errors.New("unplugged")
	s := NewVideoSender(VideoSenderConfig{Kind: frame.Camera, Source: broken{gone}, Sealer: e2ee.NewKeyring(), Out: send(func(e2ee.Sealed) {})})
	if err := s.Run(t.Context()); !errors.Is(err, gone) {
		t.Errorf("Run = %v, want %v", err, gone)
	}
}

// TestPreview checks that the room sees itself only while the camera is on.
func TestPreview(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		seen := 0
		s := NewVideoSender(VideoSenderConfig{
			Kind: frame.Camera, Source: newCamera(640, 360, 30), Sealer: keyring(t, 0, 0), Encoder: (&factory{}).new,
			Out: send(func(e2ee.Sealed) {}), Preview: func(*frame.Picture) { seen++ },
		})
		t.Cleanup(run(t, s.Run))
		time.Sleep(time.Second)
		synctest.Wait()
		if seen != 0 {
			t.Errorf("%d pictures were shown with the camera off", seen)
		}
		s.SetOpen(true)
		time.Sleep(time.Second)
		synctest.Wait()
		if seen < 29 {
			t.Errorf("%d pictures were shown in a second", seen)
		}
	})
}
