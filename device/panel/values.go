// SPDX-License-Identifier: Apache-2.0

package panel

import "time"

// A Member is one room of the roster, for Tx.Set("Roster/Members/<id>", m). Its
// id is stable while the room is in the meeting.
type Member struct {
	Name          string
	Site          string
	Credential    string // hash of the leaf certificate, in hexadecimal
	Verdict       string // affirming, warning, contraindicated or none
	VerdictAgeS   int    `json:",omitempty"` // seconds
	Release       string `json:",omitempty"`
	VerdictReason string `json:",omitempty"` // a code of the verifier's vocabulary
	SaysMuted     bool
	SaysCameraOff bool
	Heard         bool
	Link          string // Connecting, Good, Weak or Lost
	Self          bool
}

// A Waiting is one room in the lobby, for Tx.Set("Lobby/Waiting/<id>", w).
type Waiting struct {
	Name       string
	Site       string
	Credential string // hash of the leaf certificate, in hexadecimal
	Verdict    string // affirming, warning, contraindicated or none

	VerdictReason string `json:",omitempty"` // a code of the verifier's vocabulary

	Why   string // NotInvited, OtherSite, NotAttested or AlwaysAsk
	Since time.Time
}

// A Contact is a room that can be called, for Tx.Set("Directory/Rooms/<id>", c).
type Contact struct {
	Name string
	Site string
}

// A Peer is the other room of a call of two, for Tx.Set("Call/Peer", p).
type Peer struct {
	Room string `json:",omitempty"` // id of the directory
	Name string
	Site string `json:",omitempty"`
}

// A SecurityCode is what people compare, for Tx.Set("Call/SecurityCode", c).
type SecurityCode struct {
	Code     string    // 30 digits
	Since    time.Time // when it became this
	Previous string    `json:",omitempty"` // the code before
	Why      string    // Started, Joined, Left, Removed, Returned or Renewed
	Who      string    `json:",omitempty"` // the room that joined, left or came back
}

// A Condition is a state that needs somebody, for
// Tx.Set("Diagnostics/Conditions/<name>", c).
type Condition struct {
	Severity string // Info, Warning or Error
	Since    time.Time
	Remedy   string // plain English
}

// An Offer is a release that could be installed, for
// Tx.Set("Updates/Offered/<id>", o). The id stays the same while the offer does.
type Offer struct {
	Version string
	Bytes   int64
	Source  string // Site or Stick
}

// A Failure is why a release was not taken or did not stay, for
// Tx.Set("Updates/Failure", f).
type Failure struct {
	Version string
	Reason  string // code of the updater
	Detail  string `json:",omitempty"` // plain English
}
