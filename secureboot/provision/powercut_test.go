// SPDX-License-Identifier: Apache-2.0

//go:build simtpm && cgo

package provision

import (
	"bytes"
	"context"
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-tpm/tpm2/transport"

	"incamera/secureboot/seal"
	"incamera/secureboot/tpm/tpmtest"
)

var errPower = errors.New("power is out")

// A moment is when the power fails, seen from an act: a command to the TPM, a
// write of the store, a change of the disk, a word of the escrow.
type moment int

const (
	amid  moment = iota // it has begun; whether it was done nobody knows
	after               // it was done, but nobody heard of it; or, before the next one
)

func (m moment) String() string { return [...]string{"amid", "after"}[m] }

// A fuse lets left acts pass; then the power is out, and nothing is done any
// more.
type fuse struct {
	left int
	when moment
	out  bool
	cut  func() // takes the power of the TPM amid a command
}

// act does something unless the power is out, or fails at it.
func act[T any](f *fuse, do func() (T, error), half func()) (T, error) {
	var none T
	switch {
	case f.out:
		return none, errPower
	case f.left > 0:
		f.left--
		return do()
	}
	f.out = true
	switch f.when {
	case amid:
		half()
	case after:
		if _, err := do(); err != nil {
			return none, err
		}
	}
	return none, errPower
}

type fusedTPM struct {
	*fuse
	transport.TPM
}

func (f fusedTPM) Send(command []byte) ([]byte, error) {
	return act(f.fuse, func() ([]byte, error) { return f.TPM.Send(command) }, func() {
		done := make(chan struct{})
		go func() {
			defer close(done)
			_, _ = f.TPM.Send(command) // answered or not
		}()
		time.Sleep(rand.N(time.Millisecond)) // most commands take less
		f.cut()
		<-done
	})
}

type fusedStore struct {
	*fuse
	*seal.Store

	dir string
}

func (f fusedStore) Put(name string, generation uint8, b []byte) error {
	_, err := act(f.fuse, func() (struct{}, error) { return struct{}{}, f.Store.Put(name, generation, b) }, func() {
		// Half of the file, under the name that it has until it is whole.
		_ = os.WriteFile(filepath.Join(f.dir, name+".1.new"), b[:len(b)/2], 0o600)
	})
	return err
}

type fusedDisk struct {
	*fuse
	Disk
}

func (f fusedDisk) Adopt(ctx context.Context, key seal.Secret) error {
	_, err := act(f.fuse, func() (struct{}, error) { return struct{}{}, f.Disk.Adopt(ctx, key) }, func() {})
	return err
}

type fusedKeeper struct {
	*fuse
	Keeper
}

func (f fusedKeeper) Keep(ctx context.Context, key seal.RecoveryKey) (seal.RecoveryKey, error) {
	return act(f.fuse, func() (seal.RecoveryKey, error) { return f.Keeper.Keep(ctx, key) }, func() {})
}

// The power fails at every act of provisioning: each command to the TPM, each
// write of the journal, each word to disk and escrow. After the restart
// provisioning runs to its end by itself, no key that was stored changes, and
// the room is whole.
func TestPowerCuts(t *testing.T) {
	// The same chip at each cut, from a copy of its state. Only swtpm knows a
	// power cut: its process is killed.
	v, open := newVendor(t), copies(t)
	for _, when := range []moment{amid, after} {
		t.Run(when.String(), func(t *testing.T) {
			t.Parallel()
			cuts := 0
			for ; !cutAt(t, v, open, cuts, when); cuts++ {
				if cuts > 1000 || t.Failed() {
					t.Fatalf("cut %d", cuts)
				}
			}
			t.Logf("%d cuts", cuts)
			if cuts < 50 {
				t.Errorf("%d cuts; want one at each act", cuts)
			}
		})
	}
}

func copies(t *testing.T) func(testing.TB) *tpmtest.Chip {
	t.Helper()
	dir := t.TempDir()
	t.Run("chip", func(t *testing.T) { tpmtest.SwtpmAt(t, dir).OnlySHA256() })
	return func(t testing.TB) *tpmtest.Chip {
		t.Helper()
		twin := t.TempDir()
		if err := os.CopyFS(twin, os.DirFS(dir)); err != nil {
			t.Fatal(err)
		}
		return tpmtest.SwtpmAt(t, twin)
	}
}

// cutAt cuts provisioning short at its nth act and lets it end after a restart.
// It reports whether provisioning was over before.
func cutAt(t *testing.T, v vendor, open func(testing.TB) *tpmtest.Chip, n int, when moment) (over bool) {
	t.Helper()
	t.Run("", func(t *testing.T) {
		chip := open(t)
		boot(t, chip, initrd)
		b := newBox(t, v)
		f := &fuse{left: n, when: when, cut: chip.PowerCut}
		plan := b.plan()
		plan.Disk, plan.Keeper = fusedDisk{f, b.disk}, fusedKeeper{f, b.escrow}
		_, err := Run(t.Context(), fusedTPM{f, chip}, fusedStore{f, b.store, b.dir}, plan)
		over = !f.out
		if (err == nil) != over {
			t.Fatalf("cut %d: Run: %v; the power was out: %v", n, err, f.out)
		}
		stored := b.files(t)
		disk := bytes.Clone(b.disk.key)

		chip.PowerCut()
		boot(t, chip, initrd)
		set, err := authorisations(chip)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := Run(t.Context(), chip, b.store, b.plan()); err != nil {
			t.Fatalf("cut %d: after the restart: %v", n, err)
		}
		for name, content := range b.files(t) {
			was, ok := stored[name]
			switch {
			case !ok, name == record: // which says now that it is complete
			case name == Owner && !set.owner, (name == Lockout || name == clearing) && !set.lockout: // sealed, but not set yet
			case !bytes.Equal(content, was):
				t.Errorf("cut %d: %s was stored and has changed", n, name)
			}
		}
		if disk != nil && !bytes.Equal(disk, b.disk.key) {
			t.Errorf("cut %d: the disk has another key", n)
		}
		b.verify(t, chip)
		if t.Failed() {
			t.Logf("cut %d %v", n, when)
		}
	})
	return over
}
