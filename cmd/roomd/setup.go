// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"path/filepath"
	"sync"

	"incamera/cmd/internal/kept"
	"incamera/cmd/internal/supervise"
	"incamera/device/panel"
	"incamera/secureboot/enrol"
)

// A setup makes a room of a box that no site knows: it serves the panel, on
// which a person says where the box is to belong, enrols the box there, and
// writes the configuration of the room. Each step is kept, so that after a power
// cut the set-up goes on where it was.
type setup struct {
	path  string // of the configuration that it writes
	image config // what the image says, as it is to be written
	at    config // the same with its paths resolved
	log   *slog.Logger

	server *panel.Server
	care   *caretaker
	box    *roomBox // nil until it could be opened; of the part that enrols, once that runs
	draft  kept.File

	invited chan enrol.Invitation // the latest that a person brought
	stop    context.CancelFunc    // of the set-up's parts
	done    bool                  // the room is written

	mu    sync.Mutex // guards what follows
	notes draft
	shown progress
	chip  string // hash of the endorsement key; "" until the box could be opened
}

// A draft is what a person entered and the set-up has not used up yet.
type draft struct {
	Version int    `json:"version"` // of the format: 1
	Name    string `json:"name,omitempty"`
	// Invitation is a secret until the box is enrolled. The file is on the
	// encrypted partition, and goes with the set-up.
	Invitation string `json:"invitation,omitempty"`
}

func (c *config) draftFile() kept.File { return kept.File(filepath.Join(c.State, "setup.json")) }

// setUp serves the panel until the configuration at path is there, and returns
// it with the box, which is open. It returns the cause of ctx if that ends first.
func setUp(ctx context.Context, path, image string, log *slog.Logger) (config, *roomBox, error) {
	s, err := newSetup(path, image, log.With("part", "set-up"))
	if err != nil {
		return config{}, nil, err
	}
	if err := s.open(ctx); err != nil {
		// The panel is served nevertheless: it is where a person sees why.
		s.log.Error("the box is not ready to be set up", "err", err)
	}
	for !s.done {
		if err := s.run(ctx, log); err != nil {
			return config{}, nil, errors.Join(err, s.close())
		}
	}
	c, err := readConfig(path)
	if err != nil {
		return config{}, nil, errors.Join(err, s.close())
	}
	return c, s.box, nil
}

// run serves the panel until all is done, or the box could be opened that could
// not before: then panels can be paired, and all begins anew.
func (s *setup) run(ctx context.Context, log *slog.Logger) error {
	parts, err := s.wire(ctx, log)
	if err != nil {
		return err
	}
	running, stop := context.WithCancel(ctx)
	defer stop()
	s.stop = stop
	if err := supervise.Run(running, log, supervise.Limits{}, parts...); err != nil {
		return err
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return nil
}

func newSetup(path, image string, log *slog.Logger) (*setup, error) {
	c, err := readImage(image)
	if err != nil {
		return nil, err
	}
	s := &setup{
		path: path, image: c, at: c.at(filepath.Dir(path)), log: log,
		invited: make(chan enrol.Invitation, 1),
	}
	s.draft = s.at.draftFile()
	if err := s.draft.Load(&s.notes); err != nil && !errors.Is(err, fs.ErrNotExist) {
		log.Warn("what was entered before is lost", "err", err)
	}
	return s, nil
}

// nameless is what a box is called before anybody named it.
const nameless = "In Camera"

// wire makes the parts of a set-up. The room's own are not among them.
func (s *setup) wire(ctx context.Context, log *slog.Logger) ([]supervise.Part, error) {
	id := "ic-new"
	way := &doors{}
	if s.box != nil {
		id = "ic-" + s.box.Chip()[:4]
		var err error
		if way, err = newDoors(ctx, &s.at, id, s.box.TPM, log.With("part", "pairing")); err != nil {
			return nil, err
		}
	}
	name := s.notes.Name
	if name == "" {
		name = nameless
	}
	deps := panel.Deps{Enrolment: s, Pairing: way.keeper}
	if s.at.Box != "" {
		s.care = newCaretaker(&s.at, s.publish, s.setName, log.With("part", "box"))
		deps.System, deps.Network = s.care, s.care
	}
	s.server = panel.New(panel.Room{ID: id, Name: name, Version: version}, deps, log.With("part", "panel"))
	parts := []supervise.Part{listening("panel", s.at.Panel, s.server.Serve)}
	parts = append(parts, way.parts(s.server)...)
	if s.care != nil {
		s.care.begin()
		parts = append(parts, supervise.Part{Name: "box", Run: running(s.care.watch)})
	}
	first := progress{state: needed}
	if s.notes.Invitation != "" {
		first.state = enrolling // where it was
	}
	s.show(first)
	return append(parts, supervise.Part{Name: "enrolment", Run: running(s.enrol)}), nil
}

func (s *setup) publish(f func(*panel.Tx)) { s.server.Publish(f) }

// setName names the box until a site names the room.
func (s *setup) setName(_ context.Context, name string) error {
	if err := s.note(func(d *draft) { d.Name = name }); err != nil {
		return err
	}
	s.publish(func(tx *panel.Tx) { tx.Set("System/Name", name) })
	return nil
}

// note changes what was entered, and keeps it before it is acted on.
func (s *setup) note(change func(*draft)) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	next := s.notes
	next.Version = 1
	change(&next)
	if err := s.draft.Save(next); err != nil {
		return &panel.Refusal{Reason: panel.StorageFailed, Err: err}
	}
	s.notes = next
	return nil
}

// StartEnrolment implements [panel.EnrolmentControl].
func (s *setup) StartEnrolment(_ context.Context, text string) error {
	invitation, err := enrol.ParseInvitation(text)
	if err != nil {
		s.trouble("Malformed")
		return &panel.Refusal{Reason: panel.InvalidParams, Path: "Invitation", Detail: "this is no invitation, or not all of it", Err: err}
	}
	if err := s.note(func(d *draft) { d.Invitation = invitation.String() }); err != nil {
		return err
	}
	for {
		select {
		case s.invited <- invitation:
			return nil
		default:
		}
		select {
		case <-s.invited: // an earlier one that nobody has looked at
		default:
		}
	}
}

// close gives the TPM back.
func (s *setup) close() error {
	if s.box == nil {
		return nil
	}
	return s.box.TPM.Close()
}
