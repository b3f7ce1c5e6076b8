// SPDX-License-Identifier: Apache-2.0

package e2ee

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"sync"
	"time"

	"incamera/media/mls"
)

const (
	maxWishes   = 64 // that wait for the group
	maxOutgoing = 64 // application messages that wait for the Delivery

	sendTimeout   = 10 * time.Second // for a Delivery to take a message
	perMemberTurn = 10 * time.Second // rotations of a large meeting are no more frequent than one in this time
)

// An owner is the goroutine of Run, with what only it touches.
type owner struct {
	s    *Session
	g    *mls.Group
	wg   sync.WaitGroup
	done <-chan struct{} // of Run's context

	queue   []*wish
	retryAt time.Time // no wish before
	job     *job      // the wish whose commit is under way
	orphans []*job    // given up, but their commits may still win the epoch
	busy    *job      // whose submission has not returned
	result  chan submission

	changeovers []changeover
	fades       []fade
	rotateAt    time.Time

	out   chan outgoing
	codes chan code
	coder bool // a code is being computed

	proofs  chan proof
	proving bool      // evidence is being made
	proveAt time.Time // when to make evidence; zero while nobody waits for any

	ended error // why Run ends
}

type outgoing struct {
	message []byte
	done    chan error // nil if nobody waits
}

type submission struct {
	job *job
	err error
}

type code struct {
	epoch  uint64
	digits string
	err    error
}

// Run owns the group until ctx ends or this room is removed. It returns
// [ErrRemoved] or the cause of ctx, with the media keys wiped and no goroutine
// left. It is called once.
func (s *Session) Run(ctx context.Context) error {
	if !s.running.CompareAndSwap(false, true) {
		return errors.New("e2ee: Run was called before")
	}
	ctx, cancel := context.WithCancelCause(ctx)
	o := &owner{
		s: s, g: s.group, done: ctx.Done(),
		result: make(chan submission), out: make(chan outgoing, maxOutgoing), codes: make(chan code), proofs: make(chan proof),
	}
	defer close(s.done)
	defer o.g.Destroy()
	defer o.discard()
	defer s.ring.Close()
	defer o.wg.Wait()
	defer cancel(ErrEnded)

	o.wg.Go(func() { o.send(ctx) })
	s.set.Observer.Epoch(*s.snap.Load())
	o.wantCode()
	o.planRotation()
	if len(s.snap.Load().Members) > 1 {
		o.wantProof(time.Now()) // those who are here must see what runs on the newcomer
	}
	return o.loop(ctx)
}

func (o *owner) loop(ctx context.Context) error {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		now := time.Now()
		o.move(now)
		o.rotate(ctx, now)
		o.prove(ctx, now)
		o.work(ctx, now)
		if o.ended != nil {
			return o.ended
		}
		timer.Reset(o.wake(now))
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-timer.C:
		case d := <-o.s.delivered:
			d.done <- o.deliver(ctx, d.message)
		case w := <-o.s.asked:
			o.enqueue(w)
		case m := <-o.s.said:
			o.say(ctx, m)
		case r := <-o.result:
			o.answered(r)
		case c := <-o.codes:
			o.coded(c)
		case p := <-o.proofs:
			o.proved(ctx, p)
		case <-o.s.reappraise:
			o.s.witness.again()
			o.judged()
		}
	}
}

// wake returns how long nothing is due.
func (o *owner) wake(now time.Time) time.Duration {
	const long = time.Hour
	next := now.Add(long)
	due := func(at time.Time) {
		if !at.IsZero() && at.Before(next) {
			next = at
		}
	}
	for _, c := range o.changeovers {
		due(c.at)
	}
	for _, f := range o.fades {
		due(f.at)
	}
	due(o.rotateAt)
	if !o.proving {
		due(o.proveAt)
	}
	if o.job != nil {
		due(o.job.wake)
	} else if len(o.queue) > 0 && o.busy == nil {
		due(o.retryAt)
	}
	return max(0, next.Sub(now))
}

// deliver processes one message of the log.
func (o *owner) deliver(ctx context.Context, message []byte) error {
	h, err := mls.Peek(message)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrRefused, err)
	}
	switch {
	case h.Public:
		// Members encrypt all they send; what is left are external proposals and
		// external commits.
		return fmt.Errorf("%w: message in clear", ErrPolicy)
	case !bytes.Equal(h.GroupID, o.g.ID()):
		return fmt.Errorf("%w: message of another meeting", ErrRefused)
	case h.Application:
		return o.application(ctx, message)
	case !h.Commit:
		return fmt.Errorf("%w: proposal outside a commit", ErrPolicy)
	case h.Epoch < o.g.Epoch():
		return nil // the log was read before, or by another way
	case h.Epoch > o.g.Epoch():
		o.s.ring.Hold(HoldFork)
		return fmt.Errorf("%w: commit of epoch %d in epoch %d", ErrFork, h.Epoch, o.g.Epoch())
	}
	return o.commit(ctx, message)
}

