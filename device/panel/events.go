// SPDX-License-Identifier: Apache-2.0

package panel

import (
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// serveEvents is the feed of one subscription as server-sent events, for
// clients that cannot have a WebSocket. Each message has the method's name as
// its event, its params as data, and BootId:Seq as the id to resume from.
func (s *Server) serveEvents(w http.ResponseWriter, r *http.Request) {
	c, refusal := s.httpClient(r)
	var f *feed
	if refusal == nil {
		f, refusal = s.eventFeed(r, c)
	}
	if refusal == nil {
		refusal = s.enter(c.role)
	}
	if refusal != nil {
		s.problem(w, r, refusal)
		return
	}
	defer s.leave()
	st := &stream{w: w, rc: http.NewResponseController(w), boot: s.boot}
	w.Header().Set("Content-Type", "text/event-stream")
	err := st.send("Session.Hello", s.hello(c), 0)
	if boot, seq, ok := lastEvent(r); err == nil && (!ok || boot != s.boot || !f.resume(seq)) {
		snap, seq := f.start()
		err = st.send("Feedback.Snapshot", subscription{1, seq, &snap}, seq)
	}
	if err == nil {
		err = s.stream(r, st, f)
	}
	if err != nil {
		s.log.DebugContext(r.Context(), "event stream ends", "by", c.by, "err", err)
	}
}

func (s *Server) eventFeed(r *http.Request, c client) (*feed, *Refusal) {
	if wait := s.limits.read(c.by, time.Now()); wait > 0 {
		return nil, &Refusal{Reason: RateLimited, RetryAfter: wait}
	}
	list := []any{}
	for _, q := range r.URL.Query()["query"] {
		list = append(list, q)
	}
	if len(list) == 0 {
		list = append(list, "Status/**", "Event/**")
	}
	rd, refusal := asked{"Query": list}.queries(c.role)
	if refusal != nil {
		return nil, refusal
	}
	f := newFeed(s.store, rd, 0)
	f.id = 1
	return f, nil
}

// lastEvent returns where a client that comes back was.
func lastEvent(r *http.Request) (boot string, seq uint64, ok bool) {
	boot, digits, ok := strings.Cut(r.Header.Get("Last-Event-ID"), ":")
	seq, err := strconv.ParseUint(digits, 10, 64)
	return boot, seq, ok && err == nil
}

// stream sends what f has until the client leaves or the server closes.
func (s *Server) stream(r *http.Request, st *stream, f *feed) error {
	tick := time.NewTicker(beat)
	defer tick.Stop()
	rest := time.NewTimer(time.Hour)
	defer rest.Stop()
	for {
		changed := s.store.watch()
		wait := f.wait(time.Now())
		if wait == 0 {
			wait = time.Hour
			if d := f.collect(time.Now()); d != nil {
				if err := st.send("Feedback.Event", d, d.Seq); err != nil {
					return err
				}
				wait = f.interval
			}
		}
		rest.Reset(wait)
		select {
		case <-r.Context().Done():
			return nil
		case <-s.closing:
			return nil
		case <-tick.C:
			// The panel may have been unpaired, or have ended the session in which
			// it proved itself.
			if r.TLS != nil {
				if _, refusal := s.pairedClient(r); refusal != nil {
					return refusal
				}
			}
			if err := st.send("Session.Beat", newPulse(f.seen, time.Now()), 0); err != nil {
				return err
			}
		case <-changed:
		case <-rest.C:
		}
	}
}

// A stream writes server-sent events, each with a deadline.
type stream struct {
	w    http.ResponseWriter
	rc   *http.ResponseController
	boot string
}

// send writes one event. With seq 0 it has no id, and the client's stays.
func (st *stream) send(name string, data any, seq uint64) error {
	text, err := encode(data)
	if err != nil {
		return err
	}
	if err := st.rc.SetWriteDeadline(time.Now().Add(writeTime)); err != nil && !errors.Is(err, http.ErrNotSupported) {
		return err
	}
	id := ""
	if seq > 0 {
		id = fmt.Sprintf("id: %s:%d\n", st.boot, seq)
	}
	if _, err := fmt.Fprintf(st.w, "%sevent: %s\ndata: %s\n\n", id, name, text); err != nil {
		return err
	}
	return st.rc.Flush()
}
