// SPDX-License-Identifier: Apache-2.0

package mls

import (
	"fmt"
	"testing"
	"time"
)

// Benchmarks beside the bare cryptography of the same run, for benchstat: what
// they print as "ratio" is what TestFigures prints as a table. The bare
// operations run in turns with the measured ones, so that both see the same
// machine.

func benchSuites() []CipherSuite {
	return []CipherSuite{X25519AES128GCMSHA256Ed25519, P256AES128GCMSHA256P256, MLKEM768P256AES256GCMSHA384P256}
}

// beside runs op as the benchmark and its floor after each op with the timer
// stopped, and reports how much longer op takes.
func beside(b *testing.B, op func(), f *floor) {
	b.Helper()
	b.ReportAllocs()
	var ops, bare time.Duration
	for b.Loop() {
		start := time.Now()
		op()
		ops += time.Since(start)
		b.StopTimer()
		start = time.Now()
		f.run()
		bare += time.Since(start)
		b.StartTimer()
	}
	b.ReportMetric(float64(ops)/float64(bare), "ratio")
}

// flatGroup makes a group whose first member has just added all others, and
// returns it with the last one to join.
func flatGroup(tb testing.TB, s *Suite, n int) (first, last *Group) {
	tb.Helper()
	first, err := Create(tb.Context(), testConfig(tb, s, "0"), []byte("group"))
	if err != nil {
		tb.Fatal(err)
	}
	for at := 1; at < n; {
		var p []Proposal
		var c Config
		var bundle *KeyPackageBundle
		for ; at < n && len(p) < maxProposals; at++ {
			c = testConfig(tb, s, fmt.Sprint(at))
			bundle = newBundle(tb, c)
			p = append(p, Add(parsed(tb, bundle, s)))
		}
		made := commitAll(tb, first, nil, p...)
		if at == n {
			if last, err = Join(tb.Context(), c, made.Welcome, bundle); err != nil {
				tb.Fatal(err)
			}
		}
	}
	return first, last
}

// warmGroup makes a group in which every leaf has committed.
func warmGroup(tb testing.TB, s *Suite, n int) []*Group {
	tb.Helper()
	groups := newGroup(tb, s, n)
	for i, g := range groups {
		others := append(append([]*Group{}, groups[:i]...), groups[i+1:]...)
		commitAll(tb, g, others)
	}
	return groups
}

// chain makes a warm group in which each member was added by the one before it
// and has committed, so that every parent node has keys. It calls visit at each
// of the given sizes, ascending, with the last two members: at any time only
// they exist, which makes large groups affordable.
func chain(tb testing.TB, s *Suite, sizes []int, visit func(n int, before, last *Group, added joined)) {
	tb.Helper()
	before, err := Create(tb.Context(), testConfig(tb, s, "0"), []byte("group"))
	if err != nil {
		tb.Fatal(err)
	}
	for n := 2; len(sizes) > 0; n++ {
		j := newJoined(tb, before, fmt.Sprint(n-1))
		last := j.join(tb)
		if err := j.commit.Apply(); err != nil {
			tb.Fatal(err)
		}
		if n == sizes[0] {
			commitAll(tb, last, []*Group{before})
			visit(n, before, last, j)
			sizes = sizes[1:]
		}
		before.Destroy()
		before = last
	}
}

// A joined is a member to be added, with the commit that adds it.
type joined struct {
	cfg    Config
	bundle *KeyPackageBundle
	commit *Pending
}

func newJoined(tb testing.TB, by *Group, name string) joined {
	tb.Helper()
	s := by.Suite()
	j := joined{cfg: testConfig(tb, s, name)}
	j.bundle = newBundle(tb, j.cfg)
	p, err := by.Commit(tb.Context(), []Proposal{Add(parsed(tb, j.bundle, s))})
	if err != nil {
		tb.Fatal(err)
	}
	j.commit = p
	return j
}

// join may be called any number of times: the keys stay the bundle's.
func (j joined) join(tb testing.TB) *Group {
	tb.Helper()
	lent := *j.bundle
	lent.initKey, lent.leafKey = lentKey{lent.initKey}, lentKey{lent.leafKey}
	g, err := Join(tb.Context(), j.cfg, j.commit.Welcome, &lent)
	if err != nil {
		tb.Fatal(err)
	}
	return g
}

