// SPDX-License-Identifier: Apache-2.0

// Package call decides when this room is in a meeting, with whom, and when its
// media may flow.
//
// An [Engine] is a state machine owned by one goroutine, the one that calls
// [Engine.Run]. Every other method hands it an event and returns. Work that
// blocks runs beside it and reports back as an event of the meeting that it was
// begun for; when the meeting is over nobody listens, so a late answer can do
// nothing and a touch on Leave is obeyed at once whatever the network does.
//
// A meeting is one MLS group. Who is in it is what package e2ee says, from the
// ratchet tree; the relay and the connections between the rooms are told, never
// asked. What members say to one another, the session descriptions of their
// connections included, they say inside the group.
//
// The package knows nothing of hardware, of disks or of the panel: what it
// needs it declares as small interfaces, and cmd/roomd supplies them.
package call

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"incamera/media/e2ee"
	"incamera/media/peer"
	"incamera/media/relay"
)

// A Room is a room that this one can call.
type Room struct {
	ID      string // in the directory
	Name    string // as in its certificates
	Address string // of its relay, host:port
}

// Config is what an engine needs. All fields are required but where it says so.
type Config struct {
	Name    string // of this room, as in its certificates
	Address string // of this room's relay, as the others reach it
	Rooms   []Room // that it can call

	Group  e2ee.Config       // the engine adds Delivery and Observer for each meeting
	Relay  relay.Credentials // for relays, this room's own included
	Hop    *peer.API
	Media  Media
	Memory Memory // nil: a restarted room is in no meeting
	Log    *slog.Logger

	// OnStatus is called after each change, from the goroutine of Run. It must
	// not block.
	OnStatus func(Status)
}

// A Memory keeps which meeting this room is in, so that it returns there after
// a restart. No key is part of it.
type Memory interface {
	// Save replaces what is kept. An error is logged, and the call goes on.
	Save(Saved) error
	// Load returns what is kept; false if this room was in no meeting.
	Load() (Saved, bool)
	// Clear forgets it: the meeting is over.
	Clear() error
}

// A Saved meeting is where a restarted room finds the others.
type Saved struct {
	Meeting []byte
	Relays  []Relay // in the order in which to look
}

// A Relay is where a relay is and how it is known: by name, by key, or both.
type Relay struct {
	Room    string   // the name in its certificate
	Address string   // host:port
	Key     [32]byte // SHA-256 of its SubjectPublicKeyInfo
}

// What an engine refuses. The panel has words for each.
var (
	ErrUnknownRoom = errors.New("call: no such room in the directory")
	ErrBusy        = errors.New("call: this room is in a call")
	ErrNoCall      = errors.New("call: not the call that is now")
	ErrNoMember    = errors.New("call: no such member now")
	ErrNoKnock     = errors.New("call: no such room in the lobby now")
)

// Why a call ended without this room's asking. The panel shows each with its
// own words.
var (
	ErrDeclined    = errors.New("call: declined")
	ErrOtherBusy   = errors.New("call: the other room is in a call")
	ErrNoAnswer    = errors.New("call: no answer")
	ErrUnreachable = errors.New("call: the other room cannot be reached")
	ErrCancelled   = errors.New("call: the caller hung up")
	ErrNotAdmitted = errors.New("call: refused by a member")
	// ErrNotAttested: the meeting takes only rooms that prove their software, and
	// the called room did not. It is a [NotAttestedError].
	ErrNotAttested = errors.New("call: the other room did not prove its software")
	// ErrNotProved: the same, of this room.
	ErrNotProved = errors.New("call: this room could not prove its software")
	ErrRemoved   = errors.New("call: removed by a member")
	ErrEnded     = errors.New("call: the others left")
	ErrLost      = errors.New("call: the meeting was not found again")
)

// errLeft ends a meeting that this room leaves by itself.
var errLeft = errors.New("call: left")

// Limits of time.
const (
	ringFor   = 45 * time.Second       // a ring that nobody answers
	lobbyFor  = 5 * time.Minute        // longer than a person takes to walk to a panel
	resumeFor = 60 * time.Second       // to find a meeting again: longer than any room takes to take it over
	askFor    = 3 * time.Second        // for what a machine answers
	lobbyFrom = 2 * time.Second        // a knock not answered by now waits for a person
	byeFor    = time.Second            // to tell the others that this room leaves
	partFor   = 300 * time.Millisecond // to tell the relay, while a person waits
	goneFor   = 30 * time.Second       // a lost member keeps its place: longer than a room takes to restart
	recentFor = 10 * time.Minute       // a member that was lost is let in again without a person
	waitFor   = 10 * time.Minute       // alone in a meeting whose other members were lost
	tick      = 250 * time.Millisecond
)

// An Engine carries the room's call. Its methods may be called from any
// goroutine. Create it with [New].
type Engine struct {
	config Config
	own    Relay // this room's
	events chan func(*owner)
}

