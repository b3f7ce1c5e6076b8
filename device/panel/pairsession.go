// SPDX-License-Identifier: Apache-2.0

package panel

import (
	"context"
	"errors"
	"net/http"
	"strconv"
	"time"

	"github.com/coder/websocket"

	"incamera/device/pairing"
)

const (
	proveTime    = 10 * time.Second
	farewellTime = 500 * time.Millisecond // for a peer to take the end of its pairing

	statusUnpaired websocket.StatusCode = 4003 // of the range for applications; as code 1003
	statusUnproven websocket.StatusCode = 4001 // as code 1001
)

// A pairedSession is what a session over TLS has to be proved with.
type pairedSession struct {
	cookie    string
	panel     pairing.Panel
	origin    string
	challenge [32]byte
}

// newSession tells who opens a session.
func (s *Server) newSession(r *http.Request) (*session, *Refusal) {
	ss := &session{
		srv:   s,
		out:   make(chan outgoing, 16),
		slots: make(chan struct{}, maxParallel),
		feeds: map[int64]*feed{},
		live:  map[int64]bool{},
	}
	var refusal *Refusal
	if r.TLS != nil {
		refusal = ss.expect(r)
		return ss, refusal
	}
	s.mu.Lock()
	s.serial++
	otherwise := "session-" + strconv.Itoa(s.serial)
	s.mu.Unlock()
	ss.client, refusal = s.clientOf(r.URL.Query().Get("panel"), otherwise)
	return ss, refusal
}

// expect takes who comes over TLS: with the cookie of a panel, and from the
// room's own page (the origin is checked to be one of the room's by now).
func (ss *session) expect(r *http.Request) *Refusal {
	p, gone, refusal := ss.srv.cookied(r)
	slow := ss.srv.stranger(r)
	origin := r.Header.Get("Origin")
	switch {
	case slow != nil:
		return slow
	case refusal != nil:
		return refusal
	case origin == "":
		return refusef(ForbiddenRole, "a session begins on the room's own page")
	}
	cookie, _ := r.Cookie(cookieName) // it is there: it named the panel
	ss.client = client{by: p.ID, role: RoleNone}
	ss.gone = gone
	ss.paired = &pairedSession{cookie: cookie.Value, panel: p, origin: origin, challenge: pairing.Challenge()}
	return nil
}

// place is the role whose share of the sessions this one takes.
func (ss *session) place() Role {
	if ss.paired != nil {
		return roleOf(ss.paired.panel.Role)
	}
	return ss.client.role
}

var errUnproven = errors.New("panel: the panel did not prove its key")

// A provedSession is the result of Session.Prove.
type provedSession struct {
	Role    string
	Panel   string
	Session string // for the header In-Camera-Session, while this session is open
}

// greet sends Session.Hello and, over TLS, does nothing else before the panel
// has proved its key. What it returns ends what it began.
func (ss *session) greet(ctx context.Context) (end func(), err error) {
	h := ss.srv.hello(ss.client)
	if ss.paired == nil {
		return func() {}, ss.notice(ctx, "Session.Hello", h)
	}
	h.Challenge = base64url.EncodeToString(ss.paired.challenge[:])
	if err := ss.notice(ctx, "Session.Hello", h); err != nil {
		return func() {}, err
	}
	req, refusal, err := ss.proof(ctx)
	if err != nil {
		return func() {}, err
	}
	token := ""
	end = func() {}
	if refusal == nil {
		token, end = ss.srv.begin(ss.client.by)
	}
	text, err := ss.compose(ctx, req.id, provedSession{ss.client.role.String(), ss.client.by, token}, refusal)
	if err == nil {
		err = ss.send(ctx, text)
	}
	switch {
	case err != nil:
	case refusal != nil:
		_ = ss.conn.Close(statusUnproven, "the panel did not prove its key")
		err = errUnproven
	default:
		ss.srv.pairing.Seen(ss.client.by)
	}
	return end, err
}

// proof reads the first request, which must be the proof.
func (ss *session) proof(ctx context.Context) (request, *Refusal, error) {
	waits, cancel := context.WithTimeout(ctx, proveTime)
	defer cancel()
	kind, r, err := ss.conn.Reader(waits)
	if err != nil {
		return request{}, nil, err
	}
	req, refusal, err := readRequest(kind, r)
	if err != nil {
		return request{}, nil, err
	}
	if refusal == nil {
		refusal = ss.prove(req)
	}
	return req, refusal, nil
}

// prove checks Session.Prove and gives the session the role of its panel.
func (ss *session) prove(req request) *Refusal {
	if req.method != "Session.Prove" {
		return refusef(NotAuthenticated, "the first request must be Session.Prove")
	}
	p := asked(req.params)
	if refusal := p.only("Panel", "Signature"); refusal != nil {
		return refusal
	}
	signature, ok := p.bytes("Signature")
	s := pairing.Session{
		Challenge: ss.paired.challenge, Boot: ss.srv.boot, Room: ss.srv.room.ID,
		Origin: ss.paired.origin, Panel: p.string("Panel"),
	}
	if !ok || !ss.paired.panel.Proves(s, signature) {
		return refusef(NotAuthenticated, "the panel's key did not sign this session")
	}
	ss.client.role = roleOf(ss.paired.panel.Role)
	return nil
}

// ended reports whether the panel was unpaired.
func (ss *session) ended() bool {
	select {
	case <-ss.gone:
		return true
	default:
		return false
	}
}
