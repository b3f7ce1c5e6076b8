// SPDX-License-Identifier: Apache-2.0

package call

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"time"
)

// An owner is the state of the engine. Only the goroutine of Run touches it.
type owner struct {
	*Engine
	ctx     context.Context
	status  Status   // but for what the meeting holds
	meeting *meeting // nil in Idle and Ringing
	ringing *ring    // nil outside Ringing
	last    Status   // as last published
	told    bool     // last is set
}

// move takes the edge of t and reports whether there is one.
func (o *owner) move(t trigger) bool {
	next, ok := edges[edge{o.status.State, t}]
	if !ok {
		o.config.Log.Debug("trigger ignored", "state", o.status.State.String(), "trigger", t.String())
		return false
	}
	o.config.Log.Info("call state changed", "from", o.status.State.String(), "to", next.String(), "trigger", t.String())
	o.status.State = next
	o.status.Since = time.Now()
	return true
}

// start calls a room, or invites it to the meeting that is.
func (o *owner) start(id string) (string, error) {
	room, ok := o.room(id)
	if !ok {
		return "", ErrUnknownRoom
	}
	if o.status.State == Connected {
		o.meeting.invite(room)
		return o.status.CallID, nil
	}
	if !o.move(onStart) {
		return "", ErrBusy
	}
	o.begin(newCallID(), newMeetingID(), room.Name, true)
	o.meeting.calling = &room
	o.meeting.hold()
	return o.status.CallID, nil
}

func (o *owner) room(id string) (Room, bool) {
	for _, r := range o.config.Rooms {
		if r.ID == id {
			return r, true
		}
	}
	return Room{}, false
}

// begin makes the meeting and opens the devices.
func (o *owner) begin(callID string, id []byte, with string, outgoing bool) {
	o.status.CallID, o.status.Meeting, o.status.Peer, o.status.Outgoing = callID, id, with, outgoing
	o.status.Ended = nil
	o.meeting = newMeeting(o, id)
	o.config.Media.Begin(&o.meeting.out)
}

func (o *owner) answer(callID string) error {
	if o.status.State != Ringing || callID != o.status.CallID {
		return ErrNoCall
	}
	r := o.ringing
	o.ringing = nil
	o.move(onAnswer)
	o.begin(callID, r.meeting, r.from, false)
	o.meeting.knock(o, []Relay{r.relay})
	r.answer(true)
	return nil
}

func (o *owner) leave(callID string) error {
	if o.status.State == Idle || callID != o.status.CallID {
		return ErrNoCall
	}
	if o.status.State == Ringing {
		o.ringing.answer(false)
		o.ringing = nil
	}
	if !o.move(onLeave) {
		return nil // it is leaving
	}
	if o.status.State == Leaving {
		o.meeting.sayBye()
		return nil
	}
	o.finish(nil)
	return nil
}

func (o *owner) endForAll(callID string) error {
	if o.status.State != Connected || callID != o.status.CallID {
		return ErrNoCall
	}
	o.move(onLeave)
	o.meeting.removeAll()
	return nil
}

func (o *owner) remove(id string, credential [32]byte) error {
	if o.status.State != Connected {
		return ErrNoMember
	}
	return o.meeting.remove(id, credential)
}

func (o *owner) decide(id string, credential [32]byte, admit bool) error {
	if o.status.State != Connected {
		return ErrNoKnock
	}
	return o.meeting.decide(id, credential, admit)
}

// say tells the members what this room says of itself.
func (o *owner) say() {
	if o.meeting != nil {
		o.meeting.say(o)
	}
}

// fail ends the call for a reason that is not this room's.
func (o *owner) fail(why error) {
	if o.move(onFailed) {
		o.config.Log.Warn("call ended", "err", why)
		o.finish(why)
	}
}

// finish closes everything that belongs to the call. The state is Idle.
func (o *owner) finish(why error) {
	if m := o.meeting; m != nil {
		o.config.Media.End()
		m.close(true)
		o.meeting = nil
		if err := o.config.Memory.Clear(); err != nil {
			o.config.Log.Error("the meeting is not forgotten", "err", err)
		}
	}
	o.status = Status{
		State: o.status.State, Since: o.status.Since, Ended: why, Peer: o.status.Peer,
		Muted: o.status.Muted, CameraOff: o.status.CameraOff,
	}
}

// shutDown ends the call because the engine ends. What Memory keeps stays: a
// room that is restarted returns.
func (o *owner) shutDown(why error) {
	if o.ringing != nil {
		o.ringing.answer(false)
	}
	if m := o.meeting; m != nil {
		o.config.Media.End()
		m.close(false)
	}
	o.config.Log.Debug("engine ended", "err", why)
}

func (o *owner) tick(now time.Time) {
	age := now.Sub(o.status.Since)
	switch s := o.status.State; {
	case s == Ringing && age > ringFor:
		o.ringing.answer(false)
		o.ringing = nil
		o.fail(ErrNoAnswer)
	case s == Calling && age > ringFor+askFor:
		o.fail(ErrNoAnswer) // it was taken, and nobody came
	case s == Joining && age > lobbyFrom && o.meeting.knocking:
		o.move(onLobby)
	case (s == Joining || s == InLobby) && age > lobbyFor:
		o.fail(ErrNoAnswer)
	case s == Reconnecting && age > resumeFor:
		o.fail(ErrLost)
	case s == Leaving && age > byeFor:
		o.left()
	}
	if o.meeting != nil {
		o.meeting.tick(o, now)
	}
}

// left ends Leaving: the others know.
func (o *owner) left() {
	if o.move(onDone) {
		o.finish(nil)
	}
}

// resume returns to the meeting that this room was in when it went down.
func (o *owner) resume() {
	saved, ok := o.config.Memory.Load()
	if !ok || len(saved.Relays) == 0 || !o.move(onResume) {
		return
	}
	o.begin(newCallID(), saved.Meeting, "", false)
	o.meeting.knock(o, saved.Relays)
}

func newCallID() string {
	var b [4]byte
	_, _ = rand.Read(b[:]) // never fails
	return "c-" + hex.EncodeToString(b[:])
}

func newMeetingID() []byte {
	b := make([]byte, 16)
	_, _ = rand.Read(b) // never fails
	return b
}

// isCause reports whether err is the end of a meeting rather than its reason.
func isCause(err error) bool { return errors.Is(err, errLeft) || errors.Is(err, context.Canceled) }
