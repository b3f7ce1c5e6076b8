// SPDX-License-Identifier: Apache-2.0

package peer

import (
	"testing"
	"time"
)

type fixed int

func (f *fixed) GetTargetBitrate() int { return int(*f) }

func TestRate(t *testing.T) {
	const ms = time.Millisecond
	estimate := fixed(800_000)
	r := rate{estimator: &estimate}
	check := func(at time.Duration, f fixed, want int) {
		t.Helper()
		estimate = f
		if got := r.target(at); got != want {
			t.Errorf("at %v with an estimate of %d the target is %d; want %d", at, f, got, want)
		}
	}
	check(0, 800_000, 800_000)
	check(0, 90_000, minTarget)
	check(0, 90_000_000, maxTarget)
	check(0, 1_000_000, 1_000_000)

	r.late(1000 * ms)
	check(1100*ms, 500_000, 1_000_000)   // our own fault
	check(1200*ms, 1_100_000, 1_100_000) // a step up is a step up
	check(1499*ms, 500_000, 1_100_000)
	check(1500*ms, 500_000, 500_000) // nothing was late for a while

	// Always late: after 10 s the estimate counts all the same.
	for at := 2000 * ms; at < 13_000*ms; at += 100 * ms {
		r.late(at)
	}
	check(11_900*ms, 500_000, 500_000)
	estimate = 400_000
	if got := r.target(11_990 * ms); got != 500_000 {
		t.Errorf("before the limit the target is %d; want it held", got)
	}
	check(12_001*ms, 400_000, 400_000)
}
