// SPDX-License-Identifier: Apache-2.0

//go:build simtpm

package tpmtest

import (
	"bytes"
	"context"
	"errors"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/google/go-tpm/tpm2"

	"incamera/secureboot/tpm"
)

// Swtpm starts a swtpm process with an empty state and returns its chip. The
// process ends with the test.
func Swtpm(t testing.TB, opts ...tpm.Option) *Chip {
	t.Helper()
	return SwtpmAt(t, t.TempDir(), opts...)
}

// SwtpmAt starts a swtpm process on the state in dir: another chip for each
// directory, the same one for the same. Two at once on one directory are an
// error of the caller.
func SwtpmAt(t testing.TB, dir string, opts ...tpm.Option) *Chip {
	t.Helper()
	// The path of a socket has 108 bytes at most; that of t.TempDir may not fit.
	sockets, err := os.MkdirTemp("", "swtpm") //nolint:usetesting // the reason above
	if err != nil {
		t.Fatal(err)
	}
	p := &process{t: t, state: dir, data: filepath.Join(sockets, "data"), control: filepath.Join(sockets, "ctrl")}
	t.Cleanup(func() {
		p.kill()
		if err := os.RemoveAll(sockets); err != nil {
			t.Error(err)
		}
	})
	p.start()
	chip, err := tpm.Open(t.Context(), "swtpm:unix:"+p.data, opts...)
	if err != nil {
		p.fail(err)
	}
	t.Cleanup(func() {
		if err := chip.Close(); err != nil {
			t.Errorf("close swtpm: %v", err)
		}
	})
	startup(t, chip)
	return &Chip{TPM: chip, t: t, locality: p.locality, off: func(orderly bool) {
		t.Helper()
		if orderly {
			if _, err := (tpm2.Shutdown{ShutdownType: tpm2.TPMSUClear}).Execute(chip); err != nil {
				t.Fatalf("shutdown: %v", err)
			}
			p.init()
		} else {
			// SIGKILL is harder than what the control channel offers: it
			// also tears a write of the state in two, if there is one.
			p.kill()
			p.start()
			// The old connection has died with the process; this command is
			// lost with it.
			_, _ = tpm2.GetRandom{BytesRequested: 1}.Execute(chip)
		}
		startup(t, chip)
	}}
}

// process is one swtpm.
type process struct {
	t                    testing.TB
	state, data, control string
	log                  bytes.Buffer // the process writes to it until killed
	cmd                  *exec.Cmd
}

func (p *process) start() {
	p.t.Helper()
	for _, socket := range []string{p.data, p.control} {
		if err := os.Remove(socket); err != nil && !errors.Is(err, os.ErrNotExist) {
			p.t.Fatal(err)
		}
	}
	//nolint:gosec,noctx // the paths are the test's own; kill ends it, after the test's context too
	p.cmd = exec.Command("swtpm",
		"socket", "--tpm2", "--flags", "not-need-init",
		"--tpmstate", "dir="+p.state,
		"--locality", "allow-set-locality",
		"--server", "type=unixio,path="+p.data,
		"--ctrl", "type=unixio,path="+p.control)
	p.cmd.Stdout, p.cmd.Stderr = &p.log, &p.log
	if err := p.cmd.Start(); err != nil {
		p.t.Fatalf("swtpm, of the package of that name: %v", err)
	}
	ctx, cancel := context.WithTimeout(p.t.Context(), 10*time.Second)
	defer cancel()
	for _, socket := range []string{p.control, p.data} {
		if err := listening(ctx, socket); err != nil {
			p.fail(err)
		}
	}
}

// listening waits until someone listens at a socket.
func listening(ctx context.Context, socket string) error {
	for {
		conn, err := new(net.Dialer).DialContext(ctx, "unix", socket)
		if err == nil {
			return conn.Close()
		}
		select {
		case <-time.After(2 * time.Millisecond):
		case <-ctx.Done():
			return err
		}
	}
}

// fail ends the process, whose log is whole then, and the test.
func (p *process) fail(err error) {
	p.t.Helper()
	p.kill()
	p.t.Fatalf("swtpm: %v\n%s", err, &p.log)
}

// kill ends the process without a chance to write anything.
func (p *process) kill() {
	if p.cmd == nil {
		return
	}
	_ = p.cmd.Process.Kill()
	_ = p.cmd.Wait() // says that it was killed
	p.cmd = nil
}

// init resets the TPM, which then awaits TPM2_Startup.
func (p *process) init() { p.ioctl("-i") }

func (p *process) locality(n int) { p.ioctl("-l", strconv.Itoa(n)) }

func (p *process) ioctl(args ...string) {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, "swtpm_ioctl", append([]string{"--unix", p.control}, args...)...) //nolint:gosec // the path is the test's own
	out, err := cmd.CombinedOutput()
	if err != nil {
		p.t.Fatalf("swtpm_ioctl %q: %v\n%s", args, err, out)
	}
}
