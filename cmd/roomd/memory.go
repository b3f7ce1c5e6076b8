// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"

	"incamera/media/call"
)

// memory keeps in a file which meeting this room is in. It holds no key: a
// restarted room is let in by its certificate alone.
type memory struct{ path string }

const (
	maxMemory = 64 << 10 // bytes of the file
	maxRelays = 512      // as many as rooms of a meeting
)

type savedMeeting struct {
	Version int          `json:"version"`
	Meeting string       `json:"meeting"` // hexadecimal
	Relays  []savedRelay `json:"relays"`
}

type savedRelay struct {
	Room    string `json:"room"`
	Address string `json:"address"`
}

func newMemory(dir string) (*memory, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("state: %w", err)
	}
	return &memory{filepath.Join(dir, "meeting.json")}, nil
}

// Save implements [call.Memory]. A power cut leaves the old file or the new.
func (m *memory) Save(s call.Saved) error {
	out := savedMeeting{Version: 1, Meeting: hex.EncodeToString(s.Meeting)}
	for _, r := range s.Relays {
		out.Relays = append(out.Relays, savedRelay{r.Room, r.Address})
	}
	b, err := json.Marshal(out)
	if err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(m.path), "meeting-*")
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	err = errors.Join(err, f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), m.path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	return m.sync()
}

// Load implements [call.Memory]. A file that cannot be read is no meeting.
func (m *memory) Load() (call.Saved, bool) {
	f, err := os.Open(m.path)
	if err != nil {
		return call.Saved{}, false
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxMemory+1))
	if err != nil || len(b) > maxMemory {
		return call.Saved{}, false
	}
	s, err := parseMemory(b)
	return s, err == nil
}

func parseMemory(b []byte) (call.Saved, error) {
	dec := json.NewDecoder(bytes.NewReader(b))
	dec.DisallowUnknownFields()
	var in savedMeeting
	if err := dec.Decode(&in); err != nil {
		return call.Saved{}, err
	}
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
func (m *memory) Clear() error {
	if err := os.Remove(m.path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return m.sync()
}

// sync makes the change of the folder itself durable.
func (m *memory) sync() error {
	dir, err := os.Open(filepath.Dir(m.path))
	if err != nil {
		return err
	}
	defer dir.Close()
	return dir.Sync()
}
