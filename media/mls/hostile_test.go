// SPDX-License-Identifier: Apache-2.0

package mls

import (
	"bytes"
	"context"
	"errors"
	"testing"
)

// A state is all of a group that others can see.
type state struct {
	epoch         uint64
	authenticator []byte
	exported      []byte
	members       int
	slots         uint32
}

func stateOf(tb testing.TB, g *Group) state {
	tb.Helper()
	exported, err := g.Export("state", nil, 32)
	if err != nil {
		tb.Fatal(err)
	}
	return state{g.Epoch(), bytes.Clone(g.EpochAuthenticator()), exported, len(g.Members()), g.Slots()}
}

// unchanged fails the test unless g is as it was.
func unchanged(tb testing.TB, g *Group, was state) {
	tb.Helper()
	now := stateOf(tb, g)
	if now.epoch != was.epoch || !bytes.Equal(now.authenticator, was.authenticator) ||
		!bytes.Equal(now.exported, was.exported) || now.members != was.members || now.slots != was.slots {
		tb.Fatalf("the group changed from %+v to %+v", was, now)
	}
}

// failing is a Signer whose key fails or hangs, as a TPM may.
type failing struct {
	Signer
	err error // nil: it waits for ctx
}

func (f failing) Sign(ctx context.Context, _ []byte) ([]byte, error) {
	if f.err != nil {
		return nil, f.err
	}
	<-ctx.Done()
	return nil, context.Cause(ctx)
}

