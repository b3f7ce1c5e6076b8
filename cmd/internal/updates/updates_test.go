// SPDX-License-Identifier: Apache-2.0

package updates

import (
	"errors"
	"strings"
	"testing"
	"time"

	"incamera/cmd/internal/boxlink"
	"incamera/cmd/internal/demo"
	"incamera/secureboot/enrol"
)

// TestUpdate takes a release from the offer over the restart to its commitment;
// a call that runs is not interrupted.
func TestUpdate(t *testing.T) {
	r := newRoom(t)
	ready, started := r.panel.Watch("Event/Updates/Ready"), r.panel.Watch("Event/Updates/Started")
	r.await(map[string]any{
		"State": "Idle", "Running": "1.0.0", "BlockedBy": "None", "Floor": 1, "DarkMinutes": 2,
		"Offered/site-1.1.0/Source": "Site", "Offered/site-1.1.0/Bytes": 1 << 20, "Offered/site-0.9.0/Version": "0.9.0",
		"Offered/site-1.0.0": nil, // it runs
	})
	r.updates.InCall(true)
	hold := make(chan struct{})
	r.machine.with(func() { r.machine.hold = hold })
	r.do("Download", map[string]any{"Version": "1.1.0"})
	r.await(map[string]any{"State": "Writing", "Candidate": "1.1.0", "Progress": 50})
	if err := r.try("Download", map[string]any{"Version": "1.1.0"}); !refused(err, "conflict") {
		t.Errorf("a second release at once: %v", err)
	}
	if err := r.try("Apply", map[string]any{"When": "Now"}); !refused(err, "conflict") {
		t.Errorf("restart amid the writing: %v", err)
	}
	close(hold)
	r.happens(ready, map[string]any{"Version": "1.1.0"})
	r.await(map[string]any{"State": "Waiting", "BlockedBy": "Call", "Candidate": "1.1.0"})
	time.Sleep(2 * pollStep)
	if asked := r.machine.asked(); len(asked) != 0 {
		t.Fatalf("restarted %v while a call ran", asked)
	}
	r.updates.InCall(false)
	r.happens(started, map[string]any{"Version": "1.1.0"})
	r.await(map[string]any{"State": "Restarting", "Candidate": "1.1.0"})
	if asked := r.restarted(1); !strings.Contains(asked[0], "1.1.0") {
		t.Errorf("restarts: %v", asked)
	}
	r.stop()
	r.machine.boot()
	time.Sleep(1100 * time.Millisecond) // dark, for a second that can be seen
	r.start()
	r.await(map[string]any{"State": "Trying", "Running": "1.1.0", "DarkMinutes": 1})
	if err := r.try("Download", map[string]any{"Version": "0.9.0"}); !refused(err, "conflict") {
		t.Errorf("another release on trial: %v", err)
	}
	done := r.panel.Watch("Event/Updates/Committed")
	r.machine.commit()
	r.happens(done, map[string]any{"Version": "1.1.0"})
	r.await(map[string]any{"State": "Committed", "Failure": nil})
	// It is told once.
	r.stop()
	r.start()
	r.await(map[string]any{"State": "Idle", "Running": "1.1.0", "DarkMinutes": 1})
}

// TestRolledBack: a release that does not prove itself, and why, is shown after
// the restart that takes the room back.
func TestRolledBack(t *testing.T) {
	r := newRoom(t)
	r.await(map[string]any{"Offered/site-1.1.0/Source": "Site"})
	r.do("Download", map[string]any{"Version": "1.1.0"})
	r.await(map[string]any{"State": "Restarting"})
	r.stop()
	r.machine.boot()
	r.machine.fail("unhealthy")
	r.start()
	r.await(map[string]any{
		"State": "RolledBack", "Running": "1.0.0", "Failure/Version": "1.1.0", "Failure/Reason": "unhealthy", "Failure/Detail": "in words",
	})
	// Another try begins afresh.
	r.await(map[string]any{"Offered/site-1.1.0/Source": "Site"})
	hold := make(chan struct{})
	r.machine.with(func() { r.machine.hold = hold })
	r.do("Download", map[string]any{"Version": "1.1.0"})
	r.await(map[string]any{"State": "Writing"})
	close(hold)
	r.await(map[string]any{"State": "Restarting"})
	r.stop()
	r.machine.boot()
	r.machine.commit()
	r.start()
	r.await(map[string]any{"State": "Committed", "Running": "1.1.0", "Failure": nil})
}

