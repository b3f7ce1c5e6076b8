// SPDX-License-Identifier: Apache-2.0

package mls

import (
	"context"
	"crypto/ecdh"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"maps"
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

// fingerprint is a digest of all that a group holds, secrets and ratchets
// included.
func fingerprint(tb testing.TB, g *Group) string {
	tb.Helper()
	h := sha256.New()
	put := func(what string, b []byte) { fmt.Fprintf(h, "%s %d %x\n", what, len(b), b) }
	state := func(m *messageState) {
		put("context", m.contextRaw)
		put("sender data", m.senderData)
		put("tree", m.tree.encoded())
		for _, x := range slices.Sorted(maps.Keys(m.messages.nodes)) {
			put(fmt.Sprint("node ", x), m.messages.nodes[x])
		}
		for _, i := range slices.Sorted(maps.Keys(m.messages.ratchets)) {
			for kind, r := range m.messages.ratchets[i] {
				put(fmt.Sprint("ratchet ", i, kind, r.next), r.secret)
				for _, k := range r.skipped {
					put(fmt.Sprint("skipped ", k.generation), slices.Concat(k.key, k.nonce))
				}
			}
		}
	}
	e := g.cur
	state(&e.messageState)
	put("interim", e.interim)
	put("tag", e.confirmationTag)
	s := e.secrets
	for _, b := range []secret{s.senderData, s.exporter, s.external, s.confirmation, s.membership, s.resumption, s.authenticator, s.init} {
		put("secret", b)
	}
	for _, x := range slices.Sorted(maps.Keys(e.exports.nodes)) {
		put(fmt.Sprint("export ", x), e.exports.nodes[x])
	}
	put("leaf", e.own.leaf.Public())
	for _, x := range slices.Sorted(maps.Keys(e.own.path)) {
		put(fmt.Sprint("key ", x), e.own.path[x].raw)
	}
	for _, ref := range slices.Sorted(maps.Keys(e.proposals)) {
		put("proposal", []byte(ref))
	}
	for _, p := range g.past {
		state(p)
	}
	for _, r := range g.resumption {
		put(fmt.Sprint("resumption ", r.epoch), r.key)
	}
	for _, k := range slices.Sorted(maps.Keys(e.tree.census.base)) {
		put("census "+k, []byte{byte(e.tree.census.base[k])})
	}
	return fmt.Sprintf("%x", h.Sum(nil))
}

// A saboteur stands at every call that a group makes to its caller, and makes
// the n-th of them fail, or wait until the context is done.
type saboteur struct {
	Config

	n, calls int
	slow     bool
}

var errSabotage = errors.New("sabotage")

func (s *saboteur) hit(ctx context.Context) error {
	s.calls++
	if s.calls != s.n {
		return nil
	}
	if !s.slow {
		return errSabotage
	}
	<-ctx.Done()
	return context.Cause(ctx)
}

// Sign is a Signer's.
func (s *saboteur) Sign(ctx context.Context, b []byte) ([]byte, error) {
	if err := s.hit(ctx); err != nil {
		return nil, err
	}
	return s.Signer.Sign(ctx, b)
}

func (s *saboteur) Scheme() SignatureScheme { return s.Signer.Scheme() }
func (s *saboteur) Public() []byte          { return s.Signer.Public() }

// PSK is a PSKStore's.
func (s *saboteur) PSK(ctx context.Context, _ []byte) ([]byte, error) {
	return []byte("psk"), s.hit(ctx)
}

// Authenticate is an Authenticator's; it has no context.
func (s *saboteur) Authenticate(Credential, []byte) error {
	if s.slow {
		return nil
	}
	return s.hit(context.Background())
}

func (s *saboteur) newKey(ctx context.Context, suite *Suite) (HPKEKey, error) {
	if err := s.hit(ctx); err != nil {
		return nil, err
	}
	k, err := NewSoftwareKey(ctx, suite)
	return sabotagedKey{k, s}, err
}

// config returns the configuration with the saboteur at every call.
func (s *saboteur) config() Config {
	c := s.Config
	c.Signer, c.PSKs, c.Authenticator, c.NewKey = s, s, s, s.newKey
	return c
}

type sabotagedKey struct {
	HPKEKey
	s *saboteur
}

func (k sabotagedKey) Open(ctx context.Context, s *Suite, kemOutput, info, ciphertext []byte) ([]byte, error) {
	if err := k.s.hit(ctx); err != nil {
		return nil, err
	}
	return k.HPKEKey.Open(ctx, s, kemOutput, info, ciphertext)
}

// sabotage runs op with a failure at its first call, its second, and so on
// until it succeeds, and each time compares what must not change.
func sabotage(t *testing.T, s *saboteur, slow bool, print func() string, op func(context.Context) error) {
	t.Helper()
	was := print()
	for n := 1; ; n++ {
		s.n, s.calls, s.slow = n, 0, slow
		ctx, cancel := context.WithTimeoutCause(t.Context(), time.Second, errSabotage)
		err := op(ctx)
		cancel()
		s.n = 0
		if err == nil {
			if n < 2 {
				t.Error("nothing was called")
			}
			return
		}
		if !errors.Is(err, errSabotage) {
			t.Fatalf("call %d: %v", n, err)
		}
		if print() != was {
			t.Fatalf("a failure of call %d changed the state", n)
		}
	}
}

// TestNothingChangesHalfway makes every call to Signer, HPKEKey, KeyMaker,
// PSKStore and Authenticator fail in turn, and then be slower than the context
// allows. Whatever was under way leaves all state as it was.
func TestNothingChangesHalfway(t *testing.T) {
	for _, slow := range []bool{false, true} {
		t.Run(fmt.Sprintf("slow=%v", slow), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { nothingChangesHalfway(t, slow) })
		})
	}
}

