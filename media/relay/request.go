// SPDX-License-Identifier: Apache-2.0

package relay

import (
	"context"
	"fmt"

	"incamera/media/signal"
)

// A Position is where a member stands in a meeting.
type Position struct {
	Epoch uint64 // of the group, when asked
	Seq   uint64 // of the first Ordered event that follows
}

// Open creates a meeting whose group is at epoch, or takes it up again, and
// makes this connection a member's. If the relay knows a later epoch the error
// is ErrStale. If it has no log of this meeting, or one of an earlier epoch,
// it begins a new one at Seq 1, and the rooms of members may Rejoin from there.
func (c *Conn) Open(ctx context.Context, meeting []byte, epoch uint64, members []Room) (Position, error) {
	return c.position(ctx, signal.Open{Meeting: meeting, Epoch: epoch, Members: members})
}

// Rejoin takes a member's place again, with the same certificate. seq is the
// number after that of the last Ordered event seen. ErrNotFound means to knock.
func (c *Conn) Rejoin(ctx context.Context, meeting []byte, seq uint64) (Position, error) {
	return c.position(ctx, signal.Rejoin{Meeting: meeting, Seq: seq})
}

func (c *Conn) position(ctx context.Context, b signal.Body) (Position, error) {
	answer, err := c.ask(ctx, b)
	if err != nil {
		return Position{}, err
	}
	opened, ok := answer.(signal.Opened)
	if !ok {
		return Position{}, c.broke(answer)
	}
	return Position{Epoch: opened.Epoch, Seq: opened.Seq}, nil
}

// Attach enters the lobby of a meeting and returns the handle that a member
// stated last, nil if none did: what the newcomer binds its evidence to. The
// relay may have made it up, so it proves nothing by itself. ErrNotFound means
// that the meeting is not here.
func (c *Conn) Attach(ctx context.Context, meeting []byte) (handle []byte, err error) {
	body, err := c.ask(ctx, signal.Attach{Meeting: meeting})
	if err != nil {
		return nil, err
	}
	attached, ok := body.(signal.Attached)
	if !ok {
		return nil, c.broke(body)
	}
	return attached.Handle, nil
}

// Fresh states the handle of the epoch, at most [signal.MaxHandle] bytes.
func (c *Conn) Fresh(ctx context.Context, handle []byte) error {
	return c.do(ctx, signal.Fresh{Handle: handle})
}

// An Admission is what a room gets that knocked and was let in.
type Admission struct {
	Welcome []byte // the MLS Welcome
	Seq     uint64 // of the first Ordered event that follows
}

// Knock asks the members of the meeting whose lobby this is to add the room of
// keyPackage, a fresh one, and waits for their answer, as long as ctx lasts.
// Afterwards the connection is a member's. A [*RefusedError] says that it was
// turned away; it may knock again. When ctx ends first the knock is withdrawn,
// and the connection is as Dial returned it.
func (c *Conn) Knock(ctx context.Context, keyPackage []byte) (Admission, error) {
	answers, end, err := c.request(signal.Knock{KeyPackage: keyPackage})
	if err != nil {
		return Admission{}, err
	}
	defer end()
	answer, err := c.await(ctx, answers)
	if ctx.Err() != nil && err != nil {
		_ = c.notify(signal.Leave{}) // what it answers to interests nobody
	}
	if err != nil {
		return Admission{}, err
	}
	switch a := answer.(type) {
	case signal.Welcomed:
		return Admission{Welcome: a.Message, Seq: a.Seq}, nil
	case signal.Refused:
		return Admission{}, &RefusedError{Reason: a.Reason}
	}
	return Admission{}, c.broke(answer)
}

// A Welcome is the MLS Welcome that answers a knock.
type Welcome struct {
	To      string // the ID of the Knocked event
	Message []byte
}

// Commit submits the commit of epoch with its Welcomes, which leave only if it
// wins. Nil means that it holds the slot; it arrives as an Ordered event, too,
// perhaps before Commit returns. ErrStale means that another one won,
// ErrNotFound that a knock is gone; then, and on any other answer of the relay,
// the commit was not delivered to anyone. If the error wraps ErrClosed or is
// that of ctx, it is not known whether it was: the log tells after Rejoin.
func (c *Conn) Commit(ctx context.Context, epoch uint64, commit []byte, welcomes []Welcome) error {
	b := signal.Commit{Epoch: epoch, Message: commit}
	for _, w := range welcomes {
		b.Welcomes = append(b.Welcomes, signal.Welcome{Knock: parseKnock(w.To), Message: w.Message})
	}
	return c.accepted(ctx, b)
}

// Send puts an application message, or a proposal, into the log. ErrStale
// means that its epoch is no longer taken.
func (c *Conn) Send(ctx context.Context, msg []byte) error {
	return c.accepted(ctx, signal.Submit{Message: msg})
}

func (c *Conn) accepted(ctx context.Context, b signal.Body) error {
	answer, err := c.ask(ctx, b)
	if err != nil {
		return err
	}
	if _, ok := answer.(signal.Accepted); !ok {
		return c.broke(answer)
	}
	return nil
}

