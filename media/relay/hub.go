// SPDX-License-Identifier: Apache-2.0

package relay

import (
	"context"
	"log/slog"
	"time"

	"incamera/media/signal"
)

// A place says where in its life a connection is. It is a member's or not one
// at all: whoever waits gets nothing but the answers to its own requests.
//
//	        Open, Rejoin
//	fresh ----------------------------------> member
//	  |  ^  ^                                  ^   |
//	  |  |  '------------- Leave --------------+---'
//	  |  '--------- Leave -------.             |
//	  '------ Attach ------> lobby --Knock--> knocking
//	                            <--refused--
type place int

const (
	fresh place = iota
	lobby
	knocking
	member
)

// A conn is a connection that has shown a certificate. Below link, all fields
// belong to the hub.
type conn struct {
	link
	who Identity

	place   place
	meeting *meeting // nil if fresh
	knock   knock    // while knocking
	ring    *ring    // nil: none
	gone    bool     // it gets nothing more
}

// What happens to a hub.
type (
	arrived struct{ c *conn }
	said    struct {
		c   *conn
		m   signal.Message
		raw []byte
	}
	left struct{ c *conn }
	rung struct {
		r      *ring
		answer Answer
	}
)

// A hub owns all state of a server; its goroutine is the only one that touches
// it, and it never waits for a connection.
type hub struct {
	server     *Server
	ctx        context.Context // of Serve
	closeConns context.CancelCauseFunc
	log        *slog.Logger
	events     chan any
	done       chan struct{}
	large      chan struct{} // slots for large messages on their way in

	conns    map[*conn]bool
	rooms    map[Room]int // connections of a room
	meetings map[string]*meeting
	rings    int
	knocks   uint64  // the last number given to a knock
	broken   []*conn // to be taken out once the event has been handled
}

func newHub(ctx context.Context, s *Server, closeConns context.CancelCauseFunc) *hub {
	return &hub{
		server: s, ctx: ctx, closeConns: closeConns, log: s.opt.Log,
		events: make(chan any), done: make(chan struct{}), large: make(chan struct{}, 4),
		conns: make(map[*conn]bool), rooms: make(map[Room]int), meetings: make(map[string]*meeting),
	}
}

// post hands over an event. It reports false once the hub has ended.
func (h *hub) post(event any) bool {
	select {
	case h.events <- event:
		return true
	case <-h.done:
		return false
	}
}

// run handles events until ctx is done and the last connection has ended.
func (h *hub) run() {
	defer close(h.done)
	sweep := time.NewTicker(sweepEvery)
	defer sweep.Stop()
	stop, kill := h.ctx.Done(), (<-chan time.Time)(nil)
	for stop != nil || len(h.conns) > 0 || h.rings > 0 {
		select {
		case event := <-h.events:
			h.handle(event, stop == nil)
		case now := <-sweep.C:
			h.sweep(now)
		case <-stop:
			stop, kill = nil, time.After(stopTime)
			for c := range h.conns {
				h.dismiss(c, signal.Stopping)
			}
		case <-kill:
			h.closeConns(ErrClosed)
		}
		for len(h.broken) > 0 { // taking one out may break others
			c := h.broken[0]
			h.broken = h.broken[1:]
			h.takeOut(c, false)
		}
	}
	h.closeConns(ErrClosed)
}

func (h *hub) handle(event any, stopping bool) {
	switch e := event.(type) {
	case arrived:
		h.conns[e.c] = true
		h.rooms[e.c.who.Room]++
		switch {
		case stopping:
			h.dismiss(e.c, signal.Stopping)
		case len(h.conns) > maxConns || h.rooms[e.c.who.Room] > maxRoomConns:
			h.dismiss(e.c, signal.TooMany)
		}
	case said:
		h.record(e.raw)
		if !e.c.gone {
			h.request(e.c, e.m)
		}
	case left:
		delete(h.conns, e.c)
		if h.rooms[e.c.who.Room]--; h.rooms[e.c.who.Room] == 0 {
			delete(h.rooms, e.c.who.Room)
		}
		h.breakOff(e.c)
	case rung:
		h.rung(e.r, e.answer)
	}
}

// request carries out what a connection asks for.
func (h *hub) request(c *conn, m signal.Message) {
	switch b := m.Body.(type) {
	case signal.Open:
		h.open(c, m.ID, b)
	case signal.Rejoin:
		h.rejoin(c, m.ID, b)
	case signal.Attach:
		h.attach(c, m.ID, b)
	case signal.Knock:
		h.knocked(c, m.ID, b)
	case signal.Commit:
		h.commit(c, m.ID, b)
	case signal.Submit:
		h.submit(c, m.ID, b)
	case signal.Refuse:
		h.refuse(c, m.ID, b)
	case signal.Evict:
		h.evict(c, m.ID, b)
	case signal.Fresh:
		h.fresh(c, m.ID, b)
	case signal.Leave:
		h.takeOut(c, true)
		h.answer(c, m.ID, signal.Done{})
	case signal.Ring:
		h.ring(c, m.ID, b)
	case signal.Cancel:
		h.hangUp(c)
		h.answer(c, m.ID, signal.Done{})
	default: // an answer: no client of ours
		h.dismiss(c, signal.Confused)
	}
}

func (h *hub) answer(c *conn, id uint64, b signal.Body) { h.send(c, h.encode(id, b)) }

func (h *hub) fail(c *conn, id uint64, code signal.Code, detail string) {
	h.answer(c, id, signal.Error{Code: code, Detail: detail})
}

// tell sends what was not asked for.
func (h *hub) tell(c *conn, b signal.Body) { h.send(c, h.encode(0, b)) }

func (h *hub) encode(id uint64, b signal.Body) []byte {
	m := signal.Message{ID: id, Body: b}
	data, err := signal.Encode(m)
	if err != nil { // all parts were checked when they came in
		h.log.Error("own message does not encode", "kind", m.Kind(), "error", err)
		return nil
	}
	h.record(data)
	return data
}

func (h *hub) record(data []byte) {
	if _, err := h.server.opt.Recorder.Write(data); err != nil {
		h.log.Error("recorder", "error", err)
	}
}

// send queues data. A connection that cannot take it is broken off, and
// nobody waits for it.
func (h *hub) send(c *conn, data []byte) {
	if c.gone || data == nil {
		return
	}
	if !c.out.push(data, len(data)) {
		c.cancel(errSlow)
		h.breakOff(c)
	}
}

// dismiss closes a connection in order, after a last word.
func (h *hub) dismiss(c *conn, why Reason) {
	h.tell(c, signal.Closed{Reason: why})
	c.out.close()
	h.breakOff(c)
}

// breakOff has the connection taken out of its meeting at the end of this
// event; until then the lists that an event walks stay as they are.
func (h *hub) breakOff(c *conn) {
	if !c.gone {
		c.gone = true
		h.broken = append(h.broken, c)
	}
}

// takeOut ends what the connection has in its meeting and its ring. A member
// that leaves is gone; one whose connection broke keeps its place for a while.
func (h *hub) takeOut(c *conn, leaves bool) {
	h.hangUp(c)
	m, was := c.meeting, c.place
	c.meeting, c.place = nil, fresh
	switch was {
	case fresh:
	case lobby:
		delete(m.lobby, c)
	case knocking:
		delete(m.lobby, c)
		h.endKnock(m, c, signal.Left)
	case member:
		c.ws.SetReadLimit(signal.MaxSmall)
		h.partWith(m, c, leaves)
	}
}
