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
