// SPDX-License-Identifier: Apache-2.0

package update

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
)

var errCut = errors.New("power cut")

// A box is a machine as far as updates see it: two partitions, an ESP, the two
// copies of the record and a floor. Its power can be cut at any write, and what
// was not flushed by then is lost at random.
type box struct {
	t       testing.TB
	rng     *rand.Rand
	left    int // writes until the cut; below 0: none comes
	writes  int
	dark    bool
	parts   [2]*disk
	esp     esp
	copies  [2][]byte
	floor   uint64
	raise   map[string]uint64 // what a release asks for, by version
	running string
	seen    int64 // leaves of the log that the record must not forget
}

func newBox(t testing.TB, installed *build) *box {
	t.Helper()
	b := &box{t: t, rng: rand.New(rand.NewPCG(1, 2)), left: -1, floor: 1, raise: map[string]uint64{}}
	for i := range b.parts {
		b.parts[i] = &disk{box: b, b: make([]byte, 4<<20)}
	}
	copy(b.parts[0].b, installed.system)
	b.esp = esp{box: b, names: map[string][]byte{
		slot{version: installed.Version}.name(): installed.uki,
		policiesName(installed.Version):         installed.Policies,
	}}
	return b
}

// clone is a box in the same state whose power goes at the write of that number,
// as rng will have it.
func (b *box) clone(rng *rand.Rand, cutAt int) *box {
	c := *b
	c.rng, c.left, c.writes = rng, cutAt, 0
	for i := range c.parts {
		c.parts[i] = &disk{box: &c, b: bytes.Clone(b.parts[i].b)}
	}
	c.esp = esp{box: &c, names: maps.Clone(b.esp.names)}
	return &c
}

// write does a write, or cuts the power before it or in the midst of it.
func (b *box) write(whole func(), torn ...func()) error {
	if b.dark {
		return errCut
	}
	if b.left != 0 {
		b.left--
		b.writes++
		whole()
		return nil
	}
	b.dark = true
	for _, f := range append(torn, whole) {
		if b.rng.IntN(2) == 0 {
			f()
			break
		}
	}
	return errCut
}

// restore brings the power back: what was not flushed is there or is not.
func (b *box) restore() {
	b.dark, b.left = false, -1
	for _, p := range b.parts {
		p.lose()
	}
	b.esp.lose()
}

type disk struct {
	box     *box
	b       []byte
	pending []pending
}

// pending is a write that was not flushed: what was there before.
type pending struct {
	at  int64
	old []byte
}

func (d *disk) Size() (int64, error) { return int64(len(d.b)), nil }

func (d *disk) WriteAt(b []byte, at int64) (int, error) {
	if at < 0 || at+int64(len(b)) > int64(len(d.b)) {
		return 0, io.ErrShortWrite
	}
	put := func(n int) func() {
		return func() {
			d.pending = append(d.pending, pending{at, bytes.Clone(d.b[at : at+int64(n)])})
			copy(d.b[at:], b[:n])
		}
	}
	if err := d.box.write(put(len(b)), put(d.box.rng.IntN(len(b)))); err != nil {
		return 0, err
	}
	return len(b), nil
}

func (d *disk) Sync() error { return d.box.write(func() { d.pending = nil }) }

func (d *disk) ReadAt(b []byte, at int64) (int, error) {
	if d.box.dark {
		return 0, errCut
	}
	return bytes.NewReader(d.b).ReadAt(b, at)
}

func (d *disk) lose() {
	for _, p := range slices.Backward(d.pending) {
		if d.box.rng.IntN(2) == 0 {
			copy(d.b[p.at:], p.old)
		}
	}
	d.pending = nil
}

// esp is a folder. Each rename and each removal that was not flushed is lost or
// not, each by itself. Only the loader renames.
type esp struct {
	box     *box
	names   map[string][]byte
	pending []func() // undo
}

func (e *esp) Names() ([]string, error) {
	if e.box.dark {
		return nil, errCut
	}
	return slices.Collect(maps.Keys(e.names)), nil
}

func (e *esp) ReadFile(name string, limit int64) ([]byte, error) {
	if e.box.dark {
		return nil, errCut
	}
	b, ok := e.names[name]
	if !ok || int64(len(b)) > limit {
		return nil, fmt.Errorf("%s: %w", name, fs.ErrNotExist)
	}
	return b, nil
}

func (e *esp) WriteFile(name string, b []byte) error {
	return e.box.write(
		func() { e.names[name] = bytes.Clone(b) },
		func() { e.names[name] = bytes.Clone(b[:e.box.rng.IntN(len(b))]) }, // cut short
		func() { e.names[name] = make([]byte, len(b)) })                    // length, but no content
}

func (e *esp) ReadStart(name string) ([]byte, error) {
	if e.box.dark {
		return nil, errCut
	}
	b, ok := e.names[name]
	if !ok {
		return nil, fs.ErrNotExist
	}
	return b[:min(sector, len(b))], nil
}

