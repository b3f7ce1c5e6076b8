// SPDX-License-Identifier: Apache-2.0

package panel

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/coder/websocket"
)

const (
	subprotocol = "in-camera.v1"
	beat        = time.Second
	pingEvery   = 5 * time.Second
	pongWithin  = 15 * time.Second
	writeTime   = 10 * time.Second // a reader that takes longer is gone
	maxMessage  = 1 << 20          // bytes; between 64 KiB and this the answer is an error, above it the session ends
	maxFeeds    = 64
	maxParallel = 8  // commands of one session that execute at a time
	maxSessions = 32 // of which four are kept for Facilities and Security
	keptForCare = 4
)

// A session is one WebSocket. Its reader handles requests in order, but for
// commands, which execute beside it; its writer sends answers first, then what
// the feeds have.
type session struct {
	srv    *Server
	conn   *websocket.Conn
	client client          // over TLS its role is None until it has proved itself
	paired *pairedSession  // nil on loopback
	gone   <-chan struct{} // closed when the panel is unpaired; nil on loopback
	out    chan outgoing
	work   sync.WaitGroup
	slots  chan struct{} // taken by commands that execute

	mu    sync.Mutex
	feeds map[int64]*feed // of which only the active ones are the writer's
	live  map[int64]bool  // activated by the writer, after the answer that tells their id
	last  int64           // id given
}

// An outgoing is a message, and what the writer does once it is sent.
type outgoing struct {
	text []byte
	then func()
}

// clientOf tells who asks on loopback, where everyone may do what the room's own
// computer may; a panel names itself so that the others see whose touch it was,
// and so that its idempotency keys outlive its connection.
func (s *Server) clientOf(name, otherwise string) (client, *Refusal) {
	if name == "" {
		name = otherwise
	}
	if !validID.MatchString(name) {
		return client{}, refusef(InvalidParams, "the panel's name is not 1 to 64 letters, digits and . _ : -")
	}
	return client{by: name, role: s.role}, nil
}

func (s *Server) serveSocket(w http.ResponseWriter, r *http.Request) {
	ss, refusal := s.newSession(r)
	if refusal == nil && !offers(r, subprotocol) {
		refusal = refusef(InvalidRequest, "the WebSocket subprotocol must be %s", subprotocol)
	}
	if refusal == nil {
		refusal = s.enter(ss.place())
	}
	if refusal != nil {
		s.problem(w, r, refusal)
		return
	}
	defer s.leave()
	if ss.paired != nil {
		setCookie(w, ss.paired.cookie) // for another 400 days
	}
	conn, err := websocket.Accept(w, r, &websocket.AcceptOptions{Subprotocols: []string{subprotocol}})
	if err != nil {
		s.log.DebugContext(r.Context(), "websocket not accepted", "err", err)
		return // Accept has answered
	}
	conn.SetReadLimit(maxMessage)
	ss.conn = conn
	ss.run(r.Context())
}

func offers(r *http.Request, protocol string) bool {
	for _, line := range r.Header.Values("Sec-WebSocket-Protocol") {
		for p := range strings.SplitSeq(line, ",") {
			if strings.TrimSpace(p) == protocol {
				return true
			}
		}
	}
	return false
}

// run serves the session until either side ends it.
func (ss *session) run(ctx context.Context) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var parts sync.WaitGroup
	start := func(part func(context.Context) error) {
		parts.Go(func() {
			defer cancel()
			if err := part(ctx); err != nil && ctx.Err() == nil && websocket.CloseStatus(err) == -1 && !errors.Is(err, io.EOF) {
				ss.srv.log.DebugContext(ctx, "panel session ends", "by", ss.client.by, "err", err)
			}
		})
	}
	start(func(ctx context.Context) error {
		end, err := ss.greet(ctx)
		defer end()
		if err != nil {
			return err
		}
		start(ss.write)
		start(ss.ping)
		return ss.read(ctx)
	})
	select {
	case <-ctx.Done():
		_ = ss.conn.CloseNow() // it has ended already, or nobody reads
	case <-ss.gone:
		// Nothing more is served or sent; a peer that does not answer is cut off.
		late := time.AfterFunc(farewellTime, func() { _ = ss.conn.CloseNow() })
		_ = ss.conn.Close(statusUnpaired, "the panel was unpaired")
		late.Stop()
	case <-ss.srv.closing:
		_ = ss.conn.Close(websocket.StatusGoingAway, "the room is restarting")
	}
	cancel()
	parts.Wait()
	ss.work.Wait()
}

func (ss *session) ping(ctx context.Context) error {
	tick := time.NewTicker(pingEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-tick.C:
		}
		one, cancel := context.WithTimeout(ctx, pongWithin)
		err := ss.conn.Ping(one)
		cancel()
		if err != nil {
			return err
		}
	}
}

func (ss *session) read(ctx context.Context) error {
	for {
		kind, r, err := ss.conn.Reader(ctx)
		if err != nil {
			return err
		}
		req, refusal, err := readRequest(kind, r)
		if err != nil {
			return err
		}
		if ss.ended() {
			return nil
		}
		if refusal != nil {
			ss.answer(ctx, req.id, nil, refusal, nil)
			continue
		}
		ss.handle(ctx, req)
	}
}

// readRequest reads one message. The request it returns with a refusal has the
// id to answer to.
func readRequest(kind websocket.MessageType, r io.Reader) (request, *Refusal, error) {
	data, refusal, err := readLimited(r)
	switch {
	case err != nil || refusal != nil:
		return request{id: nullID}, refusal, err
	case kind != websocket.MessageText:
		return request{id: nullID}, refusef(ParseError, "messages are text"), nil
	}
	req, refusal := parseRequest(data)
	return req, refusal, nil
}

