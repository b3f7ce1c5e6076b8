// SPDX-License-Identifier: Apache-2.0

package panel

import (
	"bytes"
	"container/list"
	"encoding/json"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"
)

const (
	ringSize = 4096             // removals and events kept for who comes back
	ringAge  = 10 * time.Minute // longer than a tablet sleeps in a bag
	maxLeaf  = 8 << 10          // bytes of one value in JSON
)

// A Tx collects changes for [Server.Publish].
type Tx struct {
	by  string
	ops []op
}

type op struct {
	kind  opKind
	path  string
	value any
}

type opKind int

const (
	opSet opKind = iota
	opRemove
	opEvent
)

// Set gives the node of Status at path ("Call/State") a value: what encodes to
// its type in JSON. A branch or an entry of a collection takes a struct or map
// and is then exactly that: what v does not name is removed.
func (tx *Tx) Set(path string, v any) {
	tx.ops = append(tx.ops, op{opSet, "Status/" + path, v})
}

// Remove takes the node of Status at path away, with all below it. To remove
// what is not there is normal.
func (tx *Tx) Remove(path string) {
	tx.ops = append(tx.ops, op{opRemove, "Status/" + path, nil})
}

// Event tells followers of Event/path that it happened. v is a struct or map of
// the declared members.
func (tx *Tx) Event(path string, v any) {
	tx.ops = append(tx.ops, op{opEvent, "Event/" + path, v})
}

// By names the panel that caused the changes; see [By].
func (tx *Tx) By(panel string) { tx.by = panel }

// A leaf is one value with the Seq of its last change.
type leaf struct {
	path string
	node *Node
	raw  json.RawMessage
	seq  uint64
	by   string
	live func() any // computed on reading, if not nil
	pos  *list.Element
}

// A moment is a removal or an event, kept in the ring.
type moment struct {
	seq   uint64
	at    time.Time
	path  string
	node  *Node
	by    string
	event bool
	value json.RawMessage
}

// A store is the state that panels see. Leaves hang in a list, the last changed
// first, so that to see what is new costs what is new.
type store struct {
	boot string
	log  *slog.Logger

	mu      sync.RWMutex
	seq     uint64
	leaves  map[string]*leaf
	recent  *list.List // of *leaf
	ring    []moment
	floor   uint64        // Seq of the last moment that fell out of the ring
	fell    uint64        // events that fell out, ever
	changed chan struct{} // closed and replaced at each change
}

func newStore(boot string, log *slog.Logger) *store {
	return &store{
		boot:    boot,
		log:     log,
		leaves:  map[string]*leaf{},
		recent:  list.New(),
		changed: make(chan struct{}),
	}
}

// live makes the leaf at path one that f computes whenever it is read. It sends
// no deltas.
func (s *store) live(path string, f func() any) {
	l := &leaf{path: path, node: lookup(path).node, live: f}
	l.pos = s.recent.PushBack(l)
	s.leaves[path] = l
}

// watch returns a channel that is closed at the next change.
func (s *store) watch() <-chan struct{} {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.changed
}

