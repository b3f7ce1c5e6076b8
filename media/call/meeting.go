// SPDX-License-Identifier: Apache-2.0

package call

import (
	"context"
	"log/slog"
	"slices"
	"sync"
	"time"

	"incamera/media/e2ee"
	"incamera/media/peer"
	"incamera/media/relay"
)

// A meeting is this room's part in one. All but its goroutines belong to the
// engine's owner; what those find out they report with post.
type meeting struct {
	id     []byte
	engine *Engine
	log    *slog.Logger
	ctx    context.Context // ends with the meeting
	cancel context.CancelCauseFunc
	work   sync.WaitGroup

	out  fanOut
	mail *mail // carries what the session says to the relay

	session  *e2ee.Session
	conn     *relay.Conn // nil while there is no relay
	host     Relay       // the one that conn leads to, or last led to
	seq      uint64      // of the next message of its log
	knocking bool        // a KeyPackage waits for a member
	moving   bool        // a goroutine looks for a relay

	epoch   e2ee.Epoch
	members map[e2ee.Leaf]*member // but this room
	recent  map[string]departed   // by name: who was lost lately
	bye     map[e2ee.Leaf]bool    // who said that it leaves
	calling *Room                 // to be invited once the relay has the meeting
	invited map[string]*invitation
	knocks  map[string]*waiting // by id
	saved   []Relay             // as last given to Memory
	alone   time.Time           // since when every other room is gone; zero if one is there
}

// A departed room was a member until it was lost.
type departed struct {
	key  string // its signature key
	when time.Time
}

func newMeeting(o *owner, id []byte) *meeting {
	ctx, cancel := context.WithCancelCause(o.ctx)
	return &meeting{
		id: id, engine: o.Engine, log: o.config.Log, ctx: ctx, cancel: cancel,
		mail:    &mail{},
		members: map[e2ee.Leaf]*member{}, recent: map[string]departed{}, bye: map[e2ee.Leaf]bool{},
		invited: map[string]*invitation{}, knocks: map[string]*waiting{},
	}
}

// begin runs f beside the owner.
func (m *meeting) begin(f func(ctx context.Context)) { m.work.Go(func() { f(m.ctx) }) }

// post lets the owner run f, unless the meeting is over by then. It reports
// whether f was taken.
func (m *meeting) post(f func(o *owner)) bool {
	select {
	case m.engine.events <- func(o *owner) {
		if o.meeting == m {
			f(o)
		}
	}:
		return true
	case <-m.ctx.Done():
		return false
	}
}

// close ends every goroutine and connection of the meeting, and its keys. Who
// leaves for good gives up its place at the relay, too.
func (m *meeting) close(forGood bool) {
	m.cancel(errLeft)
	if m.session != nil {
		m.session.Keyring().Close()
	}
	m.out.peers.Store(&[]*peer.Peer{})
	for _, other := range m.members {
		other.close(m)
	}
	m.mail.use(nil)
	if m.conn != nil {
		if forGood { // or the meeting stays one of the few that a relay holds
			ctx, cancel := context.WithTimeout(context.WithoutCancel(m.ctx), partFor)
			_ = m.conn.Leave(ctx) // a relay that is gone keeps no place
			cancel()
		}
		_ = m.conn.Close() // the meeting is over
	}
	m.work.Wait()
}

// enter takes the group and the relay that carries it. From here on the
// session's goroutine applies commits, and the relay's events flow.
func (m *meeting) enter(o *owner, session *e2ee.Session, l line) {
	m.knocking = false
	m.session = session
	o.config.Media.Use(session.Keyring())
	m.begin(func(ctx context.Context) {
		if err := session.Run(ctx); !isCause(err) {
			m.post(func(o *owner) { o.fail(err) })
		}
	})
	m.useRelay(l)
	m.observed(o, session.Epoch())
	if m.calling != nil {
		m.invite(*m.calling)
		m.calling = nil
	}
}

// Epoch implements [e2ee.Observer], as do Code and Message. They are called by
// the session's goroutine.
func (m *meeting) Epoch(e e2ee.Epoch) { m.post(func(o *owner) { m.observed(o, e) }) }

// Code implements [e2ee.Observer].
func (m *meeting) Code(epoch uint64, code string) {
	m.post(func(o *owner) {
		if epoch == m.epoch.Number {
			o.status.Code.Code, o.status.Code.Since = code, time.Now()
		}
	})
}

// Message implements [e2ee.Observer].
func (m *meeting) Message(from e2ee.Member, payload []byte) {
	message, err := decodeMessage(payload)
	if err != nil {
		m.log.Warn("a member's message was dropped", "member", from.Name, "err", err)
		return
	}
	m.post(func(o *owner) { m.heard(o, from, message) })
}

