// SPDX-License-Identifier: Apache-2.0

package call

import (
	"context"

	"incamera/media/e2ee"
)

// heard takes what a member said inside the group.
func (m *meeting) heard(o *owner, from e2ee.Member, said message) {
	other := m.members[from.Leaf]
	if other == nil || other.Credential != from.Credential || said.To != nil && *said.To != m.epoch.Self {
		return
	}
	switch {
	case said.SDP != nil:
		other.signalled(m, *said.SDP)
	case said.Status != nil:
		other.says = *said.Status
		m.save(o)
	case said.Bye:
		m.bye[from.Leaf] = true
		other.close(m)
		m.refan()
		if m.others() == 0 {
			o.fail(ErrEnded)
		} else if m.first() {
			m.removeLater(from.Leaf)
		}
	}
}

// say tells the members what this room says of itself.
func (m *meeting) say(o *owner) {
	m.tell(message{Status: &says{Muted: o.status.Muted, CameraOff: o.status.CameraOff, Relay: o.config.Address}})
}

// tell sends a message into the group, beside the owner.
func (m *meeting) tell(said message) {
	if m.session == nil {
		return
	}
	session := m.session
	b, err := said.encode()
	if err != nil {
		m.log.Error("a message of ours is refused", "err", err)
		return
	}
	m.begin(func(ctx context.Context) {
		ctx, cancel := context.WithTimeout(ctx, askFor)
		defer cancel()
		if err := session.Broadcast(ctx, b); err != nil && !isCause(err) {
			m.log.Warn("the members were not told", "err", err)
		}
	})
}

// sayBye tells the others that this room leaves, then ends the call.
func (m *meeting) sayBye() {
	for _, i := range m.invited {
		i.cancel()
	}
	session := m.session
	m.begin(func(ctx context.Context) {
		if session != nil {
			if b, err := (message{Bye: true}).encode(); err == nil {
				ctx, cancel := context.WithTimeout(ctx, byeFor)
				_ = session.Broadcast(ctx, b) // who did not hear it sees that we are gone
				cancel()
			}
		}
		m.post((*owner).left)
	})
}
