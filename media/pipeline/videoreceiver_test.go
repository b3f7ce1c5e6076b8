// SPDX-License-Identifier: Apache-2.0

package pipeline

import (
	"bytes"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"incamera/media/e2ee"
	"incamera/media/frame"
)

// A parlour is a receiver in a bubble, with the keyring of who sends to it.
type parlour struct {
	*VideoReceiver
	from, keys *e2ee.Keyring
	decoder    *plainDecoder

	mu    sync.Mutex
	asked []time.Time
}

func newParlour(t *testing.T) *parlour {
	p := &parlour{from: keyring(t, 0, 0), keys: keyring(t, 1, 0), decoder: &plainDecoder{}}
	p.VideoReceiver = NewVideoReceiver(VideoReceiverConfig{
		Kind: frame.Camera, From: 0, Opener: p.keys,
		Decoder: func() (VideoDecoder, error) { return p.decoder, nil },
		KeyFrameWanted: func() {
			p.mu.Lock()
			defer p.mu.Unlock()
			p.asked = append(p.asked, time.Now())
		},
	})
	t.Cleanup(run(t, p.Run))
	return p
}

// push sends frame number n and waits until it was dealt with.
func (p *parlour) push(t *testing.T, n uint64, key, gap bool) {
	t.Helper()
	p.Push(videoFrame(t, p.from, n, key), time.Duration(n), gap)
	synctest.Wait()
}

// requests gives when a key frame was asked for since the last call, counted
// from begun.
func (p *parlour) requests(begun time.Time) (after []time.Duration) {
	synctest.Wait()
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, at := range p.asked {
		after = append(after, at.Sub(begun))
	}
	p.asked = nil
	return after
}

// check compares what was decoded, and that no frame is missing from the
// counts.
func (p *parlour) check(t *testing.T, want ...uint64) {
	t.Helper()
	synctest.Wait()
	if got := p.decoder.seen(); !slices.Equal(got, want) {
		t.Errorf("decoded %v, want %v", got, want)
	}
	st := p.Stats()
	if st.Received != st.Dropped+st.Opened+st.Refused+st.Late+uint64(st.Waiting) || st.Opened != st.Skipped+st.Decoded+st.Failed {
		t.Errorf("frames are missing from the counts: %+v", st)
	}
}

// TestKeyFrameRequests checks the pace: at once, every 500 ms, after 5 s every
// 2 s, and none once a key frame has opened.
func TestKeyFrameRequests(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newParlour(t)
		time.Sleep(time.Minute)
		if got := p.requests(time.Now()); got != nil {
			t.Errorf("asked at %v with nothing received", got)
		}
		p.push(t, 0, true, false)
		time.Sleep(time.Minute)
		if got := p.requests(time.Now()); got != nil {
			t.Errorf("asked at %v though it began with a key frame", got)
		}
		begun := time.Now()
		p.push(t, 1, false, true)
		time.Sleep(9 * time.Second)
		var want []time.Duration
		for n := range 10 {
			want = append(want, time.Duration(n)*500*time.Millisecond)
		}
		want = append(want, 6500*time.Millisecond, 8500*time.Millisecond)
		if got := p.requests(begun); !slices.Equal(got, want) {
			t.Errorf("asked at %v, want %v", got, want)
		}
		p.push(t, 2, true, false)
		time.Sleep(time.Minute)
		if got := p.requests(begun); got != nil {
			t.Errorf("asked at %v though a key frame had opened", got)
		}
		// Losses in a row do not make requests in a row.
		begun = time.Now()
		for n := range uint64(20) {
			p.push(t, 10+2*n, false, true)
			p.push(t, 11+2*n, true, false)
			time.Sleep(50 * time.Millisecond)
		}
		if got := p.requests(begun); len(got) > 3 {
			t.Errorf("asked at %v in a second of losses", got)
		}
	})
}

// TestNoDeltaAfterALoss checks, for each way to lose a frame, that nothing is
// decoded until a key frame comes.
func TestNoDeltaAfterALoss(t *testing.T) {
	for name, lose := range map[string]func(t *testing.T, p *parlour){
		"gap":     func(t *testing.T, p *parlour) { p.push(t, 2, false, true) },
		"told":    func(t *testing.T, p *parlour) { p.Lost() },
		"garbage": func(t *testing.T, p *parlour) { p.Push([]byte{1, 2, 3}, 0, false) },
		"empty":   func(t *testing.T, p *parlour) { p.Push(nil, 0, false) },
		"flipped": func(t *testing.T, p *parlour) {
			wire := videoFrame(t, p.from, 2, false)
			wire[0] ^= 1 // says that it is a key frame
			p.Push(wire, 0, false)
		},
		"another member": func(t *testing.T, p *parlour) {
			p.SetFrom(1)
			p.push(t, 2, false, false)
			p.SetFrom(0)
		},
		"refused by the decoder": func(t *testing.T, p *parlour) {
			p.Push(seal(t, p.from, &frame.Encoded{Data: []byte{1, 1}, Kind: frame.Camera}), 0, false)
		},
		"another kind": func(t *testing.T, p *parlour) {
			p.Push(seal(t, p.from, &frame.Encoded{Data: make([]byte, 16), Kind: frame.Content}), 0, false)
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := newParlour(t)
				p.push(t, 0, true, false)
				p.push(t, 1, false, false)
				lose(t, p)
				synctest.Wait()
				if got := p.requests(time.Now()); len(got) != 1 {
					t.Errorf("%d key frames were asked for at once, want one", len(got))
				}
				p.push(t, 3, false, false)
				p.push(t, 4, false, false)
				p.push(t, 5, true, false)
				p.push(t, 6, false, false)
				p.check(t, 0, 1, 5, 6)
			})
		})
	}
}

