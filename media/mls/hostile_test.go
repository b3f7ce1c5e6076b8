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

// spoilt gives msg with one bit changed at each of some hundred places, its
// ends among them, and cut and lengthened.
func spoilt(msg []byte) [][]byte {
	var all [][]byte
	step := max(len(msg)/150, 1)
	for i := 0; i < len(msg); i += step {
		b := bytes.Clone(msg)
		b[i] ^= 1 << (i % 8)
		all = append(all, b)
	}
	last := bytes.Clone(msg)
	last[len(last)-1] ^= 1
	return append(all, last, msg[:len(msg)-1], msg[:len(msg)/2], nil, append(bytes.Clone(msg), 0))
}

// TestSpoiltMessages changes a commit, an application message and a Welcome in
// many places. Each is refused and changes nothing; the genuine one is taken
// afterwards, so nothing was spent on the others either.
func TestSpoiltMessages(t *testing.T) {
	for _, id := range []CipherSuite{X25519AES128GCMSHA256Ed25519, MLKEM768P256AES256GCMSHA384P256} {
		s := suiteOf(t, id)
		t.Run(s.String(), func(t *testing.T) {
			ctx := t.Context()
			groups := newGroup(t, s, 3)
			a, b := groups[0], groups[1]
			was := stateOf(t, b)

			text, err := a.Protect(ctx, []byte("aad"), []byte("hello"))
			if err != nil {
				t.Fatal(err)
			}
			for i, msg := range spoilt(text) {
				if m, err := b.Unprotect(ctx, msg); err == nil {
					t.Errorf("spoilt application message %d opened: %+v", i, m)
				}
			}
			unchanged(t, b, was)
			if m, err := b.Unprotect(ctx, text); err != nil || string(m.Data) != "hello" {
				t.Fatalf("the genuine one gives %q, %v", m.Data, err)
			}
			if _, err := b.Unprotect(ctx, text); err == nil {
				t.Error("a message opened twice")
			}

			c := testConfig(t, s, "newcomer")
			bundle := newBundle(t, c)
			pending, err := a.Commit(ctx, []Proposal{Add(parsed(t, bundle, s))})
			if err != nil {
				t.Fatal(err)
			}
			for i, msg := range spoilt(pending.Message) {
				if _, err := b.Stage(ctx, msg); err == nil {
					t.Errorf("spoilt commit %d was staged", i)
				}
			}
			unchanged(t, b, was)
			for i, msg := range spoilt(pending.Welcome) {
				if _, err := Join(ctx, c, msg, bundle); err == nil {
					t.Errorf("spoilt Welcome %d let somebody in", i)
				}
			}
			for _, g := range groups[1:] {
				applyCommit(t, g, pending.Message)
			}
			if err := pending.Apply(); err != nil {
				t.Fatal(err)
			}
			joined, err := Join(ctx, c, pending.Welcome, bundle)
			if err != nil {
				t.Fatal(err)
			}
			same(t, append(groups, joined)...)
		})
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

// FuzzMessages gives a member anything: it never panics, and what is refused
// changes nothing. What is staged is not applied, so the group stays the same
// in any case.
func FuzzMessages(f *testing.F) {
	s := suiteOf(f, X25519AES128GCMSHA256Ed25519)
	groups := newGroup(f, s, 3)
	a, b := groups[0], groups[1]
	text, err := a.Protect(f.Context(), nil, []byte("hello"))
	if err != nil {
		f.Fatal(err)
	}
	bundle := newBundle(f, testConfig(f, s, "newcomer"))
	pending, err := a.Commit(f.Context(), []Proposal{Add(parsed(f, bundle, s))})
	if err != nil {
		f.Fatal(err)
	}
	info, err := a.GroupInfo(f.Context())
	if err != nil {
		f.Fatal(err)
	}
	for _, seed := range [][]byte{text, pending.Message, pending.Welcome, bundle.Message(), info, nil} {
		f.Add(seed)
	}
	was := stateOf(f, b)
	newcomer := testConfig(f, s, "newcomer")
	f.Fuzz(func(t *testing.T, in []byte) {
		ctx := t.Context()
		if staged, err := b.Stage(ctx, in); err == nil {
			staged.Discard()
		}
		if !bytes.Equal(in, text) { // the one message that b may open, once
			if m, err := b.Unprotect(ctx, in); err == nil {
				t.Errorf("opened %x: %+v", in, m)
			}
		}
		if k, err := ParseKeyPackage(in); err == nil && k.Suite() == 0 {
			t.Error("a KeyPackage of no suite")
		}
		if g, err := Join(ctx, newcomer, in, bundle); err == nil && g.Epoch() != was.epoch+1 {
			t.Errorf("joined epoch %d", g.Epoch())
		}
		unchanged(t, b, was)
	})
}