func nothingChangesHalfway(t *testing.T, slow bool) {
	s := suiteOf(t, 1)
	sa, sb := &saboteur{Config: testConfig(t, s, "a")}, &saboteur{Config: testConfig(t, s, "b")}
	var a, b *Group
	sabotage(t, sa, slow, func() string { return "" }, func(ctx context.Context) (err error) {
		a, err = Create(ctx, sa.config(), []byte("group"))
		return err
	})
	var bundle *KeyPackageBundle
	sabotage(t, sb, slow, func() string { return "" }, func(ctx context.Context) (err error) {
		bundle, err = NewKeyPackage(ctx, sb.config())
		return err
	})
	var p *Pending
	sabotage(t, sa, slow, func() string { return fingerprint(t, a) }, func(ctx context.Context) (err error) {
		p, err = a.Commit(ctx, []Proposal{Add(bundle.pkg), ExternalPSK([]byte("x"))})
		return err
	})
	if err := p.Apply(); err != nil {
		t.Fatal(err)
	}
	sabotage(t, sb, slow, func() string { return string(bundle.Message()) }, func(ctx context.Context) (err error) {
		b, err = Join(ctx, sb.config(), p.Welcome, bundle)
		return err
	})
	same(t, a, b)
	var msg []byte
	sabotage(t, sa, slow, func() string { return fingerprint(t, a) }, func(ctx context.Context) (err error) {
		msg, _, err = a.Propose(ctx, Update())
		return err
	})
	if _, err := b.ReceiveProposal(t.Context(), msg); err != nil {
		t.Fatal(err)
	}
	sabotage(t, sa, slow, func() string { return fingerprint(t, a) }, func(ctx context.Context) (err error) {
		msg, err = a.Protect(ctx, nil, []byte("hello"))
		return err
	})
	sabotage(t, sa, slow, func() string { return fingerprint(t, a) }, func(ctx context.Context) (err error) {
		p, err = a.Commit(ctx, []Proposal{ExternalPSK([]byte("x"))})
		return err
	})
	var staged *Staged
	sabotage(t, sb, slow, func() string { return fingerprint(t, b) }, func(ctx context.Context) (err error) {
		staged, err = b.Stage(ctx, p.Message)
		return err
	})
	was := fingerprint(t, b)
	staged.Discard()
	if staged, err := b.Stage(t.Context(), p.Message); err != nil {
		t.Fatal(err)
	} else if fingerprint(t, b) != was {
		t.Error("Stage and Discard changed the state")
	} else if err := staged.Apply(); err != nil {
		t.Fatal(err)
	}
	if err := p.Apply(); err != nil {
		t.Fatal(err)
	}
	same(t, a, b)
}

