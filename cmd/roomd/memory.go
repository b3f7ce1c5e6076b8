// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/hex"
	"errors"
	"net"
	"path/filepath"

	"incamera/cmd/internal/kept"
	"incamera/media/call"
)

// memory keeps in a file which meeting this room is in. It holds no key: a
// restarted room is let in by its certificate alone.
type memory struct{ file kept.File }

const maxRelays = 512 // as many as rooms of a meeting

type savedMeeting struct {
	Version int          `json:"version"`
	Meeting string       `json:"meeting"` // hexadecimal
	Relays  []savedRelay `json:"relays"`
}

type savedRelay struct {
	Room    string `json:"room"`
	Address string `json:"address"`
}

func newMemory(dir string) *memory { return &memory{kept.File(filepath.Join(dir, "meeting.json"))} }

// Save implements [call.Memory]. A power cut leaves the old file or the new.
func (m *memory) Save(s call.Saved) error {
	out := savedMeeting{Version: 1, Meeting: hex.EncodeToString(s.Meeting)}
	for _, r := range s.Relays {
		out.Relays = append(out.Relays, savedRelay{r.Room, r.Address})
	}
	return m.file.Save(out)
}

// Load implements [call.Memory]. A file that cannot be read is no meeting.
func (m *memory) Load() (call.Saved, bool) {
	var in savedMeeting
	if err := m.file.Load(&in); err != nil {
		return call.Saved{}, false
	}
	s, err := in.meeting()
	return s, err == nil
}

// meeting checks what was kept: the disk is hostile.
func (in *savedMeeting) meeting() (call.Saved, error) {
	id, err := hex.DecodeString(in.Meeting)
	if err != nil || in.Version != 1 || len(id) < 16 || len(id) > 32 || len(in.Relays) == 0 || len(in.Relays) > maxRelays {
		return call.Saved{}, errors.New("not a saved meeting of version 1")
	}
	s := call.Saved{Meeting: id}
	for _, r := range in.Relays {
		if _, _, err := net.SplitHostPort(r.Address); err != nil || !isName(r.Room) {
			return call.Saved{}, errors.New("not the name and address of a relay")
		}
		s.Relays = append(s.Relays, call.Relay{Room: r.Room, Address: r.Address})
	}
	return s, nil
}

// Clear implements [call.Memory].
func (m *memory) Clear() error { return m.file.Remove() }
