// SPDX-License-Identifier: Apache-2.0

//go:build simtpm

package main

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"incamera/cmd/internal/boxlink"
)

// TestUpdate takes a release from its bundle to the raised floor, and back is no
// way from there.
func TestUpdate(t *testing.T) {
	m := newMaker(t)
	old, next := m.release(testBoard, "1.4.0", 7, 0), m.release(testBoard, "1.5.0", 9, 8)
	b := newMachine(t, m, old)
	b.until("floor read", func() bool { return b.status().Update.Floor == 1 })
	if err := b.box.Health(t.Context(), boxlink.Health{Healthy: true}); err != nil {
		t.Fatal(err)
	}
	release, err := b.box.Install(t.Context(), bytes.NewReader(next.bundle), false)
	if err != nil || release != (boxlink.Release{Version: "1.5.0", Rollback: 9}) {
		t.Fatalf("installed %v, %v", release, err)
	}
	s := b.status()
	want := boxlink.Update{Phase: boxlink.Armed, Running: boxlink.Release{Version: "1.4.0", Rollback: 7}, Target: &release, Floor: 1}
	if !reflect.DeepEqual(s.Update, want) || s.Work != (boxlink.Work{State: boxlink.Idle}) {
		t.Errorf("armed: %+v", s)
	}
	if b.names() != "1.4.0.efi 1.5.0+3.efi" || !b.log.said("update armed") {
		t.Errorf("on the ESP: %s; log:\n%s", b.names(), b.log)
	}
	if got := b.get("dev/b"); got[:systemSize] != string(next.system) {
		t.Error("the slot has other bytes")
	}

	b.restart(next)
	b.until("on trial", func() bool { return b.status().Update.Phase == boxlink.Trial })
	if reason := b.install(old.bundle, true); reason != "on_trial" {
		t.Errorf("on trial: %s", reason)
	}
	if err := b.box.Health(t.Context(), boxlink.Health{Healthy: true}); err != nil {
		t.Fatal(err)
	}
	b.until("committed, and floor raised", func() bool {
		return b.log.said("update committed") && b.log.said("floor raised") && strings.Contains(b.get("calls"), "stop in-camera-trial.timer\n")
	})
	if s := b.status(); s.Update.Phase != boxlink.Steady || s.Update.Floor != 8 || s.Update.Running.Version != "1.5.0" || s.Update.Target != nil {
		t.Errorf("committed: %+v", s)
	}
	if b.names() != "1.4.0.efi 1.5.0.efi" || strings.Contains(b.get("calls"), "reboot") {
		t.Errorf("on the ESP: %s; systemctl %q", b.names(), b.get("calls"))
	}
	// A boxd that ended right after the commit: what restarts an unjudged release is
	// ended all the same.
	if err := b.stop(); err != nil {
		t.Fatal(err)
	}
	b.put("calls", nil)
	b.start()
	b.until("the timer is stopped", func() bool { return strings.Contains(b.get("calls"), "stop in-camera-trial.timer\n") })
	if reason := b.install(old.bundle, true); reason != "below_floor" {
		t.Errorf("back: %s", reason)
	}
}

