// SPDX-License-Identifier: Apache-2.0

package panel

import (
	"encoding/json"
	"slices"
	"strings"
	"time"
)

// ask serves a method that is no command. What it returns in then must run
// once the answer is sent.
func (ss *session) ask(req request) (result any, then func(), refusal *Refusal) {
	if wait := ss.srv.limits.read(ss.client.by, time.Now()); wait > 0 {
		return nil, nil, &Refusal{Reason: RateLimited, RetryAfter: wait}
	}
	p := asked(req.params)
	switch req.method {
	case "Tree.Get":
		result, refusal = ss.get(p)
	case "Tree.Query":
		result, refusal = ss.query(p)
	case "Tree.Set":
		refusal = refusef(ReadOnly, "this room has no settings here yet")
	case "Feedback.Subscribe":
		return ss.subscribe(p)
	case "Feedback.Resume":
		return ss.resume(p)
	case "Feedback.Unsubscribe":
		result, refusal = ss.unsubscribe(p)
	default:
		refusal = refusef(UnknownMethod, "there is no such method")
	}
	return result, nil, refusal
}

// asked are the parameters of a method, as a client sent them.
type asked map[string]any

// only refuses parameters that the method does not know.
func (p asked) only(names ...string) *Refusal {
	for name := range p {
		if !slices.Contains(names, name) {
			return refusef(InvalidParams, "there are parameters other than %q", strings.Join(names, ", "))
		}
	}
	return nil
}

// number returns a whole number between low and high.
func (p asked) number(name string, low, high int64) (int64, *Refusal) {
	n, ok := p[name].(json.Number)
	if !ok {
		return 0, &Refusal{Reason: InvalidParams, Detail: name + " must be a number", Path: name}
	}
	i, err := n.Int64()
	if err != nil || i < low || i > high {
		return 0, &Refusal{Reason: ValueOutOfRange, Detail: name + " is out of range", Path: name, Min: int(low), Max: int(high)}
	}
	return i, nil
}

// queries returns the patterns of the parameter Query.
func (p asked) queries(role Role) (reader, *Refusal) {
	r := reader{role: role}
	list, ok := p["Query"].([]any)
	if !ok || len(list) == 0 || len(list) > maxQueries {
		return r, &Refusal{Reason: InvalidParams, Detail: "Query must be a list of 1 to 32 queries", Path: "Query"}
	}
	for _, q := range list {
		text, ok := q.(string)
		if !ok {
			return r, &Refusal{Reason: InvalidParams, Detail: "a query must be a string", Path: "Query"}
		}
		pat, refusal := parseQuery(text, role)
		if refusal != nil {
			refusal.Path = clean(text, maxText)
			return r, refusal
		}
		r.patterns = append(r.patterns, pat)
	}
	return r, nil
}

// A reading is the result of Tree.Get.
type reading struct {
	Path  string
	Seq   uint64
	Value any // null: declared, and without a value at present
}

func (ss *session) get(p asked) (any, *Refusal) {
	if refusal := p.only("Path"); refusal != nil {
		return nil, refusal
	}
	path, ok := p["Path"].(string)
	if !ok {
		return nil, &Refusal{Reason: InvalidParams, Detail: "Path must be a string", Path: "Path"}
	}
	return ss.srv.store.get(path, ss.client.role)
}

