// SPDX-License-Identifier: Apache-2.0

// Package boxlink is what roomd, which has no privilege, asks of boxd, which has
// all of them: HTTP/1.1 and JSON over a unix socket.
//
// Both ends are of one image, so there is one version of this protocol, and a
// member that the other end does not know is refused. [Client] is roomd's end;
// [Handler] is boxd's, with limits before anything is decoded. Who may connect is
// decided by the mode of the socket.
package boxlink

import (
	"context"
	"fmt"
	"io"
	"time"
)

// Socket is where boxd listens.
const Socket = "/run/in-camera/box.sock"

// A Box does what needs privilege. [Client] is one; boxd's is behind [Handler].
// An answer that is not what was asked for is a [*Refusal].
type Box interface {
	Status(ctx context.Context) (Status, error)
	// Install installs the bundle and arms its trial, which begins with the next
	// restart. It ends early, with everything as before, once ctx is done.
	Install(ctx context.Context, bundle io.Reader, older bool) (Release, error)
	// Stick lists the bundles on USB sticks.
	Stick(ctx context.Context) ([]Bundle, error)
	// Import is Install of a bundle that Stick listed.
	Import(ctx context.Context, name string, older bool) (Release, error)
	// Health is the room's verdict about what runs. On trial the first one
	// decides: the release is committed, or the other one starts. Otherwise one
	// that says healthy raises the floor if the release asks for it.
	Health(ctx context.Context, h Health) error
	// Restart restarts the machine. The reason is for the log.
	Restart(ctx context.Context, reason string) error
	// Reset destroys the sealed key and all that was stored, and restarts into
	// set-up. The serial number, typed by a person, says that this box is meant.
	Reset(ctx context.Context, serial string) error
	Network(ctx context.Context) (NetworkState, error)
	// SetNetwork has the wired interface try a configuration. Without
	// ConfirmNetwork, and at a restart, the one before comes back. Another trial
	// that runs ends with it; the configuration that is kept needs no trial. The
	// connection through which a person asked may end with it.
	SetNetwork(ctx context.Context, n Network) error
	// ConfirmNetwork keeps the configuration that is on trial.
	ConfirmNetwork(ctx context.Context) error
}

// The phases of an update.
const (
	Steady = "steady" // nothing is under way
	Armed  = "armed"  // the next start is a trial
	Trial  = "trial"  // what runs has yet to prove itself
)

// The states of work on an update.
const (
	Idle      = "idle"
	Receiving = "receiving" // the manifest is read and judged
	Writing   = "writing"
	Checking  = "checking" // all was written; what was written is read back and judged
)

// Status is what boxd knows.
type Status struct {
	Serial string `json:"serial"` // as on the label
	Board  string `json:"board"`  // as bundles name it
	Update Update `json:"update"`
	Work   Work   `json:"work"`
}

// Update is how things stand with releases.
type Update struct {
	Phase   string   `json:"phase"`
	Running Release  `json:"running"`
	Target  *Release `json:"target,omitempty"`  // armed or on trial
	Failure *Failure `json:"failure,omitempty"` // of the last trial, until the next one
	// LoaderCannotCount: the firmware is too old to end a trial that hangs.
	LoaderCannotCount bool `json:"loader_cannot_count"`
	// Floor is the lowest rollback number that opens anything here; 0 if it
	// could not be read.
	Floor uint64 `json:"floor"`
	// Unavailable says why nothing can be installed here, such as a system that
	// has no second slot; otherwise empty.
	Unavailable string `json:"unavailable,omitempty"`
}

// A Release names what a slot holds.
type Release struct {
	Version  string `json:"version"`
	Rollback uint64 `json:"rollback"`
}

// A Failure says why a release did not stay.
type Failure struct {
	Version string `json:"version"`
	Reason  string `json:"reason"` // of package update
	Detail  string `json:"detail"` // printable, for people
}

// Work is what an installation has done so far, in bytes.
type Work struct {
	State   string `json:"state"`
	Written int64  `json:"written"`
	Total   int64  `json:"total"`   // 0 until the manifest was accepted
	Version string `json:"version"` // empty until the manifest was accepted
}

// A Bundle is a file on a stick.
type Bundle struct {
	Name string `json:"name"` // in-camera-VERSION.bundle
	Size int64  `json:"size"` // bytes
}

// Health is the room's verdict.
type Health struct {
	Healthy bool   `json:"healthy"`
	Detail  string `json:"detail"` // what is wrong
}

// The methods by which the wired interface gets an address.
const (
	DHCP   = "dhcp"
	Static = "static"
)

// Network says how the wired interface gets an address. With [DHCP] nothing else
// is set.
type Network struct {
	Method  string   `json:"method"`
	Address string   `json:"address"` // with the length of the prefix: 10.0.0.5/24
	Gateway string   `json:"gateway"` // may be empty: this network alone
	DNS     []string `json:"dns"`     // at most three; may be empty
}

// NetworkState is the configuration in force and what came of it. The latter
// [Client] finds where it runs: boxd has no network.
type NetworkState struct {
	Network
	// ConfirmBy is when the one before comes back unless this one is confirmed;
	// zero if it is kept.
	ConfirmBy time.Time `json:"confirm_by,omitzero"`
	Interface string    `json:"interface"` // the wired one; empty if there is none
	Current   []string  `json:"current"`   // addresses with the lengths of their prefixes
}

// Reasons of a [Refusal] that are not among those of package update. A reason is
// never renamed and never given another meaning.
const (
	Busy        = "busy"         // another installation is under way
	Cancelled   = "cancelled"    // the installation ended because it was told to
	Absent      = "absent"       // no such bundle on a stick
	WrongSerial = "wrong_serial" // another box is meant
	Invalid     = "invalid"      // a value that no configuration has
	NoTrial     = "no_trial"     // there is nothing to confirm, or no longer
	Unavailable = "unavailable"  // nothing can be installed on this system
	BadRequest  = "bad_request"  // not in the form prescribed
	Internal    = "internal"     // boxd's log says why
)

// A Refusal is an answer that is not what was asked for.
type Refusal struct {
	Reason string `json:"reason"` // of package update, or one of the above
	Detail string `json:"detail"` // printable, for people
}

func (r *Refusal) Error() string { return fmt.Sprintf("box: %s: %s", r.Reason, r.Detail) }

// The requests, where they are not a type of their own.
type (
	importRequest struct {
		Name  string `json:"name"`
		Older bool   `json:"older"`
	}
	restartRequest struct {
		Reason string `json:"reason"`
	}
	resetRequest struct {
		Serial string `json:"serial"`
	}
	nothing struct{}
)

// Limits, checked before anything is decoded.
const (
	maxRequest = 8 << 10  // bytes of JSON that roomd sends
	maxAnswer  = 64 << 10 // bytes of JSON that boxd sends
)