func BenchmarkCommitFlat(b *testing.B) {
	for _, id := range benchSuites() {
		for _, n := range []int{10, 100, 500} {
			s := suiteOf(b, id)
			g, _ := flatGroup(b, s, n)
			benchCommit(b, fmt.Sprintf("%v/%d", s, n), g)
		}
	}
}

func BenchmarkCommitWarm(b *testing.B) {
	for _, id := range benchSuites() {
		s := suiteOf(b, id)
		chain(b, s, []int{16, 64}, func(n int, _, last *Group, _ joined) {
			benchCommit(b, fmt.Sprintf("%v/%d", s, n), last)
		})
	}
}

func benchCommit(b *testing.B, name string, g *Group) {
	b.Helper()
	p, err := g.Commit(b.Context(), nil)
	if err != nil {
		b.Fatal(err)
	}
	f := newFloor(b, g.Suite())
	f.commit(g, p)
	b.Run(name, func(b *testing.B) {
		beside(b, func() {
			p, err := g.Commit(b.Context(), nil)
			if err != nil {
				b.Fatal(err)
			}
			p.Discard()
		}, f)
		b.ReportMetric(float64(len(p.Message)), "bytes")
	})
}

func BenchmarkProcess(b *testing.B) {
	for _, id := range benchSuites() {
		for _, n := range []int{10, 100, 500} {
			s := suiteOf(b, id)
			from, to := flatGroup(b, s, n)
			p, err := from.Commit(b.Context(), nil)
			if err != nil {
				b.Fatal(err)
			}
			f := newFloor(b, s)
			f.process(from, to, p)
			b.Run(fmt.Sprintf("%v/%d", s, n), func(b *testing.B) {
				beside(b, func() {
					staged, err := to.Stage(b.Context(), p.Message)
					if err != nil {
						b.Fatal(err)
					}
					staged.Discard()
				}, f)
			})
		}
	}
}

func BenchmarkJoin(b *testing.B) {
	for _, id := range benchSuites() {
		for _, n := range []int{10, 100, 500} {
			s := suiteOf(b, id)
			g, _ := flatGroup(b, s, n-1)
			j := newJoined(b, g, "last")
			f := newFloor(b, s)
			f.join(j.commit, j.bundle.KeyPackage())
			b.Run(fmt.Sprintf("%v/%d", s, n), func(b *testing.B) {
				beside(b, func() { j.join(b) }, f)
				b.ReportMetric(float64(len(j.commit.Welcome)), "bytes")
			})
		}
	}
}

// BenchmarkApplication is messages of 64 bytes, the size of a signal between
// rooms.
func BenchmarkApplication(b *testing.B) {
	data := make([]byte, 64)
	for _, id := range benchSuites() {
		s := suiteOf(b, id)
		g := newGroup(b, s, 2)
		protect := func() []byte {
			msg, err := g[0].Protect(b.Context(), nil, data)
			if err != nil {
				b.Fatal(err)
			}
			return msg
		}
		size := len(protect())
		f := newFloor(b, s)
		f.message(g[0], len(data), size, false)
		b.Run(fmt.Sprintf("%v/protect", s), func(b *testing.B) {
			beside(b, func() { protect() }, f)
		})
		f = newFloor(b, s)
		f.message(g[0], len(data), size, true)
		b.Run(fmt.Sprintf("%v/unprotect", s), func(b *testing.B) {
			g = newGroup(b, s, 2) // its ratchets are at the start
			msg := protect()
			var ops, bare time.Duration
			for b.Loop() {
				start := time.Now()
				if _, err := g[1].Unprotect(b.Context(), msg); err != nil {
					b.Fatal(err)
				}
				ops += time.Since(start)
				b.StopTimer()
				start = time.Now()
				f.run()
				bare += time.Since(start)
				msg = protect()
				b.StartTimer()
			}
			b.ReportMetric(float64(ops)/float64(bare), "ratio")
		})
	}
}
