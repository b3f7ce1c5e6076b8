// SPDX-License-Identifier: Apache-2.0

//go:build cross

package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"incamera/cmd/internal/demo"
)

// emulated makes a program that runs the release roomd for ARM64 under QEMU.
func emulated(t *testing.T) string {
	t.Helper()
	roomd, qemu := os.Getenv("ROOMD_ARM64"), os.Getenv("QEMU")
	if roomd == "" || qemu == "" {
		t.Fatal("run by make cross, which sets ROOMD_ARM64 and QEMU")
	}
	script := filepath.Join(t.TempDir(), "roomd")
	if err := os.WriteFile(script, []byte("#!/bin/sh\nexec "+qemu+" "+roomd+" \"$@\"\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	return script
}

// TestCross starts the release program for ARM64 and asks its panel. It has no
// devices: there is nothing of the box under an emulator of its processor.
func TestCross(t *testing.T) {
	exe := emulated(t)
	version, err := exec.CommandContext(t.Context(), exe, "-version").Output()
	if err != nil || !strings.HasPrefix(string(version), "roomd ") {
		t.Fatalf("-version: %q, %v", version, err)
	}
	rooms, err := demo.New(t.Context(), exe, t.TempDir(), demo.Options{}, "Vauban", "Curie")
	if err != nil {
		t.Fatal(err)
	}
	t.Run("a release knows no simulator", func(t *testing.T) {
		out, err := exec.CommandContext(t.Context(), exe, "-config", filepath.Join(rooms[0].Dir, "room.json")).CombinedOutput()
		if err == nil || !strings.Contains(string(out), "no simulators") {
			t.Errorf("a simulator in a release: %v\n%s", err, out)
		}
	})
	s := &runningSite{t: t, ctx: t.Context(), rooms: rooms, panels: make([]*demo.Controller, 2)}
	for i, r := range rooms {
		for _, device := range []string{"camera", "sound", "display"} {
			edit(t, r, device, "none")
		}
		s.start(i)
		t.Cleanup(func() {
			if err := r.Stop(); err != nil {
				t.Error(err)
			}
		})
	}
	// Groups, keys and connections work without a device.
	if err := demo.Ring(s.ctx, s.panels[0], s.panels[1], "curie"); err != nil {
		t.Fatal(err)
	}
	s.do(1, "Call/Answer", map[string]any{"CallId": s.panels[1].Text("Call/CallId")})
	if err := demo.Connected(s.ctx, s.panels...); err != nil {
		t.Fatal(err)
	}
	t.Logf("two ARM64 rooms in one meeting, security code %s", s.panels[0].Text("Call/SecurityCode/Code"))
}
