// SPDX-License-Identifier: Apache-2.0

package main

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestRTCTime(t *testing.T) {
	at, err := rtcTime(&unix.RTCTime{Sec: 59, Min: 58, Hour: 23, Mday: 29, Mon: 1, Year: 128})
	if want := time.Date(2028, 2, 29, 23, 58, 59, 0, time.UTC); err != nil || !at.Equal(want) {
		t.Errorf("%v, %v; want %v", at, err, want)
	}
	for name, c := range map[string]unix.RTCTime{
		"Zero":    {},
		"Epoch":   {Mday: 1, Year: 70},
		"Month":   {Mday: 1, Mon: 12, Year: 126},
		"Day":     {Mday: 30, Mon: 1, Year: 126},
		"NoDay":   {Mday: 0, Mon: 1, Year: 126},
		"Hour":    {Mday: 1, Hour: 24, Year: 126},
		"Second":  {Mday: 1, Sec: -1, Year: 126},
		"FarAway": {Mday: 1, Year: 1 << 30},
	} {
		if at, err := rtcTime(&c); err == nil {
			t.Errorf("%s: %v", name, at)
		}
	}
}

// TestNoClock: a box without one, or with something else in its place, starts.
func TestNoClock(t *testing.T) {
	path := filepath.Join(t.TempDir(), "rtc")
	if err := setClock(path); err == nil {
		t.Error("a clock that is not there")
	}
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := setClock(path); err == nil {
		t.Error("a file is a clock")
	}
}