// TestDoneContext: whoever has given up gets an error and no side effect.
func TestDoneContext(t *testing.T) {
	g := newGroup(t, suiteOf(t, 1), 2)
	p, err := g[0].Commit(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	m, err := g[0].Protect(t.Context(), nil, []byte("x"))
	if err != nil {
		t.Fatal(err)
	}
	gone := errors.New("the caller left")
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(gone)
	was := fingerprint(t, g[1])
	for what, op := range map[string]func() error{
		"Commit":    func() error { _, err := g[1].Commit(ctx, nil); return err },
		"Stage":     func() error { _, err := g[1].Stage(ctx, p.Message); return err },
		"Protect":   func() error { _, err := g[1].Protect(ctx, nil, nil); return err },
		"Unprotect": func() error { _, err := g[1].Unprotect(ctx, m); return err },
		"Propose":   func() error { _, _, err := g[1].Propose(ctx, Remove(0)); return err },
		"GroupInfo": func() error { _, err := g[1].GroupInfo(ctx); return err },
	} {
		if err := op(); !errors.Is(err, gone) {
			t.Errorf("%s: %v", what, err)
		}
	}
	if fingerprint(t, g[1]) != was {
		t.Error("the state changed")
	}
}

func TestApplyOnceAndOnlyInItsEpoch(t *testing.T) {
	g := newGroup(t, suiteOf(t, 1), 3)
	one, err := g[0].Commit(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	two, err := g[1].Commit(t.Context(), nil) // at the same time
	if err != nil {
		t.Fatal(err)
	}
	a, err := g[2].Stage(t.Context(), one.Message)
	if err != nil {
		t.Fatal(err)
	}
	b, err := g[2].Stage(t.Context(), two.Message)
	if err != nil {
		t.Fatal(err)
	}
	if err := a.Apply(); err != nil {
		t.Fatal(err)
	}
	for what, apply := range map[string]func() error{"again": a.Apply, "the other": b.Apply} {
		if err := apply(); !errors.Is(err, ErrMoved) {
			t.Errorf("%s: %v", what, err)
		}
	}
	b.Discard()
	a.Discard() // after Apply: nothing
	applyCommit(t, g[1], one.Message)
	two.Discard()
	if err := two.Apply(); !errors.Is(err, ErrMoved) {
		t.Errorf("applied after Discard: %v", err)
	}
	if err := one.Apply(); err != nil {
		t.Fatal(err)
	}
	same(t, g...)
	if _, err := g[1].Stage(t.Context(), one.Message); !errors.Is(err, ErrPastEpoch) {
		t.Errorf("the commit again: %v", err)
	}
	next, err := g[0].Commit(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := g[0].Stage(t.Context(), next.Message); !errors.Is(err, ErrOwn) {
		t.Errorf("the own commit: %v", err)
	}
	if err := next.Apply(); err != nil {
		t.Fatal(err)
	}
	later, err := g[0].Commit(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := g[1].Stage(t.Context(), later.Message); !errors.Is(err, ErrFutureEpoch) {
		t.Errorf("a commit too early: %v", err)
	}
	other := newGroup(t, suiteOf(t, 1), 1)[0]
	other.cur.context.groupID = []byte("other")
	if _, err := other.Stage(t.Context(), later.Message); !errors.Is(err, ErrWrongGroup) {
		t.Errorf("another group's: %v", err)
	}
}

// TestGenerationIsSpentBySealing: two commits of one epoch, the first of them
// discarded, are never sealed with one key.
func TestGenerationIsSpentBySealing(t *testing.T) {
	g := newGroup(t, suiteOf(t, 1), 2)[0]
	before := g.cur.messages.ratchets[g.Self()]
	if before != nil {
		t.Fatal("ratchets before the first message")
	}
	for want := range uint32(3) {
		p, err := g.Commit(t.Context(), nil)
		if err != nil {
			t.Fatal(err)
		}
		p.Discard()
		if got := g.cur.messages.ratchets[g.Self()][handshakeRatchet].next; got != want+1 {
			t.Errorf("generation %d; want %d", got, want+1)
		}
	}
}

// TestPastEpochGivesUpItsKeys: after Apply the leaf key of the epoch before is
// gone, and so are its secrets and handshake ratchets.
func TestPastEpochGivesUpItsKeys(t *testing.T) {
	g := newGroup(t, suiteOf(t, 1), 3)
	msg, _, err := g[0].Propose(t.Context(), Remove(2))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := g[1].ReceiveProposal(t.Context(), msg); err != nil { // derives a ratchet
		t.Fatal(err)
	}
	_, own, err := g[1].Propose(t.Context(), Update())
	if err != nil {
		t.Fatal(err)
	}
	old := g[1].cur
	keys := []HPKEKey{old.own.leaf, old.proposals[string(own)].key}
	ratchet := old.messages.ratchets[0][handshakeRatchet].secret
	skip := old.secrets.init
	commitAll(t, g[0], nil)
	commitAll(t, g[1], nil)
	for i, k := range keys {
		if _, err := k.Open(t.Context(), g[1].Suite(), nil, nil, nil); !errors.Is(err, errDestroyed) {
			t.Errorf("key %d: %v", i, err)
		}
	}
	for _, s := range []secret{ratchet, skip} {
		if slices.ContainsFunc(s, func(b byte) bool { return b != 0 }) {
			t.Error("a secret of the past epoch is still there")
		}
	}
}

func TestDestroyedGroupRefuses(t *testing.T) {
	g := newGroup(t, suiteOf(t, 1), 2)
	secrets, ratchets := g[0].cur.secrets, g[0].cur.messages
	root := ratchets.nodes[ratchets.root]
	key := g[0].cur.own.leaf
	g[0].Destroy()
	g[0].Destroy()
	for _, s := range []secret{secrets.exporter, secrets.init, secrets.authenticator, root} {
		if len(s) == 0 || slices.ContainsFunc(s, func(b byte) bool { return b != 0 }) {
			t.Error("a secret was not wiped")
		}
	}
	if _, err := key.Open(t.Context(), g[0].Suite(), nil, nil, nil); !errors.Is(err, errDestroyed) {
		t.Errorf("the leaf key: %v", err)
	}
	for what, op := range map[string]func() error{
		"Commit":     func() error { _, err := g[0].Commit(t.Context(), nil); return err },
		"Stage":      func() error { _, err := g[0].Stage(t.Context(), nil); return err },
		"Protect":    func() error { _, err := g[0].Protect(t.Context(), nil, nil); return err },
		"Unprotect":  func() error { _, err := g[0].Unprotect(t.Context(), nil); return err },
		"Propose":    func() error { _, _, err := g[0].Propose(t.Context(), Update()); return err },
		"GroupInfo":  func() error { _, err := g[0].GroupInfo(t.Context()); return err },
		"Export":     func() error { _, err := g[0].Export("x", nil, 32); return err },
		"SafeExport": func() error { _, err := g[0].SafeExport(1); return err },
	} {
		if err := op(); !errors.Is(err, ErrRemoved) {
			t.Errorf("%s: %v", what, err)
		}
	}
	if !g[0].Removed() || g[0].ID() != nil || g[0].Epoch() != 0 || g[0].Members() != nil || g[0].EpochAuthenticator() != nil || g[0].Slots() != 0 {
		t.Error("a destroyed group still says something")
	}
}

func TestSecretsDoNotPrint(t *testing.T) {
	g := newGroup(t, suiteOf(t, 1), 2)[0]
	b := newBundle(t, testConfig(t, g.Suite(), "x"))
	for _, v := range []any{secret("hunter2"), g.cur.secrets.exporter, b, g.cur.own.leaf} {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%x", "%d", "%q"} {
			out := fmt.Sprintf(verb, v)
			if s, ok := v.(secret); ok && out != redacted {
				t.Errorf("%s of a secret of %d bytes: %s", verb, len(s), out)
			}
		}
	}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s"} {
		if out := fmt.Sprintf(verb, g); len(out) > 100 {
			t.Errorf("%s of a group: %s", verb, out)
		}
		if out := fmt.Sprintf(verb, b) + fmt.Sprintf(verb, g.cur.own.leaf); out != redacted+redacted {
			t.Errorf("%s of keys: %s", verb, out)
		}
	}
	if v := secret("x").LogValue(); v.String() != redacted {
		t.Error(v)
	}
	if b, err := secret("x").MarshalText(); err != nil || string(b) != redacted {
		t.Error(string(b), err)
	}
}

// tpm is a DHKey that a test can break.
type tpm struct {
	strippingKey
	err error
}

func (k *tpm) ECDH(ctx context.Context, peer *ecdh.PublicKey) ([]byte, error) {
	if k.err != nil {
		return nil, k.err
	}
	return k.strippingKey.ECDH(ctx, peer)
}

func TestHardwareKeysInAGroup(t *testing.T) {
	s := suiteOf(t, P256AES128GCMSHA256P256)
	var made []*tpm
	c := testConfig(t, s, "hardware")
	c.NewKey = func(context.Context, *Suite) (HPKEKey, error) {
		priv, err := ecdh.P256().GenerateKey(rand.Reader)
		if err != nil {
			return nil, err
		}
		k := &tpm{strippingKey: strippingKey{priv}}
		made = append(made, k)
		return NewHardwareKey(s, nil, k)
	}
	g := newGroup(t, s, 2)
	b := newBundle(t, c)
	p := commitAll(t, g[0], g[1:], Add(parsed(t, b, s)))
	busy := errors.New("the TPM is busy")
	made[0].err = busy
	if _, err := Join(t.Context(), c, p.Welcome, b); !errors.Is(err, busy) {
		t.Errorf("Join with a broken init key: %v", err)
	}
	made[0].err = nil
	hard, err := Join(t.Context(), c, p.Welcome, b)
	if err != nil {
		t.Fatal(err)
	}
	commitAll(t, g[0], []*Group{g[1], hard})
	commitAll(t, hard, g)
	same(t, append(g, hard)...)
	if _, err := NewHardwareKey(suiteOf(t, 1), nil, made[0]); err == nil {
		t.Error("a P-256 key for suite 1")
	}
}

// TestStrippedSharedSecret finds a peer whose shared secret begins with a zero,
// which a TPM leaves out, and expects it back.
func TestStrippedSharedSecret(t *testing.T) {
	priv, err := ecdh.P256().GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	for range 1 << 16 {
		peer, err := ecdh.P256().GenerateKey(rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		want, err := priv.ECDH(peer.PublicKey())
		if err != nil {
			t.Fatal(err)
		}
		if want[0] != 0 {
			continue
		}
		got, err := exchange{ctx: t.Context(), key: strippingKey{priv}, failed: new(error)}.ECDH(peer.PublicKey())
		if err != nil {
			t.Fatal(err)
		}
		equalHex(t, "shared secret", got, want)
		return
	}
	t.Fatal("no shared secret begins with a zero")
}