// apply makes the changes of tx visible, all at once.
func (s *store) apply(tx *Tx) {
	type ready struct {
		op
		values map[string]json.RawMessage // of leaves, or of the event at path
	}
	var todo []ready
	for _, o := range tx.ops {
		r := ready{op: o}
		var err error
		switch o.kind {
		case opSet:
			r.values, err = flatten(o.path, o.value)
		case opRemove:
			if lookup(o.path) == nil {
				err = fmt.Errorf("%s is not declared", o.path)
			}
		case opEvent:
			r.values, err = encodeEvent(o.path, o.value)
		}
		if err != nil {
			s.log.Error("state not published", "path", o.path, "err", err)
			continue
		}
		todo = append(todo, r)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	before, now := s.seq, time.Now()
	by := clean(tx.by, maxText)
	for _, r := range todo {
		switch r.kind {
		case opSet:
			s.set(r.path, r.values, by, now)
		case opRemove:
			s.remove(r.path, by, now)
		case opEvent:
			s.remember(moment{at: now, path: r.path, node: lookup(r.path).node, by: by, event: true, value: r.values[r.path]})
		}
	}
	if s.seq != before {
		close(s.changed)
		s.changed = make(chan struct{})
	}
}

// set gives leaves their values and removes other leaves below path.
func (s *store) set(path string, values map[string]json.RawMessage, by string, now time.Time) {
	for in, limit := range collections {
		if strings.HasPrefix(path, in+"/") && !s.holds(path) && s.entries(in) >= limit {
			s.log.Error("state not published", "path", path, "err", "the collection is full")
			return
		}
	}
	if lookup(path).node == nil {
		for _, old := range s.below(path) {
			if _, kept := values[old.path]; !kept && old.live == nil {
				s.remove(old.path, by, now)
			}
		}
	}
	for _, p := range sortedKeys(values) {
		l := s.leaves[p]
		if l == nil {
			l = &leaf{path: p, node: lookup(p).node}
			l.pos = s.recent.PushFront(l)
			s.leaves[p] = l
		} else if bytes.Equal(l.raw, values[p]) {
			continue // a change that is none takes no Seq
		}
		s.seq++
		l.raw, l.seq, l.by = values[p], s.seq, by
		s.recent.MoveToFront(l.pos)
	}
}

func (s *store) remove(path, by string, now time.Time) {
	gone := s.below(path)
	if len(gone) == 0 {
		return
	}
	for _, l := range gone {
		if l.live == nil {
			s.recent.Remove(l.pos)
			delete(s.leaves, l.path)
		}
	}
	s.remember(moment{at: now, path: path, node: gone[0].node, by: by})
}

// remember numbers m and puts it into the ring.
func (s *store) remember(m moment) {
	s.seq++
	m.seq = s.seq
	s.ring = append(s.ring, m)
	old := 0
	for old < len(s.ring) && (len(s.ring)-old > ringSize || m.at.Sub(s.ring[old].at) > ringAge) {
		s.floor = s.ring[old].seq
		if s.ring[old].event {
			s.fell++
		}
		old++
	}
	if old > 0 {
		s.ring = slices.Delete(s.ring, 0, old)
	}
}

// below returns the leaves at path and under it.
func (s *store) below(path string) []*leaf {
	if l := s.leaves[path]; l != nil {
		return []*leaf{l}
	}
	var out []*leaf
	for p, l := range s.leaves {
		if strings.HasPrefix(p, path) && p[len(path)] == '/' {
			out = append(out, l)
		}
	}
	return out
}

func (s *store) holds(path string) bool { return len(s.below(path)) > 0 }

// entries counts the ids of a collection.
func (s *store) entries(in string) int {
	ids := map[string]bool{}
	for p := range s.leaves {
		if rest, ok := strings.CutPrefix(p, in+"/"); ok {
			id, _, _ := strings.Cut(rest, "/")
			ids[id] = true
		}
	}
	return len(ids)
}

// text returns the string at a leaf, for checks against what people saw.
func (s *store) text(path string) string {
	s.mu.RLock()
	defer s.mu.RUnlock()
	var out string
	if l := s.leaves[path]; l != nil {
		_ = json.Unmarshal(l.raw, &out) // what is no string is no text
	}
	return out
}

// value returns the JSON of the leaf as it reads now.
func (l *leaf) value() json.RawMessage {
	if l.live == nil {
		return l.raw
	}
	raw, err := json.Marshal(l.live())
	if err != nil {
		return json.RawMessage("null")
	}
	return raw
}

// flatten makes leaves of a value for path and checks each against its
// declaration.
func flatten(path string, v any) (map[string]json.RawMessage, error) {
	b := lookup(path)
	if b == nil {
		return nil, fmt.Errorf("%s is not declared", path)
	}
	text, err := json.Marshal(v)
	if err != nil {
		return nil, err
	}
	plain, refusal := parse(text)
	if refusal != nil {
		return nil, refusal
	}
	out := map[string]json.RawMessage{}
	if err := walk(path, b, plain, out); err != nil {
		return nil, err
	}
	return out, nil
}

func walk(path string, b *branch, v any, out map[string]json.RawMessage) error {
	if b.node != nil {
		kept, refusal := b.node.Type.fit(v)
		if refusal != nil {
			return fmt.Errorf("%s: %w", path, refusal)
		}
		raw, err := encode(kept)
		if err == nil && len(raw) > maxLeaf {
			err = fmt.Errorf("%s: %d bytes are too many", path, len(raw))
		}
		out[path] = raw
		return err
	}
	members, ok := v.(map[string]any)
	if !ok {
		return fmt.Errorf("%s: a branch needs a struct or map", path)
	}
	for name, m := range members {
		c := b.child(name)
		if c == nil {
			return fmt.Errorf("%s/%s is not declared", path, name)
		}
		if err := walk(path+"/"+name, c, m, out); err != nil {
			return err
		}
	}
	return nil
}

func encodeEvent(path string, v any) (map[string]json.RawMessage, error) {
	b := lookup(path)
	if b == nil || b.node == nil || b.node.Kind != Event {
		return nil, fmt.Errorf("%s is not declared", path)
	}
	text, err := json.Marshal(v)
	if err != nil {
		return nil, err
	}
	plain, refusal := parse(text)
	if refusal != nil {
		return nil, refusal
	}
	members, ok := plain.(map[string]any)
	if !ok {
		return nil, fmt.Errorf("%s: an event needs a struct or map", path)
	}
	kept, refusal := fitFields(b.node.Fields, members)
	if refusal != nil {
		return nil, refusal
	}
	raw, err := encode(kept)
	return map[string]json.RawMessage{path: raw}, err
}

// encode writes v as JSON without the escapes meant for HTML: nothing here is
// ever put into a page as markup.
func encode(v any) (json.RawMessage, error) {
	var out bytes.Buffer
	enc := json.NewEncoder(&out)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return nil, err
	}
	return bytes.TrimSpace(out.Bytes()), nil
}

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}
