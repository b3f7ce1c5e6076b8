// SPDX-License-Identifier: Apache-2.0

package mls

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"testing"
	"time"
)

// modelSeed returns the seed of a random schedule: MLS_SEED, or a new one. It
// is printed, so that a schedule that failed can be had again.
func modelSeed(tb testing.TB) *rand.Rand {
	tb.Helper()
	seed := uint64(time.Now().UnixNano())
	if s := os.Getenv("MLS_SEED"); s != "" {
		var err error
		if seed, err = strconv.ParseUint(s, 10, 64); err != nil {
			tb.Fatal(err)
		}
	}
	tb.Logf("MLS_SEED=%d", seed)
	return rand.New(rand.NewPCG(seed, seed))
}

// A meeting is a group with a plain model of it: who is in, by name.
type meeting struct {
	t       *testing.T
	r       *rand.Rand
	suite   *Suite
	in      map[string]*Group
	names   int
	letters []letter // application messages under way
	counts  map[string]int
}

// A letter is an application message on its way to somebody.
type letter struct {
	to     *Group
	msg    []byte
	text   string
	epoch  uint64
	opened bool
}

func (m *meeting) config() (string, Config) {
	name := fmt.Sprint("m", m.names)
	m.names++
	c := testConfig(m.t, m.suite, name)
	c.PSKs = pskMap{"shared": []byte("key")}
	c.Plain = m.r.IntN(2) == 0
	c.Padding = 1 << m.r.IntN(10)
	return name, c
}

// sorted returns the members by name: a map has another order in each run.
func (m *meeting) sorted() []*Group {
	var out []*Group
	for _, n := range slices.Sorted(maps.Keys(m.in)) {
		out = append(out, m.in[n])
	}
	return out
}

func (m *meeting) pick() (string, *Group) {
	names := slices.Sorted(maps.Keys(m.in))
	n := names[m.r.IntN(len(names))]
	return n, m.in[n]
}

// deliver gives a message to all but its sender, in an order of chance, some
// of them twice.
func (m *meeting) deliver(from *Group, f func(*Group) error) {
	m.t.Helper()
	for _, g := range m.sorted() {
		if g == from {
			continue
		}
		if err := f(g); err != nil {
			m.t.Fatalf("%v: %v", g, err)
		}
		if m.r.IntN(4) == 0 {
			if err := f(g); err == nil {
				m.t.Fatalf("%v took a message twice", g)
			}
		}
	}
}

// propose sends a proposal to all and returns its message and its reference.
func (m *meeting) propose(from *Group, p Proposal) ([]byte, Proposal) {
	m.t.Helper()
	msg, ref, err := from.Propose(m.t.Context(), p)
	if err != nil {
		m.t.Fatal(err)
	}
	for _, g := range m.sorted() {
		if g != from {
			if _, err := g.ReceiveProposal(m.t.Context(), msg); err != nil {
				m.t.Fatalf("%v: proposal: %v", g, err)
			}
		}
	}
	return msg, ByReference(ref)
}

func (m *meeting) apply(from *Group, msg []byte) {
	m.t.Helper()
	m.deliver(from, func(g *Group) error {
		s, err := g.Stage(m.t.Context(), msg)
		if err != nil {
			return err
		}
		return s.Apply()
	})
}

// step does one random operation and compares group and model.
func (m *meeting) step() {
	m.t.Helper()
	t := m.t
	name, by := m.pick()
	var list []Proposal
	gone := ""
	other, otherGroup := m.pick()
	op := []string{"add", "add", "remove", "remove by reference", "leave", "update", "psk", "extensions", "external", "resync", "rotate"}[m.r.IntN(11)]
	var bundle *KeyPackageBundle
	var joiner Config
	var joinerName string
	switch {
	case op == "add" && len(m.in) < 40, len(m.in) < 3:
		op = "add"
		joinerName, joiner = m.config()
		bundle = newBundle(t, joiner)
		list = []Proposal{Add(parsed(t, bundle, m.suite))}
	case (op == "remove" || op == "remove by reference" || op == "leave") && other != name:
		gone = other
		p := Remove(otherGroup.Self())
		switch op { // the latter two by itself
		case "remove by reference":
			_, p = m.propose(otherGroup, p)
		case "leave":
			_, p = m.propose(otherGroup, SelfRemove())
		}
		list = []Proposal{p}
	case op == "update" && other != name:
		_, p := m.propose(otherGroup, Update())
		list = []Proposal{p}
	case op == "psk":
		list = []Proposal{ExternalPSK([]byte("shared"))}
	case op == "extensions":
		list = []Proposal{SetExtensions([]Extension{AppDataDictionary([]AppData{{Component: 0x8000, Data: []byte{byte(m.r.IntN(256))}}})})}
	case op == "external" || op == "resync":
		m.external(op, name, by)
		m.check()
		return
	default:
		op = "rotate"
	}
	m.counts[op]++
	pending, err := by.Commit(t.Context(), list)
	if err != nil {
		t.Fatalf("%s: %v", op, err)
	}
	if m.r.IntN(5) == 0 { // it loses to a rival, who goes on from there
		pending.Discard()
		_, rival := m.pick()
		win, err := rival.Commit(t.Context(), nil)
		if err != nil {
			t.Fatal(err)
		}
		m.apply(rival, win.Message)
		if err := win.Apply(); err != nil {
			t.Fatal(err)
		}
		m.counts["lost"]++
		m.check()
		return
	}
	m.apply(by, pending.Message)
	if err := pending.Apply(); err != nil {
		t.Fatal(err)
	}
	if gone != "" {
		if !m.in[gone].Removed() {
			t.Fatalf("%s does not know that it is out", gone)
		}
		delete(m.in, gone)
	}
	if bundle != nil {
		g, err := Join(t.Context(), joiner, pending.Welcome, bundle)
		if err != nil {
			t.Fatal(err)
		}
		m.in[joinerName] = g
	}
	m.check()
}

