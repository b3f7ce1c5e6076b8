// SPDX-License-Identifier: Apache-2.0

package mls

import (
	"crypto/hpke"
	"fmt"
	"slices"
	"testing"
	"time"
)

// Benchmarks beside the bare cryptography of the same run: what they print as
// "ratio" is the figure of the README. The bare operations run in turns with
// the measured ones, so that both see the same machine.

func benchSuites() []CipherSuite {
	return []CipherSuite{X25519AES128GCMSHA256Ed25519, P256AES128GCMSHA256P256, MLKEM768P256AES256GCMSHA384P256}
}

// beside runs op as the benchmark and bare after each op with the timer
// stopped, and reports how much longer op takes.
func beside(b *testing.B, op, bare func()) {
	b.Helper()
	b.ReportAllocs()
	var ops, bares time.Duration
	for b.Loop() {
		start := time.Now()
		op()
		ops += time.Since(start)
		b.StopTimer()
		start = time.Now()
		bare()
		bares += time.Since(start)
		b.StartTimer()
	}
	b.ReportMetric(float64(ops)/float64(bares), "ratio")
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

// bareSeals does what of a commit cannot be left out: its seals, bare.
func bareSeals(b *testing.B, s *Suite, keys []hpke.PublicKey) {
	b.Helper()
	plain, info := make([]byte, s.nh), make([]byte, 200)
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
		for _, n := range []int{16, 64} {
			s := suiteOf(b, id)
			benchCommit(b, fmt.Sprintf("%v/%d", s, n), warmGroup(b, s, n)[0])
		}
	}
}

func benchCommit(b *testing.B, name string, g *Group) {
	b.Helper()
	keys := seals(g)
	b.Run(name, func(b *testing.B) {
		size := 0
		beside(b, func() {
			p, err := g.Commit(b.Context(), nil)
			if err != nil {
				b.Fatal(err)
			}
			size = len(p.Message)
			p.Discard()
		}, func() { bareSeals(b, g.Suite(), keys) })
		b.ReportMetric(float64(len(keys)), "seals")
		b.ReportMetric(float64(size), "bytes")
	})
}

// BenchmarkProcess is a commit received, beside the cryptography that it cannot
// do without.
func BenchmarkProcess(b *testing.B) {
	for _, id := range benchSuites() {
		for _, n := range []int{10, 100, 500} {
			s := suiteOf(b, id)
			from, to := flatGroup(b, s, n)
			p, err := from.Commit(b.Context(), nil)
			if err != nil {
				b.Fatal(err)
			}
			bare := bareProcess(b, from, to, p.Message)
			b.Run(fmt.Sprintf("%v/%d", s, n), func(b *testing.B) {
				beside(b, func() {
					staged, err := to.Stage(b.Context(), p.Message)
					if err != nil {
						b.Fatal(err)
					}
					staged.Discard()
				}, bare)
			})
		}
	}
}

// bareProcess prepares the bare cryptography of a commit received: decrypted,
// its bytes under the signature and in the transcript, the leaf's signature,
// one path secret, the keys from there to the root, the announced ones parsed.
func bareProcess(b *testing.B, from, to *Group, msg []byte) func() {
	b.Helper()
	s := to.Suite()
	leaf := from.cur.tree.leaf(from.Self())
	pub, err := s.publicKey(to.cur.own.leaf.Public())
	if err != nil {
		b.Fatal(err)
	}
	info := encryptInfo("UpdatePathNode", make([]byte, 200))
	sealed, err := s.seal(pub, info, s.zero())
	if err != nil {
		b.Fatal(err)
	}
	steps := to.cur.tree.root().level() - commonAncestor(from.Self(), to.Self()).level() + 1
	aead, err := s.open(make([]byte, s.nk))
	if err != nil {
		b.Fatal(err)
	}
	nonce := make([]byte, nn)
	encrypted := aead.Seal(nil, nonce, msg, nil)
	return func() {
		if _, err := aead.Open(nil, nonce, encrypted, nil); err != nil {
			b.Fatal(err)
		}
		_ = verifyWithLabel(s, leaf.signatureKey, labelContent, msg, leaf.signature) // not of msg: refused after the same work
		s.digest(msg)
		for range steps {
			if _, err := s.publicKey(leaf.encryptionKey); err != nil {
				b.Fatal(err)
			}
		}
		if err := leaf.verify(s, from.ID(), from.Self()); err != nil {
			b.Fatal(err)
		}
		if _, err := to.cur.own.leaf.Open(b.Context(), s, sealed.kemOutput, info, sealed.ciphertext); err != nil {
			b.Fatal(err)
		}
		for range steps {
			if _, err := s.deriveKey(s.zero()); err != nil {
				b.Fatal(err)
			}
		}
	}
}

