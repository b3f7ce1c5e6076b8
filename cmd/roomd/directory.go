// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"path/filepath"
	"slices"
	"strings"

	"incamera/cmd/internal/kept"
	"incamera/media/call"
	"incamera/secureboot/enrol/client"
)

// maxDirectory is how many rooms panels show.
const maxDirectory = 500

// A directory is the rooms of the site, this one among them, as the site last
// named them. It is kept, so that rooms meet while their verifier is out of
// reach.
type directory struct {
	Version int              `json:"version"` // of the format: 1
	Rooms   []directoryEntry `json:"rooms"`
}

func (c *config) directoryFile() kept.File {
	return kept.File(filepath.Join(c.State, "directory.json"))
}

// fetchDirectory asks the site for its rooms.
func fetchDirectory(ctx context.Context, m *client.Member, id *client.Identity) (directory, error) {
	site, err := m.Client(id)
	if err != nil {
		return directory{}, err
	}
	defer site.Close()
	entries, err := site.Directory(ctx)
	if err != nil {
		return directory{}, err
	}
	d := directory{Version: 1}
	for _, e := range entries {
		d.Rooms = append(d.Rooms, directoryEntry{ID: e.ID, Name: e.Name, Address: e.Address})
	}
	slices.SortFunc(d.Rooms, func(a, b directoryEntry) int { return strings.Compare(a.ID, b.ID) })
	return d, nil
}

// use has the configuration follow a directory: the other rooms, and where they
// find this one.
func (c *config) use(d directory) error {
	next := *c
	next.Rooms = []directoryEntry{}
	for _, r := range d.Rooms {
		if r.ID == c.ID {
			next.Relay = r.Address
		} else if len(next.Rooms) < maxDirectory {
			next.Rooms = append(next.Rooms, r)
		}
	}
	if err := next.checkRooms(); err != nil {
		return fmt.Errorf("directory: %w", err)
	}
	*c = next
	return nil
}

// useKept follows the directory of the last time, which it puts into d. Without
// one the room can be called, and calls nobody.
func (c *config) useKept(d *directory) error {
	if err := c.directoryFile().Load(d); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("directory: %w", err)
	}
	return c.use(*d)
}

// learn takes a new directory: panels and calls follow it at once. Where others
// find this room is of the next start, as its relay says so to them.
func (r *roomState) learn(ctx context.Context, c *config, engine *call.Engine, d directory, log *slog.Logger) {
	next := *c
	err := next.use(d)
	if err == nil {
		err = c.directoryFile().Save(d)
	}
	if err != nil {
		log.Error("the site's directory is not followed", "err", err)
		return
	}
	r.publisher.directory(next.Rooms)
	if err := engine.SetRooms(ctx, callRooms(next.Rooms)); err != nil {
		log.Debug("the engine did not take the directory", "err", err)
	}
	if next.Relay != c.Relay {
		log.Warn("the site says another address of this room, which it takes at its next start", "now", c.Relay, "then", next.Relay)
	}
}

func callRooms(rooms []directoryEntry) []call.Room {
	var out []call.Room
	for _, r := range rooms {
		out = append(out, call.Room{ID: r.ID, Name: r.Name, Address: r.Address})
	}
	return out
}
