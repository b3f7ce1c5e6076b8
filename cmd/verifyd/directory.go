// SPDX-License-Identifier: Apache-2.0

package main

import (
	"net/http"
	"slices"
	"strings"

	"incamera/secureboot/enrol"
)

// directory tells rooms where the others are.
func (v *service) directory(r *http.Request, _ *caller) (*answer, error) {
	list := []enrol.DirectoryEntry{}
	err := v.store.glance(r.Context(), func(t *txn) error {
		return t.rows(`SELECT record FROM rooms WHERE state = ?`, []any{enrol.StateEnrolled}, func(read func(...any) error) error {
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
	})
	if err != nil {
		return nil, err
	}
	slices.SortFunc(list, func(a, b enrol.DirectoryEntry) int { return strings.Compare(a.ID, b.ID) })
	return reply(http.StatusOK, map[string]any{"rooms": list})
}

// address is where a room's relay is reached. A room that enrolled before there
// were addresses has none of its own.
func (v *service) address(room *enrol.Room) string {
	if room.Address != "" {
		return room.Address
	}
	return v.authority.Address(room.ID)
}
