// SPDX-License-Identifier: Apache-2.0

package signal

// A Reason says why something ended or was turned down.
type Reason string

// The reasons, stable once released.
const (
	Busy       Reason = "busy"        // the called room is in a meeting
	DeclinedBy Reason = "declined"    // a person said no
	NoAnswer   Reason = "no_answer"   // nobody said anything in time
	NotAllowed Reason = "not_allowed" // the meeting's policy says no

	NotAttested Reason = "not_attested" // the room did not prove its software

	WasWelcomed Reason = "welcomed" // the knock led to a membership
	WasRefused  Reason = "refused"  // the knock was turned away
	Left        Reason = "left"     // the room went by itself
	Removed     Reason = "removed"  // the group removed the room
	Lost        Reason = "lost"     // the room did not come back in time

	Replaced Reason = "replaced"  // another connection of the same room took over
	Reopened Reason = "reopened"  // the meeting began a new log at a higher epoch
	Ended    Reason = "ended"     // no member is left
	TooSlow  Reason = "too_slow"  // the room does not read what it is sent
	Confused Reason = "malformed" // the room sent what is no message
	TooMany  Reason = "too_many"  // the room has too many connections
	Stopping Reason = "stopping"  // the relay stops
)

// Valid reports whether r is one of the reasons above.
func (r Reason) Valid() bool {
	switch r {
	case Busy, DeclinedBy, NoAnswer, NotAllowed, NotAttested, WasWelcomed, WasRefused, Left, Removed, Lost,
		Replaced, Reopened, Ended, TooSlow, Confused, TooMany, Stopping:
		return true
	}
	return false
}

// A Code says why a request changed nothing.
type Code string

// The codes, stable once released.
const (
	CodeNotFound  Code = "not_found" // no such meeting, knock or room here, or not any more
	CodeForbidden Code = "forbidden" // this room may not
	CodeState     Code = "state"     // not at this point of the connection's life
	CodeFull      Code = "full"      // a limit of the relay is reached
	CodeHead      Code = "head"      // the MLS message is not of this meeting or not of this sort
)

// Valid reports whether c is one of the codes above.
func (c Code) Valid() bool {
	switch c {
	case CodeNotFound, CodeForbidden, CodeState, CodeFull, CodeHead:
		return true
	}
	return false
}
