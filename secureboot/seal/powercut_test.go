// SPDX-License-Identifier: Apache-2.0

//go:build simtpm

package seal

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io/fs"
	"maps"
	"slices"
	"testing"

	"github.com/google/go-tpm/tpm2"
	"github.com/google/go-tpm/tpm2/transport"

	"incamera/secureboot/tpm/tpmtest"
)

var errCut = errors.New("power cut")

const unbroken = 1 << 20 // more writes than there are

// A fuse cuts the power at one write: a TPM command or a change of the disk.
type fuse struct {
	left  int // writes until then
	blown bool
}

// write does w, or not.
func (f *fuse) write(w func()) error {
	if f.blown {
		return errCut
	}
	if f.left > 0 {
		f.left--
		w()
		return nil
	}
	f.blown = true // a write that nobody heard of is a cut before the next
	return errCut
}

type fusedTPM struct {
	transport.TPM
	fuse *fuse
}

func (t fusedTPM) Send(command []byte) ([]byte, error) {
	lasting := []tpm2.TPMCC{tpm2.TPMCCNVDefineSpace, tpm2.TPMCCNVWrite, tpm2.TPMCCCreate}
	if slices.Contains(lasting, tpm2.TPMCC(binary.BigEndian.Uint32(command[6:]))) {
		var response []byte
		var failed error
		if err := t.fuse.write(func() { response, failed = t.TPM.Send(command) }); err != nil {
			return nil, err
		}
		return response, failed
	}
	if t.fuse.blown {
		return nil, errCut
	}
	return t.TPM.Send(command)
}

// platter is a disk that forgets what was not synced.
type platter struct {
	names   map[string]*inode // as the system sees them
	durable map[string]*inode // as they were at the last SyncNames
	fuse    *fuse
}

type inode struct {
	data  []byte
	dirty bool
}

func newPlatter(f *fuse) *platter {
	return &platter{names: map[string]*inode{}, durable: map[string]*inode{}, fuse: f}
}

func (p *platter) Names() ([]string, error) { return slices.Collect(maps.Keys(p.names)), nil }

func (p *platter) Read(name string) ([]byte, error) {
	n, ok := p.names[name]
	if !ok {
		return nil, fs.ErrNotExist
	}
	return bytes.Clone(n.data), nil
}

func (p *platter) Write(name string, b []byte) error {
	return p.fuse.write(func() { p.names[name] = &inode{bytes.Clone(b), true} })
}

func (p *platter) Sync(name string) error {
	return p.fuse.write(func() { p.names[name].dirty = false })
}

func (p *platter) Rename(from, to string) error {
	return p.fuse.write(func() { p.names[to] = p.names[from]; delete(p.names, from) })
}

func (p *platter) Overwrite(name string) error {
	return p.fuse.write(func() { p.names[name] = &inode{make([]byte, len(p.names[name].data)), true} })
}

func (p *platter) Remove(name string) error {
	return p.fuse.write(func() { delete(p.names, name) })
}

func (p *platter) SyncNames() error {
	return p.fuse.write(func() { p.durable = maps.Clone(p.names) })
}

// crashed are the disks that a power cut may leave: names as they are or as
// they were synced, what is dirty gone, half there, or whole.
func (p *platter) crashed(f *fuse) []*platter {
	var all []*platter
	for _, names := range []map[string]*inode{p.names, p.durable} {
		for parts := range 3 {
			c := newPlatter(f)
			for name, n := range names {
				data := bytes.Clone(n.data)
				if n.dirty {
					data = data[:len(data)*parts/2]
				}
				c.names[name] = &inode{data: data}
			}
			c.durable = maps.Clone(c.names)
			if !slices.ContainsFunc(all, c.same) {
				all = append(all, c)
			}
		}
	}
	return all
}

func (p *platter) same(other *platter) bool {
	return maps.EqualFunc(p.names, other.names, func(a, b *inode) bool { return bytes.Equal(a.data, b.data) })
}

// Whenever the power goes while a room seals for the first time, changes to a
// new root, or drops the old one: the state key opens if it ever did, and doing
// it all again ends where it should. The TPM is a swtpm that is killed.
func TestPowerCuts(t *testing.T) {
	ctx := t.Context()
	v := newVendor(t)
	next := v.successor()
	release := v.release("image", 1, next.release("image", 1))
	chip := tpmtest.Swtpm(t)
	r := &room{t: t, chip: chip, srk: storageRoot(t, chip), root: v.rootKey(), key: bytes.Repeat([]byte{7}, 32)}
	contents := keep(r.key, Secret("an owner authorisation"))
	sound := newPlatter(new(fuse))

	// opened is the generation under which the state opens after a boot, or 0.
	opened := func(p *platter) uint8 {
		t.Helper()
		boot(t, chip, "image", initrd)
		key, generation, err := (&Store{p}).Unseal(ctx, chip, r.srk, "state", release)
		if errors.Is(err, fs.ErrNotExist) {
			return 0
		}
		if err != nil || !bytes.Equal(key, r.key) {
			t.Fatalf("state: %v", err)
		}
		return generation
	}

	cuts := 0
	for _, phase := range []struct {
		name        string
		before      uint8 // the generation that opens
		want        uint8
		root        RootKey
		do          func(transport.TPM, *Store) error
		undoIndices bool
	}{
		{"seal", 0, 1, v.rootKey(), func(t transport.TPM, s *Store) error {
			return rotate(ctx, t, r.srk, s, v.rootKey(), release, nil, contents)
		}, true},
		{"rotate", 1, 2, next.rootKey(), func(t transport.TPM, s *Store) error {
			return rotate(ctx, t, r.srk, s, next.rootKey(), release, nil, contents)
		}, true},
		{"drop", 2, 2, next.rootKey(), func(_ transport.TPM, s *Store) error { return s.Drop(2) }, false},
	} {
		for at := 0; ; at++ {
			f := &fuse{left: at}
			p := &platter{names: maps.Clone(sound.names), durable: maps.Clone(sound.durable), fuse: f}
			err := phase.do(fusedTPM{chip, f}, &Store{p})
			if err == nil && !f.blown {
				break
			}
			if !errors.Is(err, errCut) {
				t.Fatalf("%s: cut at write %d: %v", phase.name, at, err)
			}
			cuts++
			chip.PowerCut()
			for _, c := range p.crashed(new(fuse)) {
				c.fuse.left = unbroken
				if got := opened(c); got != phase.before && got != phase.want {
					t.Fatalf("%s: cut at write %d: opens under root %d", phase.name, at, got)
				}
				if err := phase.do(chip, &Store{c}); err != nil {
					t.Fatalf("%s: again after a cut at write %d: %v", phase.name, at, err)
				}
				if got := opened(c); got != phase.want {
					t.Fatalf("%s: again after a cut at write %d: opens under root %d", phase.name, at, got)
				}
			}
			if phase.undoIndices {
				if err := Undefine(ctx, chip, r.srk, phase.root, nil); err != nil {
					t.Fatal(err)
				}
			}
		}
		sound.fuse.left = unbroken
		if err := phase.do(chip, &Store{sound}); err != nil {
			t.Fatal(err)
		}
		if got := opened(sound); got != phase.want {
			t.Fatalf("%s: opens under root %d", phase.name, got)
		}
	}
	t.Logf("%d power cuts", cuts)
}
