// SPDX-License-Identifier: Apache-2.0

package relay

import (
	"context"

	"incamera/media/signal"
)

// A ring is one call on its way to the room's person.
type ring struct {
	caller  *conn
	request uint64
	cancel  context.CancelFunc
	over    bool // the caller hung up
}

// ring is Ring of package signal.
func (h *hub) ring(c *conn, id uint64, b signal.Ring) {
	rings := h.server.opt.Rings
	switch {
	case rings == nil:
		h.fail(c, id, signal.CodeNotFound, "nobody to call here")
		return
	case c.ring != nil:
		h.fail(c, id, signal.CodeState, "already ringing")
		return
	}
	h.answer(c, id, signal.Ringing{})
	if h.rings == maxRings {
		h.answer(c, id, signal.Declined{Reason: signal.Busy})
		return
	}
	ctx, cancel := context.WithTimeout(h.ctx, RingTime)
	r := &ring{caller: c, request: id, cancel: cancel}
	c.ring = r
	h.rings++
	call := Call{Caller: c.who, Meeting: b.Meeting, Relay: b.Relay, Key: b.Key}
	go func() {
		defer cancel()
		answer := rings.Ring(ctx, call)
		if ctx.Err() != nil {
			answer = Answer{Reason: signal.NoAnswer}
		}
		h.post(rung{r, answer})
	}()
}

// rung passes the answer on to a caller that still waits.
func (h *hub) rung(r *ring, a Answer) {
	h.rings--
	if r.over {
		return
	}
	r.caller.ring = nil
	switch {
	case a.Accepted:
		h.answer(r.caller, r.request, signal.Answered{})
	case a.Reason.Valid():
		h.answer(r.caller, r.request, signal.Declined{Reason: a.Reason})
	default:
		h.answer(r.caller, r.request, signal.Declined{Reason: signal.NoAnswer})
	}
}

// hangUp ends the ring that c has, if any.
func (h *hub) hangUp(c *conn) {
	if c.ring != nil {
		c.ring.over = true
		c.ring.cancel()
		c.ring = nil
	}
}
