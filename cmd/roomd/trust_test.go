// SPDX-License-Identifier: Apache-2.0

//go:build simtpm && cgo && !release

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"incamera/cmd/internal/demo"
	"incamera/device/panel/browsertest"
)

// tools builds the programs of vendor, site and room, without the race detector.
func tools(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	build := exec.CommandContext(t.Context(), "go", "build", "-tags", "simtpm", "-o", dir+"/", "incamera/cmd/roomd", "incamera/cmd/roomctl", "incamera/cmd/verifyd", "incamera/cmd/mkbundle")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	return dir
}

// attestedSite starts a verifier and prepares two rooms with TPMs.
func attestedSite(ctx context.Context, t *testing.T, o demo.Options) (trust *demo.Trust, rooms []*demo.Room, programs string) {
	t.Helper()
	dir := t.TempDir()
	programs = tools(t)
	trust, err := demo.NewTrust(ctx, programs, filepath.Join(dir, "trust"), 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := trust.Stop(); err != nil {
			t.Error(err)
		}
	})
	o.Trust = trust
	if rooms, err = demo.New(ctx, filepath.Join(programs, "roomd"), dir, o, "Vauban", "Curie"); err != nil {
		t.Fatal(err)
	}
	return trust, rooms, programs
}

// challenged is what roomctl verify says of a room, and its exit status.
func challenged(ctx context.Context, t *testing.T, programs string, trust *demo.Trust, r *demo.Room) (status int, text string) {
	t.Helper()
	began := time.Now()
	cmd := exec.CommandContext(ctx, filepath.Join(programs, "roomctl"), trust.Verify(r)...)
	out, err := cmd.CombinedOutput()
	if exit := (*exec.ExitError)(nil); err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	t.Logf("roomctl verify %s took %v:\n%s", r.ID, time.Since(began).Round(time.Millisecond), out)
	return cmd.ProcessState.ExitCode(), string(out)
}

// TestAttested has two rooms enrol themselves with a verifier, meet and show one
// another as verified; then the site revokes one, which loses its seat in the
// running meeting.
func TestAttested(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	trust, rooms, programs := attestedSite(ctx, t, demo.Options{Mode: "attested-only"})
	s := &runningSite{t: t, ctx: ctx, rooms: rooms, panels: make([]*demo.Controller, 2)}
	for i, r := range rooms {
		s.start(i)
		t.Cleanup(func() {
			if err := r.Stop(); err != nil {
				t.Error(err)
			}
			if t.Failed() {
				t.Logf("%s:\n%s", r.Name, r.Log())
			}
		})
	}
	s.call()
	if err := demo.Verified(ctx, s.panels...); err != nil {
		t.Fatal(err)
	}
	page := browsertest.Open(t)
	page.Run(chromedp.Navigate("http://" + rooms[0].Panel + "/?lang=en"))
	for _, size := range []struct{ width, height int64 }{{390, 844}, {1280, 800}} {
		page.Size(size.width, size.height)
		page.Until(`document.querySelectorAll('[data-verdict="affirming"]').length == 2 && document.querySelector('[data-field="proof"]').textContent.includes("ago")`)
		page.Shoot(browsertest.Pictures(t), fmt.Sprintf("room-verified-%dx%d", size.width, size.height))
	}
	if status, text := challenged(ctx, t, programs, trust, rooms[1]); status != 0 || !strings.Contains(text, "affirming") {
		t.Errorf("roomctl verify: exit %d", status)
	}
	if err := trust.Revoke(ctx, rooms[1]); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	left := s.panels[1].Watch("Event/Call/Left")
	select {
	case e := <-left:
		if e["Reason"] != "Removed" {
			t.Errorf("the revoked room left for %v", e)
		}
		t.Logf("revoked room without a seat after %v", time.Since(began).Round(time.Millisecond))
	case <-ctx.Done():
		t.Fatalf("the revoked room still has its seat: %v", s.panels[0].Members())
	}
	if status, text := challenged(ctx, t, programs, trust, rooms[1]); status != 5 || !strings.Contains(text, "ak_revoked") {
		t.Errorf("roomctl verify of a revoked room: exit %d", status)
	}
}

// TestTampered lets a room start other software once it is enrolled.
func TestTampered(t *testing.T) {
	for _, mode := range []string{"attested-only", "flagged"} {
		t.Run(mode, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
			defer cancel()
			_, rooms, _ := attestedSite(ctx, t, demo.Options{Mode: mode, Altered: "Curie"})
			var out bytes.Buffer
			if err := demo.CheckTampered(ctx, rooms, mode, &out); err != nil {
				t.Fatal(err)
			}
			if !strings.Contains(out.String(), "refval_mismatch") {
				t.Errorf("printed %q", out.String())
			}
		})
	}
}
