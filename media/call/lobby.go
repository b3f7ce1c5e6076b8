// SPDX-License-Identifier: Apache-2.0

package call

import (
	"context"
	"time"

	"incamera/media/e2ee"
	"incamera/media/relay"
	"incamera/media/signal"
)

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
