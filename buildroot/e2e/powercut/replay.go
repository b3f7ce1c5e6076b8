// SPDX-License-Identifier: Apache-2.0

package powercut

import (
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
)

// A Storage is a disk that the replay writes to.
type Storage interface {
	io.ReaderAt
	io.WriterAt
}

// A Replay brings a disk, which begins as it was before the log, from cut to
// cut. It is for one goroutine.
type Replay struct {
	log  *Log
	disk Storage
	size int64 // of the disk, in bytes

	pos  int // entries below are on the disk
	undo []patch
}

// A patch is what a cut has overwritten.
type patch struct {
	at  int64
	was []byte
}

// NewReplay starts a replay on a disk of size bytes.
func NewReplay(l *Log, disk Storage, size int64) (*Replay, error) {
	for i, e := range l.entries {
		if e.at+e.size > size {
			return nil, fmt.Errorf("powercut: entry %d writes behind the end of the disk", i)
		}
	}
	return &Replay{log: l, disk: disk, size: size}, nil
}

// Cut makes the disk what it may be if the power goes when the first n entries
// were handed to it: those before the last flush among them, and of the others
// what random leaves. Cuts are made in the order of n.
func (r *Replay) Cut(n int, random *rand.Rand) error {
	if n < r.pos || n > r.log.Len() {
		return fmt.Errorf("powercut: cut at %d of %d, behind %d", n, r.log.Len(), r.pos)
	}
	if err := r.revert(); err != nil {
		return err
	}
	durable := r.pos
	for i := r.pos; i < n; i++ {
		if r.log.entries[i].flags&flagFlush != 0 {
			durable = i
		}
	}
	for ; r.pos < durable; r.pos++ {
		if err := r.apply(r.log.entries[r.pos], nil); err != nil {
			return err
		}
	}
	for i := r.pos; i < n; i++ {
		e := r.log.entries[i]
		var keep func() bool
		switch random.IntN(4) {
		case 0: // all of it
		case 1: // nothing
			keep = func() bool { return false }
		default: // some sectors
			keep = func() bool { return random.IntN(2) == 0 }
		}
		if e.flags&flagFUA != 0 {
			keep = nil
		}
		if err := r.tear(e, keep); err != nil {
			return err
		}
	}
	return nil
}

// revert takes back what the last cut left of unflushed writes.
func (r *Replay) revert() error {
	for _, p := range slices.Backward(r.undo) {
		if _, err := r.disk.WriteAt(p.was, p.at); err != nil {
			return fmt.Errorf("powercut: %w", err)
		}
	}
	r.undo = nil
	return nil
}

// tear applies the sectors of a write for which keep says so, such that it can be
// taken back. Without keep it applies all.
func (r *Replay) tear(e entry, keep func() bool) error {
	if e.size == 0 {
		return nil
	}
	was := make([]byte, e.size)
	if _, err := r.disk.ReadAt(was, e.at); err != nil && !errors.Is(err, io.EOF) {
		return fmt.Errorf("powercut: %w", err)
	}
	r.undo = append(r.undo, patch{e.at, was})
	return r.apply(e, keep)
}

func (r *Replay) apply(e entry, keep func() bool) error {
	b := make([]byte, e.size)
	if e.flags&flagDiscard == 0 {
		if _, err := r.log.r.ReadAt(b, e.data); err != nil && e.size > 0 {
			return fmt.Errorf("powercut: log: %w", err)
		}
	}
	if keep == nil {
		_, err := r.disk.WriteAt(b, e.at)
		return err
	}
	for at := int64(0); at < e.size; at += sectorSize {
		if !keep() {
			continue
		}
		if _, err := r.disk.WriteAt(b[at:at+sectorSize], e.at+at); err != nil {
			return err
		}
	}
	return nil
}
