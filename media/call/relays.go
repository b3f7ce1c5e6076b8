// SPDX-License-Identifier: Apache-2.0

package call

import (
	"context"
	"errors"
	"time"

	"incamera/media/relay"
)

const (
	searchStep = 200 * time.Millisecond // between two rounds of looking for a relay
	rejoinFor  = 2 * time.Second        // to get the same relay back before another room takes over
)

// dial connects to a room's relay; who answers must have the room's
// certificate.
func (e *Engine) dial(ctx context.Context, r Relay) (*relay.Conn, error) {
	return relay.Dial(ctx, r.Address, relay.DialOptions{
		Credentials: e.config.Relay, Expect: relay.Expect{Name: r.Room, Key: r.Key},
	})
}

// A line is a member's connection to the relay of a meeting.
type line struct {
	conn *relay.Conn
	host Relay
	seq  uint64 // of the next message of the log
}

// newLine describes the connection that was dialled at an address.
func newLine(conn *relay.Conn, address string, seq uint64) line {
	id := conn.Relay()
	return line{conn, Relay{Room: id.Name, Address: address, Key: id.Key}, seq}
}

// useRelay lets the relay's events flow to the session and to the owner.
func (m *meeting) useRelay(l line) {
	m.conn, m.host, m.seq = l.conn, l.host, l.seq
	m.mail.use(l.conn)
	m.freshen()
	conn, session := l.conn, m.session
	m.begin(func(ctx context.Context) {
		for event := range conn.Events() {
			if in, ok := event.(relay.Ordered); ok {
				if err := session.Deliver(ctx, in.Message); err != nil {
					m.log.Debug("a message of the log was dropped", "err", err)
				}
			}
			if !m.post(func(*owner) { m.relayed(event) }) {
				return
			}
		}
		m.post(func(*owner) { m.relayLost(conn) })
	})
}

// relayed takes what the relay says. It is a hint about who can be reached and
// never about who is in.
func (m *meeting) relayed(event relay.Event) {
	switch e := event.(type) {
	case relay.Ordered:
		m.seq = e.Seq + 1
	case relay.Knocked:
		m.knocked(e)
	case relay.KnockEnded:
		delete(m.knocks, e.ID)
	case relay.Presence:
		m.present(e.Room.Name, e.Connected)
	case relay.Gone:
		m.present(e.Room.Name, false)
	}
}

func (m *meeting) present(room string, here bool) {
	for _, other := range m.members {
		if other.Name == room {
			other.absent = !here
		}
	}
}

// relayLost drops the relay; tick looks for another.
func (m *meeting) relayLost(conn *relay.Conn) {
	if m.conn != conn {
		return
	}
	m.log.Warn("the relay is lost", "host", m.host.Room, "err", conn.Err())
	m.conn = nil
	m.mail.use(nil)
	clear(m.knocks)
	m.begin(func(context.Context) { _ = conn.Close() }) // it has ended
	m.findRelay()
}

// findRelay gets the meeting a relay again: the same one if it answers, or
// that of the first member that is there, which takes the meeting over.
func (m *meeting) findRelay() {
	m.moving = true
	lost, seq := m.host, m.seq
	takers := []Relay{} // who may take over, in the order of the tree
	rooms := []relay.Room{}
	for _, in := range m.epoch.Members {
		rooms = append(rooms, relay.Room{Name: in.Name, Site: in.Site})
		other := m.members[in.Leaf]
		switch {
		case in.Name == lost.Room:
		case in.Leaf == m.epoch.Self:
			takers = append(takers, m.engine.own)
		case other != nil && !m.bye[in.Leaf] && other.says.Relay != "":
			takers = append(takers, Relay{Room: in.Name, Address: other.says.Relay})
		}
	}
	epoch := m.epoch.Number
	m.begin(func(ctx context.Context) {
		l, err := m.regain(ctx, lost, seq)
		if err != nil {
			l, err = m.takeOver(ctx, takers, rooms, epoch)
		}
		taken := m.post(func(o *owner) {
			m.moving = false
			if err != nil {
				m.log.Warn("no relay yet", "err", err)
				return // tick tries again
			}
			if l.host.Room != lost.Room {
				m.present(lost.Room, false)
			}
			m.log.Info("the meeting has a relay again", "host", l.host.Room)
			m.useRelay(l)
			m.say(o)
		})
		if !taken && l.conn != nil {
			_ = l.conn.Close() // it is of no more use
		}
	})
}

// regain rejoins the same relay, if it comes back at once.
func (m *meeting) regain(ctx context.Context, lost Relay, seq uint64) (line, error) {
	ctx, cancel := context.WithTimeout(ctx, rejoinFor)
	defer cancel()
	return m.rejoin(ctx, lost, func(conn *relay.Conn) (relay.Position, error) {
		return conn.Rejoin(ctx, m.id, seq)
	})
}

// takeOver opens the meeting on this room's relay, if it is the first of those
// that can be reached, or goes to the one that is.
func (m *meeting) takeOver(ctx context.Context, takers []Relay, rooms []relay.Room, epoch uint64) (line, error) {
	err := ErrUnreachable
	for _, r := range takers {
		ask, cancel := context.WithTimeout(ctx, askFor)
		var l line
		l, err = m.rejoin(ask, r, func(conn *relay.Conn) (relay.Position, error) {
			if r == m.engine.own {
				return conn.Open(ask, m.id, epoch, rooms)
			}
			return conn.Rejoin(ask, m.id, 1)
		})
		cancel()
		if err == nil {
			return l, nil
		}
		if errors.Is(err, relay.ErrNotFound) {
			// It is there and has not opened the meeting yet. To go past it
			// would split the meeting in two.
			return line{}, err
		}
	}
	return line{}, err
}

// rejoin dials a relay and takes this room's place there.
func (m *meeting) rejoin(ctx context.Context, r Relay, take func(*relay.Conn) (relay.Position, error)) (line, error) {
	conn, err := m.engine.dial(ctx, r)
	if err != nil {
		return line{}, err
	}
	at, err := take(conn)
	if err != nil {
		return line{}, errors.Join(err, conn.Close())
	}
	return newLine(conn, r.Address, at.Seq), nil
}
