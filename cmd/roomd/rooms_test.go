// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"incamera/cmd/internal/demo"
)

// TestComesBack kills one room of a call, as a power cut does, and starts it
// again: first the one that was called, then the one whose relay carries the
// meeting. Nobody touches a panel.
func TestComesBack(t *testing.T) {
	s := startRooms(t, "Vauban", "Curie")
	s.call()
	for _, tt := range []struct {
		name       string
		dies, sees int
	}{{"the room that was called", 1, 0}, {"the host", 0, 1}} {
		code := s.panels[tt.sees].Text("Call/SecurityCode/Code")
		if err := s.rooms[tt.dies].Kill(); err != nil {
			t.Fatal(err)
		}
		gone := s.await(tt.sees, "the loss to show", func(c *demo.Controller) bool {
			_, m := member(c, s.rooms[tt.dies].Name)
			return m != nil && m["Link"] == "Lost"
		})
		s.expect(tt.sees, tt.dies)
		began := time.Now()
		s.start(tt.dies)
		s.expect(tt.dies, tt.sees)
		for i := range 2 {
			s.await(i, "the call to go on", func(c *demo.Controller) bool {
				_, m := member(c, s.rooms[1-i].Name)
				now := c.Text("Call/SecurityCode/Code")
				return c.Text("Call/State") == "Connected" && m != nil && m["Link"] == "Good" && now != "" && now != code
			})
			s.seen(i)
		}
		back := time.Since(began)
		if err := demo.Connected(s.ctx, s.panels...); err != nil {
			t.Fatal(err)
		}
		t.Logf("%s killed: shown as lost after %v; process start to pictures on both stages %v",
			tt.name, gone.Round(time.Millisecond), back.Round(time.Millisecond))
	}
}

// TestGhostRoom starts a third room of the same site that knows the meeting and
// its relay, as a thief of the file would, and knocks. Nobody admits it.
func TestGhostRoom(t *testing.T) {
	s := startRooms(t, "Vauban", "Curie")
	s.call()
	third, err := demo.New(s.ctx, program, t.TempDir(), demo.Options{}, "Ghost", "Nobody")
	if err != nil {
		t.Fatal(err)
	}
	ghost := third[0]
	// The ghost has certificates of the site: all that the relay asks for.
	if err := s.rooms[0].IssueFor(ghost); err != nil {
		t.Fatal(err)
	}
	saved := readFile(t, filepath.Join(s.rooms[1].Dir, "state", "meeting.json"))
	if err := os.MkdirAll(filepath.Join(ghost.Dir, "state"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(ghost.Dir, "state", "meeting.json"), saved, 0o600); err != nil {
		t.Fatal(err)
	}
	s.rooms, s.panels = append(s.rooms, ghost), append(s.panels, nil)
	s.start(2)
	t.Cleanup(func() { _ = ghost.Stop() })
	for _, other := range []string{"Vauban", "Curie"} {
		if err := ghost.Expect(s.ctx, other); err != nil {
			t.Fatal(err)
		}
	}
	s.await(0, "the ghost to knock", func(c *demo.Controller) bool {
		waiting, _ := c.Value("Lobby/Waiting").(map[string]any)
		return len(waiting) == 1
	})
	before := s.frames(0)
	for s.frames(0) < before+60 { // two seconds of meeting
		time.Sleep(50 * time.Millisecond)
	}
	for i := range 2 {
		if _, m := member(s.panels[i], "Ghost"); m != nil || len(s.panels[i].Members()) != 2 {
			t.Errorf("the roster of %s is %v; want the two rooms", s.rooms[i].Name, s.panels[i].Members())
		}
	}
	if got := s.frames(2); got != 0 {
		t.Errorf("the ghost's stage showed %d pictures of the meeting", got)
	}
	if n := len(s.panels[2].Members()); n != 0 || s.panels[2].Text("Call/SecurityCode/Code") != "" {
		t.Errorf("the ghost has a roster of %d and the code %q; want nothing", n, s.panels[2].Text("Call/SecurityCode/Code"))
	}
	// A person turns it away, and the meeting goes on.
	for id, w := range s.panels[0].Value("Lobby/Waiting").(map[string]any) {
		s.do(0, "Lobby/Refuse", map[string]any{"Id": id, "Credential": w.(map[string]any)["Credential"]})
	}
	s.await(2, "the refusal", func(c *demo.Controller) bool { return c.Text("Call/State") == "Idle" })
	s.await(0, "the lobby to empty", func(c *demo.Controller) bool {
		waiting, _ := c.Value("Lobby/Waiting").(map[string]any)
		return len(waiting) == 0
	})
	if err := demo.Connected(s.ctx, s.panels[0], s.panels[1]); err != nil {
		t.Error(err)
	}
}

// TestRemoval removes a room at a panel: its call ends with the reason, and its
// stage shows nothing of what is sent later.
func TestRemoval(t *testing.T) {
	s := startRooms(t, "Vauban", "Curie")
	s.call()
	id, m := member(s.panels[0], "Curie")
	s.do(0, "Roster/Remove", map[string]any{"Member": id, "Credential": m["Credential"]})
	s.await(1, "the removal", func(c *demo.Controller) bool { return c.Text("Call/State") == "Idle" })
	s.await(0, "the roster without Curie", func(c *demo.Controller) bool {
		_, m := member(c, "Curie")
		return m == nil
	})
	s.expect(1, 0)
	time.Sleep(time.Second)
	if got := s.frames(1); got != 0 {
		t.Errorf("the removed room's stage showed %d pictures", got)
	}
	// What a person saw is what happens: the same touch again finds nobody.
	err := s.panels[0].Do(s.ctx, "Roster/Remove", map[string]any{"Member": id, "Credential": m["Credential"]})
	if err == nil {
		t.Error("a member that is gone was removed again")
	}
}

// TestDecline has a person turn down a call, and another one cancel it.
func TestDecline(t *testing.T) {
	s := startRooms(t, "Vauban", "Curie")
	idle := func(c *demo.Controller) bool { return c.Text("Call/State") == "Idle" }
	if err := demo.Ring(s.ctx, s.panels[0], s.panels[1], "curie"); err != nil {
		t.Fatal(err)
	}
	s.do(1, "Call/Decline", map[string]any{"CallId": s.panels[1].Text("Call/CallId")})
	s.await(0, "the caller to be idle", idle)
	s.await(1, "the called room to be idle", idle)

	if err := demo.Ring(s.ctx, s.panels[1], s.panels[0], "vauban"); err != nil {
		t.Fatal(err)
	}
	s.do(1, "Call/Leave", map[string]any{"CallId": s.panels[1].Text("Call/CallId")})
	s.await(0, "the ringing to end", idle)
	s.await(1, "the caller to be idle", idle)
}

// TestNobodyThere calls a room whose process does not run.
func TestNobodyThere(t *testing.T) {
	s := startRooms(t, "Vauban", "Curie")
	if err := s.rooms[1].Kill(); err != nil {
		t.Fatal(err)
	}
	s.do(0, "Call/Start", map[string]any{"Room": "curie"})
	s.await(0, "the call to fail", func(c *demo.Controller) bool { return c.Text("Call/State") == "Idle" })
	if err := s.panels[0].Do(s.ctx, "Call/Start", map[string]any{"Room": "nowhere"}); err == nil {
		t.Error("a room that is not in the directory was called")
	}
}

// TestBusyPort starts a second room on the ports of a first. The daemon says
// what to do, and comes up once the port is free.
func TestBusyPort(t *testing.T) {
	rooms, err := demo.New(t.Context(), program, t.TempDir(), demo.Options{}, "Vauban")
	if err != nil {
		t.Fatal(err)
	}
	r := rooms[0]
	ln, err := net.Listen("tcp", r.Panel)
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := r.Stop(); err != nil {
			t.Error(err)
		}
	})
	wait(t, "the log to name the remedy", func() bool { return strings.Contains(r.Log(), "give the panel another address") })
	if err := ln.Close(); err != nil {
		t.Fatal(err)
	}
	c, err := r.Connect(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	c.Close()
}

