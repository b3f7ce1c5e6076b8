// SPDX-License-Identifier: Apache-2.0

// Package demo starts rooms with simulated hardware on one computer, each a
// process of its own, and drives them through their panels. The demo and the
// tests of whole rooms share it; no release program links it.
package demo

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"incamera/cmd/internal/site"
)

// A Room is one room of the demo and its process.
type Room struct {
	ID, Name string
	Panel    string // address of the panel
	Stage    string // address of the virtual display
	Relay    string
	Dir      string // its configuration, identity, state and log
	Speaker  string // file into which the loudspeaker plays

	Attestation string // where anyone may challenge the room; "" if it has no TPM

	site  *site.Authority
	tpm   string         // as the configuration names it
	trust map[string]any // of the configuration; nil without a TPM
	staff *Trust         // who will let the room into the site; nil once it is in
	exe   string
	cmd   *exec.Cmd
	done  chan struct{} // closed when the process has ended
}

// Options says what the rooms see and hear.
type Options struct {
	Camera     string // "" for the scripted scene, a device or a clip
	Microphone string // "" for the scripted voice, a device or a recording
	Ports      [3]int // first panel, stage and relay port to try; 0 takes any free one

	Trust   *Trust // the site's verifier; nil for rooms without TPMs
	Mode    string // "attested-only" or "flagged": whom the rooms' meetings take
	Altered string // the room that starts other software once it is enrolled; "" for none
}

// New prepares one room for each name, without starting it: certificates of a
// common site, a configuration and a folder under dir. Every room can call
// every other one. The rooms run the program exe.
func New(ctx context.Context, exe, dir string, o Options, names ...string) ([]*Room, error) {
	authority, err := site.New("Maison Demo")
	if err != nil {
		return nil, err
	}
	var rooms []*Room
	for i, name := range names {
		id := strings.ToLower(name)
		r := &Room{ID: id, Name: name, Dir: filepath.Join(dir, id), exe: exe, site: authority, tpm: "none"}
		r.Speaker = filepath.Join(r.Dir, "loudspeaker.wav")
		for j, addr := range []*string{&r.Panel, &r.Stage, &r.Relay} {
			want := o.Ports[j]
			if want != 0 {
				want += i
			}
			if *addr, err = freeAddr(ctx, want); err != nil {
				return nil, err
			}
		}
		if err := r.equip(ctx, o); err != nil {
			return nil, err
		}
		rooms = append(rooms, r)
	}
	for _, r := range rooms {
		if err := r.configure(o, rooms); err != nil {
			return nil, err
		}
	}
	return rooms, nil
}

// equip gives a room its identity: from the demo's own CA, or a TPM with which it
// enrols itself.
func (r *Room) equip(ctx context.Context, o Options) error {
	if o.Trust == nil {
		return r.IssueFor(r)
	}
	addr, err := freeAddr(ctx, 0)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(r.Dir, 0o700); err != nil {
		return err
	}
	r.staff = o.Trust
	return o.Trust.Give(ctx, r, o.Mode, o.Altered == r.Name, addr)
}

// IssueFor gives another room an identity of this room's site.
func (r *Room) IssueFor(other *Room) error {
	return r.site.Issue(filepath.Join(other.Dir, "identity"), other.Name, net.IPv4(127, 0, 0, 1))
}

// freeAddr returns a loopback address with the port, or with another free one
// if that is 0 or taken. The room opens it later, so it is one that the kernel
// gives to nobody who asks for any port: those begin at 32768.
func freeAddr(ctx context.Context, port int) (string, error) {
	var listen net.ListenConfig
	var err error
	for range 100 {
		if port == 0 {
			port = 20000 + rand.IntN(12000) //nolint:gosec // a port, no secret
		}
		var ln net.Listener
		if ln, err = listen.Listen(ctx, "tcp", fmt.Sprintf("127.0.0.1:%d", port)); err == nil {
			addr := ln.Addr().String()
			return addr, ln.Close()
		}
		port = 0
	}
	return "", err
}

