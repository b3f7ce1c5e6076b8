// SPDX-License-Identifier: Apache-2.0

package call

import (
	"context"
	"errors"
	"time"

	"incamera/media/relay"
	"incamera/media/signal"
)

// A ring is a call that rings here. It belongs to the owner.
type ring struct {
	from    string // name of the room that calls, as in its TLS certificate
	meeting []byte
	relay   Relay // that carries the meeting: the caller's, or of another room that is in it
	answers chan relay.Answer
}

// answer tells the caller. It is called once.
func (r *ring) answer(yes bool) {
	if yes {
		r.answers <- relay.Answer{Accepted: true}
		return
	}
	r.answers <- relay.Answer{Reason: signal.DeclinedBy}
}

// Ring implements [relay.Rings]: it shows a call on the panel until somebody
// answers or ctx is done.
func (e *Engine) Ring(ctx context.Context, in relay.Call) relay.Answer {
	r := &ring{
		from: in.Caller.Name, meeting: in.Meeting,
		relay:   Relay{Address: in.Relay, Key: in.Key},
		answers: make(chan relay.Answer, 1), // one slot: the owner never waits
	}
	err := e.ask(ctx, func(o *owner) error { return o.rung(r) })
	if errors.Is(err, ErrBusy) {
		return relay.Answer{Reason: signal.Busy}
	} else if err != nil {
		return relay.Answer{Reason: signal.NoAnswer}
	}
	select {
	case a := <-r.answers:
		return a
	case <-ctx.Done():
	}
	// The caller has gone; a person may have answered at this very moment.
	withdraw, cancel := context.WithTimeout(context.WithoutCancel(ctx), askFor)
	defer cancel()
	_ = e.ask(withdraw, func(o *owner) error { // the engine may have ended
		if o.ringing == r {
			o.ringing = nil
			o.fail(ErrCancelled)
		}
		return nil
	})
	return relay.Answer{Reason: signal.NoAnswer}
}

// rung begins to ring. Only an idle room does; any other is busy.
func (o *owner) rung(r *ring) error {
	if !o.move(onRing) {
		return ErrBusy
	}
	o.ringing = r
	o.status.CallID, o.status.Meeting, o.status.Peer, o.status.Outgoing = newCallID(), r.meeting, r.from, false
	o.status.Ended = nil
	return nil
}

// An invitation is a call to another room that this room makes.
type invitation struct {
	room   Room
	cancel context.CancelFunc
}

// invite rings a room. In Calling the call depends on the answer.
func (m *meeting) invite(room Room) {
	if m.invited[room.Name] != nil {
		return
	}
	for _, other := range m.members {
		if other.Name == room.Name && !other.gone() {
			return
		}
	}
	ctx, cancel := context.WithTimeout(m.ctx, ringFor)
	m.invited[room.Name] = &invitation{room, cancel}
	to := relay.Invitation{Meeting: m.id, Relay: m.host.Address, Key: m.host.Key}
	m.work.Go(func() {
		defer cancel()
		err := m.engine.ringAt(ctx, room, to)
		m.post(func(o *owner) {
			if err == nil {
				return // it will knock
			}
			delete(m.invited, room.Name)
			m.log.Info("the call was not taken", "room", room.Name, "err", err)
			if o.status.State == Calling {
				o.fail(err)
			}
		})
	})
}

// ringAt calls a room to a meeting and waits for its answer: nil, or an error
// that the panel knows.
func (e *Engine) ringAt(ctx context.Context, room Room, to relay.Invitation) error {
	dial, cancel := context.WithTimeout(ctx, askFor)
	defer cancel()
	conn, err := e.dial(dial, Relay{Room: room.Name, Address: room.Address})
	if err != nil {
		return errors.Join(ErrUnreachable, err)
	}
	defer func() { _ = conn.Close() }() // the ring is over
	answer, err := conn.Ring(ctx, to, nil)
	switch {
	case errors.Is(context.Cause(ctx), context.DeadlineExceeded):
		return ErrNoAnswer
	case err != nil:
		return errors.Join(ErrUnreachable, err)
	case answer.Accepted:
		return nil
	}
	why, ok := map[signal.Reason]error{signal.Busy: ErrOtherBusy, signal.NoAnswer: ErrNoAnswer}[answer.Reason]
	if !ok {
		why = ErrDeclined
	}
	return why
}

// A waiting room has knocked. It belongs to the owner.
type waiting struct {
	Knock
	keyPackage []byte
	signature  string // its signature key
	asked      time.Time
}
