// SPDX-License-Identifier: Apache-2.0

package mls

import (
	"errors"
	"fmt"
)

// Errors on which a caller acts. Others only say what happened.
var (
	// ErrMalformed means that bytes from outside are not a message of RFC 9420.
	ErrMalformed = errors.New("mls: malformed message")
	// ErrRefused means that a signature, tag or ciphertext did not verify. It
	// does not say which, so that a sender learns nothing from it.
	ErrRefused = errors.New("mls: refused")
	// ErrInvalid means that a message is authentic and breaks a rule of RFC 9420.
	ErrInvalid = errors.New("mls: invalid")
	// ErrLimit means that a message is larger than this package takes.
	ErrLimit = errors.New("mls: over a limit")
	// ErrUnsupported means that a message needs what this package leaves out.
	ErrUnsupported = errors.New("mls: unsupported")
	// ErrWrongGroup means that a message is for another group, or a Welcome for
	// another KeyPackage.
	ErrWrongGroup = errors.New("mls: message for another group")
	// ErrPastEpoch means that a message belongs to an epoch that is over. A
	// handshake message that comes too late is dropped.
	ErrPastEpoch = errors.New("mls: message of a past epoch")
	// ErrFutureEpoch means that the group has not seen a commit yet. The caller
	// may keep the message and try again after it.
	ErrFutureEpoch = errors.New("mls: message of an epoch to come")
	// ErrOwn means that this member sent the message itself. The caller of
	// [Group.Commit] applies its Pending instead.
	ErrOwn = errors.New("mls: own message")
	// ErrMoved means that the group has left the epoch for which a commit was
	// prepared or staged. The caller builds it anew.
	ErrMoved = errors.New("mls: the group moved on")
	// ErrRemoved means that this member is no longer in the group.
	ErrRemoved = errors.New("mls: not a member any more")
	// ErrUnknownProposal means that a commit refers to a proposal that has not
	// arrived. The caller may try again when it has.
	ErrUnknownProposal = errors.New("mls: commit of an unknown proposal")
	// ErrUnknownPSK means that a pre-shared key is not known here.
	ErrUnknownPSK = errors.New("mls: unknown pre-shared key")
	// ErrReplayed means that the message key of a message was used before, or
	// given up because too many messages overtook it.
	ErrReplayed = errors.New("mls: message key already used")
	// ErrExported means that a component has had its secret of the epoch. The
	// component keeps what it was given, or waits for the next epoch.
	ErrExported = errors.New("mls: secret of the component already exported")
)

func malformed(format string, a ...any) error {
	return fmt.Errorf("%w: %s", ErrMalformed, fmt.Sprintf(format, a...))
}

// invalid cites the section of the rule that is broken.
func invalid(section, format string, a ...any) error {
	return fmt.Errorf("%w: %s (RFC 9420, Section %s)", ErrInvalid, fmt.Sprintf(format, a...), section)
}

func wrap(err error, what string) error { return fmt.Errorf("%w: %s", err, what) }