// TestMissingCamera gives a room a camera that is not there: it says so, and
// can still be called.
func TestMissingCamera(t *testing.T) {
	rooms, err := demo.New(t.Context(), program, t.TempDir(), demo.Options{}, "Vauban", "Curie")
	if err != nil {
		t.Fatal(err)
	}
	edit(t, rooms[1], "camera", "/dev/video99")
	s := &runningSite{t: t, ctx: t.Context(), rooms: rooms, panels: make([]*demo.Controller, 2)}
	for i := range rooms {
		s.start(i)
		t.Cleanup(func() { _ = rooms[i].Stop() })
	}
	if err := demo.Ring(s.ctx, s.panels[0], s.panels[1], "curie"); err != nil {
		t.Fatal(err)
	}
	s.expect(1, 0)
	s.do(1, "Call/Answer", map[string]any{"CallId": s.panels[1].Text("Call/CallId")})
	s.await(1, "the condition", func(c *demo.Controller) bool { return c.Text("Diagnostics/Conditions/camera/Remedy") != "" })
	s.seen(1)
}

func wait(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for began := time.Now(); !ok(); time.Sleep(20 * time.Millisecond) {
		if time.Since(began) > patience {
			t.Fatalf("waited %v for %s", patience, what)
		}
	}
}

func readFile(t *testing.T, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// edit changes one setting of a room that does not run.
func edit(t *testing.T, r *demo.Room, key string, value any) {
	t.Helper()
	name := filepath.Join(r.Dir, "room.json")
	settings := map[string]any{}
	if err := json.Unmarshal(readFile(t, name), &settings); err != nil {
		t.Fatal(err)
	}
	settings[key] = value
	b, err := json.Marshal(settings)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, b, 0o600); err != nil {
		t.Fatal(err)
	}
}
