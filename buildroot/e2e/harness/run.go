// SPDX-License-Identifier: Apache-2.0

package harness

import (
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strconv"
)

// Firmware is where Debian has AAVMF.
const firmware = "/usr/share/AAVMF/AAVMF_CODE.fd"

// Options are what a boot may have besides the box.
type Options struct {
	// Network is what the box is joined to, as the one of its number. Without,
	// the box has a network of its own.
	Network *Network
	Number  int
	// Restarts lets the box restart itself. Without it goes off in place of that.
	Restarts bool
	// Button is held down all the time: the one that asks for a factory reset.
	Button bool
	// WriteLog is a file that shall have all that is written to the disk, in the
	// format of dm-log-writes.
	WriteLog string
}

// A Run is a box that is on.
type Run struct {
	*console

	Panel string // host:port under which the room's panel answers

	socket    string
	qemu, tpm *process
	keyboard  io.WriteCloser
	log       *os.File
	chip      string
}

// Boot switches the box on. All that its console says goes to the file NAME.log
// in its folder, too, and what its TPM was asked to NAME.tpm. The box goes off
// with [Run.Stop], or when ctx ends.
func (m *Machine) Boot(ctx context.Context, name string, o Options) (r *Run, err error) {
	r = &Run{console: newConsole(), socket: m.path("qmp"), chip: m.path(name + ".tpm")}
	defer func() {
		if err != nil {
			r.Stop()
		}
	}()
	if r.log, err = os.Create(m.path(name + ".log")); err != nil {
		return nil, err
	}
	if err := r.startTPM(ctx, m); err != nil {
		return nil, err
	}
	args, err := m.arguments(ctx, o, r)
	if err != nil {
		return nil, err
	}
	if o.Button {
		// With ACPI the kernel would not look at the tree.
		args = append(args, "-machine", "acpi=off")
		tree := m.path("button.dtb")
		if err := heldButton(ctx, args, tree); err != nil {
			return nil, err
		}
		args = append(args, "-dtb", tree)
		<-r.tpm.done // it ended with the QEMU that wrote the tree
		if err := r.startTPM(ctx, m); err != nil {
			return nil, err
		}
	}
	qemu := exec.CommandContext(ctx, "qemu-system-aarch64", args...) //nolint:gosec // in folders that the harness made
	out, err := qemu.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if r.keyboard, err = qemu.StdinPipe(); err != nil {
		return nil, err
	}
	qemu.Stderr = r.log
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

// startTPM starts the TPM. QEMU powers it up and firmware starts it, as on a board:
// if swtpm did, too, the TPM would count two resets for each start of the room. At
// level 2 its log has each command.
func (r *Run) startTPM(ctx context.Context, m *Machine) error {
	socket := m.path("tpm.sock")
	if err := os.RemoveAll(socket); err != nil {
		return err
	}
	swtpm := exec.CommandContext(ctx, "swtpm", //nolint:gosec // in folders that the harness made
		"socket", "--tpm2", "--tpmstate", "dir="+m.TPM(), "--ctrl", "type=unixio,path="+socket,
		"--terminate", "--log", "level=2,truncate,file="+r.chip)
	swtpm.Stdout, swtpm.Stderr = r.log, r.log
	var err error
	if r.tpm, err = start(swtpm); err != nil {
		return err
	}
	return r.tpm.listens(ctx, socket)
}

// arguments are those of QEMU.
func (m *Machine) arguments(ctx context.Context, o Options, r *Run) ([]string, error) {
	if err := os.RemoveAll(r.socket); err != nil {
		return nil, err
	}
	args := []string{
		"-M", "virt", "-cpu", "cortex-a72", "-smp", "2", "-m", "1024",
		"-nodefaults", "-display", "none", "-serial", "stdio", "-qmp", "unix:" + r.socket + ",server=on,wait=off",
		"-drive", "if=pflash,unit=0,format=raw,readonly=on,file=" + firmware,
		"-drive", "if=pflash,unit=1,format=raw,file=" + m.path("vars.fd"),
		"-chardev", "socket,id=c,path=" + m.path("tpm.sock"), "-tpmdev", "emulator,id=t0,chardev=c", "-device", "tpm-tis-device,tpmdev=t0",
		"-device", "virtio-rng-pci",
		"-device", "i6300esb", "-action", "watchdog=reset",
	}
	disk := "driver=file,filename=" + m.Disk()
	if o.WriteLog != "" {
		if err := os.WriteFile(o.WriteLog, nil, 0o600); err != nil {
			return nil, err
		}
		disk = "driver=blklogwrites,log-sector-size=512,log-super-update-interval=1,file.driver=file,file.filename=" + m.Disk() +
			",log.driver=file,log.filename=" + o.WriteLog
	}
	args = append(args, "-blockdev", disk+",node-name=disk", "-device", "virtio-blk-pci,drive=disk,bootindex=0")
	if !o.Restarts {
		args = append(args, "-no-reboot")
	}
	if o.Network != nil {
		r.Panel = o.Network.Reach(o.Number, PortPanel)
		args = append(args, "-netdev", o.Network.plug(o.Number))
	} else {
		free, err := freePorts(ctx, 1)
		if err != nil {
			return nil, err
		}
		r.Panel = net.JoinHostPort("127.0.0.1", strconv.Itoa(free[0]))
		args = append(args, "-netdev", fmt.Sprintf("user,id=net,restrict=on,hostfwd=tcp:%s-:%d", r.Panel, PortPanel))
	}
	// The same devices in each boot, in the same order: firmware measures them.
	args = append(args, "-device", "virtio-net-pci,netdev=net,romfile=,mac="+m.MAC, "-device", "qemu-xhci,id=usb")
	return args, nil
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