// TestFailingKey: a signature key that fails, or that is still busy when the
// caller gives up, leaves the group as it was, and it can commit afterwards.
func TestFailingKey(t *testing.T) {
	s := suiteOf(t, X25519AES128GCMSHA256Ed25519)
	groups := newGroup(t, s, 3)
	g := groups[0]
	was, key := stateOf(t, g), g.cfg.Signer
	broken := errors.New("the key is broken")
	g.cfg.Signer = failing{key, broken}
	if _, err := g.Commit(t.Context(), nil); !errors.Is(err, broken) {
		t.Errorf("commit with a broken key: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	g.cfg.Signer = failing{key, nil}
	if _, err := g.Commit(ctx, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("commit with a busy key: %v", err)
	}
	unchanged(t, g, was)
	g.cfg.Signer = key
	commitAll(t, g, groups[1:])
	same(t, groups...)
}

// TestStaleAndRepeated: a commit counts once, and what was prepared for an
// epoch that has passed is refused.
func TestStaleAndRepeated(t *testing.T) {
	s := suiteOf(t, X25519AES128GCMSHA256Ed25519)
	groups := newGroup(t, s, 2)
	a, b := groups[0], groups[1]
	mine, err := b.Commit(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	won := commitAll(t, a, []*Group{b})
	was := stateOf(t, b)
	if err := mine.Apply(); err == nil {
		t.Error("a commit of the last epoch was applied")
	}
	if _, err := b.Stage(t.Context(), won.Message); err == nil {
		t.Error("a commit was staged twice")
	}
	unchanged(t, b, was)
	same(t, a, b)
}

// FuzzMessages gives a member, and somebody about to join, anything: nobody
// panics and nothing changes. Of what is genuine the member has seen all before,
// and what it stages it does not apply. The keys are others in each process, so
// an input is a message, or how to spoil a genuine one of this process: which of
// them, and triples of a place and a mask.
func FuzzMessages(f *testing.F) {
	s := suiteOf(f, X25519AES128GCMSHA256Ed25519)
	groups := newGroup(f, s, 4)
	a, b := groups[0], groups[1]
	ctx := f.Context()
	newcomer := testConfig(f, s, "newcomer")
	newcomer.LastResort = true // a bundle that joins as often as it is let in
	bundle := newBundle(f, newcomer)
	info, err := a.GroupInfo(ctx)
	if err != nil {
		f.Fatal(err)
	}
	genuine := [][]byte{bundle.Message(), info}
	for k, p := range []Proposal{Update(), Remove(2), SelfRemove(), ExternalPSK([]byte("id")), SetExtensions(nil), Add(bundle.pkg)} {
		from := groups[2+k%2]
		from.cfg.Plain = k < 2
		msg, _, err := from.Propose(ctx, p)
		if err != nil {
			f.Fatal(err)
		}
		if _, err := b.ReceiveProposal(ctx, msg); err != nil {
			f.Fatal(err)
		}
		genuine = append(genuine, msg)
	}
	text, err := a.Protect(ctx, nil, []byte("hello"))
	if err != nil {
		f.Fatal(err)
	}
	if _, err := b.Unprotect(ctx, text); err != nil {
		f.Fatal(err)
	}
	for _, plain := range []bool{false, true} {
		a.cfg.Plain = plain
		p, err := a.Commit(ctx, []Proposal{Add(bundle.pkg), Remove(3)})
		if err != nil {
			f.Fatal(err)
		}
		genuine = append(genuine, p.Message, p.Welcome)
	}
	j, err := JoinExternal(ctx, testConfig(f, s, "outside"), info, nil, nil)
	if err != nil {
		f.Fatal(err)
	}
	genuine = append(genuine, text, j.Message)
	for i, msg := range genuine {
		f.Add(uint8(len(genuine)), msg)
		f.Add(uint8(i), []byte{0, 40, 1, 0, 90, 128})
	}
	outside := testConfig(f, s, "outside")
	was := fingerprint(f, b)
	f.Fuzz(func(t *testing.T, which uint8, in []byte) {
		ctx := t.Context()
		if int(which) < len(genuine) {
			edits := in
			in = bytes.Clone(genuine[which])
			for ; len(edits) >= 3; edits = edits[3:] {
				in[(int(edits[0])<<8|int(edits[1]))%len(in)] ^= edits[2]
			}
		}
		if staged, err := b.Stage(ctx, in); err == nil {
			staged.Discard()
		}
		if m, err := b.Unprotect(ctx, in); err == nil {
			t.Errorf("opened %x: %+v", in, m)
		}
		_, _ = b.ReceiveProposal(ctx, in)
		if k, err := ParseKeyPackage(in); err == nil && k.Suite() == 0 {
			t.Error("a KeyPackage of no suite")
		}
		if g, err := Join(ctx, newcomer, in, bundle); err == nil && g.Epoch() != b.Epoch()+1 {
			t.Errorf("joined epoch %d", g.Epoch())
		}
		if x, err := JoinExternal(ctx, outside, in, nil, nil); err == nil {
			x.Discard()
		}
		if x, err := JoinExternal(ctx, outside, info, nil, nil, in); err == nil {
			x.Discard()
		}
		if fingerprint(t, b) != was {
			t.Errorf("%x changed the state", in)
		}
	})
}

// FuzzSignedHandshake lets a member sign whatever it likes as a proposal or a
// commit, so that every rule behind the signature meets hostile values. The
// confirmation tag of a commit is wrong, so none may be taken; a proposal may,
// and then it waits for a commit and nothing else has changed.
func FuzzSignedHandshake(f *testing.F) {
	s := suiteOf(f, X25519AES128GCMSHA256Ed25519)
	groups := newGroup(f, s, 4)
	a, b := groups[0], groups[1]
	p, err := a.Commit(f.Context(), []Proposal{Add(newBundle(f, testConfig(f, s, "x")).pkg), Remove(3)})
	if err != nil {
		f.Fatal(err)
	}
	c := opened(f, b, p.Message)
	f.Add(true, c.append(nil))
	f.Add(true, (&commit{path: c.path}).append(nil))
	f.Add(true, byValue(SelfRemove()).append(nil))
	var waiting [][]byte
	for _, p := range []Proposal{Update(), Remove(0), SelfRemove(), ExternalPSK([]byte("id"))} {
		msg, ref, err := groups[2].Propose(f.Context(), p)
		if err != nil {
			f.Fatal(err)
		}
		if _, err := b.ReceiveProposal(f.Context(), msg); err != nil {
			f.Fatal(err)
		}
		waiting = append(waiting, ref)
	}
	for _, p := range []Proposal{
		Add(newBundle(f, testConfig(f, s, "y")).pkg), Remove(3), ExternalPSK([]byte("id")), ResumptionPSK([]byte("group"), 1),
		SetExtensions([]Extension{RequiredCapabilities{Proposals: []ProposalType{ProposalSelfRemove}}.Extension()}), SelfRemove(),
	} {
		f.Add(false, p.encoded().raw)
		f.Add(true, byValue(p, Remove(2)).append(nil))
	}
	f.Add(true, byValue(ByReference([]byte{0}), ByReference([]byte{1}), Remove(3)).append(nil))
	was := fingerprint(f, b)
	pair, keep := a.cur.messages.at(0)
	keep()
	first := ratchet{secret: bytes.Clone(pair[handshakeRatchet].secret), next: pair[handshakeRatchet].next}
	f.Fuzz(func(t *testing.T, isCommit bool, body []byte) {
		ctx := t.Context()
		if !isCommit { // public: a private one spends a generation if it is taken
			if got, err := b.ReceiveProposal(ctx, forgeContent(t, a, contentProposal, body, wirePublic)); err == nil {
				delete(b.cur.proposals, string(got.Ref))
			}
		} else {
			if c, err := decodeAll(body, decodeCommit); err == nil {
				for _, p := range c.proposals { // a short reference names one that waits
					if len(p.ref) == 1 {
						p.ref = waiting[int(p.ref[0])%len(waiting)]
					}
				}
				if c.path != nil { // the leaf is signed, too
					c.path.leaf.signatureKey = a.cfg.Signer.Public()
					if err := c.path.leaf.sign(ctx, a.cfg.Signer, a.ID(), a.Self()); err != nil {
						t.Fatal(err)
					}
				}
				body = c.append(nil)
			}
			pair[handshakeRatchet] = ratchet{secret: bytes.Clone(first.secret), next: first.next} // the receiver's never moves
			for _, wire := range []WireFormat{wirePublic, wirePrivate} {
				if staged, err := b.Stage(ctx, forgeContent(t, a, contentCommit, body, wire)); err == nil {
					t.Errorf("staged %+v", staged.Diff())
				}
			}
		}
		if fingerprint(t, b) != was {
			t.Errorf("%x changed the state", body)
		}
	})
}
