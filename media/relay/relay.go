// SPDX-License-Identifier: Apache-2.0

// Package relay is the delivery service of meetings (RFC 9750, Section 5): a
// [Server] that orders the messages of MLS groups, and the [Conn] of a room to
// one.
//
// A relay decides which commit comes first, never who is in: it holds no key,
// links no MLS, and reads of a message only the clear head. It can delay, drop
// or refuse; it cannot read, forge, or add a member. Its state is in memory
// only; after a restart rooms open the meeting anew and knock again.
//
// Each room runs one Server for the meetings that it hosts and for the rings
// that reach it; the room itself uses it through a Conn over loopback, as all
// others do, so there is one code path. Connections are WebSockets over TLS
// 1.3, both sides with a certificate of the site; messages are those of
// package signal.
package relay

import (
	"errors"
	"fmt"
	"time"

	"incamera/media/signal"
)

// A Room is the name and site of a room, as in its TLS certificate.
type Room = signal.Room

// A Reason says why something ended or was turned down.
type Reason = signal.Reason

// Errors on which a caller acts.
var (
	// ErrStale means that the group has moved on: another commit won the slot,
	// or the message is of an epoch that is no longer taken. What won arrives
	// as an Ordered event; process it and build anew. The error is a
	// [*StaleError].
	ErrStale = errors.New("relay: stale epoch")

	// ErrNotFound means that the relay does not, or no longer, have the
	// meeting, the knock, or the messages asked for. A room that wanted to
	// rejoin knocks again; a commit for a knock that is gone is discarded.
	ErrNotFound = errors.New("relay: not found")

	// ErrForbidden means that this room may not do that on this relay.
	ErrForbidden = errors.New("relay: not allowed")

	// ErrFull means that a limit of the relay is reached; it may work later.
	ErrFull = errors.New("relay: full")

	// ErrStranger means that the other side of a connection is no room of the
	// site, or not the one expected.
	ErrStranger = errors.New("relay: stranger")

	// ErrClosed means that the connection has ended. A member dials again and
	// rejoins, within [RejoinTime].
	ErrClosed = errors.New("relay: connection closed")
)

// A StaleError says where the group is now. It wraps [ErrStale].
type StaleError struct {
	Epoch uint64 // of the group
	Seq   uint64 // of the commit that led there; 0 if the meeting was opened at Epoch
}

func (e *StaleError) Error() string { return fmt.Sprintf("%v: the group is at %d", ErrStale, e.Epoch) }

// Unwrap returns ErrStale.
func (e *StaleError) Unwrap() error { return ErrStale }

// A RefusedError means that a member turned the knocking room away.
type RefusedError struct{ Reason Reason }

func (e *RefusedError) Error() string { return "relay: refused: " + string(e.Reason) }

// A ClosedError says why the relay closed the connection. It wraps [ErrClosed].
type ClosedError struct{ Reason Reason }

func (e *ClosedError) Error() string { return fmt.Sprintf("%v: %s", ErrClosed, e.Reason) }

// Unwrap returns ErrClosed.
func (e *ClosedError) Unwrap() error { return ErrClosed }

// What a relay holds at most. The sizes of messages are in package signal.
const (
	MaxMeetings = 8
	MaxMembers  = signal.MaxMembers  // of a meeting
	MaxKnocks   = signal.MaxWelcomes // of a meeting, at one time
	MaxLog      = 256                // messages of a meeting kept for who rejoins
	MaxLogBytes = 8 << 20            // their bytes

	maxConns     = 1024 // connections
	maxRoomConns = 8    // connections of one room: one per meeting, and a ring
	maxRings     = 8    // rings at one time
	pastEpochs   = 2    // application messages of so many past epochs still pass
)

// Times of the protocol.
const (
	// RejoinTime is how long a member whose connection broke keeps its place.
	RejoinTime = 30 * time.Second

	// RingTime is how long a ring lasts before it counts as not answered.
	RingTime = 60 * time.Second

	knockWindow  = 10 * time.Second // in which a room may knock
	knocksWindow = 8                // so often: it alarms people

	stopTime    = time.Second      // for connections to take the last message
	requestTime = 10 * time.Second // for an answer that waits for no person
)
