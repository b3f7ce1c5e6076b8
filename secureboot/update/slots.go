// SPDX-License-Identifier: Apache-2.0

package update

import (
	"bytes"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// An ESP is the folder of UKIs on the EFI system partition, which is mounted no
// longer than a call here takes. FAT has no journal: of a file, a removal or a
// change of the folder that was not flushed anything may be left. What a medium
// writes whole is one sector.
type ESP interface {
	// Names lists the files.
	Names() ([]string, error)
	// ReadFile returns a file of at most limit bytes as the medium has it, past
	// all caches.
	ReadFile(name string, limit int64) ([]byte, error)
	// ReadStart returns the first sector of a file, or all of a shorter one.
	ReadStart(name string) ([]byte, error)
	// WriteFile writes a file and flushes it and its name.
	WriteFile(name string, b []byte) error
	// WriteStart overwrites the first sector of a file and flushes it. After a
	// power cut it is the new one or the old.
	WriteStart(name string, b []byte) error
	Remove(name string) error
	// Sync flushes names.
	Sync() error
}

// A Device is a system partition.
type Device interface {
	Size() (int64, error) // bytes
	WriteAt(b []byte, at int64) (int, error)
	// Sync flushes what was written and empties caches, so that ReadAt asks the
	// medium.
	Sync() error
	ReadAt(b []byte, at int64) (int, error)
}

const (
	prefix   = "in-camera_"
	tries    = 3
	maxNames = 1024 // files in the folder; we leave six at most
	sector   = 512  // bytes
)

// ukiNames are the names of UKIs, as systemd-boot counts: after "+" the tries
// left, after "-" those done (Automatic Boot Assessment).
var ukiNames = regexp.MustCompile(`^in-camera_([0-9][0-9a-z.-]*?)(?:\+([0-9]{1,3})(?:-([0-9]{1,3}))?)?\.efi$`)

// A slot is a UKI on the ESP.
type slot struct {
	version    string
	counted    bool // the loader counts its starts
	left, done int
}

func parseSlot(name string) (slot, bool) {
	m := ukiNames.FindStringSubmatch(name)
	if m == nil || !validVersion(m[1]) {
		return slot{}, false
	}
	s := slot{version: m[1], counted: m[2] != ""}
	s.left, _ = strconv.Atoi("0" + m[2])
	s.done, _ = strconv.Atoi("0" + m[3])
	if s.name() != name { // a second spelling, such as +03
		return slot{}, false
	}
	return s, true
}

func (s slot) name() string {
	switch {
	case !s.counted:
		return prefix + s.version + ".efi"
	case s.done == 0 && s.left > 0:
		return fmt.Sprintf("%s%s+%d.efi", prefix, s.version, s.left)
	default:
		return fmt.Sprintf("%s%s+%d-%d.efi", prefix, s.version, s.left, s.done)
	}
}

// onTrial: it runs with a counter, so it was started to be judged.
func (s slot) onTrial() bool { return s.counted && !s.demoted() }

// demoted: sorted last without having failed, in favour of an older release.
func (s slot) demoted() bool { return s.counted && s.left == 0 && s.done == 0 }

func policiesName(version string) string { return prefix + version + ".policies.cbor" }

// slots lists the UKIs that are whole, each version once. Where the power went in a rename there
// are two names: a plain one counts more than one with a counter, and that more
// than one with more tries left.
func (u *Updater) slots() ([]slot, error) {
	names, err := u.names()
	if err != nil {
		return nil, err
	}
	var found []slot
	for _, name := range names {
		s, ok := parseSlot(name)
		if !ok {
			continue
		}
		if blank, err := u.isBlank(name); err != nil {
			return nil, err
		} else if blank {
			continue
		}
		switch i := slices.IndexFunc(found, func(f slot) bool { return f.version == s.version }); {
		case i < 0:
			found = append(found, s)
		case !s.counted, found[i].counted && s.left < found[i].left:
			found[i] = s
		}
	}
	return found, nil
}

func (u *Updater) names() ([]string, error) {
	names, err := u.c.ESP.Names()
	if err != nil {
		return nil, fmt.Errorf("update: esp: %w", err)
	}
	if len(names) > maxNames {
		return nil, fmt.Errorf("update: esp: more than %d files", maxNames)
	}
	slices.Sort(names)
	return names, nil
}

// rename gives a UKI another counter, or none. FAT cannot do that at once: a
// kernel writes the new name, then what it stands for, and removes the old one,
// and of that a power cut may leave any part. So the image is copied, and both
// the beginning of the new name and the end of the old one are a single sector.
// In between there are two of the same, of which [Updater.slots] chooses.
func (u *Updater) rename(from, to slot) error {
	uki, err := u.c.ESP.ReadFile(from.name(), MaxUKI)
	if err != nil {
		return fmt.Errorf("update: esp: %w", err)
	}
	if err := u.writeBlank(to.name(), uki); err != nil {
		return err
	}
	if err := u.start(to.name(), uki); err != nil {
		return err
	}
	return u.remove(func(name string) bool { return name == from.name() })
}

// writeBlank writes a UKI but for its first sector, without which no loader takes
// it for one, and reads it back.
func (u *Updater) writeBlank(name string, uki []byte) error {
	blank := bytes.Clone(uki)
	clear(blank[:min(sector, len(blank))])
	if err := u.c.ESP.WriteFile(name, blank); err != nil {
		return fmt.Errorf("update: esp: %w", err)
	}
	return u.readBack(name, blank)
}

// readBack checks that the medium holds what was written.
func (u *Updater) readBack(name string, want []byte) error {
	got, err := u.c.ESP.ReadFile(name, int64(len(want)))
	if err != nil {
		return fmt.Errorf("update: esp: %w", err)
	}
	if !bytes.Equal(got, want) {
		return refuse(WriteFailed, "%s reads back differently", name)
	}
	return nil
}

// start makes what writeBlank wrote a UKI.
func (u *Updater) start(name string, uki []byte) error {
	if err := u.c.ESP.WriteStart(name, uki[:min(sector, len(uki))]); err != nil {
		return fmt.Errorf("update: esp: %w", err)
	}
	return nil
}

// isBlank reports whether the loader passes over a UKI: it was not finished, or
// was about to be removed.
func (u *Updater) isBlank(name string) (bool, error) {
	b, err := u.c.ESP.ReadStart(name)
	if err != nil {
		return false, fmt.Errorf("update: esp: %w", err)
	}
	return !bytes.HasPrefix(b, []byte("MZ")), nil
}

func (u *Updater) sync() error {
	if err := u.c.ESP.Sync(); err != nil {
		return fmt.Errorf("update: esp: %w", err)
	}
	return nil
}

// remove removes the files of ours that match, in the order of their names: a
// UKI goes before its policies. It ends as a UKI before anything else of it goes.
func (u *Updater) remove(match func(name string) bool) error {
	names, err := u.names()
	if err != nil {
		return err
	}
	removed := false
	for _, name := range names {
		if !strings.HasPrefix(name, prefix) || !match(name) {
			continue
		}
		if _, ok := parseSlot(name); ok {
			if err := u.c.ESP.WriteStart(name, make([]byte, sector)); err != nil {
				return fmt.Errorf("update: esp: %w", err)
			}
		}
		if err := u.c.ESP.Remove(name); err != nil {
			return fmt.Errorf("update: esp: %w", err)
		}
		removed = true
	}
	if !removed {
		return nil
	}
	return u.sync()
}

// tidy removes what an update, a rename or a removal left in which the power
// went: blank UKIs, the other one of two of the same version, and policies without
// a UKI. It returns what stays.
func (u *Updater) tidy() ([]slot, error) {
	all, err := u.slots()
	if err != nil {
		return nil, err
	}
	return all, u.remove(func(name string) bool {
		if s, ok := parseSlot(name); ok {
			return !slices.Contains(all, s)
		}
		version, ok := strings.CutSuffix(strings.TrimPrefix(name, prefix), ".policies.cbor")
		_, installed := find(all, version)
		return ok && !installed
	})
}

// find returns the slot of a version.
func find(all []slot, version string) (slot, bool) {
	i := slices.IndexFunc(all, func(s slot) bool { return s.version == version })
	if i < 0 {
		return slot{}, false
	}
	return all[i], true
}
