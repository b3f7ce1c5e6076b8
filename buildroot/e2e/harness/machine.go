// SPDX-License-Identifier: Apache-2.0

// Package harness runs the image in QEMU, with a TPM in a program beside it. It
// starts both as its own children and ends no other process. What a boot does is
// known from the lines on its serial console alone; times only bound a wait.
package harness

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"time"
)

// Firmware is where Debian has AAVMF.
const firmware = "/usr/share/AAVMF/AAVMF_CODE.fd"

// A Machine is a box: its disk, the variables of its firmware and its TPM, in a
// folder of its own. It keeps them from boot to boot.
type Machine struct {
	Dir string
}

// New makes a box as it leaves the factory: the image on its disk, our keys in
// its firmware, and a TPM that nobody has used.
func New(ctx context.Context, dir, image, keys string) (*Machine, error) {
	m := &Machine{Dir: dir}
	if err := run(ctx, "cp", "--sparse=always", "--reflink=auto", image, m.Disk()); err != nil {
		return nil, err
	}
	if err := Variables(m.path("vars.fd"), keys); err != nil {
		return nil, err
	}
	return m, m.NewTPM(ctx)
}

func (m *Machine) path(name string) string { return filepath.Join(m.Dir, name) }

// Disk is the path of the box's disk, which is for tests to change while the box
// is off.
func (m *Machine) Disk() string { return m.path("disk.img") }

// NewTPM gives the box another TPM.
func (m *Machine) NewTPM(ctx context.Context) error {
	if err := os.RemoveAll(m.path("tpm")); err != nil {
		return err
	}
	if err := os.Mkdir(m.path("tpm"), 0o700); err != nil {
		return err
	}
	return run(ctx, "swtpm_setup", "--tpm2", "--tpm-state", m.path("tpm"), "--pcr-banks", "sha256", "--overwrite")
}

// A Run is a box that is on.
type Run struct {
	*console

	Panel string // host:port under which the room's panel answers

	qemu, tpm *process
	keyboard  io.WriteCloser
	log       *os.File
}

// process is a child with what it ended with.
type process struct {
	cmd  *exec.Cmd
	done chan struct{}
}

func start(cmd *exec.Cmd) (*process, error) {
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("harness: %s: %w", filepath.Base(cmd.Path), err)
	}
	p := &process{cmd, make(chan struct{})}
	go func() {
		_ = cmd.Wait() // that it was ended is no failure; what it said is in its log
		close(p.done)
	}()
	return p, nil
}

// end kills the child, by its process and no other, and waits until it is gone.
func (p *process) end() {
	_ = p.cmd.Process.Kill() // it may be gone already
	<-p.done
}

// Boot switches the box on. All that its console says goes to the file NAME.log
// in its folder, too. The box goes off when it restarts itself, with
// [Run.Stop], or when ctx ends.
func (m *Machine) Boot(ctx context.Context, name string) (r *Run, err error) {
	port, err := freePort(ctx)
	if err != nil {
		return nil, err
	}
	r = &Run{Panel: fmt.Sprintf("127.0.0.1:%d", port)}
	defer func() {
		if err != nil {
			r.Stop()
		}
	}()
	if r.log, err = os.Create(m.path(name + ".log")); err != nil {
		return nil, err
	}
	socket := m.path("tpm.sock")
	if err := os.RemoveAll(socket); err != nil {
		return nil, err
	}
	swtpm := exec.CommandContext(ctx, "swtpm", //nolint:gosec // in folders that the harness made
		"socket", "--tpm2", "--tpmstate", "dir="+m.path("tpm"),
		"--ctrl", "type=unixio,path="+socket, "--flags", "startup-clear", "--terminate")
	swtpm.Stdout, swtpm.Stderr = r.log, r.log
	if r.tpm, err = start(swtpm); err != nil {
		return nil, err
	}
	if err := r.tpm.listens(ctx, socket); err != nil {
		return nil, err
	}
	qemu := exec.CommandContext(ctx, "qemu-system-aarch64", //nolint:gosec // as above
		"-M", "virt", "-cpu", "cortex-a72", "-smp", "2", "-m", "1024",
		"-nodefaults", "-display", "none", "-no-reboot", "-serial", "stdio",
		"-drive", "if=pflash,unit=0,format=raw,readonly=on,file="+firmware,
		"-drive", "if=pflash,unit=1,format=raw,file="+m.path("vars.fd"),
		"-chardev", "socket,id=c,path="+socket, "-tpmdev", "emulator,id=t0,chardev=c", "-device", "tpm-tis-device,tpmdev=t0",
		"-device", "virtio-rng-pci",
		"-drive", "if=none,id=d,format=raw,file="+m.Disk(), "-device", "virtio-blk-pci,drive=d,bootindex=0",
		"-device", "i6300esb", "-action", "watchdog=reset",
		"-netdev", fmt.Sprintf("user,id=n,restrict=on,hostfwd=tcp:%s-:7444", r.Panel), "-device", "virtio-net-pci,netdev=n,romfile=")
	out, err := qemu.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if r.keyboard, err = qemu.StdinPipe(); err != nil {
		return nil, err
	}
	qemu.Stderr = r.log
	r.console = newConsole()
	// Read to the end before Wait, which closes the pipe: so start comes with it.
	if err := qemu.Start(); err != nil {
		return nil, fmt.Errorf("harness: QEMU: %w", err)
	}
	r.qemu = &process{qemu, make(chan struct{})}
	go func() {
		r.read(io.TeeReader(out, r.log))
		_ = qemu.Wait() // the console has said what there is to say
		close(r.qemu.done)
	}()
	return r, nil
}

// listenStep is how often to look for the TPM's socket.
const listenStep = 20 * time.Millisecond

func (p *process) listens(ctx context.Context, socket string) error {
	for {
		if _, err := os.Stat(socket); err == nil {
			return nil
		}
		select {
		case <-p.done:
			return errors.New("harness: swtpm ended at once: see the log")
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(listenStep):
		}
	}
}

// Type sends a line to the box's console.
func (r *Run) Type(line string) error {
	_, err := io.WriteString(r.keyboard, line+"\n")
	return err
}

// Off is closed when the box is off.
func (r *Run) Off() <-chan struct{} { return r.qemu.done }

// Stop pulls the plug and waits until the box and its TPM are gone. It may be
// called twice.
func (r *Run) Stop() {
	if r.qemu != nil {
		r.qemu.end()
	}
	if r.tpm != nil { // it ends with its connection, and its lock must be free for the next boot
		r.tpm.end()
	}
	if r.log != nil {
		_ = r.log.Close() // it was for people
	}
}

func freePort(ctx context.Context) (int, error) {
	var c net.ListenConfig
	l, err := c.Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	defer func() { _ = l.Close() }()         // the machine opens it again
	return l.Addr().(*net.TCPAddr).Port, nil //nolint:forcetypeassert // of a TCP listener
}

func run(ctx context.Context, name string, args ...string) error {
	if out, err := exec.CommandContext(ctx, name, args...).CombinedOutput(); err != nil { //nolint:gosec // programs that tests name
		return fmt.Errorf("harness: %s: %w\n%s", name, err, out)
	}
	return nil
}
