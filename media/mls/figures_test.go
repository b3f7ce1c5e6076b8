// SPDX-License-Identifier: Apache-2.0

//go:build figures

package mls

import (
	"fmt"
	"io"
	"os"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"
)

// TestFigures prints the table of the README: every operation beside its floor
// of the same run, and beside ts-mls where that knows the suite. It asserts no
// time: machines differ, and what a shared one does differs by the minute. It
// takes some minutes and is not part of the tests:
//
//	make bench-mls
func TestFigures(t *testing.T) {
	other := startPeer(t)
	out := io.Writer(os.Stdout)
	fmt.Fprintf(out, "\n%s, %d cores, %s/%s; ts-mls on Node %s\n\n", runtime.Version(), runtime.GOMAXPROCS(0), runtime.GOOS, runtime.GOARCH, other.version())
	fmt.Fprintln(out, "| suite | operation | members | ms | floor ms | ratio | target | met | bytes | memory of the group | ts-mls ms |")
	fmt.Fprintln(out, "|---|---|---:|---:|---:|---:|---:|---|---:|---:|---:|")
	for _, id := range append(benchSuites(), MLKEM768X25519AES256GCMSHA384Ed25519) {
		r := &report{t: t, s: suiteOf(t, id), out: out, peer: other}
		r.one()
		for _, n := range []int{10, 100, 500} {
			r.flat(n)
		}
		if id != MLKEM768X25519AES256GCMSHA384Ed25519 { // that one is here for ts-mls, which has no warm tree to show
			r.warm([]int{16, 64, 256, maxMembers})
		}
		r.messages()
	}
}

// A report measures one suite.
type report struct {
	t    *testing.T
	s    *Suite
	out  io.Writer
	peer *peer
}

// A row is an operation to be measured. before is not timed.
type row struct {
	name    string
	members int
	times   int // how often op and floor do what they do, 1 if 0
	before  func()
	op      func()
	floor   *floor
	target  float64 // ratio, 0 without
	rate    float64 // or so many operations a second
	bytes   string
	memory  string
	peer    float64 // ms, 0 without
}

// measure runs operation and floor in turns, at least five of them and for a
// third of a second, and prints the medians.
func (r *report) measure(w row) {
	r.t.Helper()
	var ops, bare, ratios []float64
	timed := func(f func()) float64 {
		start := time.Now()
		f()
		return time.Since(start).Seconds() * 1e3 / float64(max(w.times, 1))
	}
	runtime.GC() // what the last row left behind
	for start := time.Now(); len(ops) < 6 || time.Since(start) < 300*time.Millisecond; {
		if w.before != nil {
			w.before()
		}
		ops = append(ops, timed(w.op))
		bare = append(bare, timed(func() {
			for range max(w.times, 1) {
				w.floor.run()
			}
		}))
	}
	for i := range ops[1:] { // the first turn warms caches up
		ratios = append(ratios, ops[i+1]/bare[i+1])
	}
	ms, ratio := median(ops[1:]), median(ratios)
	target, met := "", ""
	if w.target > 0 {
		target, met = fmt.Sprint(w.target), "yes"
		if w.rate > 0 {
			target += fmt.Sprintf(" or %.0f k/s", w.rate/1e3)
		}
		if ratio > w.target && (w.rate == 0 || 1e3/ms < w.rate) {
			met = "no"
		}
	}
	other := ""
	if w.peer > 0 {
		other = milliseconds(w.peer)
	}
	fmt.Fprintf(r.out, "| %#04x | %s | %d | %s | %s | %.2f | %s | %s | %s | %s | %s |\n", uint16(r.s.id), w.name, w.members,
		milliseconds(ms), milliseconds(median(bare[1:])), ratio, target, met, w.bytes, w.memory, other)
}

func median(l []float64) float64 {
	l = slices.Sorted(slices.Values(l))
	return (l[(len(l)-1)/2] + l[len(l)/2]) / 2
}

func milliseconds(v float64) string {
	switch {
	case v < 1:
		return fmt.Sprintf("%.3f", v)
	case v < 100:
		return fmt.Sprintf("%.2f", v)
	}
	return fmt.Sprintf("%.0f", v)
}

