// SPDX-License-Identifier: Apache-2.0

package call

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"sync/atomic"
	"time"

	"incamera/media/e2ee"
	"incamera/media/frame"
	"incamera/media/peer"
)

const (
	lostFor  = 3 * time.Second // a lost connection is made anew after this
	offerFor = 8 * time.Second // a connection that is not made by now is begun again
	// offerGap is the least time between two offers of a member: each costs a
	// connection.
	offerGap = time.Second
)

// A member is another room of the group: its connection and its media. It
// belongs to the owner.
type member struct {
	e2ee.Member
	sink Sink
	says says

	peer       *peer.Peer                // nil: none
	asked      atomic.Pointer[peer.Peer] // the same, for the receiver's goroutine
	connection uint64                    // which one; an answer to another is stale
	state      peer.State                // of the connection
	begun      time.Time                 // when it was begun
	absent     bool                      // the relay has no connection to the room
	lost       time.Time                 // since when nothing comes from it; zero if something does
	unwanted   bool                      // a person of this room removes it
	removing   bool                      // a commit to that end is under way
}

func newMember(m *meeting, in e2ee.Member) *member {
	other := &member{Member: in}
	other.sink = m.engine.config.Media.Member(in.Leaf, func(kind frame.Kind) {
		if p := other.asked.Load(); p != nil {
			_ = p.RequestKeyFrame(kind) // asked again until one comes
		}
	})
	return other
}

// close ends the connection and the media. It may be called twice.
func (other *member) close(m *meeting) {
	other.disconnect(m)
	other.sink.Close()
}

func (other *member) disconnect(m *meeting) {
	if p := other.peer; p != nil {
		other.peer = nil
		other.asked.Store(nil)
		m.begin(func(context.Context) { _ = p.Close() }) // it waits for its goroutines
	}
}

// gone reports whether the room cannot be reached.
func (other *member) gone() bool { return !other.lost.IsZero() }

func (other *member) link() Link {
	switch {
	case other.gone():
		return LinkLost
	case other.peer != nil && other.state == peer.Connected:
		return LinkGood
	}
	return LinkConnecting
}

// connect begins a connection, if it is for this room to offer: of two members
// the one with the lower leaf does.
func (other *member) connect(m *meeting) {
	if other.Leaf < m.epoch.Self || other.peer != nil || m.bye[other.Leaf] {
		return
	}
	var b [8]byte
	_, _ = rand.Read(b[:]) // never fails
	other.open(m, binary.BigEndian.Uint64(b[:]))
	p, connection := other.peer, other.connection
	if p == nil {
		return
	}
	m.begin(func(ctx context.Context) {
		ctx, cancel := context.WithTimeout(ctx, askFor)
		defer cancel()
		text, err := p.Offer(ctx)
		if err != nil {
			m.log.Warn("no offer", "member", other.Name, "err", err)
			return // tick begins again
		}
		m.post(func(*owner) { m.tell(message{To: &other.Leaf, SDP: &sdp{Connection: connection, Text: text}}) })
	})
}

// open makes a connection with the number, in place of the one that is.
func (other *member) open(m *meeting, number uint64) {
	other.disconnect(m)
	p, err := peer.New(m.engine.config.Hop, &hearing{m, other, number}, m.log)
	if err != nil {
		m.log.Error("no connection", "member", other.Name, "err", err)
		return
	}
	other.peer, other.connection, other.state, other.begun = p, number, peer.Connecting, time.Now()
	other.asked.Store(p)
	m.refan()
}

// signalled takes a session description of the member.
func (other *member) signalled(m *meeting, said sdp) {
	switch {
	case said.Answer && other.peer != nil && said.Connection == other.connection && other.Leaf > m.epoch.Self:
		p := other.peer
		m.begin(func(ctx context.Context) {
			ctx, cancel := context.WithTimeout(ctx, askFor)
			defer cancel()
			if err := p.Accept(ctx, said.Text); err != nil {
				m.log.Warn("answer refused", "member", other.Name, "err", err)
			}
		})
	case !said.Answer && other.Leaf < m.epoch.Self && !m.bye[other.Leaf] && time.Since(other.begun) > offerGap:
		other.open(m, said.Connection)
		p := other.peer
		if p == nil {
			return
		}
		m.begin(func(ctx context.Context) {
			ctx, cancel := context.WithTimeout(ctx, askFor)
			defer cancel()
			text, err := p.Answer(ctx, said.Text)
			if err != nil {
				m.log.Warn("offer refused", "member", other.Name, "err", err)
				return
			}
			m.post(func(*owner) {
				m.tell(message{To: &other.Leaf, SDP: &sdp{Connection: said.Connection, Answer: true, Text: text}})
			})
		})
	}
}

// tick begins a connection anew that does not come up or stays lost.
func (other *member) tick(m *meeting, now time.Time) {
	connected := other.peer != nil && other.state == peer.Connected
	switch {
	case other.absent && !connected, other.peer != nil && other.state == peer.Lost:
		if other.lost.IsZero() {
			other.lost = now
		}
	case connected:
		other.lost = time.Time{}
	}
	if connected || other.absent || m.bye[other.Leaf] || other.Leaf < m.epoch.Self {
		return
	}
	limit := offerFor
	if other.state == peer.Lost || other.state == peer.Closed {
		limit = lostFor
	}
	if now.Sub(other.begun) > limit {
		other.disconnect(m)
		other.connect(m)
	}
}

// hearing is the [peer.Handler] of one connection. It may outlive it by a
// moment: what it then says is of another number and goes nowhere.
type hearing struct {
	meeting *meeting
	member  *member
	number  uint64
}

// Frame implements [peer.Handler], as do KeyFrameWanted and State.
func (h *hearing) Frame(r peer.Received) { h.member.sink.Frame(r) }

// KeyFrameWanted implements [peer.Handler].
func (h *hearing) KeyFrameWanted(kind frame.Kind) { h.meeting.engine.config.Media.KeyFrame(kind) }

// State implements [peer.Handler].
func (h *hearing) State(s peer.State) {
	m := h.meeting
	m.post(func(*owner) {
		if h.member.peer == nil || h.member.connection != h.number {
			return
		}
		h.member.state = s
		switch s {
		case peer.Connected:
			h.member.lost = time.Time{}
			m.engine.config.Media.KeyFrame(frame.Camera)
		case peer.Lost:
			h.member.lost = time.Now()
		case peer.Connecting, peer.Closed:
			// tick begins a closed connection anew.
		}
	})
}
