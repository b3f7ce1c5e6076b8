// SPDX-License-Identifier: Apache-2.0

package audio

import "testing"

func TestJumps(t *testing.T) {
	for _, tt := range []struct {
		name  string
		delay func(period int) int
		want  int
	}{
		{"steady", func(int) int { return 60 }, 0},
		{"a little jitter", func(i int) int { return 60 + i%100 }, 0},
		{"late once in a while", func(i int) int { return 60 + 300*(1-min((i+25)%50, 1)) }, 0},
		{"one jump", func(i int) int { return 60 + 200*(i/500) }, 1},
		{"one jump back", func(i int) int { return 400 - 200*(i/500) }, 1},
		{"cannot decide", func(i int) int { return 60 + 200*(i/20%2) }, 4},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var j jumps
			n := 0
			for i := range 1000 {
				if j.add(tt.delay(i)) {
					n++
				}
			}
			if n != tt.want {
				t.Errorf("%d jumps in 10 s, want %d", n, tt.want)
			}
		})
	}
}
