// SPDX-License-Identifier: Apache-2.0

package tpm

import (
	"errors"
	"os/exec"
	"strings"
	"testing"
)

func TestOpenRefuses(t *testing.T) {
	for _, uri := range []string{
		"", "tpmrm0", "/dev/tpmrm0", "device", "device:", "device:/dev/tpmrm0", "device:tpm0", "simulator:",
		"swtpm", "swtpm:", "swtpm:unix", "swtpm:unix:", "swtpm:udp:127.0.0.1:1", "sim:x", "SIM:",
	} {
		if chip, err := Open(t.Context(), uri); err == nil {
			_ = chip.Close()
			t.Errorf("Open(%q) = nil; want an error", uri)
		}
	}
}

// A release knows the device alone, whatever else it is built with. What it
// answers is what this test sees when built so; what it links, go list knows.
func TestReleaseHasNoSimulator(t *testing.T) {
	deps := func(tags string) string {
		out, err := exec.CommandContext(t.Context(), "go", "list", "-deps", "-tags", tags, ".").Output()
		if err != nil {
			t.Fatal(err)
		}
		return string(out)
	}
	for tags, want := range map[string]bool{"simtpm": true, "": false, "release": false, "release,simtpm": false} {
		if tags == "simtpm" && !cgo(t) {
			want = false
		}
		if got := strings.Contains(deps(tags), "go-tpm-tools"); got != want {
			t.Errorf("with tags %q the simulator is linked: %v; want %v", tags, got, want)
		}
	}
	if !built {
		for _, uri := range []string{"sim:", "swtpm:unix:/nowhere", "swtpm:tcp:127.0.0.1:1"} {
			if _, err := Open(t.Context(), uri); !errors.Is(err, ErrNotBuilt) {
				t.Errorf("Open(%q) = %v; want ErrNotBuilt", uri, err)
			}
		}
	}
}

func cgo(t *testing.T) bool {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "go", "env", "CGO_ENABLED").Output()
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(out)) == "1"
}
