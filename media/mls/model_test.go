// SPDX-License-Identifier: Apache-2.0

package mls

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
)

// A world is a group whose messages a relay orders and a network carries badly:
// it loses, doubles and reorders them, and members sleep. Beside it stands the
// plain model, which is what each commit of the log meant to do with the names.
type world struct {
	t     *testing.T
	r     *rand.Rand
	suite *Suite
	log   []entry // log[n] ended epoch n
	rooms []*room // whoever has or had a part in it
	names int
	// burned are the public keys whose private halves somebody knows that is
	// out. No node of a later tree may have one.
	burned map[string]string
	counts map[string]int
	sizes  map[int]bool // that the group has had
}

// An entry is what the relay keeps of one epoch, and the model of the next.
type entry struct {
	proposals     [][]byte
	commit        []byte
	welcome       []byte
	members       []string // after the commit, in order
	authenticator []byte   // by the first to get there; all others must have it
}

// A room is a member as it sees things, which may be late.
type room struct {
	name    string
	cfg     Config
	g       *Group // nil until the Welcome has come
	bundle  *KeyPackageBundle
	joins   uint64 // the first epoch it can be in
	pending *Pending
	inbox   []packet
	opened  map[string]bool
	seen    []*Proposed // of the epoch it is in
	keys    map[string]bool
	rogue   bool // out, and keeps what it had
}

// A packet is a message on its way.
type packet struct {
	msg  []byte
	text string // of an application message
}

func (w *world) epoch() uint64 { return uint64(len(w.log)) }

func (w *world) members() []string { return w.log[len(w.log)-1].members }

func (w *world) config() (string, Config) {
	name := fmt.Sprint("m", w.names)
	w.names++
	c := testConfig(w.t, w.suite, name)
	c.Plain = w.r.IntN(2) == 0
	c.Padding = 1 << w.r.IntN(8)
	return name, c
}

func newRoom(name string, c Config, joins uint64) *room {
	return &room{name: name, cfg: c, joins: joins, opened: map[string]bool{}, keys: map[string]bool{}}
}

// send puts a packet into the inboxes of all, for some twice and for some not
// at all.
func (w *world) send(p packet) {
	for _, x := range w.rooms {
		switch w.r.IntN(10) {
		case 0:
			w.counts["lost"]++
		case 1:
			w.counts["doubled"]++
			x.inbox = append(x.inbox, p)
			fallthrough
		default:
			x.inbox = append(x.inbox, p)
		}
	}
}

// names of the members that a room sees.
func (x *room) members() []string {
	var out []string
	for _, m := range x.g.Members() {
		out = append(out, string(m.Credential.Identity))
	}
	slices.Sort(out)
	return out
}

// present are the rooms that see the epoch which the log has reached.
func (w *world) present() []*room {
	var out []*room
	for _, x := range w.rooms {
		if x.g != nil && !x.rogue && !x.g.Removed() && x.g.Epoch() == w.epoch() {
			out = append(out, x)
		}
	}
	return out
}

// arrived compares a room that has entered an epoch with the model.
func (w *world) arrived(x *room) {
	w.t.Helper()
	x.seen = nil
	if x.g.Removed() {
		return
	}
	e := &w.log[x.g.Epoch()-1]
	if got := x.members(); !slices.Equal(got, e.members) {
		w.t.Fatalf("%s sees %v in epoch %d; want %v", x.name, got, x.g.Epoch(), e.members)
	}
	x.keys[string(x.g.cur.own.leaf.Public())] = true
	for _, k := range x.g.cur.own.path {
		x.keys[string(k.raw)] = true
	}
	if !slices.Contains(w.members(), x.name) { // it catches up with how it was put out
		w.burn(x)
	}
	if e.authenticator != nil {
		if !bytes.Equal(e.authenticator, x.g.EpochAuthenticator()) {
			w.t.Fatalf("%s disagrees about epoch %d", x.name, x.g.Epoch())
		}
		return
	}
	e.authenticator = x.g.EpochAuthenticator()
	for at, n := range x.g.cur.tree.nodes {
		if n == nil {
			continue
		}
		if who, ok := w.burned[string(n.public().Bytes())]; ok {
			w.t.Fatalf("epoch %d: %s is out and knows the key of node %d", x.g.Epoch(), who, at)
		}
	}
}

// took notes that the relay gave the epoch to a commit, and what it means.
func (w *world) took(e entry, proposals [][]byte, before []string) {
	slices.Sort(e.members)
	e.proposals = proposals
	w.log = append(w.log, e)
	w.sizes[len(e.members)] = true
	for _, name := range before {
		if slices.Contains(e.members, name) {
			continue
		}
		for _, x := range w.rooms {
			if x.name == name {
				w.burn(x)
				x.rogue = x.g != nil && w.rogues() < 8 && w.r.IntN(2) == 0
			}
		}
	}
	for _, p := range proposals {
		w.send(packet{msg: p})
	}
	w.send(packet{msg: e.commit})
}

// burn notes that the keys of a room must be in no tree from now on.
func (w *world) burn(x *room) {
	for k := range x.keys {
		w.burned[k] = x.name
	}
}

func (w *world) rogues() int {
	n := 0
	for _, x := range w.rooms {
		if x.rogue {
			n++
		}
	}
	return n
}