// BenchmarkJoin is a Welcome received, beside one signature verified for each
// leaf, the keys parsed, and the tree hashed.
func BenchmarkJoin(b *testing.B) {
	for _, id := range benchSuites() {
		for _, n := range []int{10, 100, 500} {
			s := suiteOf(b, id)
			g, _ := flatGroup(b, s, n-1)
			c := testConfig(b, s, "last")
			bundle := newBundle(b, c)
			p, err := g.Commit(b.Context(), []Proposal{Add(parsed(b, bundle, s))})
			if err != nil {
				b.Fatal(err)
			}
			welcome := p.Welcome
			tree := p.staged.next.tree
			b.Run(fmt.Sprintf("%v/%d", s, n), func(b *testing.B) {
				beside(b, func() {
					again := *bundle
					again.initKey, again.leafKey = lentKey{again.initKey}, lentKey{again.leafKey}
					if _, err := Join(b.Context(), c, welcome, &again); err != nil {
						b.Fatal(err)
					}
				}, func() { bareJoin(b, s, tree) })
				b.ReportMetric(float64(len(welcome)), "bytes")
			})
		}
	}
}

func bareJoin(b *testing.B, s *Suite, t *tree) {
	b.Helper()
	for x, n := range t.nodes {
		if n == nil {
			s.digest(make([]byte, 200))
			continue
		}
		if _, err := s.publicKey(n.encryptionKey()); err != nil {
			b.Fatal(err)
		}
		if n.leaf != nil {
			if err := n.leaf.verify(s, []byte("group"), nodeIndex(x).leaf()); err != nil {
				b.Fatal(err)
			}
			s.digest(n.leaf.raw)
		}
	}
}

// BenchmarkApplication is a message of 1 KiB: sealed beside its signature,
// opened beside its verification.
func BenchmarkApplication(b *testing.B) {
	for _, id := range benchSuites() {
		s := suiteOf(b, id)
		g := newGroup(b, s, 2)
		data := make([]byte, 1024)
		signed := g[0].cur.content(contentApplication, appendVec(nil, data)).signed(g[0].cur.contextRaw)
		content := slices.Concat(signed...)
		sig, err := signWithLabel(b.Context(), g[0].cfg.Signer, labelContent, content)
		if err != nil {
			b.Fatal(err)
		}
		b.Run(fmt.Sprintf("%v/protect", s), func(b *testing.B) {
			b.SetBytes(int64(len(data)))
			beside(b, func() {
				if _, err := g[0].Protect(b.Context(), nil, data); err != nil {
					b.Fatal(err)
				}
			}, func() {
				if _, err := signWithLabel(b.Context(), g[0].cfg.Signer, labelContent, content); err != nil {
					b.Fatal(err)
				}
			})
		})
		b.Run(fmt.Sprintf("%v/unprotect", s), func(b *testing.B) {
			b.SetBytes(int64(len(data)))
			g := newGroup(b, s, 2) // its ratchets are at the start
			var msg []byte
			next := func() {
				var err error
				if msg, err = g[0].Protect(b.Context(), nil, data); err != nil {
					b.Fatal(err)
				}
			}
			next()
			key := g[0].cfg.Signer.Public()
			var bare time.Duration
			var ops time.Duration
			for b.Loop() {
				start := time.Now()
				if _, err := g[1].Unprotect(b.Context(), msg); err != nil {
					b.Fatal(err)
				}
				ops += time.Since(start)
				b.StopTimer()
				next()
				start = time.Now()
				_ = verifyWithLabel(s, key, labelContent, content, sig) // of another group: refused after the same work
				bare += time.Since(start)
				b.StartTimer()
			}
			b.ReportMetric(float64(ops)/float64(bare), "ratio")
		})
	}
}
