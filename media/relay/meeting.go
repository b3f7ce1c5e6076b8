// SPDX-License-Identifier: Apache-2.0

package relay

import (
	"time"

	"incamera/media/signal"
)

// A meeting is one MLS group: its log, its commit slot, and who is connected.
type meeting struct {
	id    []byte
	owner Room   // who opened it
	epoch uint64 // the one whose commit slot is free
	won   uint64 // Seq of the commit that led here; 0: opened at this epoch

	log      []entry // the newest messages, without gaps
	logBytes int
	next     uint64 // Seq of the next message

	seats map[Room]*seat
	lobby map[*conn]bool
	paced map[Room]int // knocks in this window
	fresh []byte       // what newcomers bind their evidence to; see signal.Fresh
	since time.Time    // when the window began
}

// A seat is the place of a member in the log. It outlives a connection by
// RejoinTime.
type seat struct {
	key    [32]byte // of the certificate that took it; zero: any with this name
	conn   *conn    // nil while broken
	first  uint64   // Seq of the first message this member may see
	broken time.Time
}

// open is Open of package signal.
func (h *hub) open(c *conn, id uint64, b signal.Open) {
	owner := h.server.opt.Owner
	m := h.meetings[string(b.Meeting)]
	switch {
	case c.place != fresh:
		h.fail(c, id, signal.CodeState, "already in a meeting")
		return
	case owner != "" && c.who.Room != (Room{Name: owner, Site: h.server.id.Site}),
		m != nil && m.owner != c.who.Room:
		h.fail(c, id, signal.CodeForbidden, "only its owner opens a meeting")
		return
	case m == nil && len(h.meetings) == MaxMeetings:
		h.fail(c, id, signal.CodeFull, "meetings")
		return
	case m != nil && b.Epoch < m.epoch:
		h.answer(c, id, signal.Stale{Epoch: m.epoch, Seq: m.won})
		return
	}
	if m == nil || b.Epoch > m.epoch {
		if m != nil {
			h.dismissAll(m, signal.Reopened)
		}
		m = h.newMeeting(b, c.who.Room)
	}
	h.answer(c, id, signal.Opened{Epoch: m.epoch, Seq: m.next})
	h.admit(m, c, m.next)
}

func (h *hub) newMeeting(b signal.Open, owner Room) *meeting {
	now := time.Now()
	m := &meeting{
		id: b.Meeting, owner: owner, epoch: b.Epoch, next: 1,
		seats: make(map[Room]*seat), lobby: make(map[*conn]bool), paced: make(map[Room]int), since: now,
	}
	for _, r := range b.Members {
		if r != owner {
			m.seats[r] = &seat{first: 1, broken: now}
		}
	}
	h.meetings[string(m.id)] = m
	return m
}

// rejoin is Rejoin of package signal.
func (h *hub) rejoin(c *conn, id uint64, b signal.Rejoin) {
	if c.place != fresh {
		h.fail(c, id, signal.CodeState, "already in a meeting")
		return
	}
	m := h.meetings[string(b.Meeting)]
	if m == nil || m.seats[c.who.Room] == nil {
		h.fail(c, id, signal.CodeNotFound, "no such seat")
		return
	}
	s := m.seats[c.who.Room]
	if s.key != ([32]byte{}) && s.key != c.who.Key {
		h.fail(c, id, signal.CodeForbidden, "the seat has another key")
		return
	}
	missed, ok := m.from(b.Seq)
	if !ok || b.Seq < s.first {
		h.fail(c, id, signal.CodeNotFound, "no longer in the log")
		return
	}
	h.answer(c, id, signal.Opened{Epoch: m.epoch, Seq: b.Seq})
	for _, e := range missed {
		h.send(c, e.data)
	}
	h.admit(m, c, s.first)
}

// admit gives c the seat of its room, in the place of an older connection, and
// tells it and the others who is there.
func (h *hub) admit(m *meeting, c *conn, first uint64) {
	if old := m.seats[c.who.Room]; old != nil && old.conn != nil {
		h.dismiss(old.conn, signal.Replaced)
	}
	m.seats[c.who.Room] = &seat{key: c.who.Key, conn: c, first: first}
	c.meeting, c.place = m, member
	c.ws.SetReadLimit(signal.MaxMessage)
	for room, s := range m.seats {
		if room != c.who.Room {
			h.tell(c, signal.Presence{Room: room, Connected: s.conn != nil})
		}
	}
	for _, k := range m.pending() {
		h.tell(c, k.body())
	}
	h.broadcast(m, signal.Presence{Room: c.who.Room, Connected: true}, c)
}

// broadcast tells all members but one, which may be nil.
func (h *hub) broadcast(m *meeting, b signal.Body, but *conn) {
	data := h.encode(0, b)
	for _, s := range m.seats {
		if s.conn != nil && s.conn != but {
			h.send(s.conn, data)
		}
	}
}

// partWith is called once per connection of a member, when it leaves or broke.
func (h *hub) partWith(m *meeting, c *conn, leaves bool) {
	s := m.seats[c.who.Room]
	if s == nil || s.conn != c { // another connection has the seat, or nobody
		return
	}
	if leaves {
		h.vacate(m, c.who.Room, signal.Left)
		return
	}
	s.conn, s.broken = nil, time.Now()
	h.broadcast(m, signal.Presence{Room: c.who.Room}, nil)
}

// vacate takes a seat away. The last one ends the meeting.
func (h *hub) vacate(m *meeting, room Room, why Reason) {
	delete(m.seats, room)
	h.broadcast(m, signal.Gone{Room: room, Reason: why}, nil)
	if len(m.seats) == 0 {
		h.dismissAll(m, signal.Ended)
		if h.meetings[string(m.id)] == m {
			delete(h.meetings, string(m.id))
		}
	}
}

func (h *hub) dismissAll(m *meeting, why Reason) {
	for _, s := range m.seats {
		if s.conn != nil {
			h.dismiss(s.conn, why)
		}
	}
	for c := range m.lobby {
		h.dismiss(c, why)
	}
}

// sweep ends what has run out.
func (h *hub) sweep(now time.Time) {
	for _, m := range h.meetings {
		for room, s := range m.seats {
			if s.conn == nil && now.Sub(s.broken) >= RejoinTime {
				h.vacate(m, room, signal.Lost)
			}
		}
		if now.Sub(m.since) >= knockWindow {
			clear(m.paced)
			m.since = now
		}
	}
}