// observed follows the group into an epoch.
func (m *meeting) observed(o *owner, e e2ee.Epoch) {
	if m.epoch.Members != nil && e.Number <= m.epoch.Number {
		return // the snapshot that enter took was newer
	}
	if e.SelfRemoved {
		o.fail(ErrRemoved)
		return
	}
	o.newCode(m, e)
	m.evict(e)
	for _, gone := range e.Removed {
		if other := m.members[gone.Leaf]; other != nil {
			m.recall(other)
			other.close(m)
			delete(m.members, gone.Leaf)
			delete(m.bye, gone.Leaf)
		}
	}
	first := m.epoch.Members == nil
	m.epoch = e
	m.freshen()
	o.status.Epoch, o.status.Suite = e.Number, e.Suite
	came := false
	for _, in := range e.Members {
		if in.Leaf == e.Self || m.members[in.Leaf] != nil {
			continue
		}
		came = true
		m.members[in.Leaf] = newMember(m, in)
		delete(m.invited, in.Name)
	}
	m.judged()
	m.refan()
	if len(m.members) > 0 && o.status.State != Connected && o.status.State != Leaving {
		o.move(onAdmitted)
		if o.status.Peer == "" {
			for _, other := range m.members {
				o.status.Peer = other.Name
			}
		}
	}
	if came || first {
		m.say(o)
		for _, other := range m.members {
			other.connect(m)
		}
	}
	if len(m.members) == 0 && o.status.State == Leaving {
		o.left()
		return
	}
	m.save(o)
}

// evict tells this room's own relay to serve removed rooms no longer: it cannot
// see who is in. A room that came back in the same commit stays.
func (m *meeting) evict(e e2ee.Epoch) {
	conn := m.conn
	if conn == nil || m.host.Room != m.engine.own.Room {
		return
	}
	for _, gone := range e.Removed {
		if slices.ContainsFunc(e.Members, func(in e2ee.Member) bool { return in.Name == gone.Name }) {
			continue
		}
		m.begin(func(ctx context.Context) {
			ctx, cancel := context.WithTimeout(ctx, askFor)
			defer cancel()
			if err := conn.Evict(ctx, relay.Room{Name: gone.Name, Site: gone.Site}); err != nil {
				m.log.Debug("the relay had no such room", "room", gone.Name, "err", err)
			}
		})
	}
}

// newCode strikes the present code out and notes why there will be another.
func (o *owner) newCode(m *meeting, e e2ee.Epoch) {
	c := Code{Previous: o.status.Code.Code, Since: time.Now(), Why: Renewed}
	if c.Previous == "" { // the one before was never shown
		c.Previous = o.status.Code.Previous
	}
	switch {
	case m.epoch.Members == nil:
		c.Why = Started
	case len(e.Added) > 0:
		c.Why, c.Who = Joined, e.Added[0].Name
		for _, gone := range e.Removed {
			if gone.Name == c.Who {
				c.Why = Returned
			}
		}
		if _, known := m.recent[c.Who]; known {
			c.Why = Returned
		}
	case len(e.Removed) > 0:
		c.Why, c.Who = Removed, e.Removed[0].Name
		if other := m.members[e.Removed[0].Leaf]; other != nil && (m.bye[other.Leaf] || other.gone()) {
			c.Why = Left
		}
	}
	o.status.Code = c
}

// recall remembers a room that is being removed because it was lost: if it
// comes back soon, no person needs to admit it.
func (m *meeting) recall(other *member) {
	if other.gone() && !m.bye[other.Leaf] {
		m.recent[other.Name] = departed{string(other.SignatureKey), time.Now()}
	}
}

// others counts the members that have not said that they leave.
func (m *meeting) others() int {
	n := 0
	for leaf := range m.members {
		if !m.bye[leaf] {
			n++
		}
	}
	return n
}

// first reports whether this room is the one that acts for all: of the members
// that are there, the one with the lowest leaf.
func (m *meeting) first() bool {
	for leaf, other := range m.members {
		if leaf < m.epoch.Self && !m.bye[leaf] && !other.gone() {
			return false
		}
	}
	return true
}

// refan gives the senders the connections that are there now.
func (m *meeting) refan() {
	peers := []*peer.Peer{}
	for _, other := range m.members {
		if other.peer != nil {
			peers = append(peers, other.peer)
		}
	}
	m.out.peers.Store(&peers)
}

func (m *meeting) roster() []Member {
	all, now := []Member{}, time.Now()
	for _, in := range m.epoch.Members {
		shown := Member{
			ID: memberID(in), Leaf: in.Leaf, Name: in.Name, Site: in.Site, Credential: in.Credential,
			Self: in.Leaf == m.epoch.Self, Link: LinkGood,
			Verdict: in.Verdict.Aged(now, m.maxAge()), VerdictAge: age(in.Verdict, now),
		}
		if other := m.members[in.Leaf]; other != nil {
			shown.SaysMuted, shown.SaysCameraOff = other.says.Muted, other.says.CameraOff
			shown.Link, shown.Counts = other.link(), other.sink.Counts()
		}
		all = append(all, shown)
	}
	return all
}
