// SPDX-License-Identifier: Apache-2.0

package studio

import (
	"testing"
	"time"

	"incamera/media/call"
	"incamera/media/compose"
)

func TestScene(t *testing.T) {
	noon := time.Date(2026, 11, 22, 12, 4, 0, 0, time.UTC)
	other := call.Member{Leaf: 1, Name: "Curie", Link: call.LinkGood}
	self := call.Member{Leaf: 0, Name: "Vauban", Self: true, Link: call.LinkGood}
	with := func(f func(*call.Member)) []call.Member {
		m := other
		f(&m)
		return []call.Member{self, m}
	}
	tile := compose.Tile{ID: 2, Name: "Curie", Badge: compose.Unverified}
	for _, tt := range []struct {
		name   string
		status call.Status
		title  string        // of the card, "" for none
		tile   *compose.Tile // nil for none
	}{
		{"idle", call.Status{}, "Vauban", nil},
		{"calling", call.Status{State: call.Calling, Peer: "Curie"}, "Calling Curie", nil},
		{"ringing", call.Status{State: call.Ringing, Peer: "Curie"}, "Curie is calling", nil},
		{"alone", call.Status{State: call.Connected, Members: []call.Member{self}}, "Vauban", nil},
		{"together", call.Status{State: call.Connected, Members: with(func(*call.Member) {})}, "", &tile},
		{"says muted", call.Status{State: call.Connected, Members: with(func(m *call.Member) { m.SaysMuted = true })}, "", func() *compose.Tile {
			w := tile
			w.Muted = true
			return &w
		}()},
		{"says muted and is heard", call.Status{State: call.Connected, Members: with(func(m *call.Member) {
			m.SaysMuted, m.Counts.Heard = true, true
		})}, "", func() *compose.Tile {
			w := tile
			w.Speaking = true // never "muted" on a room that is heard
			return &w
		}()},
		{"lost", call.Status{State: call.Connected, Members: with(func(m *call.Member) { m.Link = call.LinkLost })}, "", func() *compose.Tile {
			w := tile
			w.Lost = true
			return &w
		}()},
		{"members before admission", call.Status{State: call.Joining, Members: with(func(*call.Member) {})}, "Vauban", nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := New(Config{Name: "Vauban"})
			s.status = tt.status
			got := s.scene(noon)
			if title := titleOf(got.Card); title != tt.title {
				t.Errorf("card %q, want %q", title, tt.title)
			}
			switch {
			case tt.tile == nil && len(got.Tiles) != 0, tt.tile != nil && len(got.Tiles) != 1:
				t.Errorf("tiles %+v, want %+v", got.Tiles, tt.tile)
			case tt.tile != nil && got.Tiles[0] != *tt.tile:
				t.Errorf("tile %+v, want %+v", got.Tiles[0], *tt.tile)
			}
		})
	}
}

func titleOf(c *compose.Card) string {
	if c == nil {
		return ""
	}
	return c.Title
}
