// SPDX-License-Identifier: Apache-2.0

package mls

import (
	"errors"
	"fmt"
	"slices"
)

// A bid is a commit that somebody wants the relay to take.
type bid struct {
	what   []string
	entry  entry
	joins  []*room // who comes in by it
	settle func(won bool)
}

// step lets one to three members compete for the epoch, gives it to one of
// them, and lets most of the members read what has come.
func (w *world) step(goal int) {
	w.t.Helper()
	for len(w.present()) == 0 {
		w.repair(w.rooms[w.r.IntN(len(w.rooms))])
	}
	before := w.members()
	proposals := w.propose()
	present := w.present()
	w.r.Shuffle(len(present), func(i, j int) { present[i], present[j] = present[j], present[i] })
	var bids []bid
	for _, x := range present[:min(len(present), 1+w.r.IntN(3))] {
		bids = append(bids, w.bid(x, goal, proposals))
	}
	for i, b := range bids {
		b.settle(i == 0)
		if i > 0 {
			w.counts["beaten"]++
			continue
		}
		for _, what := range b.what {
			w.counts[what]++
		}
		w.rooms = append(w.rooms, b.joins...)
		w.took(b.entry, proposals, before)
		for _, y := range b.joins {
			if y.g != nil {
				w.arrived(y)
			}
		}
	}
	for _, x := range w.rooms {
		switch {
		case w.r.IntN(5) == 0: // asleep
		case x.g == nil, w.r.IntN(3) == 0:
			w.repair(x)
		default:
			w.read(x)
		}
	}
	w.talk()
	w.rooms = slices.DeleteFunc(w.rooms, func(x *room) bool { return x.g != nil && x.g.Removed() && !x.rogue })
}

// propose lets some members send a proposal: an Update, or that they leave.
func (w *world) propose() [][]byte {
	w.t.Helper()
	var out [][]byte
	present := w.present()
	for range w.r.IntN(3) {
		x := present[w.r.IntN(len(present))]
		p := Update()
		if len(w.members()) > 3 && w.r.IntN(2) == 0 {
			p = SelfRemove()
		}
		msg, _, err := x.g.Propose(w.t.Context(), p)
		if err != nil {
			if errors.Is(err, ErrInvalid) || errors.Is(err, ErrLimit) {
				continue // a second SelfRemove, or too many
			}
			w.t.Fatal(err)
		}
		out = append(out, msg)
		for _, y := range present {
			if y != x && w.r.IntN(8) > 0 {
				y.inbox = append(y.inbox, packet{msg: msg})
				w.read(y)
			}
		}
	}
	return out
}

// bid makes a commit of what a member has seen and of a wish of its own.
func (w *world) bid(x *room, goal int, proposals [][]byte) bid {
	w.t.Helper()
	if x.g.Epoch() != w.epoch() {
		w.t.Fatalf("%s is in epoch %d of %d", x.name, x.g.Epoch(), w.epoch())
	}
	if n := w.r.IntN(10); n < 2 && len(w.members()) < 50 {
		return w.external(x, n == 0, proposals)
	}
	b := bid{entry: entry{members: slices.Clone(w.members())}}
	var list []Proposal
	touched := map[LeafIndex]bool{x.g.Self(): true}
	gone := func(i LeafIndex) {
		touched[i] = true
		m, _ := x.g.Member(i)
		name := string(m.Credential.Identity)
		b.entry.members = slices.DeleteFunc(b.entry.members, func(s string) bool { return s == name })
	}
	for _, p := range x.seen {
		if touched[p.Sender] || w.r.IntN(4) == 0 {
			continue
		}
		if p.Proposal.Type() == ProposalSelfRemove {
			gone(p.Sender)
			b.what = append(b.what, "leave")
		} else {
			touched[p.Sender] = true
			b.what = append(b.what, "update")
		}
		list = append(list, ByReference(p.Ref))
	}
	switch n := 1 + w.r.IntN(4); {
	case w.r.IntN(8) == 0: // no wish
	case len(b.entry.members) < goal:
		for range min(n, goal-len(b.entry.members)) {
			b.what = append(b.what, "add")
			name, c := w.config()
			y := newRoom(name, c, w.epoch()+1)
			y.bundle = newBundle(w.t, c)
			list = append(list, Add(parsed(w.t, y.bundle, w.suite)))
			b.joins = append(b.joins, y)
			b.entry.members = append(b.entry.members, name)
		}
	case len(b.entry.members) > goal:
		for _, m := range x.g.Members() {
			if n > 0 && len(b.entry.members) > goal && !touched[m.Index] && w.r.IntN(3) == 0 {
				n--
				b.what = append(b.what, "remove")
				list = append(list, Remove(m.Index))
				gone(m.Index)
			}
		}
	}
	if len(list) == 0 {
		b.what = []string{"rotate"}
	}
	pending, err := x.g.Commit(w.t.Context(), list)
	if err != nil {
		w.t.Fatalf("%s: %v: %v", x.name, b.what, err)
	}
	b.entry.commit, b.entry.welcome = pending.Message, pending.Welcome
	b.settle = func(won bool) {
		if won || w.r.IntN(2) == 0 { // or it learns only from the log that it has lost
			x.pending = pending
		} else {
			pending.Discard()
		}
	}
	return b
}

