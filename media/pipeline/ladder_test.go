// SPDX-License-Identifier: Apache-2.0

package pipeline

import (
	"math/rand/v2"
	"testing"
	"time"

	"incamera/media/codec"
)

func TestTopFor(t *testing.T) {
	for _, tt := range []struct{ width, height, want int }{
		{3840, 2160, 0}, {1920, 1080, 0}, {1920, 800, 0}, {1280, 720, 1}, {1280, 1024, 0}, {640, 480, 1}, {640, 360, 3}, {320, 180, 3},
	} {
		if got := topFor(tt.width, tt.height); got != tt.want {
			t.Errorf("topFor(%d, %d) = %v, want %v", tt.width, tt.height, Steps[got], Steps[tt.want])
		}
	}
}

// TestLadder follows a target that is told twice a second.
func TestLadder(t *testing.T) {
	now := time.Unix(0, 0)
	l := newLadder(800_000)
	for _, tt := range []struct {
		name    string
		target  int
		seconds float64
		step    int // afterwards
		bitRate int
	}{
		{"begins where the target is", 800_000, 0, 2, 800_000},
		{"spends the whole target between steps", 1_400_000, 20, 2, 1_400_000},
		{"waits 5 s", 1_600_000, 4.5, 2, 1_500_000},
		{"goes up", 1_600_000, 1, 1, 1_600_000},
		{"stays", 1_600_000, 20, 1, 1_600_000},
		{"not yet higher", 9_000_000, 4.5, 1, 3_000_000},
		{"goes up to the top", 9_000_000, 1, 0, 3_000_000},
		{"down at once, several steps", 300_000, 0.5, 4, 300_000},
		{"calm for 4 s", 600_000, 4.5, 4, 500_000},
		{"not calm any more", 490_000, 0.5, 4, 490_000},
		{"calm again, from the start", 600_000, 4.5, 4, 500_000},
		{"one step", 9_000_000, 1, 3, 800_000},
		{"stops", 249_999, 0.5, stopped, 0},
		{"stays stopped", 249_999, 60, stopped, 0},
		{"returns after 5 s", 9_000_000, 5.5, 4, 500_000},
		{"a step each 5 s", 9_000_000, 20, 0, 3_000_000},
		{"nothing at all", -1, 0.5, stopped, 0},
	} {
		l.target = tt.target
		if tt.seconds == 0 {
			l.update(now)
		}
		for range int(tt.seconds * 2) {
			l.update(now)
			now = now.Add(500 * time.Millisecond)
		}
		if l.step != tt.step || l.bitRate() != tt.bitRate {
			t.Fatalf("%s: step %d with %d bit/s, want %d with %d", tt.name, l.step, l.bitRate(), tt.step, tt.bitRate)
		}
	}
}

// TestLadderProperties checks over random targets and limits that the ladder
// never spends more than the target, never rises within 5 s of a change, and is
// never above its limit.
func TestLadderProperties(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 3))
	now := time.Unix(0, 0)
	l := newLadder(800_000)
	changed := now
	for range 100_000 {
		if r.IntN(10) == 0 {
			l.target = r.IntN(4_000_000)
		}
		if r.IntN(200) == 0 {
			l.top = r.IntN(stopped)
		}
		now = now.Add(time.Duration(r.IntN(1000)) * time.Millisecond)
		before := l.step
		l.update(now)
		if l.step < before-1 || l.step < before && now.Sub(changed) < calmTime {
			t.Fatalf("rose from %d to %d, %v after the last change", before, l.step, now.Sub(changed))
		}
		if l.step != before {
			changed = now
		}
		if l.bitRate() > max(l.target, 0) || l.step < l.top || l.step < stopped && (l.bitRate() < Steps[l.step].BitRate || l.bitRate() < codec.MinBitRate) {
			t.Fatalf("step %d, top %d, %d bit/s of %d", l.step, l.top, l.bitRate(), l.target)
		}
	}
}

// TestOverload encodes with a cost for each picture that the effort and the
// size change, and watches what gives.
func TestOverload(t *testing.T) {
	for _, tt := range []struct {
		name   string
		cost   time.Duration // of a picture of 720p at Normal
		at     time.Duration
		effort codec.Effort
		top    int
	}{
		{"light", 10 * time.Millisecond, time.Minute, codec.Normal, 0},
		{"just bearable", 23 * time.Millisecond, time.Minute, codec.Normal, 0},
		{"not for 2 s yet", 60 * time.Millisecond, 1900 * time.Millisecond, codec.Normal, 0},
		{"less effort after 2 s", 60 * time.Millisecond, 3 * time.Second, codec.Less, 0},
		{"least after 4 s", 60 * time.Millisecond, 5 * time.Second, codec.Least, 0},
		{"smaller after 6 s", 80 * time.Millisecond, 8 * time.Second, codec.Least, 3},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var o overload
			now := time.Unix(0, 0)
			for begun := now; now.Sub(begun) < tt.at; {
				step := max(1, o.top)
				took := tt.cost / time.Duration(1+o.effort)
				if Steps[step].Height < 720 {
					took /= 4
				}
				now = now.Add(max(took, time.Second/30))
				o.encoded(now, took, step)
			}
			if o.effort != tt.effort || o.top != tt.top {
				t.Errorf("after %v: effort %d and top %d, want %d and %d", tt.at, o.effort, o.top, tt.effort, tt.top)
			}
		})
	}
}

// TestOverloadBacksOff checks that a room which cannot do better does not try
// ever so often.
func TestOverloadBacksOff(t *testing.T) {
	var o overload
	now, changes, last := time.Unix(0, 0), 0, o.effort
	for begun := now; now.Sub(begun) < time.Hour; now = now.Add(time.Second / 30) {
		took := 30 * time.Millisecond // too much
		if o.effort > codec.Normal {
			took = 5 * time.Millisecond // little
		}
		if o.encoded(now, took, 1); o.effort != last {
			changes, last = changes+1, o.effort
		}
	}
	if changes < 4 || changes > 30 {
		t.Errorf("%d changes of effort in an hour, want some but not many", changes)
	}
}
