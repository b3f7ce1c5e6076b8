// SPDX-License-Identifier: Apache-2.0

package relay

import "time"

// A throttle is a leaky bucket: it holds burst and loses rate per second. The
// zero value lets everything pass.
type throttle struct {
	rate, burst float64
	level       float64
	last        time.Time
}

// take adds n and returns how long to wait until the bucket no longer runs
// over: the sender is slowed down, nothing is lost.
func (t *throttle) take(now time.Time, n int) time.Duration {
	if t.rate == 0 {
		return 0
	}
	t.level = max(0, t.level-now.Sub(t.last).Seconds()*t.rate) + float64(n)
	t.last = now
	return time.Duration(max(0, t.level-t.burst) / t.rate * float64(time.Second))
}