// Refuse turns a knocking room away. ErrNotFound means that the knock is over.
func (c *Conn) Refuse(ctx context.Context, knock string, why Reason) error {
	return c.do(ctx, signal.Refuse{Knock: parseKnock(knock), Reason: why})
}

// Evict has the relay no longer serve a room that the group removed. Only the
// room that opened the meeting may.
func (c *Conn) Evict(ctx context.Context, room Room) error {
	return c.do(ctx, signal.Evict{Room: room})
}

// Leave gives up the membership, the knock or the place in the lobby. The last
// member that leaves ends the meeting.
func (c *Conn) Leave(ctx context.Context) error { return c.do(ctx, signal.Leave{}) }

// An Invitation is what a ring says: come to this meeting, on that relay.
type Invitation struct {
	Meeting []byte
	Relay   string   // address of the relay that hosts it, host:port
	Key     [32]byte // of that relay: Identity.Key of its Server
}

// Ring calls the room behind this relay and waits for its answer, at most
// RingTime. When ctx ends first, or the connection closes, the call is taken
// off the panel there. If ringing is not nil it is called, before Ring
// returns, once the room has been told.
func (c *Conn) Ring(ctx context.Context, i Invitation, ringing func()) (Answer, error) {
	answers, end, err := c.request(signal.Ring{Meeting: i.Meeting, Relay: i.Relay, Key: i.Key})
	if err != nil {
		return Answer{}, err
	}
	defer end()
	for {
		answer, err := c.await(ctx, answers)
		if ctx.Err() != nil && err != nil {
			_ = c.notify(signal.Cancel{}) // what it answers to interests nobody
		}
		if err != nil {
			return Answer{}, err
		}
		switch a := answer.(type) {
		case signal.Ringing:
			if ringing != nil {
				ringing()
				ringing = nil
			}
		case signal.Answered:
			return Answer{Accepted: true}, nil
		case signal.Declined:
			return Answer{Reason: a.Reason}, nil
		default:
			return Answer{}, c.broke(answer)
		}
	}
}

// do asks for what is answered by Done.
func (c *Conn) do(ctx context.Context, b signal.Body) error {
	answer, err := c.ask(ctx, b)
	if err != nil {
		return err
	}
	if _, ok := answer.(signal.Done); !ok {
		return c.broke(answer)
	}
	return nil
}

// ask sends a request that no person answers, and returns the answer.
func (c *Conn) ask(ctx context.Context, b signal.Body) (signal.Body, error) {
	answers, end, err := c.request(b)
	if err != nil {
		return nil, err
	}
	defer end()
	ctx, stop := context.WithTimeout(ctx, requestTime)
	defer stop()
	return c.await(ctx, answers)
}

// request sends b and returns where its answers arrive until end is called.
func (c *Conn) request(b signal.Body) (answers <-chan signal.Message, end func(), err error) {
	ch := make(chan signal.Message, 2) // a Ring has two answers
	c.mu.Lock()
	c.last++
	id := c.last
	c.waiting[id] = ch
	c.mu.Unlock()
	end = func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		delete(c.waiting, id)
	}
	if err := c.post(id, b); err != nil {
		end()
		return nil, nil, err
	}
	return ch, end, nil
}

// notify sends a request and forgets about it.
func (c *Conn) notify(b signal.Body) error {
	_, end, err := c.request(b)
	if err == nil {
		end()
	}
	return err
}

func (c *Conn) post(id uint64, b signal.Body) error {
	data, err := signal.Encode(signal.Message{ID: id, Body: b})
	if err != nil {
		return fmt.Errorf("relay: request: %w", err)
	}
	if err := c.Err(); err != nil {
		return err
	}
	if !c.link.out.push(data, len(data)) {
		return fmt.Errorf("%w: requests pile up", ErrFull)
	}
	return nil
}

func (c *Conn) await(ctx context.Context, answers <-chan signal.Message) (signal.Body, error) {
	select {
	case m := <-answers:
		return m.Body, failure(m.Body)
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	case <-c.done:
	}
	select {
	case m := <-answers: // it came before the end
		return m.Body, failure(m.Body)
	default:
		return nil, c.Err()
	}
}

// failure returns the error that an answer stands for, if any.
func failure(b signal.Body) error {
	switch b := b.(type) {
	case signal.Stale:
		return &StaleError{Epoch: b.Epoch, Seq: b.Seq}
	case signal.Error:
		switch b.Code {
		case signal.CodeNotFound:
			return fmt.Errorf("%w: %s", ErrNotFound, b.Detail)
		case signal.CodeForbidden:
			return fmt.Errorf("%w: %s", ErrForbidden, b.Detail)
		case signal.CodeFull:
			return fmt.Errorf("%w: %s", ErrFull, b.Detail)
		case signal.CodeState, signal.CodeHead:
		}
		return fmt.Errorf("relay: %s: %s", b.Code, b.Detail)
	}
	return nil
}

// broke closes the connection: the relay answered what was not asked.
func (c *Conn) broke(answer signal.Body) error {
	err := fmt.Errorf("%w: %w: answer %T", ErrClosed, errProtocol, answer)
	c.link.cancel(err)
	return err
}
