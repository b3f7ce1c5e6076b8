// SPDX-License-Identifier: Apache-2.0

package powercut

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode/utf16"
)

// A fat is a FAT32 file system (Microsoft: FAT32 File System Specification,
// version 1.03), read as firmware reads it: what the first table and the folders
// say, and no repair.
type fat struct {
	r        io.ReaderAt
	cluster  int64 // bytes
	data     int64 // offset of cluster 2, in bytes
	next     []uint32
	rootDirs uint32
}

// A fatFile is an entry of a folder.
type fatFile struct {
	name  string
	first uint32 // cluster
	size  int64  // bytes; of a folder 0
	dir   bool
}

const (
	maxClusters = 1 << 22
	maxFolder   = 1 << 20 // bytes of a folder's entries
	maxFile     = 64 << 20
	dirEntry    = 32
	endOfChain  = 0x0ffffff8
)

var errFAT = errors.New("powercut: ESP")

// openFAT reads the tables. They are some MiB at most.
func openFAT(r io.ReaderAt) (*fat, error) {
	b := make([]byte, sectorSize)
	if _, err := r.ReadAt(b, 0); err != nil {
		return nil, fmt.Errorf("%w: %w", errFAT, err)
	}
	le := binary.LittleEndian
	reserved, tables, perTable := int64(le.Uint16(b[14:])), int64(b[16]), int64(le.Uint32(b[36:]))
	sectors, perCluster := int64(le.Uint32(b[32:])), int64(b[13])
	first := reserved + tables*perTable
	if le.Uint16(b[510:]) != 0xaa55 || le.Uint16(b[11:]) != sectorSize || le.Uint16(b[22:]) != 0 ||
		perCluster == 0 || tables == 0 || reserved == 0 || sectors <= first {
		return nil, fmt.Errorf("%w: no FAT32", errFAT)
	}
	clusters := (sectors-first)/perCluster + 2
	if clusters > maxClusters || clusters*4 > perTable*sectorSize {
		return nil, fmt.Errorf("%w: %d clusters", errFAT, clusters)
	}
	table := make([]byte, clusters*4)
	if _, err := r.ReadAt(table, reserved*sectorSize); err != nil {
		return nil, fmt.Errorf("%w: %w", errFAT, err)
	}
	f := &fat{r, perCluster * sectorSize, first * sectorSize, make([]uint32, clusters), le.Uint32(b[44:])}
	for i := range f.next {
		f.next[i] = le.Uint32(table[i*4:]) & 0x0fffffff
	}
	return f, nil
}

// read returns what a chain of clusters holds: size bytes, or all if it is a
// folder.
func (f *fat) read(first uint32, size int64, folder bool) ([]byte, error) {
	limit := size
	if folder {
		limit = maxFolder
	}
	if limit > maxFile {
		return nil, fmt.Errorf("%w: a file of %d bytes", errFAT, size)
	}
	var out []byte
	for c := first; int64(len(out)) < limit; {
		if c >= endOfChain && folder {
			return out, nil
		}
		if c < 2 || int64(c) >= int64(len(f.next)) {
			return nil, fmt.Errorf("%w: a chain of clusters leads to %d", errFAT, c)
		}
		// Clusters that follow one another are read at once.
		from, n := c, int64(1)
		for c = f.next[c]; c == from+uint32(n) && int64(c) < int64(len(f.next)) && int64(len(out))+n*f.cluster < limit; c = f.next[c] {
			n++
		}
		b := make([]byte, n*f.cluster)
		if _, err := f.r.ReadAt(b, f.data+int64(from-2)*f.cluster); err != nil {
			return nil, fmt.Errorf("%w: %w", errFAT, err)
		}
		out = append(out, b...)
	}
	if folder {
		return nil, fmt.Errorf("%w: a folder without end", errFAT)
	}
	return out[:size], nil
}

// list returns the entries of a folder.
func (f *fat) list(first uint32) ([]fatFile, error) {
	b, err := f.read(first, 0, true)
	if err != nil {
		return nil, err
	}
	le := binary.LittleEndian
	var found []fatFile
	var long []uint16
	for ; len(b) >= dirEntry && b[0] != 0; b = b[dirEntry:] {
		attributes := b[11]
		switch {
		case b[0] == 0xe5: // removed
			long = nil
		case attributes&0x3f == 0x0f: // a part of a long name, which stand from its end
			var part []uint16
			for _, at := range []int{1, 3, 5, 7, 9, 14, 16, 18, 20, 22, 24, 28, 30} {
				part = append(part, le.Uint16(b[at:]))
			}
			if b[0]&0x40 != 0 {
				long = nil
			}
			if len(long) < 256 {
				long = append(part, long...)
			}
		case attributes&0x08 != 0: // the label
			long = nil
		default:
			e := fatFile{name: shortName(b), size: int64(le.Uint32(b[28:])), dir: attributes&0x10 != 0}
			e.first = uint32(le.Uint16(b[20:]))<<16 | uint32(le.Uint16(b[26:]))
			if len(long) > 0 {
				wide, _, _ := strings.Cut(string(utf16.Decode(long)), "\x00")
				e.name = wide
			}
			long = nil
			found = append(found, e)
		}
	}
	return found, nil
}

func shortName(b []byte) string {
	name := string(bytes.TrimRight(b[:8], " "))
	if ext := bytes.TrimRight(b[8:11], " "); len(ext) > 0 {
		name += "." + string(ext)
	}
	return name
}

// folder finds a folder by its path; spelling does not tell cases apart.
func (f *fat) folder(path string) ([]fatFile, error) {
	entries, err := f.list(f.rootDirs)
	for word := range strings.SplitSeq(path, "/") {
		if err != nil {
			return nil, err
		}
		at := -1
		for i, e := range entries {
			if e.dir && strings.EqualFold(e.name, word) {
				at = i
			}
		}
		if at < 0 {
			return nil, fmt.Errorf("%w: no folder %q", errFAT, path)
		}
		entries, err = f.list(entries[at].first)
	}
	return entries, err
}

// start reads the first sector of a file, for which its chain need not be whole.
func (f *fat) start(e fatFile) ([]byte, error) { return f.read(e.first, min(e.size, 512), false) }

func (f *fat) content(e fatFile) ([]byte, error) { return f.read(e.first, e.size, false) }
