// SPDX-License-Identifier: Apache-2.0

package audio

const (
	// jumpFrom is a change of delay that the canceller's filter does not span,
	// in milliseconds. By trial, 100 ms heal in one second by themselves.
	jumpFrom = 120
	// jumpLasts is for how many periods the new delay must be told: a device
	// that is late once is not another device.
	jumpLasts = 10
	// jumpPause is for how many periods after a jump no other counts. Else a
	// device that cannot decide would keep the canceller from learning.
	jumpPause = 300
)

// jumps finds out when a told delay, in milliseconds, has changed for good.
type jumps struct {
	some  bool
	base  int // the delay that the canceller learnt with
	lasts int
	pause int
}

func (j *jumps) add(ms int) bool {
	if !j.some {
		j.some, j.base = true, ms
	}
	if j.pause > 0 {
		j.pause--
	}
	if d := ms - j.base; d < jumpFrom && d > -jumpFrom {
		j.lasts = 0
		return false
	}
	if j.lasts++; j.lasts < jumpLasts || j.pause > 0 {
		return false
	}
	j.base, j.lasts, j.pause = ms, 0, jumpPause
	return true
}
