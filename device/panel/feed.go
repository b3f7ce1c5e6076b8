// SPDX-License-Identifier: Apache-2.0

package panel

import (
	"encoding/json"
	"slices"
	"strings"
	"time"
)

const (
	defaultHz = 30
	maxHz     = 60
	meterHz   = 10 // of level meters: more shows nobody anything and tells an eavesdropper of rhythm
)

// A feed follows the store for one subscription. It holds no backlog: it knows
// how far its client is and computes what is new when the client can take it,
// so that a slow reader gets the latest state. It belongs to one goroutine.
type feed struct {
	id       int64
	reader   reader
	store    *store
	seen     uint64 // Seq up to which the client knows everything
	fell     uint64 // of the store, when seen was set
	interval time.Duration
	due      time.Time // not before this
}

// A delta is what changed, as Feedback.Event tells it. The client applies
// Removed, then merges Status; arrays are replaced whole.
type delta struct {
	ID      int64 `json:"Id"`
	Seq     uint64
	BootID  string         `json:"BootId"`
	By      string         `json:",omitempty"` // who caused it, if it was one
	Reset   bool           `json:",omitempty"` // too much was missed: Status is all there is
	Lost    uint64         `json:",omitempty"` // events that nobody can tell any more
	Removed []string       `json:",omitempty"`
	Status  map[string]any `json:",omitempty"`
	Events  []happening    `json:",omitempty"`
}

// A happening is one event in a delta.
type happening struct {
	Path  string
	Seq   uint64
	By    string `json:",omitempty"`
	Value json.RawMessage
}

// A snapshot is all that a reader may see.
type snapshot struct {
	Status map[string]any `json:",omitempty"`
}

func newFeed(st *store, r reader, hz int) *feed {
	if hz == 0 {
		hz = defaultHz
	}
	if r.metered() {
		hz = min(hz, meterHz)
	}
	return &feed{reader: r, store: st, interval: time.Second / time.Duration(hz)}
}

// start takes a snapshot and follows from there.
func (f *feed) start() (snapshot, uint64) {
	f.store.mu.RLock()
	defer f.store.mu.RUnlock()
	f.seen, f.fell = f.store.seq, f.store.fell
	return snapshot{f.store.view(f.reader)}, f.seen
}

// resume follows from seq, if the store can still tell what was removed and
// what happened since.
func (f *feed) resume(seq uint64) bool {
	f.store.mu.RLock()
	defer f.store.mu.RUnlock()
	if seq > f.store.seq || seq < f.store.floor {
		return false
	}
	f.seen, f.fell = seq, f.store.fell
	return true
}

// wait returns how long the feed must still rest at now.
func (f *feed) wait(now time.Time) time.Duration { return max(0, f.due.Sub(now)) }

// collect returns what is new for the client, or nil.
func (f *feed) collect(now time.Time) *delta {
	st := f.store
	st.mu.RLock()
	defer st.mu.RUnlock()
	if f.seen == st.seq {
		return nil
	}
	d := &delta{ID: f.id, Seq: st.seq, BootID: st.boot}
	var by []string
	if f.seen < st.floor {
		d.Reset, d.Lost, d.Status = true, st.fell-f.fell, st.view(f.reader)
	} else {
		changed := map[string]json.RawMessage{}
		for el := st.recent.Front(); el != nil; el = el.Next() {
			l := el.Value.(*leaf)
			if l.seq <= f.seen {
				break
			}
			if f.reader.sees(l.path, l.node) {
				changed[l.path] = l.raw
				by = append(by, l.by)
			}
		}
		d.Status = nest(changed)["Status"]
	}
	first, _ := slices.BinarySearchFunc(st.ring, f.seen+1, func(m moment, seq uint64) int {
		return int(int64(m.seq) - int64(seq))
	})
	for _, m := range st.ring[first:] {
		switch {
		case m.event && f.reader.sees(m.path, m.node):
			d.Events = append(d.Events, happening{m.path, m.seq, m.by, m.value})
		case !m.event && !d.Reset && f.reader.seesUnder(m.path, m.node):
			d.Removed = append(d.Removed, m.path)
			by = append(by, m.by)
		}
	}
	f.seen, f.fell = st.seq, st.fell
	if by = slices.Compact(by); len(by) == 1 && !d.Reset {
		d.By = by[0]
	}
	if len(d.Status)+len(d.Removed)+len(d.Events) == 0 && !d.Reset {
		return nil
	}
	f.due = now.Add(f.interval)
	return d
}

// view returns all that r sees, nested. The lock is held.
func (s *store) view(r reader) map[string]any {
	all := map[string]json.RawMessage{}
	for path, l := range s.leaves {
		if r.sees(path, l.node) {
			all[path] = l.value()
		}
	}
	return nest(all)["Status"]
}

// nest makes a tree of leaves; its first level is the root of the paths.
func nest(leaves map[string]json.RawMessage) map[string]map[string]any {
	out := map[string]map[string]any{}
	for path, raw := range leaves {
		segments := strings.Split(path, "/")
		level := out[segments[0]]
		if level == nil {
			level = map[string]any{}
			out[segments[0]] = level
		}
		for _, name := range segments[1 : len(segments)-1] {
			below, ok := level[name].(map[string]any)
			if !ok {
				below = map[string]any{}
				level[name] = below
			}
			level = below
		}
		level[segments[len(segments)-1]] = raw
	}
	return out
}