// TestStick: a release of a stick, looked for by a person.
func TestStick(t *testing.T) {
	r := newRoom(t)
	r.await(map[string]any{"State": "Idle"})
	r.machine.with(func() {
		r.machine.stick = []boxlink.Bundle{{Name: "in-camera-1.2.0.bundle", Size: 7}, {Name: "holiday.jpg", Size: 1}}
	})
	r.do("Check", nil)
	r.await(map[string]any{"Offered/in-camera-1.2.0.bundle": map[string]any{"Version": "1.2.0", "Bytes": 7, "Source": "Stick"}, "Offered/holiday.jpg": nil})
	r.updates.InCall(true)
	r.do("Import", map[string]any{"Name": "in-camera-1.2.0.bundle", "Older": true})
	r.await(map[string]any{"State": "Waiting", "Candidate": "1.2.0"})
	r.machine.with(func() {
		if !r.machine.older {
			t.Error("boxd was not told that an older release may be installed")
		}
		r.machine.stick = nil
	})
	// A person takes the restart into the own hands.
	r.do("Cancel", nil)
	r.await(map[string]any{"State": "Waiting", "BlockedBy": "None"})
	r.updates.InCall(false)
	time.Sleep(2 * pollStep)
	if asked := r.machine.asked(); len(asked) != 0 {
		t.Fatalf("restarted %v although that was cancelled", asked)
	}
	r.do("Check", nil)
	r.await(map[string]any{"Offered/in-camera-1.2.0.bundle": nil})
	r.updates.InCall(true)
	r.do("Apply", map[string]any{"When": "Idle"})
	r.await(map[string]any{"State": "Waiting", "BlockedBy": "Call"})
	r.do("Apply", map[string]any{"When": "Now"})
	r.await(map[string]any{"State": "Restarting"})
}

// TestNotInstalled goes through what keeps a release out. Whatever it is, the
// room goes on as it was.
func TestNotInstalled(t *testing.T) {
	for name, tt := range map[string]struct {
		prepare func(*room)
		reason  string
	}{
		"boxd refuses": {func(r *room) {
			r.machine.refuse = &boxlink.Refusal{Reason: "sig_invalid", Detail: "signed by nobody known"}
		}, "sig_invalid"},
		"cut short":   {func(r *room) { r.site.cut = true }, "interrupted"},
		"unreachable": {func(r *room) { r.site.err = errSilent }, "unreachable"},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRoom(t)
			r.await(map[string]any{"Offered/site-1.1.0/Source": "Site"})
			r.site.mu.Lock()
			tt.prepare(r)
			r.site.mu.Unlock()
			r.do("Download", map[string]any{"Version": "1.1.0"})
			r.await(map[string]any{"State": "Idle", "Failure/Reason": tt.reason, "Failure/Version": "1.1.0", "Candidate": nil})
			if asked := r.machine.asked(); len(asked) != 0 {
				t.Errorf("restarted: %v", asked)
			}
		})
	}
}

// TestCancel ends an installation half way; boxd is told by the connection.
func TestCancel(t *testing.T) {
	r := newRoom(t)
	r.await(map[string]any{"Offered/site-1.1.0/Source": "Site"})
	if err := r.try("Cancel", nil); !refused(err, "conflict") {
		t.Errorf("cancel of nothing: %v", err)
	}
	if err := r.try("Apply", map[string]any{"When": "Now"}); !refused(err, "conflict") {
		t.Errorf("restart into nothing: %v", err)
	}
	r.machine.with(func() { r.machine.hold = make(chan struct{}) })
	r.do("Download", map[string]any{"Version": "1.1.0"})
	r.await(map[string]any{"State": "Writing"})
	r.do("Cancel", nil)
	r.await(map[string]any{"State": "Idle", "Failure": nil, "Progress": 0})
}

// TestCheckFails: a person who asks is told, and what was offered stays.
func TestCheckFails(t *testing.T) {
	r := newRoom(t)
	r.await(map[string]any{"Offered/site-1.1.0/Source": "Site"})
	r.site.mu.Lock()
	r.site.err = errSilent
	r.site.mu.Unlock()
	if err := r.try("Check", nil); !refused(err, "upstream_unreachable") {
		t.Errorf("a site that does not answer: %v", err)
	}
	r.await(map[string]any{"Offered/site-1.1.0/Source": "Site"})
	r.site.mu.Lock()
	r.site.err, r.site.bundles = nil, []enrol.BundleEntry{entry("1.3.0")}
	r.site.mu.Unlock()
	r.do("Check", nil)
	r.await(map[string]any{"Offered/site-1.1.0": nil, "Offered/site-1.3.0/Version": "1.3.0"})
}

// TestNoRestart: a boxd that does not restart leaves the room as it is.
func TestNoRestart(t *testing.T) {
	r := newRoom(t)
	r.await(map[string]any{"Offered/site-1.1.0/Source": "Site"})
	r.machine.with(func() { r.machine.stubborn = true })
	r.do("Download", map[string]any{"Version": "1.1.0"})
	r.await(map[string]any{"State": "Waiting", "Failure/Reason": "busy", "BlockedBy": "None"})
	r.machine.with(func() { r.machine.stubborn = false })
	r.do("Apply", map[string]any{"When": "Now"})
	r.await(map[string]any{"State": "Restarting"})
}

// TestProcessRestarts: the daemon alone is started again while a release waits
// for the end of a call.
func TestProcessRestarts(t *testing.T) {
	r := newRoom(t)
	r.await(map[string]any{"Offered/site-1.1.0/Source": "Site"})
	r.updates.InCall(true)
	r.do("Download", map[string]any{"Version": "1.1.0"})
	r.await(map[string]any{"State": "Waiting", "BlockedBy": "Call"})
	r.stop()
	r.start()
	r.await(map[string]any{"State": "Restarting"}) // no call runs in a daemon that has just started
	r.restarted(1)
}

func refused(err error, reason string) bool {
	e, ok := errors.AsType[*demo.RPCError](err)
	return ok && e.Data.Reason == reason
}
