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
	sockets, err := os.MkdirTemp("", "swtpm")
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
		t.Fatalf("%v\n%s", err, &p.log)
	}
	t.Cleanup(func() {
		if err := chip.Close(); err != nil {
			t.Errorf("close swtpm: %v", err)
		}
	})
	startup(t, chip)
	return &Chip{TPM: chip, t: t, off: func(orderly bool) {
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
	log                  bytes.Buffer // read after exited only
	cmd                  *exec.Cmd
}

func (p *process) start() {
	p.t.Helper()
	for _, socket := range []string{p.data, p.control} {
		if err := os.Remove(socket); err != nil && !errors.Is(err, os.ErrNotExist) {
			p.t.Fatal(err)
		}
	}
	p.cmd = exec.Command("swtpm", "socket", "--tpm2", "--flags", "not-need-init",
		"--tpmstate", "dir="+p.state,
		"--locality", "allow-set-locality",
		"--server", "type=unixio,path="+p.data,
		"--ctrl", "type=unixio,path="+p.control)
	p.cmd.Stdout, p.cmd.Stderr = &p.log, &p.log
	if err := p.cmd.Start(); err != nil {
		p.t.Fatalf("swtpm, of the package of that name: %v", err)
	}
	for give := time.Now().Add(10 * time.Second); ; {
		conn, err := net.Dial("unix", p.control)
		if err == nil {
			conn.Close()
			return
		}
		if time.Now().After(give) {
			p.kill()
			p.t.Fatalf("swtpm does not answer: %v\n%s", err, &p.log)
		}
		time.Sleep(2 * time.Millisecond)
	}
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

func (p *process) ioctl(args ...string) {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	out, err := exec.CommandContext(ctx, "swtpm_ioctl", append([]string{"--unix", p.control}, args...)...).CombinedOutput()
	if err != nil {
		p.t.Fatalf("swtpm_ioctl %q: %v\n%s", args, err, out)
	}
}