// read gives a room what waits for it, in an order of chance. What comes too
// early waits on; everything else that is refused must be old.
func (w *world) read(x *room) {
	w.t.Helper()
	for progress := true; progress; {
		progress = false
		inbox := x.inbox
		x.inbox = nil
		w.r.Shuffle(len(inbox), func(i, j int) { inbox[i], inbox[j] = inbox[j], inbox[i] })
		for _, p := range inbox {
			before := x.g.Epoch()
			err := w.open(x, p)
			switch {
			case errors.Is(err, ErrFutureEpoch), errors.Is(err, ErrUnknownProposal):
				x.inbox = append(x.inbox, p)
			case err == nil, errors.Is(err, ErrPastEpoch), errors.Is(err, ErrOwn), errors.Is(err, ErrRemoved), errors.Is(err, ErrReplayed):
			default:
				w.t.Fatalf("%s in epoch %d: %v", x.name, before, err)
			}
			progress = progress || err == nil
		}
	}
	if len(x.inbox) > 500 { // of epochs that a rogue does not get to see
		x.inbox = slices.Clone(x.inbox[len(x.inbox)-100:])
	}
}

func (w *world) open(x *room, p packet) error {
	w.t.Helper()
	ctx := w.t.Context()
	h, err := Peek(p.msg)
	if err != nil {
		w.t.Fatal(err)
	}
	switch {
	case h.Application:
		got, err := x.g.Unprotect(ctx, p.msg)
		late := x.g.Epoch() - h.Epoch
		if errors.Is(err, ErrPastEpoch) && late <= keepEpochs && h.Epoch >= x.joins || errors.Is(err, ErrReplayed) && !x.opened[string(p.msg)] {
			w.t.Fatalf("%s did not open %q, late by %d epochs: %v", x.name, p.text, late, err)
		}
		if err != nil {
			return err
		}
		if string(got.Data) != p.text || x.opened[string(p.msg)] || got.Epoch < x.joins {
			w.t.Fatalf("%s, since epoch %d, opened %q of %d; want %q once", x.name, x.joins, got.Data, got.Epoch, p.text)
		}
		x.opened[string(p.msg)] = true
		w.counts["opened"]++
		return nil
	case h.Proposal:
		got, err := x.g.ReceiveProposal(ctx, p.msg)
		if err != nil {
			return err
		}
		if !slices.ContainsFunc(x.seen, func(o *Proposed) bool { return bytes.Equal(o.Ref, got.Ref) }) {
			x.seen = append(x.seen, got)
		}
		return nil
	}
	if x.pending != nil && bytes.Equal(p.msg, x.pending.Message) {
		err := x.pending.Apply()
		x.pending = nil
		if errors.Is(err, ErrMoved) {
			return nil
		}
		w.arrived(x)
		return err
	}
	staged, err := x.g.Stage(ctx, p.msg)
	if err != nil {
		return err
	}
	if x.rogue && staged.Diff().SelfRemoved {
		staged.Discard() // it keeps its keys and goes on listening
		return nil
	}
	if x.pending != nil {
		x.pending.Discard()
		x.pending = nil
	}
	if err := staged.Apply(); err != nil {
		return err
	}
	w.arrived(x)
	return nil
}

// repair fetches what a room has missed from the log.
func (w *world) repair(x *room) {
	w.t.Helper()
	if x.g == nil {
		g, err := Join(w.t.Context(), x.cfg, w.log[x.joins-1].welcome, x.bundle)
		if err != nil {
			w.t.Fatalf("%s: %v", x.name, err)
		}
		x.g = g
		w.arrived(x)
		w.read(x)
	}
	for !x.g.Removed() && x.g.Epoch() < w.epoch() {
		at := x.g.Epoch()
		for _, p := range append(slices.Clone(w.log[at].proposals), w.log[at].commit) {
			x.inbox = append(x.inbox, packet{msg: p})
		}
		w.read(x)
		if !x.g.Removed() && x.g.Epoch() == at {
			if x.rogue {
				return
			}
			w.t.Fatalf("%s is stuck in epoch %d of %d", x.name, at, w.epoch())
		}
	}
}

// TestModel lets a group grow to 50 members, shrink to 2 and grow again, over a
// network that loses, doubles and reorders what is sent, with members that
// sleep, commits that compete, and members that leave by themselves, are put
// out, come back or join from outside. In each epoch all members agree, on its
// secrets and on the members that the model has; who is out knows no key of a
// later tree, and opens nothing of it.
func TestModel(t *testing.T) {
	w := &world{
		t: t, r: modelSeed(t), suite: suiteOf(t, X25519AES128GCMSHA256Ed25519),
		burned: map[string]string{}, counts: map[string]int{}, sizes: map[int]bool{},
	}
	name, c := w.config()
	g, err := Create(t.Context(), c, []byte("group"))
	if err != nil {
		t.Fatal(err)
	}
	first := newRoom(name, c, 0)
	first.g = g
	w.rooms = []*room{first}
	p, err := g.Commit(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	first.pending = p
	w.took(entry{commit: p.Message, members: []string{name}}, nil, nil)

	goals, met, steps := []int{50, 2}, 0, 0
	for ; (met < 3 || len(w.missing()) > 0) && steps < 1000; steps++ {
		w.step(goals[met%2])
		if len(w.members()) == goals[met%2] {
			met++
		}
	}
	for _, x := range w.rooms {
		w.repair(x)
	}
	if met < 3 {
		t.Errorf("the group did not come to %d members in %d steps", goals[met%2], steps)
	}
	if never := w.missing(); len(never) > 0 {
		t.Errorf("never happened in %d steps: %v", steps, never)
	}
	t.Logf("%d epochs, sizes %v; %v", w.epoch(), slices.Sorted(maps.Keys(w.sizes)), w.counts)
}

// missing lists what has not happened yet.
func (w *world) missing() []string {
	all := []string{"lost", "doubled", "beaten", "add", "remove", "update", "leave", "leave by an external commit", "external", "resync", "rotate", "opened", "deaf"}
	return slices.DeleteFunc(all, func(what string) bool { return w.counts[what] > 0 })
}
