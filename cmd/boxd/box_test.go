// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"incamera/cmd/internal/boxlink"
	"incamera/secureboot/update"
)

// bare is a boxd on a box of which there is nothing but a serial number and
// systemctl.
func bare(t *testing.T) (*boxlink.Client, places) {
	t.Helper()
	at := bareBox(t)
	c, stop := start(t, at)
	t.Cleanup(stop)
	return c, at
}

// bareBox is that box alone.
func bareBox(t *testing.T) places {
	t.Helper()
	dir := t.TempDir()
	at := places{
		release: dir + "/release.json", share: dir + "/share", run: dir + "/run", state: dir + "/state", mounts: dir + "/mounts",
		network: dir + "/network", sys: dir + "/sys", dev: dir + "/dev", control: dir + "/systemctl", tpm: "device:tpmrm0", watch: time.Hour, trial: time.Hour,
	}
	for _, sub := range []string{"state", "sys/class/dmi/id"} {
		if err := os.MkdirAll(filepath.Join(dir, sub), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	for name, content := range map[string]string{
		"sys/class/dmi/id/product_serial": "IC-0001\n",
		"systemctl":                       "#!/bin/sh\necho \"$@\" >>" + dir + "/calls\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	return at
}

// start has a boxd serve a box until stop is called.
func start(t *testing.T, at places) (c *boxlink.Client, stop func()) {
	t.Helper()
	mount := func(string, string, string, bool) (func() error, error) { return nil, errors.New("no such device") }
	d := newBox(at, mount, slog.New(slog.DiscardHandler))
	path := filepath.Join(t.TempDir(), "s")
	ln, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- d.serve(ctx, ln) }()
	return boxlink.New(path), sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("boxd: %v", err)
		}
	})
}

func reason(err error) string {
	if refusal, ok := errors.AsType[*boxlink.Refusal](err); ok {
		return refusal.Reason
	}
	return fmt.Sprint(err)
}

// TestUnavailable: a box that cannot update itself says why, and does the rest.
func TestUnavailable(t *testing.T) {
	c, _ := bare(t)
	s, err := c.Status(t.Context())
	if err != nil || s.Serial != "IC-0001" || !strings.Contains(s.Update.Unavailable, "release.json") || s.Work.State != boxlink.Idle {
		t.Errorf("%+v, %v", s, err)
	}
	if _, err := c.Install(t.Context(), strings.NewReader("ICBUNDL1"), false); reason(err) != boxlink.Unavailable {
		t.Errorf("install: %v", err)
	}
	if _, err := c.Import(t.Context(), "in-camera-1.5.0.bundle", false); reason(err) != boxlink.Unavailable {
		t.Errorf("import: %v", err)
	}
	if list, err := c.Stick(t.Context()); err != nil || list == nil || len(list) != 0 {
		t.Errorf("stick: %v, %v", list, err)
	}
	if err := c.Health(t.Context(), boxlink.Health{Healthy: true}); err != nil {
		t.Errorf("health: %v", err)
	}
}

func TestStatusJSON(t *testing.T) {
	b, err := json.Marshal(boxlink.Status{
		Serial: "IC-0001", Board: "qemu-arm64/debian",
		Update: boxlink.Update{Phase: boxlink.Armed, Running: boxlink.Release{Version: "1.4.0", Rollback: 7}, Target: &boxlink.Release{Version: "1.5.0", Rollback: 8}, Floor: 3},
		Work:   boxlink.Work{State: boxlink.Idle},
	})
	const want = `{"serial":"IC-0001","board":"qemu-arm64/debian","update":{"phase":"armed","running":{"version":"1.4.0","rollback":7},` +
		`"target":{"version":"1.5.0","rollback":8},"loader_cannot_count":false,"floor":3},"work":{"state":"idle","written":0,"total":0,"version":""}}`
	if err != nil || string(b) != want {
		t.Errorf("%s, %v; want %s", b, err, want)
	}
	for phase, ours := range map[update.Phase]string{update.Steady: boxlink.Steady, update.Armed: boxlink.Armed, update.Trial: boxlink.Trial} {
		if string(phase) != ours {
			t.Errorf("phase %q is told as %q", phase, ours)
		}
	}
}

