// SPDX-License-Identifier: Apache-2.0

package powercut

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strconv"
	"strings"
)

// A Release is one whole system, as the build made it.
type Release struct {
	Version  string
	UKI      [sha256.Size]byte // hash of the signed image
	Policies [sha256.Size]byte // hash of the file that belongs to it
	Root     Root
}

var (
	rootHashes = regexp.MustCompile(`(?:^| )incamera\.roothash=([0-9a-f]{64})(?: |$)`)
	hashOffset = regexp.MustCompile(`(?:^| )incamera\.hashoff=([0-9]{1,15})(?: |$)`)
)

// NewRelease describes a release by its files: UKI, policies, and the command line
// in the UKI.
func NewRelease(version string, uki, policies []byte, commandLine string) (Release, error) {
	h, o := rootHashes.FindStringSubmatch(commandLine), hashOffset.FindStringSubmatch(commandLine)
	if h == nil || o == nil || !bytes.Contains(uki, []byte("incamera.roothash="+h[1])) {
		return Release{}, errors.New("powercut: the UKI has another command line")
	}
	r := Release{Version: version, UKI: sha256.Sum256(uki), Policies: sha256.Sum256(policies)}
	if _, err := hex.Decode(r.Root.Hash[:], []byte(h[1])); err != nil {
		return Release{}, err
	}
	offset, err := strconv.ParseInt(o[1], 10, 64)
	r.Root.Offset = offset
	return r, err
}

// An Outcome is what a room finds when it is switched on again.
type Outcome struct {
	Version string // of the system that starts
	Trial   bool   // it is started to be judged
	Name    string // of its UKI
}

// A Judge knows what a disk must hold.
type Judge struct {
	Size     int64 // of the disk, in bytes
	Releases []Release
	header   []byte
}

// NewJudge takes the disk as it was before the run.
func NewJudge(disk io.ReaderAt, size int64, releases ...Release) (*Judge, error) {
	j := &Judge{Size: size, Releases: releases}
	parts, err := Partitions(disk, size)
	if err != nil {
		return nil, err
	}
	j.header, err = luksHeader(disk, parts)
	return j, err
}

// Judge returns what starts from a disk, or why a room does not come back from
// it with one whole system: its partition table, its ESP, the UKI that the loader
// chooses, the policies that open the data for it, the system partition that
// belongs to it, or the header of the data is damaged.
func (j *Judge) Judge(disk io.ReaderAt) (Outcome, error) {
	parts, err := Partitions(disk, j.Size)
	if err != nil {
		return Outcome{}, err
	}
	header, err := luksHeader(disk, parts)
	if err != nil {
		return Outcome{}, err
	}
	if !bytes.Equal(header, j.header) {
		return Outcome{}, errors.New("powercut: the header of the data changed")
	}
	esp, err := openFAT(section(disk, parts["esp"]))
	if err != nil {
		return Outcome{}, err
	}
	files, err := esp.folder("EFI/Linux")
	if err != nil {
		return Outcome{}, err
	}
	var names []string
	for _, f := range files {
		if !strings.HasSuffix(f.name, ".efi") {
			continue
		}
		// The loader passes over what does not begin as an image, whatever follows.
		if start, err := esp.start(f); err != nil || !bytes.HasPrefix(start, []byte("MZ")) {
			continue
		}
		b, err := esp.content(f)
		if err != nil {
			return Outcome{}, fmt.Errorf("%s: %w", f.name, err)
		}
		if isUKI(b) {
			names = append(names, f.name)
		}
	}
	candidates := chosen(names)
	if len(candidates) == 0 {
		return Outcome{}, fmt.Errorf("powercut: the loader finds nothing to start among %q", names)
	}
	for _, e := range candidates {
		if err := j.whole(e, esp, files, disk, parts); err != nil {
			return Outcome{}, fmt.Errorf("powercut: %s of %q: %w", e.name, names, err)
		}
	}
	e := candidates[0]
	return Outcome{e.version, e.counted && !e.spent(), e.name}, nil
}

// whole checks one UKI that the loader may start, and what belongs to it.
func (j *Judge) whole(e bootEntry, esp *fat, files []fatFile, disk io.ReaderAt, parts map[string]Partition) error {
	for _, r := range j.Releases {
		if r.Version != e.version {
			continue
		}
		if err := same(esp, files, e.name, r.UKI); err != nil {
			return err
		}
		if err := same(esp, files, "in-camera_"+r.Version+".policies.cbor", r.Policies); err != nil {
			return err
		}
		for _, label := range []string{"system_a", "system_b"} {
			if p := section(disk, parts[label]); r.Root.belongs(p) {
				return r.Root.verify(p)
			}
		}
		return errors.New("no system partition belongs to it")
	}
	return errors.New("of no release")
}

// same compares the content of each file of a name with a hash.
func same(esp *fat, files []fatFile, name string, want [sha256.Size]byte) error {
	found := false
	for _, f := range files {
		if f.name != name {
			continue
		}
		found = true
		b, err := esp.content(f)
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		if sha256.Sum256(b) != want {
			return fmt.Errorf("%s: %d bytes that are not the release's", name, len(b))
		}
	}
	if !found {
		return fmt.Errorf("%s is missing", name)
	}
	return nil
}

func section(disk io.ReaderAt, p Partition) *io.SectionReader {
	return io.NewSectionReader(disk, p.Offset, p.Size)
}

// luksSize is what LUKS2 keeps in front of the data: nothing writes there once a
// room is set up.
const luksSize = 16 << 20

func luksHeader(disk io.ReaderAt, parts map[string]Partition) ([]byte, error) {
	for _, label := range []string{"esp", "system_a", "system_b", "data"} {
		if parts[label].Size == 0 {
			return nil, fmt.Errorf("powercut: no partition %q", label)
		}
	}
	b := make([]byte, luksSize)
	if _, err := section(disk, parts["data"]).ReadAt(b, 0); err != nil {
		return nil, fmt.Errorf("powercut: data: %w", err)
	}
	if !bytes.HasPrefix(b, []byte("LUKS\xba\xbe\x00\x02")) {
		return nil, errors.New("powercut: data: no LUKS2 header")
	}
	return b, nil
}