// TestRefusals: each for its reason, told to who asked, and nothing is started
// but what runs.
func TestRefusals(t *testing.T) {
	m := newMaker(t)
	old, running, next := m.release(testBoard, "1.3.0", 7, 0), m.release(testBoard, "1.4.0", 7, 0), m.release(testBoard, "1.5.0", 8, 0)
	other := m.release("imx8mp-evk/buildroot", "1.5.0", 8, 0)
	stranger := newMaker(t).release(testBoard, "1.5.0", 8, 0)
	b := newMachine(t, m, running)
	flip := func(at int) []byte {
		c := bytes.Clone(next.bundle)
		c[at] ^= 1
		return c
	}
	end := len(next.bundle)
	for _, c := range []struct {
		name, want string
		bundle     []byte
		older      bool
	}{
		{"nothing", "truncated", nil, false},
		{"half a manifest", "truncated", next.bundle[:100], false},
		{"half a system", "truncated", next.bundle[:end/2], false},
		{"all but one byte", "truncated", next.bundle[:end-1], false},
		{"a byte more", "malformed", append(bytes.Clone(next.bundle), 0), false},
		{"no bundle", "malformed", bytes.Repeat([]byte("text "), 1<<20), false},
		{"another manifest", "sig_invalid", flip(200), false},
		{"another system", "tampered", flip(end / 2), false},
		{"another image", "tampered", flip(end - 1), false},
		{"another maker", "sig_invalid", stranger.bundle, false},
		{"another board", "wrong_board", other.bundle, false},
		{"older", "older", old.bundle, false},
		{"what runs", "installed", running.bundle, true},
	} {
		if reason := b.install(c.bundle, c.older); reason != c.want {
			t.Errorf("%s: %q; want %q", c.name, reason, c.want)
		}
		if s := b.status(); b.names() != "1.4.0.efi" || s.Update.Phase != boxlink.Steady || s.Work.State != boxlink.Idle {
			t.Errorf("%s: on the ESP %s; %+v", c.name, b.names(), s)
		}
	}
	if reason := b.install(old.bundle, true); reason != "" || b.status().Update.Target == nil {
		t.Errorf("older, as asked for: %q", reason)
	}
	// What is refused late takes the slot of what was armed; nobody waits for that.
	if reason := b.install(flip(end/2), false); reason != "tampered" {
		t.Errorf("tampered: %q", reason)
	}
	if s := b.status(); s.Update.Phase != boxlink.Steady || s.Update.Target != nil || s.Update.Failure != nil {
		t.Errorf("after the armed one went: %+v", s.Update)
	}
}

// TestCancelled: who hangs up in the midst leaves all as it was, and meanwhile
// there is no second.
func TestCancelled(t *testing.T) {
	m := newMaker(t)
	running, next := m.release(testBoard, "1.4.0", 7, 0), m.release(testBoard, "1.5.0", 8, 0)
	b := newMachine(t, m, running)
	ctx, cancel := context.WithCancel(t.Context())
	from, to := io.Pipe()
	ended := make(chan error, 1)
	go func() {
		_, err := b.box.Install(ctx, from, false)
		ended <- err
	}()
	if _, err := to.Write(next.bundle[:len(next.bundle)-systemSize/2]); err != nil {
		t.Fatal(err)
	}
	b.until("a part is written", func() bool {
		w := b.status().Work
		return w.State == boxlink.Writing && w.Version == "1.5.0" && w.Written == 1<<20 && w.Total == int64(len(next.system)+len(next.uki))
	})
	if reason := b.install(next.bundle, false); reason != boxlink.Busy {
		t.Errorf("a second: %q", reason)
	}
	cancel()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("who hung up has %v", err)
	}
	b.until("idle", func() bool { return b.status().Work == boxlink.Work{State: boxlink.Idle} })
	if s := b.status(); b.names() != "1.4.0.efi" || s.Update.Phase != boxlink.Steady || s.Update.Failure != nil {
		t.Errorf("on the ESP: %s; %+v", b.names(), s.Update)
	}
	if reason := b.install(next.bundle, false); reason != "" {
		t.Errorf("the next: %q", reason)
	}
}

