// SPDX-License-Identifier: Apache-2.0

package relay_test

import (
	"bytes"
	"context"
	"errors"
	"testing"
	"time"

	"incamera/media/relay"
	"incamera/media/signal"
)

// A phone is what rings in a room.
type phone struct {
	calls   chan relay.Call
	answers chan relay.Answer
	ended   chan error // the cause, if nobody answered
}

func newPhone() *phone {
	return &phone{make(chan relay.Call, 10), make(chan relay.Answer), make(chan error, 10)}
}

func (p *phone) Ring(ctx context.Context, call relay.Call) relay.Answer {
	p.calls <- call
	select {
	case a := <-p.answers:
		return a
	case <-ctx.Done():
		p.ended <- context.Cause(ctx)
		return relay.Answer{Accepted: true} // too late to count
	}
}

func TestRing(t *testing.T) {
	p := newPhone()
	h := newHouse(t, func(o *relay.Options) { o.Rings = p })
	c := h.dial(t, "curie")
	invitation := relay.Invitation{Meeting: meetingID, Relay: "192.0.2.7:8443", Key: [32]byte{1}}
	for _, answer := range []relay.Answer{
		{Accepted: true}, {Reason: signal.Busy}, {Reason: signal.DeclinedBy}, {Reason: signal.NoAnswer},
	} {
		rang := make(chan struct{})
		go func() { p.answers <- answer }()
		got, err := c.Ring(t.Context(), invitation, func() { close(rang) })
		if err != nil || got != answer {
			t.Errorf("Ring = %+v, %v; want %+v", got, err, answer)
		}
		<-rang
		call := <-p.calls
		if call.Caller.Room != (relay.Room{Name: "curie", Site: "Example"}) || !bytes.Equal(call.Meeting, meetingID) ||
			call.Relay != invitation.Relay || call.Key != invitation.Key {
			t.Errorf("call: %+v", call)
		}
	}
	// An answer without a word is none.
	go func() { p.answers <- relay.Answer{} }()
	if got, err := c.Ring(t.Context(), invitation, nil); err != nil || got != (relay.Answer{Reason: signal.NoAnswer}) {
		t.Errorf("Ring = %+v, %v", got, err)
	}
	<-p.calls
	t.Run("caller gives up", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		go func() { <-p.calls; cancel() }()
		if _, err := c.Ring(ctx, invitation, nil); !errors.Is(err, context.Canceled) {
			t.Errorf("Ring = %v", err)
		}
		<-p.ended
		// The connection is as before.
		go func() { p.answers <- relay.Answer{Accepted: true} }()
		if got, err := c.Ring(t.Context(), invitation, nil); err != nil || !got.Accepted {
			t.Errorf("Ring = %+v, %v", got, err)
		}
		<-p.calls
	})
	t.Run("two at once", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- errorOf(c.Ring(ctx, invitation, nil)) }()
		<-p.calls
		if err := ring(t.Context(), c); err == nil || errors.Is(err, relay.ErrClosed) {
			t.Errorf("a second ring: %v", err)
		}
		cancel()
		<-done
		<-p.ended
	})
	t.Run("caller dies", func(t *testing.T) {
		done := make(chan error, 1)
		go func() { done <- errorOf(c.Ring(t.Context(), invitation, nil)) }()
		<-p.calls
		if err := c.Close(); err != nil {
			t.Error(err)
		}
		if err := <-done; !errors.Is(err, relay.ErrClosed) {
			t.Errorf("Ring = %v", err)
		}
		select {
		case <-p.ended:
		case <-time.After(patience):
			t.Error("it rings on")
		}
	})
}

func errorOf(_ relay.Answer, err error) error { return err }
