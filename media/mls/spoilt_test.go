// SPDX-License-Identifier: Apache-2.0

package mls

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

// mutants gives some 200 bad versions of a message: one bit changed, cut,
// lengthened, a byte put in or taken out, a block doubled or filled, and its
// ends exchanged with those of another message.
func mutants(r *rand.Rand, msg []byte, others [][]byte) [][]byte {
	var all [][]byte
	add := func(b []byte) {
		genuine := slices.ContainsFunc(others, func(o []byte) bool { return bytes.Equal(o, b) }) // they may begin alike
		if !genuine && !bytes.Equal(b, msg) {
			all = append(all, b)
		}
	}
	for i := 0; i < len(msg); i += max(len(msg)/100, 1) {
		b := bytes.Clone(msg)
		b[i] ^= 1 << r.IntN(8)
		add(b)
	}
	for range 20 {
		i, j := r.IntN(len(msg)), r.IntN(len(msg))
		i, j = min(i, j), max(i, j)
		add(msg[:i])
		add(append(bytes.Clone(msg[:i]), msg[i+1:]...))
		add(append(append(bytes.Clone(msg[:i]), byte(r.IntN(256))), msg[i:]...))
		add(append(bytes.Clone(msg[:j]), msg[i:]...))
		fill := bytes.Clone(msg)
		for k := i; k < min(j, i+8); k++ {
			fill[k] = byte(-r.IntN(2))
		}
		add(fill)
	}
	for _, o := range others {
		i := r.IntN(min(len(o), len(msg)))
		add(append(bytes.Clone(msg[:i]), o[i:]...))
		add(append(bytes.Clone(o[:i]), msg[i:]...))
	}
	last := bytes.Clone(msg)
	last[len(last)-1] ^= 1
	add(last)
	add(append(bytes.Clone(msg), 0))
	add(nil)
	return all
}

// A target is somebody to whom messages are given, of every kind.
type target struct {
	t      *testing.T
	r      *rand.Rand
	victim *Group
	others [][]byte // genuine messages so far
	count  int
}

// attack gives mutants of a message to what takes it. Each is refused, soon and
// at a bounded cost, and changes nothing of the victim; then the genuine one is
// taken, so nothing was spent on the others either.
func (x *target) attack(what string, msg []byte, take func([]byte) error) {
	t := x.t
	t.Helper()
	was := fingerprint(t, x.victim)
	for i, m := range mutants(x.r, msg, x.others) {
		x.count++
		begin := time.Now()
		grown := allocated(func() {
			if err := take(m); err == nil {
				t.Errorf("%s: mutant %d was taken: %x", what, i, m)
			}
		})
		if limit := uint64(64*len(msg) + 1<<20); grown > limit {
			t.Errorf("%s: mutant %d of %d bytes cost %d bytes", what, i, len(m), grown)
		}
		if d := time.Since(begin); d > 5*time.Second {
			t.Errorf("%s: mutant %d took %v", what, i, d)
		}
		if fingerprint(t, x.victim) != was {
			t.Fatalf("%s: mutant %d changed the state: %x", what, i, m)
		}
	}
	if err := take(msg); err != nil {
		t.Errorf("%s: the genuine one: %v", what, err)
	}
	x.others = append(x.others, msg)
}

// TestSpoiltMessages attacks a member, and somebody about to join, with mutants
// of every kind of message there is.
func TestSpoiltMessages(t *testing.T) {
	for _, id := range []CipherSuite{X25519AES128GCMSHA256Ed25519, MLKEM768P256AES256GCMSHA384P256} {
		t.Run(suiteOf(t, id).String(), func(t *testing.T) { spoilt(t, suiteOf(t, id)) })
	}
}

