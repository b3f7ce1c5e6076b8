// SPDX-License-Identifier: Apache-2.0

package update

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// An ESP is the folder of UKIs on the EFI system partition, which is mounted no
// longer than a call here takes. FAT has no journal: of a file that was not
// flushed anything may be left, but a rename has happened or has not.
type ESP interface {
	// Names lists the files.
	Names() ([]string, error)
	// ReadFile returns a file of at most limit bytes as the medium has it, past
	// all caches.
	ReadFile(name string, limit int64) ([]byte, error)
	// WriteFile writes a file and flushes it.
	WriteFile(name string, b []byte) error
	Rename(from, to string) error
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
	prefix     = "in-camera_"
	unfinished = ".part"
	tries      = 3
	maxNames   = 1024 // files in the folder; we leave six at most
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

// slots lists the UKIs, each version once: a plain name counts more than one
// with a counter.
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
		switch i := slices.IndexFunc(found, func(f slot) bool { return f.version == s.version }); {
		case i < 0:
			found = append(found, s)
		case !s.counted:
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

// rename gives a UKI another counter, or none, and makes that durable.
func (u *Updater) rename(from, to slot) error {
	if err := u.c.ESP.Rename(from.name(), to.name()); err != nil {
		return fmt.Errorf("update: esp: %w", err)
	}
	return u.sync()
}

func (u *Updater) sync() error {
	if err := u.c.ESP.Sync(); err != nil {
		return fmt.Errorf("update: esp: %w", err)
	}
	return nil
}

// remove removes the files of ours that match, in the order of their names: a
// UKI goes before its policies.
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

func isUnfinished(name string) bool { return strings.HasSuffix(name, unfinished) }

// find returns the slot of a version.
func find(all []slot, version string) (slot, bool) {
	i := slices.IndexFunc(all, func(s slot) bool { return s.version == version })
	if i < 0 {
		return slot{}, false
	}
	return all[i], true
}