// TestRollBack: an unhealthy room, and one whose daemon does not stay, go back to
// the other release and say why.
func TestRollBack(t *testing.T) {
	m := newMaker(t)
	old, next := m.release(testBoard, "1.4.0", 7, 0), m.release(testBoard, "1.5.0", 8, 8)
	for _, c := range []struct {
		name, want string
		fail       func(*machine) error
	}{
		{"unhealthy", "unhealthy: no camera", func(b *machine) error {
			return b.box.Health(b.t.Context(), boxlink.Health{Detail: "no camera\x1b[2J"})
		}},
		{"restarts", "the room's daemon was restarted 6 times", func(b *machine) error {
			b.put("show", []byte("NRestarts=6\nActiveState=activating\n"))
			return nil
		}},
		{"failed", "the room's daemon has failed", func(b *machine) error {
			b.put("show", []byte("ActiveState=failed\nNRestarts=0\n"))
			return nil
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := newMachine(t, m, old)
			if reason := b.install(next.bundle, false); reason != "" {
				t.Fatal(reason)
			}
			b.restart(next)
			b.until("on trial", func() bool { return b.status().Update.Phase == boxlink.Trial })
			b.put("show", []byte("NRestarts=5\nActiveState=active\n")) // not yet
			if strings.Contains(b.get("calls"), "reboot") {
				t.Fatal("restarted before there was a verdict")
			}
			if err := c.fail(b); err != nil {
				t.Fatal(err)
			}
			b.until("restart", func() bool {
				return strings.Contains(b.get("calls"), "--no-block --job-mode=replace-irreversibly start reboot.target\n")
			})
			if b.names() != "1.4.0.efi 1.5.0+0-1.efi" || !b.log.said("rolling back") || b.log.said("update committed") {
				t.Errorf("on the ESP: %s\n%s", b.names(), b.log)
			}
			if err := b.stop(); err != nil {
				t.Fatal(err)
			}
			b.runs(old, "a", "b")
			b.start()
			b.until("a failure to read of", func() bool { return b.status().Update.Failure != nil })
			s := b.status().Update
			if f := *s.Failure; f.Version != "1.5.0" || f.Reason != "unhealthy" || !strings.HasPrefix(f.Detail, c.want) || strings.Contains(f.Detail, "\x1b") {
				t.Errorf("failure %+v; want %q", f, c.want)
			}
			if s.Phase != boxlink.Steady || s.Floor != 1 {
				t.Errorf("after the way back: %+v", s)
			}
		})
	}
}

// TestImport installs from a stick; what is on it meets the same checks.
func TestImport(t *testing.T) {
	m := newMaker(t)
	running, next := m.release(testBoard, "1.4.0", 7, 0), m.release(testBoard, "1.5.0", 8, 0)
	b := newMachine(t, m, running)
	name := "in-camera-1.5.0.bundle"
	_, err := b.box.Import(t.Context(), name, false)
	if refusal, ok := errors.AsType[*boxlink.Refusal](err); !ok || refusal.Reason != boxlink.Absent {
		t.Errorf("without a stick: %v", err)
	}
	plug(t, b.dir, "sda", "sda1")
	for _, f := range []struct {
		name    string
		content []byte
	}{{name, next.bundle}, {"in-camera-1.6.0.bundle", next.bundle[:1000]}} {
		if err := os.MkdirAll(filepath.Join(b.dir, "dev/sda1"), 0o700); err != nil {
			t.Fatal(err)
		}
		b.put("dev/sda1/"+f.name, f.content)
	}
	b.put("dev/sda1.kind", []byte("exfat"))
	list, err := b.box.Stick(t.Context())
	if want := []boxlink.Bundle{{Name: name, Size: int64(len(next.bundle))}, {Name: "in-camera-1.6.0.bundle", Size: 1000}}; err != nil || !reflect.DeepEqual(list, want) {
		t.Errorf("on the stick: %v, %v", list, err)
	}
	_, err = b.box.Import(t.Context(), "in-camera-1.6.0.bundle", false)
	if refusal, ok := errors.AsType[*boxlink.Refusal](err); !ok || refusal.Reason != "truncated" {
		t.Errorf("half a bundle: %v", err)
	}
	if r, err := b.box.Import(t.Context(), name, false); err != nil || r.Version != "1.5.0" || b.names() != "1.4.0.efi 1.5.0+3.efi" {
		t.Errorf("imported %v, %v; on the ESP %s", r, err, b.names())
	}
}

// TestSerial: a box without a number of its own has one of its chip, the same at
// each start.
func TestSerialOfChip(t *testing.T) {
	m := newMaker(t)
	b := newMachine(t, m, m.release(testBoard, "1.4.0", 7, 0))
	first := b.status()
	if !strings.HasPrefix(first.Serial, "ic-") || len(first.Serial) != 11 || first.Board != testBoard {
		t.Errorf("%+v", first)
	}
	if err := b.stop(); err != nil {
		t.Fatal(err)
	}
	b.start()
	if again := b.status().Serial; again != first.Serial {
		t.Errorf("serial %q, then %q", first.Serial, again)
	}
}
