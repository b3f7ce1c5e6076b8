// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"incamera/media/call"
)

func TestMemory(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "state")
	m := newMemory(dir)
	if _, ok := m.Load(); ok {
		t.Error("a new room is in a meeting")
	}
	want := call.Saved{Meeting: bytes.Repeat([]byte{7}, 16), Relays: []call.Relay{{Room: "Curie", Address: "192.0.2.8:8443"}}}
	for range 2 { // the second replaces the first
		if err := m.Save(want); err != nil {
			t.Fatal(err)
		}
	}
	if got, ok := m.Load(); !ok || !reflect.DeepEqual(got, want) {
		t.Errorf("Load() = %+v, %v; want %+v", got, ok, want)
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) != 1 {
		t.Errorf("the folder holds %v, %v; want one file", entries, err)
	}
	for range 2 { // the second has nothing to do
		if err := m.Clear(); err != nil {
			t.Fatal(err)
		}
	}
	if _, ok := m.Load(); ok {
		t.Error("a cleared meeting is still there")
	}
}

var spoiltMemories = []string{
	"", "{}", "[]",
	`{"version":2,"meeting":"07070707070707070707070707070707","relays":[{"room":"Curie","address":"192.0.2.8:1"}]}`,
	`{"version":1,"meeting":"07","relays":[{"room":"Curie","address":"192.0.2.8:1"}]}`,
	`{"version":1,"meeting":"zz070707070707070707070707070707","relays":[{"room":"Curie","address":"192.0.2.8:1"}]}`,
	`{"version":1,"meeting":"07070707070707070707070707070707","relays":[]}`,
	`{"version":1,"meeting":"07070707070707070707070707070707","relays":[{"room":"","address":"192.0.2.8:1"}]}`,
	`{"version":1,"meeting":"07070707070707070707070707070707","relays":[{"room":"Curie","address":"192.0.2.8"}]}`,
}

// TestSpoiltMemory: a file that is not ours, or half of one, is no meeting; the
// room starts idle.
func TestSpoiltMemory(t *testing.T) {
	m := newMemory(t.TempDir())
	for _, text := range append(spoiltMemories, strings.Repeat(" ", 1<<20)) {
		if err := os.WriteFile(string(m.file), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if s, ok := m.Load(); ok {
			t.Errorf("%.80q is taken for the meeting %+v", text, s)
		}
	}
}

func FuzzMemory(f *testing.F) {
	for _, text := range spoiltMemories {
		f.Add([]byte(text))
	}
	f.Add([]byte(`{"version":1,"meeting":"07070707070707070707070707070707","relays":[{"room":"Curie","address":"192.0.2.8:1"}]}`))
	f.Fuzz(func(t *testing.T, in []byte) {
		var saved savedMeeting
		if json.Unmarshal(in, &saved) != nil {
			return
		}
		s, err := saved.meeting()
		if err != nil {
			return
		}
		if len(s.Meeting) < 16 || len(s.Meeting) > 32 || len(s.Relays) == 0 || len(s.Relays) > maxRelays {
			t.Errorf("accepted %+v", s)
		}
	})
}