// TestBeginsInTheMiddle joins a stream between its key frames.
func TestBeginsInTheMiddle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newParlour(t)
		begun := time.Now()
		p.push(t, 0, false, false)
		if got := p.requests(begun); len(got) != 1 || got[0] != 0 {
			t.Errorf("asked at %v, want at once", got)
		}
		p.push(t, 1, true, true) // a gap before a key frame does no harm
		p.push(t, 2, false, false)
		p.check(t, 1, 2)
	})
}

// TestUnknownEpoch lets media overtake the commit that explains them.
func TestUnknownEpoch(t *testing.T) {
	for name, tt := range map[string]struct {
		after   time.Duration // the commit comes
		decoded []uint64
		late    uint64
	}{
		"in time":  {200 * time.Millisecond, []uint64{0, 1, 2, 3, 4, 5, 6}, 0},
		"too late": {270 * time.Millisecond, []uint64{0, 6}, 1},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := newParlour(t)
				p.push(t, 0, true, false)
				admit(t, p.from, 0, 1)
				for n := uint64(1); n <= 5; n++ {
					p.push(t, n, false, false)
					time.Sleep(40 * time.Millisecond)
				}
				p.check(t, 0)
				time.Sleep(tt.after - 200*time.Millisecond)
				admit(t, p.keys, 1, 1)
				time.Sleep(20 * time.Millisecond)
				p.push(t, 6, true, false)
				p.check(t, tt.decoded...)
				if st := p.Stats(); st.Late != tt.late || st.Waiting != 0 {
					t.Errorf("%d frames came too late, want %d", st.Late, tt.late)
				}
				if asked := p.requests(time.Now()); (len(asked) > 0) != (tt.late > 0) {
					t.Errorf("%d key frames were asked for", len(asked))
				}
			})
		})
	}
}

// TestUnknownEpochIsBounded floods the receiver with frames of an epoch that
// never comes.
func TestUnknownEpochIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newParlour(t)
		p.push(t, 0, true, false)
		admit(t, p.from, 0, 1)
		for n := range uint64(200) {
			p.push(t, n, false, false)
		}
		if st := p.Stats(); st.Late != 200-(holdFrames-1) || st.Waiting != holdFrames-1 {
			t.Errorf("of 200 frames %d were given up and %d wait, want all but %d", st.Late, st.Waiting, holdFrames-1)
		}
		time.Sleep(holdTime + retryInterval)
		p.check(t, 0)
		if st := p.Stats(); st.Late != 200 {
			t.Errorf("after 260 ms %d of 200 were given up", st.Late)
		}
	})
}

// TestSlowDecoder sends four times as much as can be decoded: what waits stays
// bounded, whoever pushes is not held up, and only whole groups are decoded.
func TestSlowDecoder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newParlour(t)
		p.decoder.cost = 133 * time.Millisecond
		begun := time.Now()
		for n := range uint64(600) {
			p.Push(videoFrame(t, p.from, n, n%30 == 0), 0, false)
			if depth := p.Stats().Waiting; depth > videoQueue {
				t.Fatalf("%d frames wait", depth)
			}
			time.Sleep(time.Second / 30)
		}
		if took := time.Since(begun); took > 20*time.Second+time.Millisecond {
			t.Errorf("pushing was held up: 20 s of frames took %v", took)
		}
		time.Sleep(2 * time.Second)
		synctest.Wait()
		seen := p.decoder.seen()
		for i, n := range seen {
			if n%30 != 0 && (i == 0 || seen[i-1] != n-1) {
				t.Errorf("frame %d was decoded without the one before it", n)
			}
		}
		if len(seen) < 100 || p.Stats().Dropped < 300 {
			t.Errorf("%d frames were decoded and %d dropped", len(seen), p.Stats().Dropped)
		}
		if got := p.requests(begun); len(got) < 10 || len(got) > 44 {
			t.Errorf("%d key frames were asked for in 22 s", len(got))
		}
		p.check(t, seen...)
	})
}

// TestLatest checks that pictures go round and that the newest wins.
func TestLatest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newParlour(t)
		if got := p.Latest(nil); got != nil {
			t.Error("a picture before any frame")
		}
		all := map[*frame.Picture]bool{}
		var shown *frame.Picture
		for n := range uint64(50) {
			p.push(t, 2*n, n == 0, false)
			p.push(t, 2*n+1, false, false)
			if shown = p.Latest(shown); shown.Number != 2*n+1 || shown.PTS != time.Duration(2*n+1) {
				t.Fatalf("picture %d of %v is shown, want %d", shown.Number, shown.PTS, 2*n+1)
			}
			if again := p.Latest(shown); again != shown {
				t.Fatal("the picture changed with nothing new")
			}
			all[shown] = true
		}
		if len(all) > 3 || p.Stats().Replaced != 50 {
			t.Errorf("%d pictures were made and %d replaced, want at most 3 and 50", len(all), p.Stats().Replaced)
		}
	})
}

// TestReplay checks that a frame that comes twice is decoded once.
func TestReplay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newParlour(t)
		wire := videoFrame(t, p.from, 0, true)
		p.Push(bytes.Clone(wire), 0, false)
		p.Push(wire, 0, false)
		p.check(t, 0)
		if p.Stats().Refused != 1 {
			t.Errorf("%d frames refused, want 1", p.Stats().Refused)
		}
	})
}
