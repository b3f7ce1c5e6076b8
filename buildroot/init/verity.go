// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// A superblock is what veritysetup writes in front of the hash tree:
//
//	0  "verity\0\0"  8 version  12 hash type  16 UUID  32 algorithm
//	64 data block size  68 hash block size  72 data blocks  80 salt size  88 salt
//
// It is not under the root hash. A false one makes every read fail, or the
// partition not be found; it cannot make other bytes pass.
type superblock struct {
	uuid       [16]byte
	dataBlocks uint64
	salt       []byte
}

const superblockSize = 512

var errSuperblock = errors.New("verity: not a superblock that this release reads")

// parseSuperblock reads the one form that our builds write.
func parseSuperblock(b []byte) (superblock, error) {
	le := binary.LittleEndian
	if len(b) < superblockSize || !bytes.HasPrefix(b, []byte("verity\x00\x00")) ||
		le.Uint32(b[8:]) != 1 || le.Uint32(b[12:]) != 1 ||
		!bytes.Equal(b[32:64], append([]byte("sha256"), make([]byte, 26)...)) ||
		le.Uint32(b[64:]) != blockSize || le.Uint32(b[68:]) != blockSize {
		return superblock{}, errSuperblock
	}
	s := superblock{uuid: [16]byte(b[16:32]), dataBlocks: le.Uint64(b[72:])}
	salt := int(le.Uint16(b[80:]))
	if salt > 256 || s.dataBlocks == 0 || s.dataBlocks > maxSystem/blockSize {
		return superblock{}, errSuperblock
	}
	s.salt = bytes.Clone(b[88 : 88+salt])
	return s, nil
}

// readSuperblock returns the superblock of a partition if it belongs to the
// image: its UUID is the first half of the root hash.
func readSuperblock(r io.ReaderAt, i image) (superblock, error) {
	b := make([]byte, superblockSize)
	if _, err := r.ReadAt(b, int64(i.hashOffset)); err != nil {
		return superblock{}, err
	}
	s, err := parseSuperblock(b)
	if err != nil {
		return superblock{}, err
	}
	if s.uuid != [16]byte(i.rootHash[:16]) || s.dataBlocks > i.hashOffset/blockSize {
		return superblock{}, errSuperblock
	}
	return s, nil
}

// table is the device-mapper table, and its length in sectors of 512 bytes
// (kernel: admin-guide/device-mapper/verity.rst). The tree begins in the block
// behind the superblock. Without options a damaged block reads as an I/O error.
func (s superblock) table(device string, i image) (string, uint64) {
	salt := "-"
	if len(s.salt) > 0 {
		salt = fmt.Sprintf("%x", s.salt)
	}
	return fmt.Sprintf("1 %s %s %d %d %d %d sha256 %x %s", device, device, blockSize, blockSize,
		s.dataBlocks, i.hashOffset/blockSize+1, i.rootHash, salt), s.dataBlocks * blockSize / 512
}
