// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// rtc is the battery's clock.
const rtc = "/dev/rtc0"

// setClock takes the time from the battery's clock: our kernels leave that to us
// (RTC_HCTOSYS), and without it a room on a site without a time server would live
// at the day of its build, when its certificates were not valid yet. The clock
// vouches for nothing; systemd raises it to the time of the build where it is
// earlier, as with an empty battery.
func setClock(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	t, err := unix.IoctlGetRTCTime(int(f.Fd()))
	if err != nil {
		return fmt.Errorf("read %s: %w", path, err)
	}
	at, err := rtcTime(t)
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return unix.Settimeofday(&unix.Timeval{Sec: at.Unix()})
}

// rtcTime reads the clock's fields, which are in UTC.
func rtcTime(t *unix.RTCTime) (time.Time, error) {
	at := time.Date(int(t.Year)+1900, time.Month(t.Mon+1), int(t.Mday), int(t.Hour), int(t.Min), int(t.Sec), 0, time.UTC)
	// What is out of range would be taken for another day.
	if int(t.Mon) != int(at.Month())-1 || int(t.Mday) != at.Day() || int(t.Hour) != at.Hour() || int(t.Min) != at.Minute() || int(t.Sec) != at.Second() ||
		at.Year() < 2000 || at.Year() > 2199 {
		return time.Time{}, fmt.Errorf("the clock says %+v", *t)
	}
	return at, nil
}
