// SPDX-License-Identifier: Apache-2.0

package relay

import (
	"cmp"
	"slices"

	"incamera/media/signal"
)

// A knock waits for members to answer it. Its KeyPackage is used once: the
// first Commit or Refuse that names it ends it.
type knock struct {
	number     uint64 // never given twice
	request    uint64 // the number that the client gave
	keyPackage []byte
}

// pending are the connections that knock, in the order they came.
type pending []*conn

func (m *meeting) pending() pending {
	var p pending
	for c := range m.lobby {
		if c.place == knocking && !c.gone {
			p = append(p, c)
		}
	}
	slices.SortFunc(p, func(a, b *conn) int { return cmp.Compare(a.knock.number, b.knock.number) })
	return p
}

func (p pending) find(number uint64) *conn {
	for _, c := range p {
		if c.knock.number == number {
			return c
		}
	}
	return nil
}

func (c *conn) body() signal.Knocked {
	return signal.Knocked{Knock: c.knock.number, Room: c.who.Room, KeyPackage: c.knock.keyPackage}
}

// attach is Attach of package signal.
func (h *hub) attach(c *conn, id uint64, b signal.Attach) {
	if c.place != fresh {
		h.fail(c, id, signal.CodeState, "already in a meeting")
		return
	}
	m := h.meetings[string(b.Meeting)]
	if m == nil {
		h.fail(c, id, signal.CodeNotFound, "no such meeting")
		return
	}
	c.place, c.meeting = lobby, m
	m.lobby[c] = true
	h.answer(c, id, signal.Attached{Handle: m.fresh})
}

// fresh is Fresh of package signal.
func (h *hub) fresh(c *conn, id uint64, b signal.Fresh) {
	if c.place != member {
		h.fail(c, id, signal.CodeState, "not a member")
		return
	}
	c.meeting.fresh = b.Handle
	h.answer(c, id, signal.Done{})
}

// knocked is Knock of package signal. A room has one knock at a time, the
// newest: an older one is of a connection that it has given up.
func (h *hub) knocked(c *conn, id uint64, b signal.Knock) {
	m := c.meeting
	if c.place != lobby {
		h.fail(c, id, signal.CodeState, "not in the lobby")
		return
	}
	if head, err := signal.ReadHead(b.KeyPackage); err != nil || head.Wire != signal.WireKeyPackage {
		h.fail(c, id, signal.CodeHead, "no key package")
		return
	}
	if m.paced[c.who.Room] == knocksWindow {
		h.fail(c, id, signal.CodeFull, "knocked too often")
		return
	}
	others := m.pending()
	if i := slices.IndexFunc(others, func(o *conn) bool { return o.who.Room == c.who.Room }); i >= 0 {
		h.turnAway(m, others[i], signal.Replaced)
	} else if len(others) == MaxKnocks {
		h.fail(c, id, signal.CodeFull, "knocks")
		return
	}
	m.paced[c.who.Room]++
	h.knocks++
	c.place, c.knock = knocking, knock{number: h.knocks, request: id, keyPackage: b.KeyPackage}
	h.broadcast(m, c.body(), nil)
}

// refuse is Refuse of package signal.
func (h *hub) refuse(c *conn, id uint64, b signal.Refuse) {
	if c.place != member {
		h.fail(c, id, signal.CodeState, "not a member")
		return
	}
	other := c.meeting.pending().find(b.Knock)
	if other == nil {
		h.fail(c, id, signal.CodeNotFound, "no such knock")
		return
	}
	h.answer(c, id, signal.Done{})
	h.turnAway(c.meeting, other, b.Reason)
}

// turnAway sends a knocking room back to the lobby.
func (h *hub) turnAway(m *meeting, c *conn, why Reason) {
	h.answer(c, c.knock.request, signal.Refused{Reason: why})
	c.place = lobby
	h.endKnock(m, c, signal.WasRefused)
}

// endKnock tells the members that a knock is over without a Welcome.
func (h *hub) endKnock(m *meeting, c *conn, why Reason) {
	h.broadcast(m, signal.KnockEnded{Knock: c.knock.number, Reason: why}, nil)
	c.knock = knock{}
}

// evict is Evict of package signal.
func (h *hub) evict(c *conn, id uint64, b signal.Evict) {
	m := c.meeting
	switch {
	case c.place != member:
		h.fail(c, id, signal.CodeState, "not a member")
	case m.owner != c.who.Room:
		h.fail(c, id, signal.CodeForbidden, "only its owner evicts")
	case m.seats[b.Room] == nil || b.Room == c.who.Room:
		h.fail(c, id, signal.CodeNotFound, "no such member")
	default:
		h.answer(c, id, signal.Done{})
		if old := m.seats[b.Room].conn; old != nil {
			h.dismiss(old, signal.Removed)
		}
		h.vacate(m, b.Room, signal.Removed)
	}
}