func TestResetAndRestart(t *testing.T) {
	c, at := bare(t)
	calls := func() string {
		b, _ := os.ReadFile(filepath.Join(filepath.Dir(at.control), "calls")) // none yet
		return string(b)
	}
	request := filepath.Join(at.state, "reset")
	for _, serial := range []string{"", "IC-0002", "ic-0001", "IC-0001 ", "IC-0001\n"} {
		if err := c.Reset(t.Context(), serial); reason(err) != boxlink.WrongSerial {
			t.Errorf("%q: %v", serial, err)
		}
	}
	if _, err := os.Stat(request); err == nil || calls() != "" {
		t.Fatalf("reset without its number: %v, %q", err, calls())
	}
	const reboot = "--no-block --job-mode=replace-irreversibly start reboot.target\n"
	if err := c.Restart(t.Context(), "--force; reboot\n"); err != nil || calls() != reboot {
		t.Errorf("restart: %v, %q", err, calls())
	}
	if err := c.Reset(t.Context(), "IC-0001"); err != nil || calls() != reboot+reboot {
		t.Errorf("reset: %v, %q", err, calls())
	}
	b, err := os.ReadFile(request)
	info, _ := os.Stat(request)
	if err != nil || string(b) != "IC-0001\n" || info.Mode().Perm() != 0o600 {
		t.Errorf("request %q, %v", b, err)
	}
	if left, err := os.ReadDir(at.state); err != nil || len(left) != 1 {
		t.Errorf("left beside it: %v, %v", left, err)
	}
}

func TestSerial(t *testing.T) {
	chip := func(context.Context) (string, error) { return "ic-01234567", nil }
	none := func(context.Context) (string, error) { return "", errors.New("no TPM") }
	log := slog.New(slog.DiscardHandler)
	for _, c := range []struct{ dmi, tree, want string }{
		{"IC-0001\n", "", "IC-0001"},
		{"IC-0001\n", "10000000abcdef01\x00", "IC-0001"},
		{"", "10000000abcdef01\x00", "10000000abcdef01"},
		{"Not Specified\n", "10000000abcdef01\x00", "10000000abcdef01"},
		{"To be filled by O.E.M.\n", "", "ic-01234567"},
		{"System Serial Number\n", "", "ic-01234567"},
		{"0000000\n", "0000000000000000\x00", "ic-01234567"},
		{"a\x1b[2J\n", "", "ic-01234567"},
		{strings.Repeat("a", 65), "", "ic-01234567"},
		{"", "", "ic-01234567"},
	} {
		sys := t.TempDir()
		for path, content := range map[string]string{"class/dmi/id/product_serial": c.dmi, "firmware/devicetree/base/serial-number": c.tree} {
			if content == "" {
				continue
			}
			if err := os.MkdirAll(filepath.Dir(filepath.Join(sys, path)), 0o700); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(sys, path), []byte(content), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		if got := serial(sys, chip, log); got != c.want {
			t.Errorf("%q, %q: %q; want %q", c.dmi, c.tree, got, c.want)
		}
	}
	if got := serial(t.TempDir(), none, log); got != "" {
		t.Errorf("of nothing: %q", got)
	}
}

// TestNothingHeard: silence is a verdict, after the time that there is.
func TestNothingHeard(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &releases{verdicts: make(chan boxlink.Health, 1), watch: func(ctx context.Context) error {
			<-ctx.Done()
			return context.Cause(ctx)
		}}
		ctx, cancel := context.WithTimeout(t.Context(), update.HealthLimit)
		defer cancel()
		began := time.Now()
		if err := r.verdict(ctx); !errors.Is(err, errNothingHeard) || time.Since(began) != update.HealthLimit {
			t.Errorf("after %v: %v", time.Since(began), err)
		}
		r.verdicts <- boxlink.Health{Healthy: true}
		if err := r.verdict(t.Context()); err != nil {
			t.Errorf("healthy: %v", err)
		}
	})
}