// external lets somebody in from outside, or a member come back that has lost
// its way. Who comes takes with it those who want to leave.
func (w *world) external(by *room, resync bool, proposals [][]byte) bid {
	w.t.Helper()
	info, err := by.g.GroupInfo(w.t.Context())
	if err != nil {
		w.t.Fatal(err)
	}
	b := bid{what: []string{"external"}, entry: entry{members: slices.Clone(w.members())}}
	var list []Proposal
	var former *room
	var name string
	var c Config
	if late := w.late(); resync && late != nil {
		b.what, former, name, c = []string{"resync"}, late, late.name, late.cfg
		for _, m := range by.g.Members() {
			if string(m.Credential.Identity) == name {
				list = append(list, Remove(m.Index))
			}
		}
	} else {
		name, c = w.config()
		b.entry.members = append(b.entry.members, name)
	}
	var pending [][]byte
	for _, msg := range proposals {
		m, err := decodeMessage(msg)
		if err != nil {
			w.t.Fatal(err)
		}
		if m.public == nil || m.public.auth.content.proposal.kind != ProposalSelfRemove {
			continue
		}
		leaving, _ := by.g.Member(m.public.auth.content.sender.leaf())
		who := string(leaving.Credential.Identity)
		pending, b.what = append(pending, msg), append(b.what, "leave by an external commit")
		b.entry.members = slices.DeleteFunc(b.entry.members, func(s string) bool { return s == who })
	}
	x, err := JoinExternal(w.t.Context(), c, info, list, nil, pending...)
	if err != nil {
		w.t.Fatalf("%s: %v: %v", name, b.what, err)
	}
	y := newRoom(name, c, w.epoch()+1)
	b.entry.commit, b.joins = x.Message, []*room{y}
	b.settle = func(won bool) {
		if !won {
			x.Discard()
			return
		}
		if y.g, err = x.Apply(); err != nil {
			w.t.Fatal(err)
		}
		if former != nil {
			w.burn(former)
			former.name, former.rogue = name+"'", true
		}
	}
	return b
}

// late returns a member that has not come to the epoch of the log.
func (w *world) late() *room {
	for _, x := range w.rooms {
		if x.g != nil && !x.rogue && !x.g.Removed() && x.g.Epoch() < w.epoch() && slices.Contains(w.members(), x.name) {
			return x
		}
	}
	return nil
}

// talk lets somebody say something to those who see the same epoch. Nobody who
// is out hears it, whatever they have kept.
func (w *world) talk() {
	w.t.Helper()
	present := w.present()
	if len(present) == 0 {
		return
	}
	from := present[w.r.IntN(len(present))]
	text := fmt.Sprint(from.name, " in ", from.g.Epoch())
	msg, err := from.g.Protect(w.t.Context(), nil, []byte(text))
	if err != nil {
		w.t.Fatal(err)
	}
	w.send(packet{msg: msg, text: text})
	for _, x := range w.rooms {
		if !x.rogue {
			continue
		}
		w.counts["deaf"]++
		if got, err := x.g.Unprotect(w.t.Context(), msg); err == nil {
			w.t.Fatalf("%s is out and opened %q", x.name, got.Data)
		}
		if slices.Contains(w.members(), x.name) {
			w.t.Fatalf("%s is a rogue and in", x.name)
		}
	}
}