// size writes a number of bytes with commas.
func size(n int) string {
	s := fmt.Sprint(n)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

// one is what does not depend on the members: a KeyPackage, and a group of its
// creator.
func (r *report) one() {
	t, c, ctx := r.t, testConfig(r.t, r.s, "0"), r.t.Context()
	bundle := newBundle(t, c)
	times := r.peer.bench(r.s.id, 10)
	f := newFloor(t, r.s)
	f.generate()
	f.generate()
	f.sign(c.Signer, len(bundle.pkg.leaf.raw))
	f.sign(c.Signer, len(bundle.pkg.raw))
	r.measure(row{
		name: "KeyPackage", members: 1, bytes: size(len(bundle.Message())), floor: f, peer: times["key_package"],
		op: func() { newBundle(t, c).Destroy() },
	})
	f = newFloor(t, r.s)
	f.generate()
	f.sign(c.Signer, len(bundle.pkg.leaf.raw))
	f.hash(len(bundle.pkg.leaf.raw)) // the tree
	f.hash(2 * r.s.nh)               // interim transcript hash
	f.expand(9)
	f.mac()
	r.measure(row{name: "create", members: 1, floor: f, peer: times["create"], op: func() {
		g, err := Create(ctx, c, []byte("group"))
		if err != nil {
			t.Fatal(err)
		}
		g.Destroy()
	}})
}

// flat is a group whose first member has just added all others.
func (r *report) flat(n int) {
	t, ctx := r.t, r.t.Context()
	times := r.peer.bench(r.s.id, n)
	r.add(n, times["add"])

	g, _ := flatGroup(t, r.s, n-1)
	j := newJoined(t, g, "last")
	k := j.bundle.KeyPackage()
	f := newFloor(t, r.s)
	f.keyPackage(k)
	f.commit(g, j.commit, k)
	r.measure(row{
		name: "add the last", members: n, floor: f, bytes: size(len(j.commit.Message)) + "; Welcome " + size(len(j.commit.Welcome)),
		op: func() {
			p, err := g.Commit(ctx, []Proposal{Add(parsed(t, j.bundle, r.s))})
			if err != nil {
				t.Fatal(err)
			}
			p.Discard()
		},
	})
	r.join("join", n, j, times["join"])
	last := j.join(t)
	if err := j.commit.Apply(); err != nil {
		t.Fatal(err)
	}
	r.process("process, flat", n, g, last, times["process"])
	r.commit("commit, flat", n, g, 1.3, times["commit"])
}

// add is all others added at once, as few commits as the limit on proposals
// allows, from their KeyPackages as they came in.
func (r *report) add(n int, peer float64) {
	t, ctx := r.t, r.t.Context()
	c := testConfig(t, r.s, "0")
	var messages [][]byte
	for i := 1; i < n; i++ {
		messages = append(messages, newBundle(t, testConfig(t, r.s, fmt.Sprint(i))).Message())
	}
	parse := func(messages [][]byte) (out []*KeyPackage, adds []Proposal) {
		for _, m := range messages {
			k, err := ParseKeyPackage(m, r.s)
			if err != nil {
				t.Fatal(err)
			}
			out, adds = append(out, k), append(adds, Add(k))
		}
		return out, adds
	}
	var g *Group
	before := func() {
		var err error
		if g, err = Create(ctx, c, []byte("group")); err != nil {
			t.Fatal(err)
		}
	}
	f := newFloor(t, r.s)
	var commits, welcome int
	all := func(seen func(*Pending, []*KeyPackage)) {
		for part := range slices.Chunk(messages, maxProposals) {
			packages, adds := parse(part)
			p, err := g.Commit(ctx, adds)
			if err != nil {
				t.Fatal(err)
			}
			seen(p, packages)
			if err := p.Apply(); err != nil {
				t.Fatal(err)
			}
		}
	}
	before()
	all(func(p *Pending, packages []*KeyPackage) {
		for _, k := range packages {
			f.keyPackage(k)
		}
		f.commit(g, p, packages...)
		commits, welcome = commits+len(p.Message), len(p.Welcome)
	})
	r.measure(row{
		name: "add all others", members: n, floor: f, bytes: size(commits) + "; Welcome " + size(welcome), peer: peer,
		before: before, op: func() { all(func(*Pending, []*KeyPackage) {}) },
	})
}

func (r *report) join(name string, n int, j joined, peer float64) {
	f := newFloor(r.t, r.s)
	f.join(j.commit, j.bundle.KeyPackage())
	r.measure(row{
		name: name, members: n, floor: f, target: 1.5, bytes: size(len(j.commit.Welcome)), memory: r.memory(n, j), peer: peer,
		op: func() { j.join(r.t) },
	})
}

// memory is what a group keeps of the heap, nothing shared with others, from
// the difference that several make.
func (r *report) memory(n int, j joined) string {
	groups := make([]*Group, 1+200/n)
	before := live()
	for i := range groups {
		groups[i] = j.join(r.t)
	}
	each := (live() - before) / len(groups)
	runtime.KeepAlive(groups)
	return fmt.Sprintf("%s KiB, %s B a member", size(each/1024), size(each/n))
}

// live returns the bytes that the garbage collector finds in use.
func live() int {
	runtime.GC()
	runtime.GC() // what finalizers and pools held
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int(m.HeapAlloc)
}

func (r *report) commit(name string, n int, g *Group, target, peer float64) {
	t := r.t
	p, err := g.Commit(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	f := newFloor(t, r.s)
	f.commit(g, p)
	r.measure(row{
		name: name, members: n, floor: f, target: target, bytes: size(len(p.Message)), peer: peer,
		op: func() {
			p, err := g.Commit(t.Context(), nil)
			if err != nil {
				t.Fatal(err)
			}
			p.Discard()
		},
	})
}

// process is measured before commit: each commit that is made spends a
// generation of its maker's ratchet, and a receiver would have to catch up.
func (r *report) process(name string, n int, from, to *Group, peer float64) {
	t := r.t
	p, err := from.Commit(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	f := newFloor(t, r.s)
	f.process(from, to, p)
	r.measure(row{
		name: name, members: n, floor: f, target: 2, bytes: size(len(p.Message)), peer: peer,
		op: func() {
			staged, err := to.Stage(t.Context(), p.Message)
			if err != nil {
				t.Fatal(err)
			}
			staged.Discard()
		},
	})
}

// warm is groups in which every member has committed: how an operation grows
// with the logarithm shows there.
func (r *report) warm(sizes []int) {
	chain(r.t, r.s, sizes, func(n int, before, last *Group, j joined) {
		r.process("process, warm", n, last, before, 0)
		r.commit("commit, warm", n, last, 2, 0)
		r.join("join, warm", n, j, 0)
	})
}

// messages is 64 bytes protected and opened, many times a turn: one is too
// short for the clock.
func (r *report) messages() {
	const times = 256
	t, ctx := r.t, r.t.Context()
	data := make([]byte, 64)
	g := newGroup(t, r.s, 2)
	protect := func() []byte {
		msg, err := g[0].Protect(ctx, nil, data)
		if err != nil {
			t.Fatal(err)
		}
		return msg
	}
	var sealed [][]byte
	seal := func() {
		sealed = sealed[:0]
		for range times {
			sealed = append(sealed, protect())
		}
	}
	seal()
	for _, opens := range []bool{false, true} {
		f := newFloor(t, r.s)
		f.message(g[0], len(data), len(sealed[0]), opens)
		w := row{name: "protect 64 bytes", members: 2, times: times, floor: f, target: 1.5, rate: 200e3, bytes: size(len(sealed[0])), op: seal}
		if opens {
			g = newGroup(t, r.s, 2) // its ratchets are at the start
			w.name, w.before = "unprotect 64 bytes", seal
			w.op = func() {
				for _, msg := range sealed {
					if _, err := g[1].Unprotect(ctx, msg); err != nil {
						t.Fatal(err)
					}
				}
			}
		}
		r.measure(w)
	}
}

func (p *peer) version() string { return strings.TrimPrefix(p.node, "v") }

// keyPackage is a KeyPackage (Section 10.1): two signatures, two keys of the KEM
// and its reference.
func (f *floor) keyPackage(k *KeyPackage) {
	f.verify(len(k.leaf.raw), false)
	f.verify(len(k.raw), true)
	f.parse(k.leaf.encryptionKey)
	f.parse(k.initKey)
	f.hash(len(k.raw))
}
