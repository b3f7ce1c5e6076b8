// SPDX-License-Identifier: Apache-2.0

package main

import (
	"net/http"
	"slices"
	"strings"
	"sync"

	"incamera/secureboot/enrol"
)

// A directory keeps the answer for rooms that ask where the others are, until
// the store has other rooms: to read 10,000 records takes long, and each of
// 10,000 rooms asks.
type directory struct {
	mu         sync.Mutex
	generation string
	answer     *answer
}

// newDirectory says that the rooms, or where they are, have changed.
func (t *txn) newDirectory() error { return t.setMeta("directory", []byte(newSession())) }

// listDirectory tells rooms where the others are.
func (v *service) listDirectory(r *http.Request, _ *caller) (a *answer, err error) {
	err = v.store.glance(r.Context(), func(t *txn) error {
		a, err = v.directory.load(t, v)
		return err
	})
	return a, err
}

func (d *directory) load(t *txn, v *service) (*answer, error) {
	b, err := t.meta("directory")
	if err != nil {
		return nil, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.answer != nil && d.generation == string(b) {
		return d.answer, nil
	}
	list := []enrol.DirectoryEntry{}
	err = t.rows(`SELECT record FROM rooms WHERE state = ?`, []any{enrol.StateEnrolled}, func(read func(...any) error) error {
		var b []byte
		if err := read(&b); err != nil {
			return err
		}
		rec, err := decodeRecord(b)
		if err == nil {
			list = append(list, enrol.DirectoryEntry{ID: rec.Room.ID, Name: rec.Room.Name, Address: v.address(&rec.Room)})
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	slices.SortFunc(list, func(a, b enrol.DirectoryEntry) int { return strings.Compare(a.ID, b.ID) })
	a, err := reply(http.StatusOK, map[string]any{"rooms": list})
	if err == nil {
		d.generation, d.answer = string(b), a
	}
	return a, err
}

// address is where a room's relay is reached. A room that enrolled before there
// were addresses has none of its own.
func (v *service) address(room *enrol.Room) string {
	if room.Address != "" {
		return room.Address
	}
	return v.authority.Address(room.ID)
}
