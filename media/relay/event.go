// SPDX-License-Identifier: Apache-2.0

package relay

import (
	"strconv"

	"incamera/media/signal"
)

// An Event is what a relay tells a member unasked: [Ordered], [Knocked],
// [KnockEnded], [Presence] or [Gone].
type Event interface{ size() int }

type (
	// Ordered is the next message of the meeting's log, also of what this room
	// sent itself. Seq has no gaps; the receiver owns Message.
	Ordered struct {
		Seq     uint64
		Message []byte
	}

	// Knocked says that Room asks to be added. ID names the knock in
	// Welcome.To and Refuse; a relay gives each once, but tells a member again
	// about those that wait when it rejoins.
	Knocked struct {
		ID         string
		Room       Room
		KeyPackage []byte
	}

	// KnockEnded says that a knock can no longer be answered: WasWelcomed,
	// WasRefused or Left of package signal.
	KnockEnded struct {
		ID     string
		Reason Reason
	}

	// Presence says whether the relay has a connection to another member. A
	// new member gets one for each room that is there.
	Presence struct {
		Room      Room
		Connected bool
	}

	// Gone says that the relay no longer serves a room as a member: Left,
	// Removed or Lost of package signal. The group may still hold its leaf.
	Gone struct {
		Room   Room
		Reason Reason
	}
)

func (e Ordered) size() int  { return len(e.Message) }
func (e Knocked) size() int  { return len(e.KeyPackage) }
func (KnockEnded) size() int { return 0 }
func (Presence) size() int   { return 0 }
func (Gone) size() int       { return 0 }

// event translates what came over the wire; nil if it is no event.
func event(b signal.Body) Event {
	switch b := b.(type) {
	case signal.Ordered:
		return Ordered{Seq: b.Seq, Message: b.Message}
	case signal.Knocked:
		return Knocked{ID: formatKnock(b.Knock), Room: b.Room, KeyPackage: b.KeyPackage}
	case signal.KnockEnded:
		return KnockEnded{ID: formatKnock(b.Knock), Reason: b.Reason}
	case signal.Presence:
		return Presence{Room: b.Room, Connected: b.Connected}
	case signal.Gone:
		return Gone{Room: b.Room, Reason: b.Reason}
	}
	return nil
}

func formatKnock(n uint64) string { return strconv.FormatUint(n, 10) }

// parseKnock returns 0, which no knock has, for what is no number.
func parseKnock(id string) uint64 {
	n, err := strconv.ParseUint(id, 10, 64)
	if err != nil {
		return 0
	}
	return n
}
