// SPDX-License-Identifier: Apache-2.0

package demo

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"
)

// clockTick is the unit of CPU time in /proc/PID/stat, USER_HZ: 100 per second
// on every architecture that we build for (proc(5)).
const clockTick = 10 * time.Millisecond

// A usage is what a process has taken from the computer.
type usage struct {
	at  time.Time
	cpu time.Duration // of all its threads, since it started
	rss int64         // bytes resident now
}

func readUsage(pid int) (usage, error) {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return usage{}, err
	}
	// The name of the program, in brackets, may hold anything.
	_, after, ok := bytes.Cut(stat, []byte(") "))
	fields := strings.Fields(string(after))
	if !ok || len(fields) < 13 {
		return usage{}, errors.New("unexpected form of /proc/PID/stat")
	}
	var ticks int64
	for _, field := range fields[11:13] { // utime and stime
		n, err := strconv.ParseInt(field, 10, 64)
		if err != nil {
			return usage{}, err
		}
		ticks += n
	}
	u := usage{at: time.Now(), cpu: time.Duration(ticks) * clockTick}
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return usage{}, err
	}
	for lines := bufio.NewScanner(bytes.NewReader(status)); lines.Scan(); {
		if fields := strings.Fields(lines.Text()); len(fields) == 3 && fields[0] == "VmRSS:" {
			kib, err := strconv.ParseInt(fields[1], 10, 64)
			if err != nil {
				return usage{}, err
			}
			u.rss = kib << 10
		}
	}
	if u.rss == 0 {
		return usage{}, errors.New("no VmRSS in /proc/PID/status")
	}
	return u, nil
}

// cores is the CPU time between two readings, as a share of one core.
func (u usage) cores(before usage) float64 {
	return float64(u.cpu-before.cpu) / float64(u.at.Sub(before.at))
}