func (e *esp) WriteStart(name string, b []byte) error {
	old, ok := e.names[name]
	if !ok || len(b) > sector {
		e.box.t.Errorf("%d bytes at the start of %s: there is %v", len(b), name, slices.Sorted(maps.Keys(e.names)))
		return fs.ErrInvalid
	}
	return e.box.write(func() { e.names[name] = append(bytes.Clone(b), old[min(len(b), len(old)):]...) })
}

func (e *esp) rename(from, to string) error {
	b, ok := e.names[from]
	if _, taken := e.names[to]; !ok || taken {
		e.box.t.Errorf("rename %s to %s: there is %v", from, to, slices.Sorted(maps.Keys(e.names)))
		return fs.ErrInvalid
	}
	return e.box.write(func() {
		delete(e.names, from)
		e.names[to] = b
		e.pending = append(e.pending, func() { delete(e.names, to); e.names[from] = b })
	})
}

func (e *esp) Remove(name string) error {
	b := e.names[name]
	return e.box.write(func() {
		delete(e.names, name)
		e.pending = append(e.pending, func() {
			if e.names[name] = b; e.box.rng.IntN(2) == 0 { // and its clusters are free already
				e.names[name] = append(bytes.Clone(b[:min(sector, len(b))]), make([]byte, max(0, len(b)-sector))...)
			}
		})
	})
}

func (e *esp) Sync() error { return e.box.write(func() { e.pending = nil }) }

func (e *esp) lose() {
	for _, undo := range slices.Backward(e.pending) {
		if e.box.rng.IntN(2) == 0 {
			undo()
		}
	}
	e.pending = nil
}

// ReadCopy and WriteCopy make the box the Copies of its record.
func (b *box) ReadCopy(i int) ([]byte, error) {
	if b.copies[i] == nil {
		return nil, fs.ErrNotExist
	}
	return b.copies[i], nil
}

func (b *box) WriteCopy(i int, c []byte) error {
	return b.write(
		func() { b.copies[i] = bytes.Clone(c) },
		func() { b.copies[i] = append(bytes.Clone(c[:b.rng.IntN(len(c))]), "old bytes"...) })
}

// boxFloor is the floor of a box in which something runs.
type boxFloor struct{ *box }

func (f boxFloor) Read(context.Context) (uint64, error) { return f.floor, nil }

func (f boxFloor) Raise(context.Context) error {
	if to := f.raise[f.running]; to > f.floor {
		return f.write(func() { f.floor = to })
	}
	return nil
}

// boot does what systemd-boot does: it takes the newest UKI that has tries left,
// else the newest, and counts down before it starts it.
func (b *box) boot() (version string, err error) {
	var all []slot
	for name, uki := range b.esp.names {
		if s, ok := parseSlot(name); ok && bytes.HasPrefix(uki, []byte("MZ")) {
			all = append(all, s)
		}
	}
	if len(all) == 0 {
		b.t.Fatal("nothing to boot")
	}
	best := slices.MinFunc(all, func(x, y slot) int {
		exhausted := func(s slot) int {
			if s.counted && s.left == 0 {
				return 1
			}
			return 0
		}
		return cmp.Or(exhausted(x)-exhausted(y), compareVersions(y.version, x.version))
	})
	b.running = best.version
	if best.counted && best.left > 0 {
		next := slot{best.version, true, best.left - 1, best.done + 1}
		if err := b.esp.rename(best.name(), next.name()); err != nil {
			return "", err
		}
		return best.version, b.esp.Sync()
	}
	return best.version, nil
}

// whole checks that what is started is one whole release, and returns the
// partition that holds it.
func (b *box) whole(r *build) int {
	b.t.Helper()
	found := -1
	for i, p := range b.parts {
		if bytes.Equal(p.b[:len(r.system)], r.system) {
			if found >= 0 {
				b.t.Fatalf("both partitions hold %s", r.Version)
			}
			found = i
		}
	}
	if found < 0 {
		b.t.Fatalf("%s is started and no partition holds it whole", r.Version)
	}
	for name, content := range b.esp.names {
		if s, ok := parseSlot(name); ok && s.version == r.Version && bytes.HasPrefix(content, []byte("MZ")) && !bytes.Equal(content, r.uki) {
			b.t.Fatalf("%s is not whole", name)
		}
	}
	if !bytes.Equal(b.esp.names[policiesName(r.Version)], r.Policies) {
		b.t.Fatalf("policies of %s are not whole", r.Version)
	}
	return found
}

// updater is the program in the running system.
func (b *box) updater(v *vendor, r *build) *Updater {
	b.t.Helper()
	u, err := New(Config{
		Trust: v.trust(), Running: Release{r.Version, r.Rollback}, Idle: b.parts[1-b.whole(r)],
		ESP: &b.esp, Record: b, Floor: boxFloor{b}, Log: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		b.t.Fatal(err)
	}
	b.running = r.Version
	if u.r.Seen.Size < b.seen {
		b.t.Fatalf("the record forgot the log: %d leaves of %d", u.r.Seen.Size, b.seen)
	}
	return u
}

// state is all that lasts, to see that a refusal changed nothing.
func (b *box) state() string {
	return fmt.Sprintf("%q %x %x %q %d", b.esp.names, b.parts[0].b[:64], b.parts[1].b[:64], b.copies, b.floor)
}
