// SPDX-License-Identifier: Apache-2.0

// Package harness runs the image in QEMU, with a TPM in a program beside it, and
// joins boxes by a network that knows no other. It starts all of these as its own
// children and ends no other process. What a boot does is known from the lines on
// its serial console alone; times only bound a wait.
package harness

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

// A Machine is a box: its disk, the variables of its firmware and its TPM, in a
// folder of its own. It keeps them from boot to boot.
type Machine struct {
	Dir string
	MAC string // of its network card
}

// New makes a box as it leaves the factory: the image on its disk, our keys in
// its firmware, and a TPM that nobody has used. The number tells boxes of one
// network apart.
func New(ctx context.Context, dir string, number int, image, keys string) (*Machine, error) {
	m := newMachine(dir, number)
	if err := copyFile(ctx, image, m.Disk()); err != nil {
		return nil, err
	}
	if err := Variables(m.path("vars.fd"), keys); err != nil {
		return nil, err
	}
	return m, m.NewTPM(ctx)
}

func newMachine(dir string, number int) *Machine {
	return &Machine{Dir: dir, MAC: fmt.Sprintf("52:54:00:1c:a0:%02x", number)}
}

// Clone makes another box of the same number with all that this one, which is
// off, has: disk, variables and TPM.
func (m *Machine) Clone(ctx context.Context, dir string) (*Machine, error) {
	c := &Machine{dir, m.MAC}
	for _, name := range []string{"disk.img", "vars.fd"} {
		if err := copyFile(ctx, m.path(name), c.path(name)); err != nil {
			return nil, err
		}
	}
	return c, c.TakeTPM(m.TPM())
}

func (m *Machine) path(name string) string { return filepath.Join(m.Dir, name) }

// Disk is the path of the box's disk, which is for tests to change while the box
// is off.
func (m *Machine) Disk() string { return m.path("disk.img") }

// TPM is the path of the folder with the state of the box's TPM.
func (m *Machine) TPM() string { return m.path("tpm") }

// NewTPM gives the box another TPM.
func (m *Machine) NewTPM(ctx context.Context) error {
	if err := os.RemoveAll(m.TPM()); err != nil {
		return err
	}
	if err := os.Mkdir(m.TPM(), 0o700); err != nil {
		return err
	}
	return run(ctx, "swtpm_setup", "--tpm2", "--tpm-state", m.TPM(), "--pcr-banks", "sha256", "--overwrite")
}

// TakeTPM gives the box a copy of the TPM whose state lies in a folder.
func (m *Machine) TakeTPM(state string) error {
	if err := os.RemoveAll(m.TPM()); err != nil {
		return err
	}
	// Its lock is of no use to the copy.
	b, err := os.ReadFile(filepath.Join(state, tpmState))
	if err != nil {
		return fmt.Errorf("harness: state of the TPM: %w", err)
	}
	if err := os.Mkdir(m.TPM(), 0o700); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(m.TPM(), tpmState), b, 0o600) //nolint:gosec // in a folder that the harness made
}

// tpmState is the file in which swtpm keeps what a TPM keeps without power.
const tpmState = "tpm2-00.permall"

func copyFile(ctx context.Context, from, to string) error {
	return run(ctx, "cp", "--sparse=always", "--reflink=auto", from, to)
}

func run(ctx context.Context, name string, args ...string) error {
	out, err := exec.CommandContext(ctx, name, args...).CombinedOutput() //nolint:gosec // programs that the harness names
	if errors.Is(err, exec.ErrNotFound) {
		return fmt.Errorf("harness: make e2e installs what is missing: %w", err)
	}
	if err != nil {
		return fmt.Errorf("harness: %s: %w\n%s", name, err, out)
	}
	return nil
}
