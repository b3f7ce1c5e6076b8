// SPDX-License-Identifier: Apache-2.0

package powercut

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

const (
	blockSize    = 4096
	maxBlocks    = 1 << 20 // of a system partition: 4 GiB
	hashesABlock = blockSize / sha256.Size
)

var errVerity = errors.New("powercut: system partition")

// A Root is what a UKI's command line says of its system partition.
type Root struct {
	Hash   [sha256.Size]byte
	Offset int64 // of the hash tree's superblock, in bytes
}

// belongs reports whether a partition has the superblock of the root: its UUID
// is the first half of the root hash.
func (r Root) belongs(partition io.ReaderAt) bool {
	b := make([]byte, 32)
	_, err := partition.ReadAt(b, r.Offset)
	return err == nil && bytes.HasPrefix(b, []byte("verity\x00\x00")) && bytes.Equal(b[16:], r.Hash[:16])
}

// verify reads all of a system partition, and compares each block with the hash
// tree and the tree with the root hash (kernel: admin-guide/device-mapper/verity.rst;
// version 1: the salt goes first).
func (r Root) verify(partition io.ReaderAt) error {
	b := make([]byte, sectorSize)
	if _, err := partition.ReadAt(b, r.Offset); err != nil {
		return fmt.Errorf("%w: %w", errVerity, err)
	}
	le := binary.LittleEndian
	blocks, saltSize := le.Uint64(b[72:]), int(le.Uint16(b[80:]))
	if !bytes.HasPrefix(b, []byte("verity\x00\x00")) || le.Uint32(b[8:]) != 1 || le.Uint32(b[64:]) != blockSize || le.Uint32(b[68:]) != blockSize ||
		blocks == 0 || blocks > maxBlocks || saltSize > 256 {
		return fmt.Errorf("%w: superblock", errVerity)
	}
	salt := b[88 : 88+saltSize]
	// From the data up: level by level the hashes of the blocks below.
	level, n := io.NewSectionReader(partition, 0, int64(blocks)*blockSize), int64(blocks)
	var levels [][]byte
	for {
		hashes, err := hashBlocks(level, n, salt)
		if err != nil {
			return err
		}
		if n == 1 {
			if !bytes.Equal(hashes[:sha256.Size], r.Hash[:]) {
				return fmt.Errorf("%w: root hash", errVerity)
			}
			break
		}
		levels = append(levels, hashes)
		level, n = io.NewSectionReader(bytes.NewReader(hashes), 0, int64(len(hashes))), int64(len(hashes))/blockSize
	}
	// On the disk the top comes first.
	at := r.Offset + blockSize
	for i := len(levels) - 1; i >= 0; i-- {
		stored := make([]byte, len(levels[i]))
		if _, err := partition.ReadAt(stored, at); err != nil {
			return fmt.Errorf("%w: %w", errVerity, err)
		}
		if !bytes.Equal(stored, levels[i]) {
			return fmt.Errorf("%w: level %d of the tree is not of its blocks", errVerity, i)
		}
		at += int64(len(stored))
	}
	return nil
}

// hashBlocks returns the hashes of n blocks, in whole blocks.
func hashBlocks(r io.Reader, n int64, salt []byte) ([]byte, error) {
	out := make([]byte, 0, (n+hashesABlock-1)/hashesABlock*blockSize)
	b := make([]byte, blockSize)
	h := sha256.New()
	for range n {
		if _, err := io.ReadFull(r, b); err != nil {
			return nil, fmt.Errorf("%w: %w", errVerity, err)
		}
		h.Reset()
		h.Write(salt)
		h.Write(b)
		out = h.Sum(out)
	}
	return append(out, make([]byte, cap(out)-len(out))...), nil
}