func (r *Room) configure(o Options, all []*Room) error {
	camera, sound := "sim", "sim:speaker="+r.Speaker
	switch {
	case strings.HasPrefix(o.Camera, "/dev/"):
		camera = o.Camera
	case o.Camera != "":
		camera = "sim:file=" + o.Camera
	}
	switch {
	case strings.HasSuffix(o.Microphone, ".wav"):
		sound += ",microphone=" + o.Microphone
	case o.Microphone != "":
		sound = o.Microphone
	}
	type entry struct {
		ID      string `json:"id"`
		Name    string `json:"name"`
		Address string `json:"address"`
	}
	directory := []entry{}
	for _, other := range all {
		if other != r {
			directory = append(directory, entry{other.ID, other.Name, other.Relay})
		}
	}
	c := map[string]any{
		"version": 1, "tpm": r.tpm, "id": r.ID, "name": r.Name, "identity": "identity", "state": "state",
		"panel": r.Panel, "relay": r.Relay, "camera": camera, "sound": sound, "display": "sim:" + r.Stage,
		"rooms": directory,
	}
	if r.trust != nil {
		c["trust"] = r.trust
	}
	b, err := json.MarshalIndent(c, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(r.Dir, "room.json"), b, 0o600)
}

// Start starts the room's process, which logs into a file. It ends with ctx, by
// [Room.Stop] or by [Room.Kill].
func (r *Room) Start(ctx context.Context) error {
	log, err := os.OpenFile(filepath.Join(r.Dir, "log.jsonl"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	r.cmd = exec.CommandContext(ctx, r.exe, "-config", filepath.Join(r.Dir, "room.json")) //nolint:gosec // the caller names its own program
	r.cmd.Stderr = log
	r.cmd.Cancel = func() error { return r.cmd.Process.Signal(syscall.SIGTERM) }
	r.cmd.WaitDelay = 10 * time.Second
	r.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM}
	if err := r.cmd.Start(); err != nil {
		return err
	}
	r.done = make(chan struct{})
	go func(cmd *exec.Cmd, done chan<- struct{}) {
		_ = cmd.Wait() // how it ended is in its log
		close(done)
	}(r.cmd, r.done)
	return nil
}

// Connect has the site take a new room in, waits until the room's panel answers, and returns a controller.
func (r *Room) Connect(ctx context.Context) (*Controller, error) {
	if r.staff != nil {
		if err := r.staff.Admit(ctx, r); err != nil {
			return nil, err
		}
		r.staff = nil
	}
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	for {
		// The connection outlives this wait: it ends with the process.
		c, err := Dial(context.WithoutCancel(ctx), r.Panel)
		if err == nil {
			return c, nil
		}
		select {
		case <-r.done:
			return nil, fmt.Errorf("%s ended:\n%s", r.Name, r.Log())
		case <-ctx.Done():
			return nil, fmt.Errorf("%s: %w: %w\n%s", r.Name, context.Cause(ctx), err, r.Log())
		case <-time.After(5 * time.Millisecond):
		}
	}
}

// PID is the process of the room.
func (r *Room) PID() int { return r.cmd.Process.Pid }

// Kill ends the room as a power cut does.
func (r *Room) Kill() error {
	if err := r.cmd.Process.Kill(); err != nil {
		return err
	}
	<-r.done
	return nil
}

// Stop asks the room to end and waits for it, for at most 10 seconds.
func (r *Room) Stop() error {
	if r.cmd == nil {
		return nil
	}
	_ = r.cmd.Process.Signal(syscall.SIGTERM) // it may have ended
	select {
	case <-r.done:
		return nil
	case <-time.After(10 * time.Second):
		return errors.Join(fmt.Errorf("%s did not stop", r.Name), r.cmd.Process.Kill())
	}
}

// Log returns the end of the room's log, at most 8 KiB.
func (r *Room) Log() string {
	f, err := os.Open(filepath.Join(r.Dir, "log.jsonl"))
	if err != nil {
		return err.Error()
	}
	defer f.Close()
	if info, err := f.Stat(); err == nil && info.Size() > 8<<10 {
		_, _ = f.Seek(-8<<10, io.SeekEnd) // if it fails we show the beginning
	}
	b, _ := io.ReadAll(io.LimitReader(f, 8<<10)) // what could be read is what we show
	return string(b)
}