// handle serves one request. Only a command leaves this goroutine.
func (ss *session) handle(ctx context.Context, req request) {
	if !strings.HasPrefix(req.method, "Command/") {
		result, then, refusal := ss.ask(req)
		ss.answer(ctx, req.id, result, refusal, then)
		return
	}
	key := ""
	if v, has := req.params["IdempotencyKey"]; has {
		var ok bool
		if key, ok = v.(string); !ok || key == "" {
			ss.answer(ctx, req.id, nil, &Refusal{Reason: InvalidParams, Detail: "IdempotencyKey must be a string", Path: "IdempotencyKey"}, nil)
			return
		}
		delete(req.params, "IdempotencyKey")
	}
	select {
	case ss.slots <- struct{}{}:
	default:
		if req.method != silences {
			ss.answer(ctx, req.id, nil, &Refusal{Reason: RateLimited, Detail: "too many commands wait", RetryAfter: time.Second}, nil)
			return
		}
		select { // to be silent is worth waiting for
		case ss.slots <- struct{}{}:
		case <-ctx.Done():
			return
		}
	}
	ss.work.Go(func() {
		defer func() { <-ss.slots }()
		result, refusal := ss.srv.do(ctx, ss.client, req.method, req.params, key)
		ss.answer(ctx, req.id, result, refusal, nil)
	})
}

// answer queues the answer to a request.
func (ss *session) answer(ctx context.Context, id json.RawMessage, result any, refusal *Refusal, then func()) {
	text, err := ss.compose(ctx, id, result, refusal)
	if err != nil {
		ss.srv.log.ErrorContext(ctx, "answer not sent", "err", err)
		return
	}
	select {
	case ss.out <- outgoing{text, then}:
	case <-ctx.Done():
	}
}

// compose writes the answer to a request.
func (ss *session) compose(ctx context.Context, id json.RawMessage, result any, refusal *Refusal) (json.RawMessage, error) {
	type failure struct {
		Code    int       `json:"code"`
		Message string    `json:"message"`
		Data    errorData `json:"data"`
	}
	message := struct {
		Version string          `json:"jsonrpc"`
		ID      json.RawMessage `json:"id"`
		Result  any             `json:"result,omitempty"`
		Error   *failure        `json:"error,omitempty"`
	}{Version: "2.0", ID: id, Result: result}
	if refusal != nil {
		ref := ""
		if refusal.Reason == Internal {
			ref = correlation()
			ss.srv.log.ErrorContext(ctx, "request failed", "by", ss.client.by, "correlation_id", ref, "err", refusal)
		}
		message.Result = nil
		message.Error = &failure{meanings[refusal.Reason].code, refusal.detail(), refusal.data(ref)}
	}
	return encode(message)
}

// notice writes a message that asks for no answer.
func (ss *session) notice(ctx context.Context, method string, params any) error {
	text, err := encode(struct {
		Version string `json:"jsonrpc"`
		Method  string `json:"method"`
		Params  any    `json:"params"`
	}{"2.0", method, params})
	if err != nil {
		return err
	}
	return ss.send(ctx, text)
}

func (ss *session) send(ctx context.Context, text []byte) error {
	ctx, cancel := context.WithTimeout(ctx, writeTime)
	defer cancel()
	return ss.conn.Write(ctx, websocket.MessageText, text)
}

// write sends everything that the session sends after its greeting.
func (ss *session) write(ctx context.Context) error {
	tick := time.NewTicker(beat)
	defer tick.Stop()
	rest := time.NewTimer(time.Hour)
	defer rest.Stop()
	for {
		changed := ss.srv.store.watch() // before looking, so that nothing is missed
		wait, err := ss.flush(ctx)
		if err != nil {
			return err
		}
		rest.Reset(wait)
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-ss.gone:
			<-ctx.Done() // run says good-bye
			return nil
		case o := <-ss.out:
			if err := ss.deliver(ctx, o); err != nil {
				return err
			}
		case <-tick.C:
			if err := ss.notice(ctx, "Session.Beat", newPulse(ss.sent(), time.Now())); err != nil {
				return err
			}
		case <-changed:
		case <-rest.C:
		}
	}
}

// deliver sends o and whatever else waits.
func (ss *session) deliver(ctx context.Context, o outgoing) error {
	for {
		if err := ss.send(ctx, o.text); err != nil {
			return err
		}
		if o.then != nil {
			o.then()
		}
		select {
		case o = <-ss.out:
		default:
			return nil
		}
	}
}

// active returns the feeds that the client knows of.
func (ss *session) active() []*feed {
	ss.mu.Lock()
	defer ss.mu.Unlock()
	var out []*feed
	for id := range ss.live {
		out = append(out, ss.feeds[id])
	}
	slices.SortFunc(out, func(a, b *feed) int { return int(a.id - b.id) })
	return out
}

// flush sends what the feeds have and returns when to look again.
func (ss *session) flush(ctx context.Context) (time.Duration, error) {
	next := time.Hour
	for _, f := range ss.active() {
		if wait := f.wait(time.Now()); wait > 0 {
			next = min(next, wait)
			continue
		}
		if d := f.collect(time.Now()); d != nil {
			if err := ss.notice(ctx, "Feedback.Event", d); err != nil {
				return 0, err
			}
			next = min(next, f.interval)
		}
	}
	return next, nil
}

// sent returns how far every feed has been sent.
func (ss *session) sent() uint64 {
	seq := ss.srv.store.now()
	for _, f := range ss.active() {
		seq = min(seq, f.seen)
	}
	return seq
}
