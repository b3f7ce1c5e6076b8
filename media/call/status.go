// SPDX-License-Identifier: Apache-2.0

package call

import (
	"encoding/hex"
	"slices"
	"time"

	"incamera/media/e2ee"
)

// Status is what people may know of the call. It is a copy: whoever has it may
// keep it.
type Status struct {
	State    State
	Outgoing bool   // in Calling: always; in Ringing: never
	CallID   string // "" in Idle
	Meeting  []byte
	Peer     string // name of the room that is called or calls
	Since    time.Time
	Ended    error // in Idle: why the last call ended, nil if this room ended it

	Muted, CameraOff bool // this room's gates

	Epoch   uint64
	Suite   string
	Code    Code
	Members []Member // the roster, this room included, in the order of the tree
	Waiting []Knock  // the lobby
	Relay   bool     // the relay can be reached
}

// A Code is the security code with what people must know to compare it.
type Code struct {
	Code     string // 30 digits; "" until it is computed
	Previous string // the one before, to be struck out
	Why      CodeReason
	Who      string // the room that was the reason
	Since    time.Time
}

// A CodeReason says why the security code is a new one.
type CodeReason int

// The reasons.
const (
	Renewed  CodeReason = iota // keys were renewed, the rooms are the same
	Started                    // the meeting began
	Joined                     // a room came
	Returned                   // a room came back
	Left                       // a room left, or was lost for too long
	Removed                    // a room was put out
)

// String names the reason as the panel's API does.
func (r CodeReason) String() string {
	return [...]string{"Renewed", "Started", "Joined", "Returned", "Left", "Removed"}[r]
}

// A Member is one room of the roster. Name, site and credential are those of
// its leaf in the ratchet tree; what it says of itself is so called.
type Member struct {
	ID            string // stable while the room is a member
	Leaf          e2ee.Leaf
	Name, Site    string
	Credential    [32]byte // SHA-256 of its certificate
	Self          bool
	SaysMuted     bool
	SaysCameraOff bool
	Link          Link
	Counts        Counts
	Verdict       e2ee.Verdict  // on its software, by this room's own appraisal
	VerdictAge    time.Duration // of the evidence
}

// A Link is how the media of a member arrive.
type Link int

// The links.
const (
	LinkConnecting Link = iota
	LinkGood
	LinkLost // nothing comes, or the relay says that the room is gone
)

// String names the link as the panel's API does.
func (l Link) String() string { return [...]string{"Connecting", "Good", "Lost"}[l] }

// A Knock is a room in the lobby, as its certificate in the KeyPackage says.
type Knock struct {
	ID         string
	Name, Site string
	Credential [32]byte
	Since      time.Time
	Verdict    e2ee.Verdict
}

// A NotAttestedError is an [ErrNotAttested] with the verdict, for the panel.
type NotAttestedError struct {
	Room    string
	Verdict e2ee.Verdict
}

// Error says which room and why.
func (e *NotAttestedError) Error() string {
	return ErrNotAttested.Error() + ": " + e.Room + ": " + e.Verdict.Reason
}

// Unwrap makes it an [ErrNotAttested].
func (e *NotAttestedError) Unwrap() error { return ErrNotAttested }

// publish tells the listener and the stage, if anything changed.
func (o *owner) publish() {
	s := o.status
	s.Members, s.Waiting = nil, nil
	if m := o.meeting; m != nil {
		s.Relay = m.conn != nil
		s.Members = m.roster()
		for _, k := range m.knocks {
			s.Waiting = append(s.Waiting, k.Knock)
		}
		slices.SortFunc(s.Waiting, func(a, b Knock) int { return a.Since.Compare(b.Since) })
	}
	if o.told && same(s, o.last) {
		return
	}
	o.told, o.last = true, s
	o.config.Media.Show(s)
	o.config.OnStatus(s)
}

// same reports whether two statuses differ in nothing but counters.
func same(a, b Status) bool {
	members := slices.EqualFunc(a.Members, b.Members, func(a, b Member) bool {
		a.Counts.Received, a.Counts.Opened, a.Counts.Refused, a.Counts.Decoded = 0, 0, 0, 0
		b.Counts.Received, b.Counts.Opened, b.Counts.Refused, b.Counts.Decoded = 0, 0, 0, 0
		return a == b
	})
	return members && slices.Equal(a.Waiting, b.Waiting) && slices.Equal(a.Meeting, b.Meeting) &&
		a.State == b.State && a.Outgoing == b.Outgoing && a.CallID == b.CallID && a.Peer == b.Peer &&
		a.Since.Equal(b.Since) && a.Ended == b.Ended && a.Muted == b.Muted && a.CameraOff == b.CameraOff && //nolint:errorlint // the same value, not the same kind
		a.Epoch == b.Epoch && a.Suite == b.Suite && a.Code == b.Code && a.Relay == b.Relay
}

// memberID names a member for the panel: its leaf and the epoch in which it
// came, so that the next room on the same leaf is another.
func memberID(m e2ee.Member) string {
	return hex.EncodeToString(m.Credential[:4]) + "-" + hex.EncodeToString([]byte{byte(m.Leaf >> 8), byte(m.Leaf)})
}
