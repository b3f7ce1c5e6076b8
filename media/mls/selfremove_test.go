// SPDX-License-Identifier: Apache-2.0

package mls

import (
	"bytes"
	"errors"
	"testing"
)

// leave lets a member send its SelfRemove to others.
func leave(tb testing.TB, from *Group, to ...*Group) (msg []byte, ref Proposal) {
	tb.Helper()
	msg, id, err := from.Propose(tb.Context(), SelfRemove())
	if err != nil {
		tb.Fatal(err)
	}
	for _, g := range to {
		got, err := g.ReceiveProposal(tb.Context(), msg)
		if err != nil {
			tb.Fatal(err)
		}
		if got.Sender != from.Self() || got.External || got.Proposal.Type() != ProposalSelfRemove || !bytes.Equal(got.Ref, id) {
			tb.Errorf("received %+v", got)
		}
	}
	return msg, ByReference(id)
}

func TestSelfRemove(t *testing.T) { // draft-ietf-mls-extensions-10, Section 6.3
	for _, plain := range []bool{false, true} {
		g := newGroup(t, suiteOf(t, 1), 4)
		for _, m := range g {
			m.cfg.Plain = plain
		}
		msg, ref := leave(t, g[2], g[0], g[1], g[3])
		if h, err := Peek(msg); err != nil || !h.Public || !h.Proposal {
			t.Fatalf("its head is %+v, %v", h, err)
		}
		p := commitAll(t, g[0], g[1:], ref, Remove(3))
		same(t, g[0], g[1])
		if !g[2].Removed() || !g[3].Removed() {
			t.Error("who left does not know it")
		}
		d := p.Diff()
		if len(d.Removed) != 2 || d.Removed[0].Index != 2 || d.Removed[1].Index != 3 || !d.ByReference {
			t.Errorf("diff %+v", d)
		}
		if _, ok := g[0].Member(2); ok {
			t.Error("the leaf is not blank")
		}
	}
}

// TestSelfRemoveRules has a row for each rule of Section 6.3.
func TestSelfRemoveRules(t *testing.T) {
	s := suiteOf(t, 1)
	g := newGroup(t, s, 4)
	_, update := func() ([]byte, Proposal) {
		msg, id, err := g[2].Propose(t.Context(), Update())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := g[1].ReceiveProposal(t.Context(), msg); err != nil {
			t.Fatal(err)
		}
		return msg, ByReference(id)
	}()
	_, ref := leave(t, g[2], g[0], g[1])
	refusesCommit(t, g[1], forge(t, g[0], byValue(SelfRemove())), "6.3")
	refusesCommit(t, g[1], forge(t, g[0], byValue(ref, Remove(2))), "12.2")
	refusesCommit(t, g[1], forge(t, g[0], byValue(Remove(2), ref)), "12.2")
	refusesCommit(t, g[1], forge(t, g[0], byValue(update, ref)), "12.2")
	refusesCommit(t, g[1], forge(t, g[0], byValue(ref, ref)), "12.2")
	refusesCommit(t, g[1], forge(t, g[2], byValue(ref)), "12.2")
	refusesCommit(t, g[1], forge(t, g[0], byValue(ref)), "12.4") // without a path
	if _, err := g[3].Stage(t.Context(), forge(t, g[0], byValue(ref))); !errors.Is(err, ErrUnknownProposal) {
		t.Errorf("a member that has not seen it: %v", err)
	}
	_, err := g[0].Commit(t.Context(), []Proposal{SelfRemove()})
	refused(t, err, "6.3")
	_, _, err = g[2].Propose(t.Context(), SelfRemove())
	refused(t, err, "6.3")
	_, err = ProposeFromOutside(t.Context(), g[2].cfg.Signer, 0, g[0].ID(), g[0].Epoch(), SelfRemove())
	refused(t, err, "12.1.8")

	was := fingerprint(t, g[1])
	again := g[2].cur.content(contentProposal, SelfRemove().raw) // the same in other words
	again.wire, again.content.aad = wirePublic, []byte("again")
	if err := again.sign(t.Context(), g[2].cfg.Signer, g[2].cur.contextRaw); err != nil {
		t.Fatal(err)
	}
	_, err = g[1].ReceiveProposal(t.Context(), g[2].cur.sealPublic(again))
	refused(t, err, "6.3")
	_, err = g[1].ReceiveProposal(t.Context(), forgeContent(t, g[3], contentProposal, SelfRemove().raw, wirePrivate))
	refused(t, err, "6.3")
	if fingerprint(t, g[1]) != was {
		t.Error("a refused SelfRemove changed the state")
	}
}

