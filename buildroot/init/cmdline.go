// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"strings"
)

const (
	maxCommandLine = 4 << 10
	blockSize      = 4096    // of verity, in bytes
	maxSystem      = 1 << 40 // bytes of a system partition
)

// An image says which system partition belongs to the running UKI: its command
// line is signed and measured.
type image struct {
	rootHash   [32]byte
	hashOffset uint64 // bytes from the start of the partition to the verity superblock
}

// parseCommandLine takes incamera.roothash and incamera.hashoff from the kernel's
// command line. Each must be there once: with two, a line that was added would
// decide.
func parseCommandLine(line string) (image, error) {
	if len(line) > maxCommandLine {
		return image{}, errors.New("command line: too long")
	}
	values := map[string]string{}
	for _, word := range strings.Fields(line) {
		name, value, _ := strings.Cut(word, "=")
		if !strings.HasPrefix(name, "incamera.") {
			continue
		}
		if _, ok := values[name]; ok {
			return image{}, fmt.Errorf("command line: %s twice", name)
		}
		values[name] = value
	}
	var i image
	hash, err := hex.DecodeString(values["incamera.roothash"])
	if err != nil || len(hash) != len(i.rootHash) {
		return image{}, errors.New("command line: incamera.roothash is no SHA-256")
	}
	copy(i.rootHash[:], hash)
	i.hashOffset, err = strconv.ParseUint(values["incamera.hashoff"], 10, 64)
	if err != nil || i.hashOffset == 0 || i.hashOffset%blockSize != 0 || i.hashOffset > maxSystem {
		return image{}, fmt.Errorf("command line: incamera.hashoff %q is no offset in blocks of %d bytes", values["incamera.hashoff"], blockSize)
	}
	return i, nil
}