// New returns an idle engine. It starts no goroutine and opens nothing: all
// work happens in [Engine.Run].
func New(c Config) (*Engine, error) {
	if c.Name == "" || c.Address == "" || c.Hop == nil || c.Media == nil || c.Log == nil || c.OnStatus == nil {
		return nil, errors.New("call: the configuration lacks a name, an address, a hop, media, a log or a listener")
	}
	if c.Memory == nil {
		c.Memory = noMemory{}
	}
	if len(c.Relay.Certificate.Certificate) == 0 {
		return nil, errors.New("call: the configuration lacks a certificate for relays")
	}
	leaf, err := x509.ParseCertificate(c.Relay.Certificate.Certificate[0])
	if err != nil {
		return nil, fmt.Errorf("call: certificate for relays: %w", err)
	}
	id, err := relay.IdentityOf(leaf)
	if err != nil {
		return nil, err
	}
	own := Relay{Room: c.Name, Address: c.Address, Key: id.Key}
	return &Engine{config: c, own: own, events: make(chan func(*owner))}, nil
}

// Start calls a room of the directory, or, in a meeting, invites it there. It
// returns the id of the call. The errors are [ErrUnknownRoom], [ErrBusy] and
// the cause of ctx.
func (e *Engine) Start(ctx context.Context, room string) (callID string, err error) {
	err = e.ask(ctx, func(o *owner) error {
		callID, err = o.start(room)
		return err
	})
	return callID, err
}

// SetRooms replaces the rooms that this one can call. A call that is under way
// goes on.
func (e *Engine) SetRooms(ctx context.Context, rooms []Room) error {
	return e.ask(ctx, func(o *owner) error {
		o.config.Rooms = rooms // nobody else reads it
		return nil
	})
}

// Answer takes the call that rings here, or returns [ErrNoCall].
func (e *Engine) Answer(ctx context.Context, callID string) error {
	return e.ask(ctx, func(o *owner) error { return o.answer(callID) })
}

// Leave declines, cancels or leaves the call, or returns [ErrNoCall].
func (e *Engine) Leave(ctx context.Context, callID string) error {
	return e.ask(ctx, func(o *owner) error { return o.leave(callID) })
}

// EndForAll removes every other room and leaves, or returns [ErrNoCall].
func (e *Engine) EndForAll(ctx context.Context, callID string) error {
	return e.ask(ctx, func(o *owner) error { return o.endForAll(callID) })
}

// Remove puts a member out of the meeting: the one with the id and the hash of
// the credential that the person saw, or nobody, and the error is
// [ErrNoMember].
func (e *Engine) Remove(ctx context.Context, id string, credential [32]byte) error {
	return e.ask(ctx, func(o *owner) error { return o.remove(id, credential) })
}

// Admit lets a room in that waits, or returns [ErrNoKnock]. id and credential
// are those that the person saw.
func (e *Engine) Admit(ctx context.Context, id string, credential [32]byte) error {
	return e.ask(ctx, func(o *owner) error { return o.decide(id, credential, true) })
}

// Refuse turns a room away that waits, as [Engine.Admit] lets it in.
func (e *Engine) Refuse(ctx context.Context, id string, credential [32]byte) error {
	return e.ask(ctx, func(o *owner) error { return o.decide(id, credential, false) })
}

// SetMuted closes or opens the gate of the microphone.
func (e *Engine) SetMuted(ctx context.Context, muted bool) error {
	return e.ask(ctx, func(o *owner) error {
		o.status.Muted = muted
		e.config.Media.SetMuted(muted)
		o.say()
		return nil
	})
}

// Reappraise judges the evidence of all members again, since what it is judged
// by has changed.
func (e *Engine) Reappraise(ctx context.Context) error {
	return e.ask(ctx, func(o *owner) error {
		if o.meeting != nil && o.meeting.session != nil {
			o.meeting.session.Reappraise()
		}
		return nil
	})
}

// SetCameraOff stops or resumes the sending of pictures.
func (e *Engine) SetCameraOff(ctx context.Context, off bool) error {
	return e.ask(ctx, func(o *owner) error {
		o.status.CameraOff = off
		e.config.Media.SetCameraOff(off)
		o.say()
		return nil
	})
}

// ask lets the owner run f and returns its error, or the cause of ctx.
func (e *Engine) ask(ctx context.Context, f func(*owner) error) error {
	answer := make(chan error, 1)
	select {
	case e.events <- func(o *owner) { answer <- f(o) }:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	return <-answer // the owner does not wait for anything, so neither does this
}

// Run carries the call until ctx is done, and returns the cause of ctx after
// every goroutine that it started has ended.
func (e *Engine) Run(ctx context.Context) error {
	o := &owner{Engine: e, ctx: ctx}
	o.publish()
	o.resume()
	ticker := time.NewTicker(tick)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			o.shutDown(context.Cause(ctx))
			return context.Cause(ctx)
		case f := <-e.events:
			f(o)
		case now := <-ticker.C:
			o.tick(now)
		}
		o.publish()
	}
}

// noMemory is the [Memory] of a room that is given none.
type noMemory struct{}

func (noMemory) Save(Saved) error    { return nil }
func (noMemory) Load() (Saved, bool) { return Saved{}, false }
func (noMemory) Clear() error        { return nil }