func TestBroken(t *testing.T) {
	for properties, want := range map[string]string{
		"NRestarts=0\nActiveState=active\n":        "",
		"ActiveState=activating\nNRestarts=5\n":    "",
		"NRestarts=6\nActiveState=active\n":        "restarted 6 times",
		"NRestarts=0\nActiveState=failed\n":        "has failed",
		"NRestarts=-1\nActiveState=active\n":       "unknown here",
		"NRestarts=4294967296\nActiveState=a\n":    "unknown here",
		"ActiveState=active\n":                     "does not know",
		"NRestarts=0\n":                            "does not know",
		"":                                         "does not know",
		"NRestarts=\nActiveState=active\n":         "unknown here",
		"Unit roomd.service could not be found.\n": "does not know",
	} {
		if err := broken(properties); (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v; want %q", properties, err, want)
		}
	}
}

func FuzzBroken(f *testing.F) {
	f.Add("NRestarts=0\nActiveState=active\n")
	f.Add("NRestarts=6\nActiveState=failed")
	f.Fuzz(func(t *testing.T, properties string) {
		// What is taken for a daemon that works has told both properties.
		if broken(properties) == nil && (!strings.Contains(properties, "NRestarts=") || !strings.Contains(properties, "ActiveState=")) {
			t.Errorf("%q", properties)
		}
	})
}

// TestControl: systemctl that fails, hangs on to its output, or says too much.
func TestControl(t *testing.T) {
	path := filepath.Join(t.TempDir(), "systemctl")
	c := control{path, slog.New(slog.DiscardHandler)}
	for script, want := range map[string]string{
		"echo no such unit; exit 4": "no such unit",
		"yes | head -c 1000000":     "",
	} {
		if err := os.WriteFile(path, []byte("#!/bin/sh\n"+script+"\n"), 0o700); err != nil {
			t.Fatal(err)
		}
		out, err := c.do(t.Context(), "show")
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) || len(out) > maxOutput {
			t.Errorf("%s: %d bytes, %v", script, len(out), err)
		}
	}
}

// TestManyConnections: of those that only connect there are so many and no more,
// and when they have gone the next is answered.
func TestManyConnections(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	ln, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	const most = 2
	s := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "{}") }), ReadHeaderTimeout: time.Minute}
	go func() { _ = s.Serve(bounded(ln, most)) }()
	defer s.Close()
	var idle []net.Conn
	for range most {
		conn, err := net.Dial("unix", path)
		if err != nil {
			t.Fatal(err)
		}
		idle = append(idle, conn)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	if _, err := boxlink.New(path).Status(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("one more is answered: %v", err)
	}
	for _, conn := range idle {
		conn.Close()
	}
	if _, err := boxlink.New(path).Status(t.Context()); err != nil {
		t.Errorf("after they have gone: %v", err)
	}
}

// TestProcess runs the program as systemd does, with a socket that is there
// before it.
func TestProcess(t *testing.T) {
	program := filepath.Join(t.TempDir(), "boxd")
	build := exec.CommandContext(t.Context(), "go", "build", "-tags", "release", "-o", program, ".")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if out, err := exec.CommandContext(t.Context(), program).CombinedOutput(); err == nil || !strings.Contains(string(out), "boxd.socket") {
		t.Errorf("without a socket: %v, %s", err, out)
	}
	for _, args := range [][]string{{"-listen", "/tmp/s"}, {"install"}} {
		if out, err := exec.CommandContext(t.Context(), program, args...).CombinedOutput(); err == nil {
			t.Errorf("%v: taken: %s", args, out)
		}
	}
	path := filepath.Join(t.TempDir(), "s")
	ln, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	file, err := ln.File()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "/bin/sh", "-c", `LISTEN_PID=$$ LISTEN_FDS=1 exec "$0"`, program)
	cmd.ExtraFiles = []*os.File{file}
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ln.SetUnlinkOnClose(false)
	ln.Close()
	file.Close()
	s, err := boxlink.New(path).Status(ctx)
	if err != nil || s.Update.Unavailable == "" {
		t.Errorf("on a computer that is no box: %+v, %v", s, err)
	}
	cancel()
	if err := cmd.Wait(); err != nil && !errors.Is(err, context.Canceled) {
		t.Errorf("told to stop: %v", err)
	}
}
