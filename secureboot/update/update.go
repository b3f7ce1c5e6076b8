// SPDX-License-Identifier: Apache-2.0

// Package update installs releases: signed bundles, two slots, a trial that
// health ends, and a floor under which there is no way back.
//
// A slot is a unified kernel image (UKI) on the EFI system partition and a
// system partition; they are a pair by content, so a bundle fits either. What
// the boot loader knows is the UKI's file name alone, with systemd-boot's
// counter; see [ESP]. What people want to know, versions and reasons, is in a
// record of two copies, which is brought into line with the names at start.
//
//	steady(A) -> staged(B) -> trial(B, 3 tries) -> committed(B) -> floor raised
//	                              \-> failed: steady(A), reason kept
//
// The package fetches nothing, decides nothing about meetings and restarts
// nothing: its caller does. All of a bundle is hostile until its manifest was
// verified, and each part until its hash was.
package update

import (
	"errors"
	"fmt"
)

// A Reason says why a bundle was refused or a release did not stay. A reason is
// never renamed and never given another meaning.
type Reason string

// The reasons, in the order in which a bundle meets the checks.
const (
	TooLarge    Reason = "too_large"    // more bytes than the limit, or than the slot has
	Malformed   Reason = "malformed"    // not in the form prescribed, or contradicts itself
	SigInvalid  Reason = "sig_invalid"  // not signed by the bundle key
	WrongBoard  Reason = "wrong_board"  // for other hardware, or another kind of image
	Unlogged    Reason = "unlogged"     // not in the public log, or the log contradicts itself
	Untrusted   Reason = "untrusted"    // would open nothing here: policies of another root, or of another image
	BelowFloor  Reason = "below_floor"  // older than this room may ever run again
	Installed   Reason = "installed"    // what runs already
	OnTrial     Reason = "on_trial"     // what runs has yet to prove itself: the other slot is the way back
	Older       Reason = "older"        // older than what runs, and nobody asked for that
	Truncated   Reason = "truncated"    // ends too early
	Tampered    Reason = "tampered"     // a part is not what the manifest says
	WriteFailed Reason = "write_failed" // what was read back is not what was written
	Interrupted Reason = "interrupted"  // the power went before the trial was armed
	NotStarted  Reason = "not_started"  // three tries, and none came as far as this program
	Unhealthy   Reason = "unhealthy"    // started, but did not work as a room must
)

// An Error is a refusal: the room goes on as it is.
type Error struct {
	Reason Reason
	Err    error // what was wrong, for the log
}

func (e *Error) Error() string { return fmt.Sprintf("update: %s: %v", e.Reason, e.Err) }
func (e *Error) Unwrap() error { return e.Err }

func refuse(r Reason, format string, args ...any) error {
	return &Error{r, fmt.Errorf(format, args...)}
}

// ErrRestart means that the trial failed and the other slot is armed: the
// caller restarts the machine.
var ErrRestart = errors.New("update: the release on trial failed; restart into the other")
