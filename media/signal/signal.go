// SPDX-License-Identifier: Apache-2.0

// Package signal is the wire envelope between rooms and a relay.
//
// A [Message] is one CBOR array (RFC 8949): version, request number, kind of
// body, body. Each message has exactly one encoding, the deterministic one of
// RFC 8949, Section 4.2; [Decode] refuses every other spelling, what it does
// not know, and whatever exceeds the limits below, so that two readers never
// disagree on what a message says.
//
// MLS messages (RFC 9420) travel inside as bytes. This package reads of them
// what they show to anyone, their clear head ([ReadHead]), and holds no key.
package signal

import (
	"errors"
	"fmt"
)

// Version is the version of the envelope that this package speaks.
const Version = 1

// The limits of what crosses the wire, in bytes where nothing else is said.
const (
	MinMeeting = 16 // a meeting's id, which is the id of its MLS group
	MaxMeeting = 32

	MaxName    = 64  // name and site of a room
	MaxAddress = 261 // host and port; a DNS name has up to 253
	MaxDetail  = 128 // the free text of an Error
	MaxHandle  = 64  // of an epoch, to which evidence is bound

	MaxKeyPackage  = 64 << 10
	MaxApplication = 64 << 10 // an application message of a group
	MaxHandshake   = 2 << 20  // a commit or a proposal
	MaxWelcome     = 8 << 20  // all Welcomes of one commit together
	MaxWelcomes    = 32       // entries: as many as there are pending knocks
	MaxMembers     = 512      // entries: rooms of a meeting

	// MaxMessage is the longest message: a commit with its Welcomes.
	MaxMessage = MaxHandshake + MaxWelcome + 1<<10
	// MaxSmall is the longest message of a room that is no member: a knock, or
	// an Open with all its members.
	MaxSmall = 72 << 10
)

// ErrMalformed means that bytes are no message of this version. Who reads it
// from a connection closes the connection: nothing that follows can be trusted
// to mean what it seems to.
var ErrMalformed = errors.New("signal: malformed message")

func malformed(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrMalformed, fmt.Sprintf(format, args...))
}

// A Message is what one WebSocket message carries.
type Message struct {
	// ID is the number that a client gave to its request, from 1. Each answer
	// bears it. It is 0 in what nobody asked for.
	ID   uint64
	Body Body
}

// A Body is one of the body types of this package, by value.
type Body interface {
	kind() Kind
	check() error // limits that the codec does not see
}

// Kind returns the kind of the body, which is not nil.
func (m Message) Kind() Kind { return m.Body.kind() }

// A Kind numbers the bodies on the wire. A number is never used again.
type Kind uint8

// The kinds of bodies.
const (
	KindOpen   Kind = 1
	KindAttach Kind = 2
	KindKnock  Kind = 3
	KindRejoin Kind = 4
	KindCommit Kind = 5
	KindSubmit Kind = 6
	KindRefuse Kind = 7
	KindEvict  Kind = 8
	KindLeave  Kind = 9
	KindRing   Kind = 10
	KindCancel Kind = 11
	KindFresh  Kind = 12

	KindOpened   Kind = 32
	KindDone     Kind = 33
	KindAccepted Kind = 34
	KindStale    Kind = 35
	KindWelcomed Kind = 36
	KindRefused  Kind = 37
	KindRinging  Kind = 38
	KindAnswered Kind = 39
	KindDeclined Kind = 40
	KindError    Kind = 41
	KindAttached Kind = 42

	KindOrdered    Kind = 64
	KindKnocked    Kind = 65
	KindKnockEnded Kind = 66
	KindPresence   Kind = 67
	KindGone       Kind = 68
	KindClosed     Kind = 69

	KindBeat Kind = 96
)

// Request reports whether a client sends this kind.
func (k Kind) Request() bool { return k < 32 }

// Answer reports whether this kind answers a request and bears its number.
func (k Kind) Answer() bool { return k >= 32 && k < 64 }