func spoilt(t *testing.T, s *Suite) {
	t.Helper()
	ctx := t.Context()
	g := newGroup(t, s, 4)
	for _, m := range g {
		m.cfg.PSKs = pskMap{"shared": []byte("key")}
	}
	outsider := testConfig(t, s, "outsider")
	senders := ExternalSendersExtension([]ExternalSender{{SignatureKey: outsider.Signer.Public(), Credential: outsider.Credential}})
	commitAll(t, g[0], g[1:], SetExtensions([]Extension{senders}))
	x := &target{t: t, r: modelSeed(t), victim: g[1]}
	must := func(msg []byte, err error) []byte {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return msg
	}
	keyPackage := func() *KeyPackage { return newBundle(t, testConfig(t, s, fmt.Sprint("x", x.count))).pkg }
	text := must(g[0].Protect(ctx, []byte("aad"), []byte("hello")))
	x.attack("application", text, func(m []byte) error { _, err := g[1].Unprotect(ctx, m); return err })

	propose := func(m []byte) error { _, err := g[1].ReceiveProposal(ctx, m); return err }
	for _, plain := range []bool{false, true} {
		for what, p := range map[string]Proposal{
			"Add": Add(keyPackage()), "Update": Update(), "Remove": Remove(3), "PSK": ExternalPSK([]byte("shared")),
			"extensions": SetExtensions([]Extension{senders}), "SelfRemove": SelfRemove(),
		} {
			g[2].cfg.Plain = plain
			msg, _, err := g[2].Propose(ctx, p)
			x.attack(fmt.Sprintf("%s, plain %v", what, plain), must(msg, err), propose)
			commitAll(t, g[0], g[1:]) // and without it
		}
	}
	x.attack("external Remove", must(ProposeFromOutside(ctx, outsider.Signer, 0, g[0].ID(), g[0].Epoch(), Remove(3))), propose)
	c := testConfig(t, s, "newcomer")
	x.attack("new member's Add", must(ProposeSelf(ctx, c.Signer, g[0].ID(), g[0].Epoch(), newBundle(t, c))), propose)
	bundle := newBundle(t, c)
	x.attack("KeyPackage", bundle.Message(), func(m []byte) error { _, err := ParseKeyPackage(m); return err })

	stage := func(m []byte) error {
		staged, err := g[1].Stage(ctx, m)
		if err == nil {
			staged.Discard()
		}
		return err
	}
	_, update := func() ([]byte, Proposal) {
		msg, ref, err := g[2].Propose(ctx, Update())
		for _, m := range []*Group{g[0], g[1]} {
			if _, err := m.ReceiveProposal(ctx, must(msg, err)); err != nil {
				t.Fatal(err)
			}
		}
		return msg, ByReference(ref)
	}()
	for _, plain := range []bool{false, true} {
		g[0].cfg.Plain = plain
		p, err := g[0].Commit(ctx, []Proposal{update, Remove(3), Add(keyPackage()), ExternalPSK([]byte("shared"))})
		if err != nil {
			t.Fatal(err)
		}
		x.attack(fmt.Sprintf("commit, plain %v", plain), p.Message, stage)
		p.Discard()
	}
	info := must(g[0].GroupInfo(ctx))
	outside := testConfig(t, s, "outside")
	x.attack("GroupInfo", info, func(m []byte) error {
		j, err := JoinExternal(ctx, outside, m, nil, nil)
		if err == nil {
			j.Discard()
		}
		return err
	})
	j, err := JoinExternal(ctx, outside, info, []Proposal{Remove(3)}, nil)
	if err != nil {
		t.Fatal(err)
	}
	x.attack("external commit", j.Message, stage)

	added := commitAll(t, g[0], g[1:3], Add(bundle.pkg))
	x.attack("Welcome", added.Welcome, func(m []byte) error {
		joined, err := Join(ctx, c, m, bundle)
		if err == nil {
			same(t, g[0], joined)
		}
		return err
	})
	wrongDoors(t, x, c)
	same(t, g[:3]...)
	t.Logf("%d mutants of %d messages", x.count, len(x.others))
}

// wrongDoors gives every genuine message, old by now, to every function that
// takes bytes. None of them changes the victim.
func wrongDoors(t *testing.T, x *target, c Config) {
	t.Helper()
	ctx := t.Context()
	was := fingerprint(t, x.victim)
	bundle := newBundle(t, c)
	for i, msg := range x.others {
		taken := 0
		for _, door := range []func() error{
			func() error { _, err := x.victim.Stage(ctx, msg); return err },
			func() error { _, err := x.victim.Unprotect(ctx, msg); return err },
			func() error { _, err := x.victim.ReceiveProposal(ctx, msg); return err },
			func() error { _, err := Join(ctx, c, msg, bundle); return err },
			func() error { _, err := JoinExternal(ctx, c, msg, nil, nil); return err },
			func() error { _, err := JoinExternal(ctx, c, msg, nil, nil, msg); return err },
			func() error { _, err := ParseKeyPackage(msg); return err },
			func() error { _, err := WelcomeFor(msg); return err },
			func() error { _, err := Peek(msg); return err },
		} {
			if door() == nil {
				taken++
			}
		}
		if taken != 1 { // what it is: a message of a group, a KeyPackage, a Welcome or a GroupInfo
			t.Errorf("message %d went through %d doors", i, taken)
		}
	}
	if fingerprint(t, x.victim) != was {
		t.Error("an old message changed the state")
	}
}