func TestSelfRemoveIsAMembers(t *testing.T) {
	s := suiteOf(t, 1)
	outsider := testConfig(t, s, "authority")
	g := newGroup(t, s, 2)
	commitAll(t, g[0], g[1:], SetExtensions([]Extension{ExternalSendersExtension([]ExternalSender{
		{SignatureKey: outsider.Signer.Public(), Credential: outsider.Credential},
	})}))
	msg, err := outside(t.Context(), outsider.Signer, sender{kind: senderExternal}, g[0].ID(), g[0].Epoch(), SelfRemove())
	if err != nil {
		t.Fatal(err)
	}
	_, err = g[1].ReceiveProposal(t.Context(), msg)
	refused(t, err, "12.1.8")
	msg, err = outside(t.Context(), outsider.Signer, sender{kind: senderNewMemberProposal}, g[0].ID(), g[0].Epoch(), SelfRemove())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := g[1].ReceiveProposal(t.Context(), msg); !errors.Is(err, ErrRefused) {
		t.Errorf("from a new member: %v", err)
	}
}

// TestSelfRemoveNeedsEveryone: one member that does not list the type, and
// nobody may leave by it, even if that member goes in the same commit.
func TestSelfRemoveNeedsEveryone(t *testing.T) {
	s := suiteOf(t, 1)
	g := newGroup(t, s, 3)
	narrow := newcomer(t, testConfig(t, s, "narrow"), func(k *KeyPackage) { k.leaf.capabilities.Proposals = nil })
	commitAll(t, g[0], g[1:], Add(narrow.pkg))
	_, _, err := g[2].Propose(t.Context(), SelfRemove())
	refused(t, err, "6.3")
	_, err = g[1].ReceiveProposal(t.Context(), forgeContent(t, g[2], contentProposal, SelfRemove().raw, wirePublic))
	refused(t, err, "6.3")
	commitAll(t, g[0], g[1:], Remove(3))
	leave(t, g[2], g[0], g[1])

	need := RequiredCapabilities{Proposals: []ProposalType{ProposalSelfRemove}}.Extension()
	commitAll(t, g[0], g[1:], SetExtensions([]Extension{need}))
	again := newcomer(t, testConfig(t, s, "again"), func(k *KeyPackage) { k.leaf.capabilities.Proposals = nil })
	_, err = g[0].Commit(t.Context(), []Proposal{Add(again.pkg)})
	refused(t, err, "11.1")
}

