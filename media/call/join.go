// SPDX-License-Identifier: Apache-2.0

package call

import (
	"context"
	"errors"
	"fmt"
	"time"

	"incamera/media/e2ee"
	"incamera/media/relay"
	"incamera/media/signal"
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

// group is the configuration of the meeting's group.
func (m *meeting) group() e2ee.Config {
	c := m.engine.config.Group
	c.Delivery, c.Observer = m.mail, m
	return c
}

// hold makes the group, with this room alone in it, and opens the meeting on
// this room's relay.
func (m *meeting) hold() {
	m.begin(func(ctx context.Context) {
		ctx, cancel := context.WithTimeout(ctx, askFor)
		defer cancel()
		session, l, err := m.found(ctx)
		m.settle(session, l, err)
	})
}

func (m *meeting) found(ctx context.Context) (*e2ee.Session, line, error) {
	session, err := e2ee.Create(ctx, m.group(), m.id)
	if err != nil {
		return nil, line{}, fmt.Errorf("call: new group: %w", err)
	}
	own := m.engine.own
	conn, err := m.engine.dial(ctx, own)
	if err != nil {
		return nil, line{}, fmt.Errorf("call: own relay: %w", err)
	}
	at, err := conn.Open(ctx, m.id, session.Epoch().Number, nil)
	if err != nil {
		return nil, line{}, errors.Join(fmt.Errorf("call: own relay: %w", err), conn.Close())
	}
	// Before anybody is called, who would come without evidence otherwise.
	if err := conn.Fresh(ctx, session.Epoch().Handle()); err != nil {
		return nil, line{}, errors.Join(fmt.Errorf("call: own relay: %w", err), conn.Close())
	}
	return session, newLine(conn, own.Address, at.Seq), nil
}

// settle hands the outcome of joining to the owner. What nobody takes is closed.
func (m *meeting) settle(session *e2ee.Session, l line, err error) {
	taken := m.post(func(o *owner) {
		if err != nil {
			o.fail(err)
			return
		}
		m.enter(o, session, l)
	})
	if !taken && l.conn != nil {
		_ = l.conn.Close() // it is of no more use
	}
}

// knock looks for the meeting at the relays, one after the other and, where a
// restarted room returns, again. It asks to be let in and ends with the meeting.
func (m *meeting) knock(o *owner, relays []Relay) {
	again := o.status.State == Reconnecting
	m.begin(func(ctx context.Context) {
		for {
			for _, r := range relays {
				session, l, err := m.knockAt(ctx, r)
				if err == nil || !again || errors.Is(err, ErrNotAdmitted) || errors.Is(err, ErrNotProved) {
					m.settle(session, l, err)
					return
				}
				m.log.Debug("the meeting is not there", "relay", r.Address, "err", err)
			}
			select {
			case <-ctx.Done():
				return
			case <-time.After(searchStep):
			}
		}
	})
}

func (m *meeting) knockAt(ctx context.Context, r Relay) (*e2ee.Session, line, error) {
	ask, cancel := context.WithTimeout(ctx, askFor)
	defer cancel()
	conn, err := m.engine.dial(ask, r)
	if err != nil {
		return nil, line{}, errors.Join(ErrUnreachable, err)
	}
	session, seq, err := m.admitted(ctx, ask, conn)
	if err != nil {
		return nil, line{}, errors.Join(err, conn.Close())
	}
	return session, newLine(conn, r.Address, seq), nil
}

// admitted asks to be let in, which may take as long as ctx; what machines
// answer may take as long as ask.
func (m *meeting) admitted(ctx, ask context.Context, conn *relay.Conn) (*e2ee.Session, uint64, error) {
	handle, err := conn.Attach(ask, m.id)
	if err != nil {
		return nil, 0, errors.Join(ErrUnreachable, err)
	}
	if len(handle) == 0 && m.engine.config.Group.Attestation.Attestor != nil {
		// The meeting has just come to this relay. What this room proves must
		// be fresh, so it asks again.
		return nil, 0, fmt.Errorf("%w: the relay has no handle yet", ErrUnreachable)
	}
	joiner, err := e2ee.NewJoiner(ask, m.group(), handle)
	if err != nil {
		return nil, 0, fmt.Errorf("call: KeyPackage: %w", err)
	}
	defer joiner.Destroy()
	m.post(func(*owner) { m.knocking = true })
	admission, err := conn.Knock(ctx, joiner.KeyPackage())
	if refused := (*relay.RefusedError)(nil); errors.As(err, &refused) {
		if refused.Reason == signal.NotAttested {
			return nil, 0, errors.Join(ErrNotProved, err)
		}
		return nil, 0, errors.Join(ErrNotAdmitted, err)
	} else if err != nil {
		return nil, 0, err
	}
	session, err := joiner.Join(ctx, admission.Welcome)
	if err != nil {
		return nil, 0, fmt.Errorf("call: Welcome: %w", err)
	}
	return session, admission.Seq, nil
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

// knocked lets a room in that this room invited, or that was lost lately and
// still has its key. For any other a person decides.
func (m *meeting) knocked(e relay.Knocked) {
	if m.session == nil || len(m.knocks) >= relay.MaxKnocks { // an honest relay passes no more on
		return
	}
	who, err := m.session.Candidate(e.KeyPackage)
	if err != nil {
		m.log.Warn("a knock was refused", "room", e.Room.Name, "err", err)
		m.refuse(e.ID, signal.NotAllowed, nil)
		return
	}
	if m.epoch.Mode == e2ee.AttestedOnly && !who.Verdict.Tier.Accepted() {
		m.notProved(e.ID, who)
		return
	}
	w := &waiting{
		Knock: Knock{
			ID: e.ID, Name: who.Name, Site: who.Site, Credential: who.Credential, Since: time.Now(), Verdict: who.Verdict,
		},
		keyPackage: e.KeyPackage, signature: string(who.SignatureKey),
	}
	m.knocks[e.ID] = w
	switch {
	case m.invited[who.Name] != nil, m.returns(who) && m.first():
		m.admit(w)
	case m.returns(who):
		// The first of the members lets it in.
	}
}

// notProved turns a room away that did not prove its software. If this room
// called it, the call is over.
func (m *meeting) notProved(id string, who e2ee.Member) {
	m.log.Warn("a room did not prove its software", "room", who.Name, "reason", who.Verdict.Reason, "detail", who.Verdict.Detail)
	if called := m.invited[who.Name]; called != nil {
		called.cancel()
		delete(m.invited, who.Name)
	}
	m.refuse(id, signal.NotAttested, func(o *owner) {
		if o.status.State == Calling {
			o.fail(&NotAttestedError{Room: who.Name, Verdict: who.Verdict})
		}
	})
}

// returns reports whether a room is, or lately was, a member with this key.
func (m *meeting) returns(who e2ee.Member) bool {
	for _, other := range m.members {
		if other.Name == who.Name && string(other.SignatureKey) == string(who.SignatureKey) {
			return true
		}
	}
	d, ok := m.recent[who.Name]
	return ok && d.key == string(who.SignatureKey)
}

// admit adds the room by a commit. The lobby forgets it when the relay says
// that the knock has ended.
func (m *meeting) admit(w *waiting) {
	if m.session == nil || !w.asked.IsZero() {
		return
	}
	w.asked = time.Now()
	session := m.session
	m.begin(func(ctx context.Context) {
		ctx, cancel := context.WithTimeout(ctx, askFor)
		defer cancel()
		if err := session.Add(ctx, w.ID, w.keyPackage); err != nil {
			m.log.Warn("a room was not let in", "room", w.Name, "err", err)
			m.post(func(*owner) { w.asked = time.Time{} }) // a person may try again
		}
	})
}

// refuse turns a room away, and then lets the owner run then, if any: the room is
// told before the meeting may end.
func (m *meeting) refuse(id string, why signal.Reason, then func(*owner)) {
	conn := m.conn
	if conn == nil {
		return
	}
	m.begin(func(ctx context.Context) {
		ctx, cancel := context.WithTimeout(ctx, askFor)
		defer cancel()
		if err := conn.Refuse(ctx, id, why); err != nil {
			m.log.Debug("a knock is over", "err", err)
		}
		if then != nil {
			m.post(then)
		}
	})
}

// decide is a person's word about a room that waits.
func (m *meeting) decide(id string, credential [32]byte, admit bool) error {
	w := m.knocks[id]
	if w == nil || w.Credential != credential {
		return ErrNoKnock
	}
	if admit {
		m.admit(w)
	} else {
		delete(m.knocks, id)
		m.refuse(id, signal.NotAllowed, nil)
	}
	return nil
}

// remove puts out the member that the person saw.
func (m *meeting) remove(id string, credential [32]byte) error {
	for leaf, other := range m.members {
		if memberID(other.Member) == id && other.Credential == credential {
			other.unwanted = true
			m.removeLater(leaf)
			return nil
		}
	}
	return ErrNoMember
}

// removeLater removes a member beside the owner; tick asks again if that fails.
// This room sends nothing meanwhile. If the member is there and a person does
// not want it, that lasts until it is out; if it has left anyway, there is no
// reason to be silent.
func (m *meeting) removeLater(leaf e2ee.Leaf) {
	other := m.members[leaf]
	if m.session == nil || m.conn == nil || other.removing {
		return
	}
	other.removing = true
	session, unwanted := m.session, other.unwanted
	m.begin(func(ctx context.Context) {
		ctx, cancel := context.WithTimeout(ctx, askFor)
		defer cancel()
		if err := session.Remove(ctx, leaf); err != nil && !isCause(err) {
			m.log.Warn("a room was not removed", "room", other.Name, "err", err)
			if !unwanted {
				session.Keyring().Release(e2ee.HoldRemoval)
			}
		}
		m.post(func(*owner) { other.removing = false })
	})
}

// removeAll removes every other room; the epoch without them ends the call.
func (m *meeting) removeAll() {
	for leaf, other := range m.members {
		other.unwanted = true
		m.removeLater(leaf)
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
