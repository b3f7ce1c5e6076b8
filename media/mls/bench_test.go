// SPDX-License-Identifier: Apache-2.0

package mls

import (
	"crypto/hpke"
	"fmt"
	"testing"
)

// Benchmarks beside the bare cryptography of the same run: what they print as
// "ratio" is the figure of the README.

func benchSuites() []CipherSuite {
	return []CipherSuite{X25519AES128GCMSHA256Ed25519, P256AES128GCMSHA256P256, MLKEM768P256AES256GCMSHA384P256}
}

// seals returns the public keys to which the next commit of g seals.
func seals(g *Group) []hpke.PublicKey {
	var out []hpke.PublicKey
	t := g.cur.tree
	for _, step := range t.filteredPath(g.cur.self) {
		for _, x := range t.recipients(step, nil) {
			out = append(out, t.nodes[x].public())
		}
	}
	return out
}

// warm lets every member commit, so that no leaf is unmerged.
func warm(tb testing.TB, groups []*Group) {
	tb.Helper()
	for _, g := range groups {
		var others []*Group
		for _, o := range groups {
			if o != g {
				others = append(others, o)
			}
		}
		commitAll(tb, g, others)
	}
}

// rebuild puts the members of a big group into a warm state without all of
// them processing every commit: the members share one tree.
func flatGroup(tb testing.TB, s *Suite, n int) *Group {
	tb.Helper()
	g, err := Create(tb.Context(), testConfig(tb, s, "0"), []byte("group"))
	if err != nil {
		tb.Fatal(err)
	}
	for at := 1; at < n; {
		var p []Proposal
		for ; at < n && len(p) < maxProposals; at++ {
			p = append(p, Add(parsed(tb, newBundle(tb, testConfig(tb, s, fmt.Sprint(at))), s)))
		}
		commitAll(tb, g, nil, p...)
	}
	return g
}

func BenchmarkCommitFlat(b *testing.B) {
	for _, id := range benchSuites() {
		s := suiteOf(b, id)
		for _, n := range []int{10, 100, 500} {
			g := flatGroup(b, s, n)
			benchCommit(b, fmt.Sprintf("%v/%d", s, n), g)
		}
	}
}

func BenchmarkCommitWarm(b *testing.B) {
	for _, id := range benchSuites() {
		s := suiteOf(b, id)
		groups := newGroup(b, s, 16)
		warm(b, groups)
		benchCommit(b, fmt.Sprintf("%v/%d", s, len(groups)), groups[0])
	}
}

func benchCommit(b *testing.B, name string, g *Group) {
	b.Helper()
	keys := seals(g)
	b.Run(name, func(b *testing.B) {
		b.ReportAllocs()
		bare := testing.Benchmark(func(b *testing.B) { benchSeals(b, g.Suite(), keys) })
		for b.Loop() {
			p, err := g.Commit(b.Context(), nil)
			if err != nil {
				b.Fatal(err)
			}
			p.Discard()
		}
		per := float64(b.Elapsed().Nanoseconds()) / float64(b.N)
		b.ReportMetric(per/float64(bare.NsPerOp()), "ratio")
		b.ReportMetric(float64(len(keys)), "seals")
	})
}

func benchSeals(b *testing.B, s *Suite, keys []hpke.PublicKey) {
	b.Helper()
	plain := make([]byte, s.nh)
	info := make([]byte, 200)
	for b.Loop() {
		for _, k := range keys {
			_, sender, err := hpke.NewSender(k, s.kdf, s.aead, info)
			if err != nil {
				b.Fatal(err)
			}
			if _, err := sender.Seal(nil, plain); err != nil {
				b.Fatal(err)
			}
		}
	}
}
