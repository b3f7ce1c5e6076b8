// SPDX-License-Identifier: Apache-2.0

package peer

import (
	"slices"
	"testing"
	"time"

	"incamera/media/frame"
)

// waitingIn lists the first bytes of the frames in a queue.
func waitingIn(q *queue) []byte {
	var all []byte
	for i := range q.n {
		all = append(all, q.at(i).wire[0])
	}
	return all
}

func TestVideoQueue(t *testing.T) {
	const ms = time.Millisecond
	type step struct {
		frame  byte // upper case: a key frame
		at     time.Duration
		wanted bool
	}
	for _, tt := range []struct {
		name    string
		sending bool // the first frame is partly sent once it is there
		steps   []step
		want    string
		dropped uint64
	}{
		{"in order", false, []step{{'A', 0, false}, {'b', 0, false}, {'c', 0, false}}, "Abc", 0},
		{"delta before any key frame", false, []step{{'a', 0, false}, {'B', 0, false}}, "B", 1},
		{
			"full", false,
			[]step{{'A', 0, false}, {'b', 0, false}, {'c', 0, false}, {'d', 0, false}, {'e', 0, false}, {'f', 0, false}, {'g', 0, false}, {'h', 0, false}, {'i', 0, true}},
			"", 9,
		},
		{
			"full with a key frame", false,
			[]step{{'A', 0, false}, {'b', 0, false}, {'c', 0, false}, {'d', 0, false}, {'e', 0, false}, {'f', 0, false}, {'g', 0, false}, {'h', 0, false}, {'I', 0, false}},
			"I", 8,
		},
		{"old", false, []step{{'A', 0, false}, {'b', 251 * ms, true}}, "", 2},
		{"not yet old", false, []step{{'A', 0, false}, {'b', 250 * ms, false}}, "Ab", 0},
		{"old with a key frame", false, []step{{'A', 0, false}, {'B', 251 * ms, false}}, "B", 1},
		{"asked once", false, []step{{'A', 0, false}, {'b', 251 * ms, true}, {'c', 252 * ms, false}, {'D', 253 * ms, false}, {'e', 254 * ms, false}}, "De", 3},
		{"what is partly sent stays", true, []step{{'A', 0, false}, {'b', 0, false}, {'c', 251 * ms, true}}, "A", 2},
		{"what is partly sent may be old", true, []step{{'A', 0, false}, {'b', 400 * ms, false}}, "Ab", 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			q := videoQueue{queue: newQueue(videoFrames), needKey: true}
			for _, s := range tt.steps {
				if wanted := q.push([]byte{s.frame}, 0, s.frame < 'a', s.at); wanted != s.wanted {
					t.Errorf("push(%c) wants a key frame: %v; want %v", s.frame, wanted, s.wanted)
				}
				q.sending = tt.sending
			}
			if got := waitingIn(&q.queue); string(got) != tt.want || q.dropped != tt.dropped {
				t.Errorf("queue holds %q and dropped %d; want %q and %d", got, q.dropped, tt.want, tt.dropped)
			}
		})
	}
}

// TestVideoQueueReset keeps what the pacer has borrowed.
func TestVideoQueueReset(t *testing.T) {
	q := videoQueue{queue: newQueue(videoFrames)}
	q.push([]byte("A"), 0, true, 0)
	q.push([]byte("b"), 0, false, 0)
	q.sending = true
	q.reset()
	if got := waitingIn(&q.queue); string(got) != "A" || !q.needKey {
		t.Errorf("after reset the queue holds %q, needs a key frame: %v; want A, true", got, q.needKey)
	}
	q.pop()
	q.sending = false
	if q.push([]byte("c"), 0, false, 0); q.n != 0 {
		t.Error("a delta frame entered after a reset")
	}
}

// TestAudioQueue drops the oldest.
func TestAudioQueue(t *testing.T) {
	o := newOutbound(frame.Audio, nil, nil, 0)
	for i := range byte(8) {
		if o.push([]byte{i}, 0, true, 0) {
			t.Error("sound wants a key frame")
		}
	}
	if got := waitingIn(&o.audio); !slices.Equal(got, []byte{3, 4, 5, 6, 7}) || o.lost != 3 {
		t.Errorf("queue holds %v and dropped %d; want the newest five and 3", got, o.lost)
	}
}

// TestPushAllocates nothing once the ring has its memory.
func TestPushAllocates(t *testing.T) {
	o := newOutbound(frame.Camera, nil, nil, 0)
	wire := make([]byte, 12_000)
	one := func() {
		o.push(wire, 0, true, 0)
		o.video.pop()
	}
	for range videoFrames {
		one()
	}
	if n := testing.AllocsPerRun(1000, one); n != 0 {
		t.Errorf("%v allocations a frame; want 0", n)
	}
}

// TestBucket spreads frames as the pacer does and checks when the last packet
// leaves: a delta frame within 20 ms of its turn however low the target is, a
// key frame at 2.5 times the target.
func TestBucket(t *testing.T) {
	for _, tt := range []struct {
		name         string
		target, size int
		key          bool
		least, most  time.Duration
	}{
		{"delta at its rate", 1_500_000, 6_250, false, 0, 20 * time.Millisecond},
		{"delta far above its rate", 150_000, 50_000, false, 15 * time.Millisecond, 20 * time.Millisecond},
		{"key frame", 800_000, 28_000, true, 95 * time.Millisecond, 113 * time.Millisecond},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := bucket{idle: true}
			now, start := time.Second, time.Second
			rate := paceRate(tt.target, tt.size, tt.key)
			b.fill(now, rate)
			for left := tt.size; left > 0; {
				if wait := b.wait(rate); wait > 0 {
					if wait%paceStep != 0 {
						t.Fatalf("wait of %v is no whole number of steps", wait)
					}
					now += wait
					b.fill(now, rate)
					continue
				}
				n := min(left, maxFragment)
				b.credit -= float64(n + descriptorSize)
				left -= n
			}
			if got := now - start; got < tt.least || got > tt.most {
				t.Errorf("%d bytes at %d b/s left in %v; want %v to %v", tt.size, tt.target, got, tt.least, tt.most)
			}
		})
	}
}