// commit ends the epoch, if the commit is one that may.
func (o *owner) commit(ctx context.Context, message []byte) error {
	if won := o.own(message); won != nil {
		return o.won(ctx, won)
	}
	staged, err := o.g.Stage(ctx, message)
	if err == nil {
		if err = o.s.judge(staged.Diff()); err != nil {
			staged.Discard()
		}
	}
	if context.Cause(ctx) != nil {
		return context.Cause(ctx)
	}
	if err != nil {
		// The log holds it, so others may follow it where this room cannot.
		o.s.ring.Hold(HoldFork)
		return fmt.Errorf("%w: %w", ErrFork, err)
	}
	d := staged.Diff()
	if d.SelfRemoved {
		return o.leave(d, staged)
	}
	if err := staged.Apply(); err != nil {
		o.s.ring.Hold(HoldFork)
		return fmt.Errorf("%w: %w", ErrFork, err)
	}
	o.lost()
	return o.fatal(o.moved(ctx, d))
}

// leave ends the session because a member removed this room.
func (o *owner) leave(d mls.Diff, staged *mls.Staged) error {
	o.s.ring.Close()
	err := staged.Apply()
	e := *o.s.snap.Load()
	e.Number, e.SelfRemoved, e.Added, e.Removed = d.Epoch, true, nil, nil
	for _, m := range d.Removed {
		if gone, ok := e.member(Leaf(m.Index)); ok {
			e.Removed = append(e.Removed, gone)
		}
	}
	o.s.snap.Store(&e)
	o.s.set.Observer.Epoch(e)
	o.ended = ErrRemoved
	return err
}

// fatal ends the session if the group has moved and its keys could not follow.
func (o *owner) fatal(err error) error {
	if err != nil {
		o.s.ring.Close()
		o.ended = err
	}
	return err
}

// application processes an application message.
func (o *owner) application(ctx context.Context, message []byte) error {
	app, err := o.g.Unprotect(ctx, message)
	if errors.Is(err, mls.ErrOwn) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("%w: %w", ErrRefused, err)
	}
	from, ok := o.s.snap.Load().member(Leaf(app.Sender))
	if !ok || from.Since > app.Epoch {
		return fmt.Errorf("%w: sender is no member any more", ErrRefused)
	}
	if len(app.Data) == 0 {
		return fmt.Errorf("%w: empty message", ErrRefused)
	}
	switch body := app.Data[1:]; app.Data[0] {
	case messageReady:
		if len(body) != 8 || binary.BigEndian.Uint64(body) > app.Epoch {
			return fmt.Errorf("%w: malformed ready", ErrRefused)
		}
		o.ready(from.Leaf, binary.BigEndian.Uint64(body))
	case messageEvidence:
		if len(body) <= 8 || len(body) > 8+MaxEvidence {
			return fmt.Errorf("%w: malformed evidence", ErrRefused)
		}
		if o.s.witness.heard(from.Leaf, binary.BigEndian.Uint64(body), body[8:]) {
			o.judged()
		}
	case messagePayload:
		o.s.set.Observer.Message(from, body)
	}
	return nil
}

// say protects what Broadcast was given.
func (o *owner) say(ctx context.Context, m said) {
	message, err := o.g.Protect(ctx, nil, append([]byte{messagePayload}, m.payload...))
	if err == nil {
		err = o.post(outgoing{message: message, done: m.done})
	}
	if err != nil {
		m.done <- err
	}
}

// post queues an application message.
func (o *owner) post(m outgoing) error {
	select {
	case o.out <- m:
		return nil
	default:
		return ErrBusy
	}
}

// send hands application messages to the Delivery, in their order.
func (o *owner) send(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case m := <-o.out:
			timed, cancel := context.WithTimeout(ctx, sendTimeout)
			err := o.s.set.Delivery.Send(timed, m.message)
			cancel()
			switch {
			case m.done != nil:
				m.done <- err
			case err != nil && ctx.Err() == nil:
				o.s.set.Log.Warn("ready was not sent", "error", err)
			}
		}
	}
}

// wantCode computes the code of the epoch beside the owner, one at a time: it
// takes far longer than a message.
func (o *owner) wantCode() {
	if o.coder {
		return
	}
	o.coder = true
	epoch, authenticator, id := o.g.Epoch(), o.g.EpochAuthenticator(), bytes.Clone(o.g.ID())
	o.wg.Go(func() {
		digits, err := securityCode(authenticator, id)
		clear(authenticator)
		select {
		case o.codes <- code{epoch, digits, err}:
		case <-o.done:
		}
	})
}

func (o *owner) coded(c code) {
	o.coder = false
	switch {
	case c.err != nil:
		o.s.set.Log.Error("no security code", "error", c.err)
	case c.epoch == o.g.Epoch():
		o.s.set.Observer.Code(c.epoch, c.digits)
	default: // too late: the next one
		o.wantCode()
	}
}

// planRotation chooses when this room renews its keys next. The members of a
// large meeting take turns, and jitter keeps them apart.
func (o *owner) planRotation() {
	every := max(o.s.set.Rotation, perMemberTurn*time.Duration(len(o.s.snap.Load().Members)))
	if o.s.set.Rotation < 0 {
		o.rotateAt = time.Time{}
		return
	}
	o.rotateAt = time.Now().Add(every*3/4 + upTo(every/2))
}

// rotate asks for a rotation when one is due. Alone there is nobody to hide
// old keys from.
func (o *owner) rotate(ctx context.Context, now time.Time) {
	if o.rotateAt.IsZero() || now.Before(o.rotateAt) {
		return
	}
	o.planRotation()
	if len(o.s.snap.Load().Members) > 1 {
		o.enqueue(&wish{what: wishRotate, ctx: ctx, done: make(chan error, 1)})
	}
}
