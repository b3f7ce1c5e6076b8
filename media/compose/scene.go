// SPDX-License-Identifier: Apache-2.0

package compose

import (
	"slices"
	"strings"
	"unicode"
)

// A Badge is what the verifier says of a room.
type Badge uint8

// The badges. Each has a shape and a word of its own beside its colour.
const (
	NoBadge    Badge = iota // none is shown
	Verified                // evidence appraised and good
	Caution                 // good but old, or a release to be replaced
	Failed                  // evidence refused
	Unverified              // no evidence yet: unknown
)

// An ID names a tile as long as its room is in the meeting. The zero ID is a
// name like any other.
type ID uint64

// A Tile is one room on the stage.
type Tile struct {
	ID        ID
	Name      string // as the ratchet tree has it
	Badge     Badge
	Muted     bool // its microphone is off
	CameraOff bool // it sends no picture on purpose: the name is shown large
	Lost      bool // the connection to it is lost
	Speaking  bool // marked with a frame where several rooms are shown
}

// A Layout arranges the tiles.
type Layout uint8

// The layouts. With one tile there is no difference: it fills the stage.
const (
	SpeakerLayout Layout = iota // one large, the others in a strip
	GridLayout                  // all of one size, at most 3 by 3
)

// SelfView says where this room sees itself.
type SelfView uint8

// The places of the self view.
const (
	SelfOff    SelfView = iota
	SelfCorner          // small, at the bottom right
	SelfTile            // a tile like the others
)

// A Card fills the stage while no tile is there.
type Card struct {
	Title   string   // large: this room's name, or "Vauban is calling"
	Badge   Badge    // of who calls
	Clock   string   // larger still: "14:05"
	Lines   []string // below: the next meeting, what to touch; at most 4
	Calling bool     // somebody calls, or is called
}

// A Scene is what the stage shows. The stage copies it.
type Scene struct {
	Layout Layout
	// Tiles are the other rooms, in the order in which they are shown, with
	// different IDs. Those for which a layout has no place are not shown; the
	// caller puts in front who must be seen.
	Tiles []Tile
	// Large is the tile that SpeakerLayout shows large; without it the first.
	Large ID
	// Content, if set, is what a room shares: it is shown large and the rooms
	// in a strip. Its ID is its own.
	Content  *Tile
	Self     *Tile // this room; without it there is no self view
	SelfView SelfView
	Card     *Card
	// Banner is a line at the bottom: "Lyon asks to join", or the security
	// code. Empty for none.
	Banner string
}

// clone copies s, so that its owner may go on changing it.
func (s *Scene) clone() *Scene {
	c := *s
	c.Tiles = slices.Clone(s.Tiles)
	if s.Content != nil {
		t := *s.Content
		c.Content = &t
	}
	if s.Self != nil {
		t := *s.Self
		c.Self = &t
	}
	if s.Card != nil {
		card := *s.Card
		card.Lines = slices.Clone(s.Card.Lines)
		c.Card = &card
	}
	return &c
}

// Words are what the stage itself says, in the room's language.
type Words struct {
	Verified, Caution, Failed, Unverified string
	NoPictureSince                        string // a time of day follows
	ConnectionLost                        string
	CameraOff                             string
	Connecting                            string // no picture has come yet
}

// English is what the stage says unless told otherwise.
var English = Words{
	Verified: "verified", Caution: "caution", Failed: "failed", Unverified: "unknown",
	NoPictureSince: "No picture since", ConnectionLost: "Connection lost",
	CameraOff: "Camera off", Connecting: "Connecting",
}

func (w *Words) badge(b Badge) string {
	switch b {
	case NoBadge:
	case Verified:
		return w.Verified
	case Caution:
		return w.Caution
	case Failed:
		return w.Failed
	case Unverified:
		return w.Unverified
	}
	return ""
}

// maxRunes bounds a line of text. No screen shows more in a readable size.
const maxRunes = 80

// clean prepares text from outside for the stage: what would turn or hide
// other text is left out, and it has an end.
func clean(s string) string {
	n := 0
	return strings.TrimSpace(strings.Map(func(r rune) rune {
		switch {
		case unicode.IsSpace(r):
			r = ' '
		case !unicode.IsGraphic(r): // controls, formats such as the bidirectional overrides
			return -1
		}
		if n++; n > maxRunes {
			return -1
		}
		return r
	}, s))
}
