// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"incamera/cmd/internal/demo"
)

// program is the roomd that the tests of whole rooms start.
var program string

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "roomd-test-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	program = filepath.Join(dir, "roomd")
	// Without the race detector: two rooms would not keep up with the cameras.
	build := exec.Command("go", "build", "-o", program, ".")
	build.Stderr = os.Stderr
	if err := build.Run(); err != nil {
		fmt.Fprintln(os.Stderr, "build roomd:", err)
		os.Exit(1)
	}
	code := m.Run()
	_ = os.RemoveAll(dir) // a temporary folder
	os.Exit(code)
}

// A site is some rooms that run, and a controller for each.
type runningSite struct {
	t      *testing.T
	ctx    context.Context
	rooms  []*demo.Room
	panels []*demo.Controller
}

// patience bounds what a test waits for. It is no target: what took how long
// is logged.
const patience = 30 * time.Second

// startRooms starts a room for each name and stops them with the test.
func startRooms(t *testing.T, names ...string) *runningSite {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	t.Cleanup(cancel)
	rooms, err := demo.New(ctx, program, t.TempDir(), demo.Options{}, names...)
	if err != nil {
		t.Fatal(err)
	}
	s := &runningSite{t: t, ctx: ctx, rooms: rooms, panels: make([]*demo.Controller, len(rooms))}
	for i := range rooms {
		s.start(i)
	}
	t.Cleanup(func() {
		for _, r := range rooms {
			if err := r.Stop(); err != nil {
				t.Error(err)
			}
			if t.Failed() {
				t.Logf("%s:\n%s", r.Name, r.Log())
			}
		}
	})
	return s
}

// start starts room i and connects to its panel.
func (s *runningSite) start(i int) {
	s.t.Helper()
	if err := s.rooms[i].Start(context.WithoutCancel(s.ctx)); err != nil {
		s.t.Fatal(err)
	}
	var err error
	if s.panels[i], err = s.rooms[i].Connect(s.ctx); err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(s.panels[i].Close)
}

// call has the first room call the second, which answers, and waits until both
// stages show the other room.
func (s *runningSite) call() {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.ctx, patience)
	defer cancel()
	if err := demo.Ring(ctx, s.panels[0], s.panels[1], s.rooms[1].ID); err != nil {
		s.t.Fatal(err)
	}
	for i := range 2 {
		s.expect(i, 1-i)
	}
	s.do(1, "Call/Answer", map[string]any{"CallId": s.panels[1].Text("Call/CallId")})
	if err := demo.Connected(ctx, s.panels[0], s.panels[1]); err != nil {
		s.t.Fatal(err)
	}
	s.seen(0)
	s.seen(1)
}

func (s *runningSite) do(i int, command string, params map[string]any) {
	s.t.Helper()
	if err := s.panels[i].Do(s.ctx, command, params); err != nil {
		s.t.Fatalf("%s: %v", s.rooms[i].Name, err)
	}
}

// expect begins a new account of what stage i shows of room other.
func (s *runningSite) expect(i, other int) {
	s.t.Helper()
	if err := s.rooms[i].Expect(s.ctx, s.rooms[other].Name); err != nil {
		s.t.Fatal(err)
	}
}

// seen waits until stage i has shown the expected room.
func (s *runningSite) seen(i int) {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.ctx, patience)
	defer cancel()
	if _, err := s.rooms[i].AwaitPicture(ctx); err != nil {
		s.t.Fatal(err)
	}
}

// await waits until the panel of room i shows what is wanted, and returns how
// long that took.
func (s *runningSite) await(i int, what string, ok func(*demo.Controller) bool) time.Duration {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.ctx, patience)
	defer cancel()
	began := time.Now()
	if err := s.panels[i].Await(ctx, what, func() bool { return ok(s.panels[i]) }); err != nil {
		s.t.Fatalf("%s: %v", s.rooms[i].Name, err)
	}
	return time.Since(began)
}

// frames is how many pictures of the expected room stage i has shown.
func (s *runningSite) frames(i int) uint64 {
	s.t.Helper()
	seen, err := s.rooms[i].Witness(s.ctx)
	if err != nil {
		s.t.Fatal(err)
	}
	return seen.Frames
}

// member finds another room in a panel's roster by its name.
func member(c *demo.Controller, name string) (id string, m map[string]any) {
	for id, m := range c.Members() {
		if m["Name"] == name {
			return id, m
		}
	}
	return "", nil
}