// TestSelfRemoveByExternalCommit: who joins takes those with it who leave, and
// sits down in the first seat that became free.
func TestSelfRemoveByExternalCommit(t *testing.T) {
	s := suiteOf(t, 1)
	g := newGroup(t, s, 5)
	one, _ := leave(t, g[1], g[0], g[2], g[3], g[4])
	three, _ := leave(t, g[3], g[0], g[1], g[2], g[4])
	info, err := g[0].GroupInfo(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	c := testConfig(t, s, "new")
	x, err := JoinExternal(t.Context(), c, info, nil, nil, one, three)
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range g {
		d := applyCommit(t, m, x.Message)
		if !d.External || d.Committer != 1 || len(d.Removed) != 2 || len(d.Added) != 1 || d.SelfRemoved != (m == g[1] || m == g[3]) {
			t.Errorf("diff %+v", d)
		}
	}
	joined, err := x.Apply()
	if err != nil {
		t.Fatal(err)
	}
	same(t, g[0], g[2], g[4], joined)
	if !g[1].Removed() || !g[3].Removed() || joined.Self() != 1 {
		t.Errorf("the newcomer has leaf %d", joined.Self())
	}
	commitAll(t, joined, []*Group{g[0], g[2], g[4]})
	same(t, g[0], g[2], g[4], joined)
}

// TestSelfRemoveAndResync: a member that wanted to leave and comes back needs
// no Remove of its former leaf, and cannot have one.
func TestSelfRemoveAndResync(t *testing.T) {
	g := newGroup(t, suiteOf(t, 1), 3)
	msg, _ := leave(t, g[2], g[0], g[1])
	info, err := g[0].GroupInfo(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	_, err = JoinExternal(t.Context(), g[2].cfg, info, []Proposal{Remove(2)}, g[2], msg)
	refused(t, err, "12.2")
	x, err := JoinExternal(t.Context(), g[2].cfg, info, nil, g[2], msg)
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range g[:2] {
		applyCommit(t, m, x.Message)
	}
	back, err := x.Apply()
	if err != nil {
		t.Fatal(err)
	}
	same(t, g[0], g[1], back)
}

// TestPendingSelfRemoves: who joins verifies what it is handed, all but the
// membership tag, which it cannot.
func TestPendingSelfRemoves(t *testing.T) {
	s := suiteOf(t, 1)
	g := newGroup(t, s, 3)
	old, _ := leave(t, g[2], g[0], g[1])
	other, err := Create(t.Context(), testConfig(t, s, "elsewhere"), []byte("other"))
	if err != nil {
		t.Fatal(err)
	}
	foreign, _ := leave(t, other)
	commitAll(t, g[0], g[1:])
	good, _ := leave(t, g[2], g[0], g[1])
	g[1].cfg.Plain = true
	remove, _, err := g[1].Propose(t.Context(), Remove(0))
	if err != nil {
		t.Fatal(err)
	}
	text, err := g[1].Protect(t.Context(), nil, []byte("hello"))
	if err != nil {
		t.Fatal(err)
	}
	info, err := g[0].GroupInfo(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	flip := func(msg []byte, fromEnd int) []byte {
		b := bytes.Clone(msg)
		b[len(b)-fromEnd] ^= 1
		return b
	}
	c := testConfig(t, s, "new")
	for _, row := range []struct {
		what    string
		pending [][]byte
		want    error
	}{
		{"none", nil, nil},
		{"a genuine one", [][]byte{good}, nil},
		{"one with another membership tag", [][]byte{flip(good, 1)}, nil},
		{"signature", [][]byte{flip(good, 1+32+1)}, ErrRefused}, // the tag and its length behind it
		{"of the last epoch", [][]byte{old}, ErrPastEpoch},
		{"of another group", [][]byte{foreign}, ErrWrongGroup},
		{"a Remove", [][]byte{remove}, ErrInvalid},
		{"an application message", [][]byte{text}, ErrInvalid},
		{"a GroupInfo", [][]byte{info}, ErrInvalid},
		{"twice", [][]byte{good, good}, ErrInvalid},
		{"cut short", [][]byte{good[:len(good)-1]}, ErrMalformed},
		{"nothing", [][]byte{nil}, ErrMalformed},
		{"too many", make([][]byte, maxProposals), ErrLimit},
	} {
		t.Run(row.what, func(t *testing.T) {
			x, err := JoinExternal(t.Context(), c, info, nil, nil, row.pending...)
			if !errors.Is(err, row.want) {
				t.Fatalf("JoinExternal: %v; want %v", err, row.want)
			}
			if err == nil {
				x.Discard()
			}
		})
	}
	if _, err := g[0].ReceiveProposal(t.Context(), flip(good, 1)); !errors.Is(err, ErrRefused) {
		t.Errorf("a member takes another membership tag: %v", err)
	}
}