// get reads one node of Status.
func (s *store) get(path string, role Role) (reading, *Refusal) {
	unknown := &Refusal{Reason: UnknownPath, Detail: "there is no such node", Path: clean(path, maxText)}
	if len(path) > maxQuery || (path != "Status" && !strings.HasPrefix(path, "Status/")) {
		return reading{}, unknown
	}
	b := lookup(path)
	if b == nil {
		return reading{}, unknown
	}
	pat, refusal := parseQuery(path, role)
	if refusal != nil {
		refusal.Path = path
		return reading{}, refusal
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	r := reader{role, []pattern{pat}}
	out := reading{Path: path, Seq: s.seq}
	if b.node != nil {
		if l := s.leaves[path]; l != nil && r.sees(path, b.node) {
			out.Value = l.value()
			return out, nil
		}
	} else if at := s.view(r); at != nil {
		var v any = at
		for name := range strings.SplitSeq(strings.TrimPrefix(strings.TrimPrefix(path, "Status"), "/"), "/") {
			if m, ok := v.(map[string]any); ok && name != "" {
				v = m[name]
			}
		}
		out.Value = v
		return out, nil
	}
	if s.inMissing(path) {
		return reading{}, unknown
	}
	if b.node == nil {
		out.Value = map[string]any{}
	}
	return out, nil
}

// inMissing reports whether path is an entry of a collection that is not there,
// or lies in one.
func (s *store) inMissing(path string) bool {
	for in := range collections {
		if rest, ok := strings.CutPrefix(path, in+"/"); ok {
			id, _, _ := strings.Cut(rest, "/")
			return !s.holds(in + "/" + id)
		}
	}
	return false
}

// An overview is the result of Tree.Query.
type overview struct {
	Seq    uint64
	Status map[string]any
}

func (ss *session) query(p asked) (any, *Refusal) {
	if refusal := p.only("Query"); refusal != nil {
		return nil, refusal
	}
	r, refusal := p.queries(ss.client.role)
	if refusal != nil {
		return nil, refusal
	}
	st := ss.srv.store
	st.mu.RLock()
	defer st.mu.RUnlock()
	out := overview{st.seq, st.view(r)}
	if out.Status == nil {
		out.Status = map[string]any{}
	}
	return out, nil
}

// A subscription is the result of Feedback.Subscribe, and one entry of
// Snapshots in that of Feedback.Resume.
type subscription struct {
	ID       int64 `json:"Id"`
	Seq      uint64
	Snapshot *snapshot `json:",omitempty"`
}

func (ss *session) subscribe(p asked) (any, func(), *Refusal) {
	if refusal := p.only("Query", "Snapshot", "MaxHz"); refusal != nil {
		return nil, nil, refusal
	}
	want := false
	if v, has := p["Snapshot"]; has {
		var ok bool
		if want, ok = v.(bool); !ok {
			return nil, nil, &Refusal{Reason: InvalidParams, Detail: "Snapshot must be true or false", Path: "Snapshot"}
		}
	}
	f, refusal := ss.feedOf(p)
	if refusal != nil {
		return nil, nil, refusal
	}
	ss.mu.Lock()
	defer ss.mu.Unlock()
	if len(ss.feeds) >= maxFeeds {
		return nil, nil, &Refusal{Reason: RateLimited, Detail: "a client has at most 64 subscriptions", RetryAfter: time.Second}
	}
	ss.last++
	f.id = ss.last
	ss.feeds[f.id] = f
	snap, seq := f.start()
	out := subscription{ID: f.id, Seq: seq}
	if want {
		out.Snapshot = &snap
	}
	return out, ss.activate(f.id), nil
}

// feedOf makes the feed that Query and MaxHz ask for.
func (ss *session) feedOf(p asked) (*feed, *Refusal) {
	hz := int64(0)
	if _, has := p["MaxHz"]; has {
		var refusal *Refusal
		if hz, refusal = p.number("MaxHz", 1, maxHz); refusal != nil {
			return nil, refusal
		}
	}
	r, refusal := p.queries(ss.client.role)
	if refusal != nil {
		return nil, refusal
	}
	return newFeed(ss.srv.store, r, int(hz)), nil
}

// activate lets the writer send from feeds, if they are still there.
func (ss *session) activate(ids ...int64) func() {
	return func() {
		ss.mu.Lock()
		defer ss.mu.Unlock()
		for _, id := range ids {
			if ss.feeds[id] != nil {
				ss.live[id] = true
			}
		}
	}
}

func (ss *session) unsubscribe(p asked) (any, *Refusal) {
	if refusal := p.only("Id"); refusal != nil {
		return nil, refusal
	}
	id, refusal := p.number("Id", 1, maxSeconds)
	if refusal != nil {
		return nil, refusal
	}
	ss.mu.Lock()
	defer ss.mu.Unlock()
	if ss.feeds[id] == nil {
		return nil, &Refusal{Reason: UnknownPath, Detail: "there is no such subscription", Path: "Id"}
	}
	delete(ss.feeds, id)
	delete(ss.live, id)
	return accepted{}, nil
}

// A resumption is the result of Feedback.Resume. Resumed: what was missed
// follows as deltas. Otherwise the snapshots replace all that the client had.
type resumption struct {
	Resumed   bool
	Seq       uint64
	Snapshots []subscription `json:",omitempty"`
}

func (ss *session) resume(p asked) (any, func(), *Refusal) {
	if refusal := p.only("BootId", "Seq", "Subscriptions"); refusal != nil {
		return nil, nil, refusal
	}
	boot, ok := p["BootId"].(string)
	if !ok {
		return nil, nil, &Refusal{Reason: InvalidParams, Detail: "BootId must be a string", Path: "BootId"}
	}
	seq, refusal := p.number("Seq", 0, maxEpoch)
	if refusal != nil {
		return nil, nil, refusal
	}
	list, ok := p["Subscriptions"].([]any)
	if !ok || len(list) == 0 || len(list) > maxFeeds {
		return nil, nil, &Refusal{Reason: InvalidParams, Detail: "Subscriptions must be a list of 1 to 64", Path: "Subscriptions"}
	}
	fresh, ids := map[int64]*feed{}, []int64{}
	for _, v := range list {
		m, ok := v.(map[string]any)
		if !ok {
			return nil, nil, &Refusal{Reason: InvalidParams, Detail: "a subscription must be an object", Path: "Subscriptions"}
		}
		if refusal := asked(m).only("Id", "Query", "MaxHz"); refusal != nil {
			return nil, nil, refusal
		}
		id, refusal := asked(m).number("Id", 1, maxSeconds)
		if refusal != nil {
			return nil, nil, refusal
		}
		f, refusal := ss.feedOf(m)
		if refusal != nil {
			return nil, nil, refusal
		}
		if fresh[id] != nil {
			return nil, nil, &Refusal{Reason: InvalidParams, Detail: "an Id stands twice", Path: "Subscriptions"}
		}
		f.id = id
		fresh[id] = f
		ids = append(ids, id)
	}
	ss.mu.Lock()
	defer ss.mu.Unlock()
	if len(ss.feeds)+len(fresh) > maxFeeds {
		return nil, nil, &Refusal{Reason: RateLimited, Detail: "a client has at most 64 subscriptions", RetryAfter: time.Second}
	}
	for _, id := range ids {
		if ss.feeds[id] != nil {
			return nil, nil, &Refusal{Reason: Conflict, Detail: "the Id is taken in this session", Path: "Subscriptions"}
		}
	}
	out := resumption{Resumed: boot == ss.srv.boot, Seq: ss.srv.store.now()}
	for _, id := range ids {
		out.Resumed = out.Resumed && fresh[id].resume(uint64(seq))
	}
	for _, id := range ids {
		if !out.Resumed {
			snap, at := fresh[id].start()
			out.Snapshots = append(out.Snapshots, subscription{id, at, &snap})
		}
		ss.feeds[id] = fresh[id]
		ss.last = max(ss.last, id)
	}
	return out, ss.activate(ids...), nil
}
