// SPDX-License-Identifier: Apache-2.0

package call

import (
	"slices"
	"time"

	"incamera/media/peer"
)

// save keeps where a restarted room finds the meeting: at the relay that
// carries it now, then at those of the members, its own last.
func (m *meeting) save(o *owner) {
	if len(m.members) == 0 {
		return
	}
	relays := []Relay{}
	add := func(name, address string) {
		for _, r := range relays {
			if r.Address == address {
				return
			}
		}
		if address != "" {
			relays = append(relays, Relay{Room: name, Address: address})
		}
	}
	for _, in := range m.epoch.Members {
		if other := m.members[in.Leaf]; other != nil {
			add(other.Name, other.says.Relay)
		}
	}
	add(o.config.Name, o.config.Address)
	if slices.Equal(relays, m.saved) {
		return
	}
	m.saved = relays
	if err := o.config.Memory.Save(Saved{Meeting: m.id, Relays: relays}); err != nil {
		m.log.Error("a restart would not find this meeting", "err", err)
	}
}

// tick looks after what takes time: lost members, failed connections, a lost
// relay.
func (m *meeting) tick(o *owner, now time.Time) {
	if o.status.State == Connected {
		m.checkAlone(o, now)
	}
	for leaf, other := range m.members {
		other.tick(m, now)
		late := m.bye[leaf] || other.absent && other.gone() && now.Sub(other.lost) > goneFor
		if other.unwanted || late && m.first() {
			m.removeLater(leaf)
		}
	}
	for name, d := range m.recent {
		if now.Sub(d.when) > recentFor {
			delete(m.recent, name)
		}
	}
	if bits := m.target(); bits > 0 {
		m.engine.config.Media.SetTarget(bits)
	}
	if m.session != nil && m.conn == nil && !m.moving {
		m.findRelay()
	}
}

// checkAlone ends a call in which nobody has been for a long time.
func (m *meeting) checkAlone(o *owner, now time.Time) {
	for _, other := range m.members {
		if !other.gone() {
			m.alone = time.Time{}
			return
		}
	}
	if m.alone.IsZero() {
		m.alone = now
	} else if now.Sub(m.alone) > waitFor {
		o.fail(ErrEnded)
	}
}

// target is what the slowest connection can take, 0 if there is none.
func (m *meeting) target() int {
	lowest := 0
	for _, other := range m.members {
		if other.peer == nil || other.state != peer.Connected {
			continue
		}
		if t := other.peer.Target(); lowest == 0 || t < lowest {
			lowest = t
		}
	}
	return lowest
}