// external lets somebody in by an external commit, or a member come back, and
// another one leave by it now and then.
func (m *meeting) external(op, name string, by *Group) {
	m.t.Helper()
	t := m.t
	m.counts[op]++
	info, err := by.GroupInfo(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var former *Group
	var list []Proposal
	var who string
	var c Config
	if op == "external" {
		if len(m.in) >= 40 {
			return
		}
		who, c = m.config()
	} else {
		who, former = m.pick()
		if who == name {
			return
		}
		c = former.cfg
		list = []Proposal{Remove(former.Self()), ResumptionPSK(former.ID(), former.Epoch())}
		delete(m.in, who)
	}
	var pending [][]byte
	if gone, leaving := m.pick(); len(m.in) > 3 && gone != name && gone != who && m.r.IntN(2) == 0 {
		msg, _ := m.propose(leaving, SelfRemove())
		pending = append(pending, msg)
		defer delete(m.in, gone)
		m.counts["leave by an external commit"]++
	}
	x, err := JoinExternal(t.Context(), c, info, list, former, pending...)
	if err != nil {
		t.Fatal(err)
	}
	m.apply(nil, x.Message)
	if m.in[who], err = x.Apply(); err != nil {
		t.Fatal(err)
	}
}

// check compares all members with each other and with the model, and posts a
// letter.
func (m *meeting) check() {
	m.t.Helper()
	same(m.t, m.sorted()...)
	for name, g := range m.in {
		if got := g.Members(); len(got) != len(m.in) {
			m.t.Fatalf("%s sees %d members; want %d", name, len(got), len(m.in))
		}
		for _, p := range g.Members() {
			if m.in[string(p.Credential.Identity)] == nil {
				m.t.Fatalf("%s sees %s", name, p.Credential.Identity)
			}
		}
		break
	}
	name, from := m.pick()
	for range 1 + m.r.IntN(3) {
		text := fmt.Sprint(name, " at ", from.Epoch(), " ", m.names)
		msg, err := from.Protect(m.t.Context(), nil, []byte(text))
		if err != nil {
			m.t.Fatal(err)
		}
		for _, to := range m.sorted() {
			if to != from && m.r.IntN(4) > 0 { // a quarter is lost
				m.letters = append(m.letters, letter{to: to, msg: msg, text: text, epoch: from.Epoch()})
			}
		}
	}
	m.post()
}

// post delivers some letters, in no order, some again; late by two epochs they
// still open, and not after it.
func (m *meeting) post() {
	m.t.Helper()
	m.r.Shuffle(len(m.letters), func(i, j int) { m.letters[i], m.letters[j] = m.letters[j], m.letters[i] })
	var keep []letter
	for _, l := range m.letters {
		if m.r.IntN(3) == 0 {
			keep = append(keep, l)
			continue
		}
		got, err := l.to.Unprotect(m.t.Context(), l.msg)
		switch late := l.to.Epoch() - l.epoch; {
		case l.to.Removed():
			if !errors.Is(err, ErrRemoved) {
				m.t.Fatalf("somebody who is out: %v", err)
			}
		case l.opened:
			if !errors.Is(err, ErrReplayed) && !errors.Is(err, ErrPastEpoch) {
				m.t.Fatalf("the same letter again: %v", err)
			}
		case late > keepEpochs:
			if !errors.Is(err, ErrPastEpoch) {
				m.t.Fatalf("late by %d epochs: %v", late, err)
			}
		case err != nil || string(got.Data) != l.text:
			m.t.Fatalf("late by %d epochs: %q, %v; want %q", late, got.Data, err, l.text)
		default:
			m.counts["letters"]++
			if m.r.IntN(5) == 0 {
				l.opened = true
				keep = append(keep, l)
			}
		}
	}
	m.letters = keep
}

// TestScenario drives a meeting through every kind of commit, plain and
// encrypted, padded by chance, with rivals, and application messages that are
// lost, late, doubled and out of order.
func TestScenario(t *testing.T) {
	m := &meeting{t: t, r: modelSeed(t), suite: suiteOf(t, 1), in: map[string]*Group{}, counts: map[string]int{}}
	name, c := m.config()
	g, err := Create(t.Context(), c, []byte("meeting"))
	if err != nil {
		t.Fatal(err)
	}
	m.in[name] = g
	for range 150 {
		m.step()
	}
	t.Logf("%d members at the end; %v", len(m.in), m.counts)
}
