// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// A recorder notes when the hardware heard something.
type recorder struct {
	mu    sync.Mutex
	heard []byte
	last  time.Time
}

func (r *recorder) Write(b []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.heard, r.last = append(r.heard, b...), time.Now()
	return len(b), nil
}

func (r *recorder) silence() time.Duration {
	r.mu.Lock()
	defer r.mu.Unlock()
	return time.Since(r.last)
}

// kept runs a watchdog in a bubble while f is the main line.
func kept(t *testing.T, f func(t *testing.T, w *watchdog, r *recorder)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		r := &recorder{}
		w := &watchdog{device: r}
		w.step()
		ctx, cancel := context.WithCancel(t.Context())
		go w.run(ctx)
		synctest.Wait()
		f(t, w, r)
		cancel()
		synctest.Wait()
		if slices.Contains(r.heard, 'V') {
			t.Error("the hardware was told to stop")
		}
	})
}

// Steps that end in time, however many, keep the box from being reset.
func TestWatchdogIsKept(t *testing.T) {
	kept(t, func(t *testing.T, w *watchdog, r *recorder) {
		for range 10 {
			for range int((stepFor - time.Second) / time.Second) {
				time.Sleep(time.Second)
				if r.silence() > watchdogFor/2 {
					t.Fatalf("silent for %v", r.silence())
				}
			}
			w.step()
		}
	})
}

// A main line that hangs is no longer spoken for, and the hardware
// resets the box. One that was only slow may go on.
func TestWatchdogOfAHang(t *testing.T) {
	kept(t, func(t *testing.T, w *watchdog, r *recorder) {
		time.Sleep(stepFor + watchdogFor + watchdogStep)
		if r.silence() < watchdogFor {
			t.Errorf("silent for %v after a hang of %v; want a reset by now", r.silence(), stepFor)
		}
		w.step()
		time.Sleep(watchdogStep + time.Second)
		if r.silence() > watchdogStep {
			t.Errorf("silent for %v though it goes on", r.silence())
		}
	})
}

// A person takes as long as it takes; what comes after has its limit again.
func TestWatchdogWaitsForAPerson(t *testing.T) {
	kept(t, func(t *testing.T, w *watchdog, r *recorder) {
		w.person()
		time.Sleep(72*time.Hour + time.Second)
		if r.silence() > watchdogStep {
			t.Errorf("silent for %v while a person is waited for", r.silence())
		}
		w.step()
		time.Sleep(stepFor + watchdogFor + watchdogStep)
		if r.silence() < watchdogFor {
			t.Errorf("silent for %v after a hang; want a reset by now", r.silence())
		}
	})
}

// A box without one starts all the same. What takes no timeout, such as a file,
// is used with the one that it has.
func TestOpenWatchdog(t *testing.T) {
	path := filepath.Join(t.TempDir(), "watchdog0")
	none := openWatchdog(path)
	if none != nil {
		t.Fatal("a watchdog where there is none")
	}
	none.step()
	none.person()
	none.run(t.Context())

	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	w := openWatchdog(path)
	if w == nil {
		t.Fatal("no watchdog")
	}
	if err := w.sign(); err != nil {
		t.Error(err)
	}
	if b, err := os.ReadFile(path); err != nil || len(b) != 1 || b[0] == 'V' {
		t.Errorf("it heard %q, %v", b, err)
	}
}
