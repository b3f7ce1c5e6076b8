// SPDX-License-Identifier: Apache-2.0

// Package powercut asks what a disk would hold had the power gone at an instant
// of a run: it reads the log of all that was written, makes disks of it, and
// judges whether a room comes back from each with one whole system.
//
// Of what a cut loses it assumes the worst that a disk may do: all that was
// written before the last flush is there, and of what came after it any sectors
// in any combination. It is not about disks that lie about their flushes.
package powercut

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// The format of dm-log-writes (kernel: admin-guide/device-mapper/log-writes.rst),
// as QEMU's driver blklogwrites writes it too: a superblock
//
//	0  magic  8 version  16 number of entries  24 sector size
//
// in a sector of its own, then entries of
//
//	0  sector  8 number of sectors  16 flags  24 length of the data
//
// in a sector of their own each, little endian, and behind each what was written.
const (
	logMagic   = 0x6a736677736872
	logVersion = 1
	entrySize  = 32

	sectorSize = 512     // bytes; the only size that we ask QEMU for
	maxEntries = 1 << 20 // a start and an update are some thousands
	maxWrite   = 1 << 32 // bytes of one write
)

// Flags of an entry.
const (
	flagFlush   = 1 << 0 // what was written before is durable, and then this is written
	flagFUA     = 1 << 1 // this is durable once it is written
	flagDiscard = 1 << 2 // the sectors hold nothing any more
)

// An entry is one write.
type entry struct {
	at, size int64 // on the disk, in bytes
	flags    uint64
	data     int64 // where in the log the bytes are
}

// A Log is what was written to a disk, in order.
type Log struct {
	r       io.ReaderAt
	entries []entry
}

var errLog = errors.New("powercut: not a log of writes")

// ReadLog reads the entries of a log of size bytes. It keeps r for the data.
func ReadLog(r io.ReaderAt, size int64) (*Log, error) {
	le := binary.LittleEndian
	b := make([]byte, sectorSize)
	if _, err := r.ReadAt(b, 0); err != nil {
		return nil, fmt.Errorf("%w: %w", errLog, err)
	}
	n := le.Uint64(b[16:])
	if le.Uint64(b) != logMagic || le.Uint64(b[8:]) != logVersion || le.Uint32(b[24:]) != sectorSize || n > maxEntries {
		return nil, errLog
	}
	l := &Log{r: r}
	at := int64(sectorSize)
	for range n {
		if _, err := r.ReadAt(b[:entrySize], at); err != nil {
			return nil, fmt.Errorf("%w: entry %d: %w", errLog, len(l.entries), err)
		}
		at += sectorSize
		sector, sectors := le.Uint64(b), le.Uint64(b[8:])
		if sectors > maxWrite/sectorSize || sector > 1<<53/sectorSize {
			return nil, fmt.Errorf("%w: entry %d of %d sectors", errLog, len(l.entries), sectors)
		}
		e := entry{int64(sector) * sectorSize, int64(sectors) * sectorSize, le.Uint64(b[16:]), at}
		if e.flags&^(flagFlush|flagFUA|flagDiscard) != 0 { // QEMU makes no marks
			return nil, fmt.Errorf("%w: entry %d has flags %#x", errLog, len(l.entries), e.flags)
		}
		if e.flags&flagDiscard == 0 {
			at += e.size
		}
		if at > size {
			return nil, fmt.Errorf("%w: entry %d ends behind the log", errLog, len(l.entries))
		}
		l.entries = append(l.entries, e)
	}
	return l, nil
}

// Len is the number of entries.
func (l *Log) Len() int { return len(l.entries) }

// Within lists the entries that write between two offsets of the disk, in bytes.
func (l *Log) Within(from, to int64) []int {
	var found []int
	for i, e := range l.entries {
		if e.at < to && e.at+e.size > from {
			found = append(found, i)
		}
	}
	return found
}

// Entries reads how many entries a log has that is being written.
func Entries(r io.ReaderAt) (int, error) {
	b := make([]byte, entrySize)
	if _, err := r.ReadAt(b, 0); err != nil {
		return 0, fmt.Errorf("%w: %w", errLog, err)
	}
	n := binary.LittleEndian.Uint64(b[16:])
	if binary.LittleEndian.Uint64(b) != logMagic || n > maxEntries {
		return 0, errLog
	}
	return int(n), nil
}
