// SPDX-License-Identifier: Apache-2.0

package mls

import (
	"bytes"
	"crypto/elliptic"
	"errors"
	"testing"
	"time"
)

// What implementations of RFC 9420 get wrong, each as a test. The README lists
// them by section.

func TestLengthHasOneSpelling(t *testing.T) { // Section 2.1.2
	for _, b := range [][]byte{{0xc0, 0, 0, 0}, {0x40, 0x3f}, {0x80, 0, 0, 1}, {0x80, 0, 0x3f, 0xff}, {0x40}, {0x80, 0}, {}} {
		r := &reader{b: b}
		if n := r.size(); !errors.Is(r.err, ErrMalformed) {
			t.Errorf("size of %x = %d, %v", b, n, r.err)
		}
	}
	if _, err := decodeAll([]byte{2}, func(r *reader) bool { return r.optional() }); !errors.Is(err, ErrMalformed) {
		t.Errorf("presence octet 2: %v", err)
	}
}

func TestPointsAreUncompressed(t *testing.T) { // Section 5.1.1
	for _, id := range []CipherSuite{P256AES128GCMSHA256P256, P521AES256GCMSHA512P521, P384AES256GCMSHA384P384} {
		s := suiteOf(t, id)
		k, err := NewSoftwareSigner(s.scheme)
		if err != nil {
			t.Fatal(err)
		}
		c, err := curve(s.scheme)
		if err != nil {
			t.Fatal(err)
		}
		x, y := elliptic.Unmarshal(c, k.Public()) //nolint:staticcheck // only the encoding is wanted
		compressed := elliptic.MarshalCompressed(c, x, y)
		hybrid := bytes.Clone(k.Public())
		hybrid[0] = 6 | byte(y.Bit(0))
		off := bytes.Clone(k.Public())
		off[len(off)-1] ^= 1
		for what, b := range map[string][]byte{"compressed": compressed, "hybrid": hybrid, "off the curve": off, "infinity": {0}} {
			if _, err := newVerifier(s.scheme, b); !errors.Is(err, ErrMalformed) {
				t.Errorf("%v: %s signature key: %v", s, what, err)
			}
			if _, err := s.publicKey(b); !errors.Is(err, ErrMalformed) {
				t.Errorf("%v: %s KEM key: %v", s, what, err)
			}
		}
	}
}

func TestApplicationIsNeverPublic(t *testing.T) { // Section 6.2
	g := newGroup(t, suiteOf(t, 1), 2)
	msg := forgeContent(t, g[0], contentApplication, appendVec(nil, []byte("hello")), wirePublic)
	if _, err := g[1].Unprotect(t.Context(), msg); !errors.Is(err, ErrMalformed) {
		t.Errorf("Unprotect: %v", err)
	}
	refusesCommit(t, g[1], msg, "6.2")
}

// sealRaw seals a plaintext as an application message of g.
func sealRaw(t *testing.T, g *Group, plain []byte) []byte {
	t.Helper()
	a := g.cur.content(contentApplication, plain)
	a.signature = nil
	s, e := g.Suite(), &g.cur.messageState
	p := &privateMessage{groupID: g.ID(), epoch: g.Epoch(), kind: contentApplication}
	k, generation, err := e.messages.take(g.Self(), applicationRatchet)
	if err != nil {
		t.Fatal(err)
	}
	aead, err := s.open(k.key)
	if err != nil {
		t.Fatal(err)
	}
	guard := []byte{1, 2, 3, 4}
	p.ciphertext = aead.Seal(nil, guarded(k.nonce, guard), plain, p.contentAAD())
	sd := s.senderDataKey(e.senderData, p.ciphertext)
	if aead, err = s.open(sd.key); err != nil {
		t.Fatal(err)
	}
	data := append(appendU32(appendU32(nil, uint32(g.Self())), generation), guard...)
	p.senderData = aead.Seal(nil, sd.nonce, data, p.senderDataAAD())
	return p.append(messageHead(wirePrivate))
}

func TestPaddingIsAllThatIsLeft(t *testing.T) { // Section 6.3.1
	g := newGroup(t, suiteOf(t, 1), 2)
	a := g[0].cur.content(contentApplication, appendVec(nil, []byte("ends with zeros\x00\x00")))
	if err := a.sign(t.Context(), g[0].cfg.Signer, g[0].cur.contextRaw); err != nil {
		t.Fatal(err)
	}
	plain := a.appendAuth(bytes.Clone(a.content.body))
	for _, pad := range []int{0, 1, 255, 3000} {
		got, err := g[1].Unprotect(t.Context(), sealRaw(t, g[0], append(bytes.Clone(plain), make([]byte, pad)...)))
		if err != nil || string(got.Data) != "ends with zeros\x00\x00" {
			t.Errorf("padded by %d: %q, %v", pad, got.Data, err)
		}
	}
	for _, pad := range [][]byte{{1}, {0, 0, 1}, {0x80, 0}} {
		if _, err := g[1].Unprotect(t.Context(), sealRaw(t, g[0], append(bytes.Clone(plain), pad...))); !errors.Is(err, ErrMalformed) {
			t.Errorf("padding %x: %v", pad, err)
		}
	}
}

func TestSampleIsAsLongAsTheHash(t *testing.T) { // Section 6.3.2
	for _, s := range Suites() {
		ciphertext := bytes.Repeat([]byte{7}, 100)
		base := s.senderDataKey(s.zero(), ciphertext)
		inside, outside := bytes.Clone(ciphertext), bytes.Clone(ciphertext)
		inside[s.nh-1], outside[s.nh] = 0, 0
		if bytes.Equal(s.senderDataKey(s.zero(), inside).key, base.key) {
			t.Errorf("%v: byte %d does not count", s, s.nh-1)
		}
		if !bytes.Equal(s.senderDataKey(s.zero(), outside).key, base.key) {
			t.Errorf("%v: byte %d counts", s, s.nh)
		}
		s.senderDataKey(s.zero(), ciphertext[:3]) // shorter than the sample: all of it
	}
}

func TestBlankSenderIsRefused(t *testing.T) { // Section 6.3.2
	s := suiteOf(t, 1)
	g := newGroup(t, s, 3)
	commitAll(t, g[0], []*Group{g[1], g[2]}, Remove(g[1].Self()))
	// A member that sends in the name of a blank leaf and of one beyond the tree.
	// Any member can derive the keys of any leaf, blank ones included.
	was := stateOf(t, g[2])
	g[0].cur.self = 1
	msg, err := g[0].Protect(t.Context(), nil, []byte("x"))
	if err != nil {
		t.Fatal(err)
	}
	g[0].cur.self = 0
	if _, err := g[2].Unprotect(t.Context(), msg); !errors.Is(err, ErrRefused) {
		t.Errorf("sealed with the keys of a blank leaf: %v", err)
	}
	for _, leaf := range []LeafIndex{1, 99, 1<<32 - 1} {
		data := append(appendU32(appendU32(nil, uint32(leaf)), 0), 0, 0, 0, 0)
		p := &privateMessage{groupID: g[0].ID(), epoch: g[0].Epoch(), kind: contentApplication, ciphertext: make([]byte, 64)}
		sd := s.senderDataKey(g[0].cur.senderData, p.ciphertext)
		aead, err := s.open(sd.key)
		if err != nil {
			t.Fatal(err)
		}
		p.senderData = aead.Seal(nil, sd.nonce, data, p.senderDataAAD())
		if _, err := g[2].Unprotect(t.Context(), p.append(messageHead(wirePrivate))); !errors.Is(err, ErrRefused) {
			t.Errorf("leaf %d: %v", leaf, err)
		}
		unchanged(t, g[2], was)
	}
}

func TestGenerationJumpIsBounded(t *testing.T) { // Section 9.1
	g := newGroup(t, suiteOf(t, 1), 2)
	var last []byte
	protect := func() {
		var err error
		if last, err = g[0].Protect(t.Context(), nil, []byte("x")); err != nil {
			t.Fatal(err)
		}
	}
	protect()
	first := last
	for range maxGenerationJump {
		protect()
	}
	atLimit := last
	protect()
	if _, err := g[1].Unprotect(t.Context(), last); !errors.Is(err, ErrLimit) {
		t.Errorf("a jump of %d: %v", maxGenerationJump+1, err)
	}
	if _, err := g[1].Unprotect(t.Context(), atLimit); err != nil {
		t.Errorf("a jump of %d: %v", maxGenerationJump, err)
	}
	if _, err := g[1].Unprotect(t.Context(), first); !errors.Is(err, ErrReplayed) {
		t.Errorf("a message overtaken by %d: %v", maxGenerationJump, err)
	}
	if _, err := g[1].Unprotect(t.Context(), last); err != nil {
		t.Errorf("within the bound afterwards: %v", err)
	}
}

func TestOvertakenMessagesOpenOnce(t *testing.T) { // Section 15.3
	g := newGroup(t, suiteOf(t, 1), 2)
	var msgs [][]byte
	for i := range maxSkipped {
		m, err := g[0].Protect(t.Context(), nil, []byte{byte(i)})
		if err != nil {
			t.Fatal(err)
		}
		msgs = append(msgs, m)
	}
	commitAll(t, g[0], g[1:]) // they are late by an epoch, too
	for i := len(msgs) - 1; i >= 0; i-- {
		got, err := g[1].Unprotect(t.Context(), msgs[i])
		if err != nil || got.Data[0] != byte(i) {
			t.Fatalf("message %d: %v, %v", i, got.Data, err)
		}
		if _, err := g[1].Unprotect(t.Context(), msgs[i]); !errors.Is(err, ErrReplayed) {
			t.Fatalf("message %d again: %v", i, err)
		}
	}
}

func TestLateMessagesOfTwoEpochs(t *testing.T) {
	g := newGroup(t, suiteOf(t, 1), 2)
	var msgs [][]byte
	for range keepEpochs + 2 {
		m, err := g[0].Protect(t.Context(), nil, []byte("late"))
		if err != nil {
			t.Fatal(err)
		}
		msgs = append(msgs, m)
		commitAll(t, g[0], g[1:])
	}
	for i, m := range msgs {
		_, err := g[1].Unprotect(t.Context(), m)
		if late := len(msgs) - i; late <= keepEpochs && err != nil || late > keepEpochs && !errors.Is(err, ErrPastEpoch) {
			t.Errorf("late by %d epochs: %v", late, err)
		}
	}
	m, err := g[0].Protect(t.Context(), nil, []byte("forgotten"))
	if err != nil {
		t.Fatal(err)
	}
	commitAll(t, g[0], g[1:])
	g[1].Forget(g[1].Epoch() - 1)
	if _, err := g[1].Unprotect(t.Context(), m); !errors.Is(err, ErrPastEpoch) {
		t.Errorf("after Forget: %v", err)
	}
}

func TestKeysAreUniqueInTheResult(t *testing.T) { // Section 7.3
	s := suiteOf(t, 1)
	g := newGroup(t, s, 2)
	c := testConfig(t, s, "twin")
	one, two := newBundle(t, c), newBundle(t, c) // one signature key
	refusesCommit(t, g[1], forge(t, g[0], byValue(Add(one.pkg), Add(two.pkg))), "7.3")

	other := testConfig(t, s, "other")
	same := newcomer(t, other, func(k *KeyPackage) { k.leaf.encryptionKey = g[0].cur.tree.leaf(1).encryptionKey })
	refusesCommit(t, g[1], forge(t, g[0], byValue(Add(same.pkg))), "7.3")
	if _, err := g[0].Commit(t.Context(), []Proposal{Add(same.pkg)}); !errors.Is(err, ErrInvalid) {
		t.Errorf("commit of a known encryption key: %v", err)
	}
	// The key of a member that the same commit removes is free again.
	back := testConfig(t, s, "1")
	back.Signer = g[1].cfg.Signer
	kp := newBundle(t, back)
	if _, err := g[0].Commit(t.Context(), []Proposal{Add(kp.pkg)}); !errors.Is(err, ErrInvalid) {
		t.Errorf("commit of a known signature key: %v", err)
	}
}

func TestRemoveAndAddOfOneClient(t *testing.T) { // Section 12.2
	s := suiteOf(t, 1)
	g := newGroup(t, s, 3)
	c := g[1].cfg // a restarted room: the same TPM key
	b := newBundle(t, c)
	p := commitAll(t, g[0], g[2:], Remove(g[1].Self()), Add(parsed(t, b, s)))
	back, err := Join(t.Context(), c, p.Welcome, b)
	if err != nil {
		t.Fatal(err)
	}
	same(t, g[0], g[2], back)
	if d := p.Diff(); len(d.Added) != 1 || len(d.Removed) != 1 || !bytes.Equal(d.Added[0].SignatureKey, d.Removed[0].SignatureKey) {
		t.Errorf("diff %+v", d)
	}
}

func TestInitKeyDiffersFromEncryptionKey(t *testing.T) { // Section 10.1
	s := suiteOf(t, 1)
	c := testConfig(t, s, "x")
	b := newcomer(t, c, func(k *KeyPackage) { k.initKey = k.leaf.encryptionKey })
	_, err := ParseKeyPackage(b.Message())
	refused(t, err, "10.1")
}

func TestLifetimeBindsOnlyTheCommitter(t *testing.T) { // Section 10.1, 14
	s := suiteOf(t, 1)
	g := newGroup(t, s, 2)
	c := testConfig(t, s, "x")
	b := newBundle(t, c)
	for _, shift := range []time.Duration{-30 * time.Hour, 72 * time.Hour} {
		at := func() time.Time { return fixedNow().Add(shift) }
		g[0].cfg.Now = at
		_, err := g[0].Commit(t.Context(), []Proposal{Add(b.pkg)})
		refused(t, err, "10.1")
		g[0].cfg.Now, g[1].cfg.Now = fixedNow, at
		p, err := g[0].Commit(t.Context(), []Proposal{Add(b.pkg)})
		if err != nil {
			t.Fatal(err)
		}
		staged, err := g[1].Stage(t.Context(), p.Message)
		if err != nil {
			t.Fatalf("a receiver with a wrong clock refuses: %v", err)
		}
		if d := staged.Diff(); len(d.Expired) != 1 || d.Expired[0] != d.Added[0].Index {
			t.Errorf("not reported: %+v", d.Expired)
		}
		staged.Discard()
		p.Discard()
	}
	g[0].cfg.Now = func() time.Time { return fixedNow().Add(40 * time.Hour) } // over by 16 h
	if p, err := g[0].Commit(t.Context(), []Proposal{Add(b.pkg)}); err != nil {
		t.Errorf("within the tolerance: %v", err)
	} else {
		p.Discard()
	}
}

func TestAddedLeavesGetNoPathSecret(t *testing.T) { // Section 7.5
	s := suiteOf(t, 1)
	g := newGroup(t, s, 3)
	b := newBundle(t, testConfig(t, s, "x"))
	p, err := g[0].Commit(t.Context(), []Proposal{Add(b.pkg)})
	if err != nil {
		t.Fatal(err)
	}
	c := opened(t, g[1], p.Message)
	n := 0
	for _, x := range c.path.nodes {
		n += len(x.sealed)
	}
	if n != 2 {
		t.Errorf("%d path secrets for 2 other members", n)
	}
}

func TestTruncation(t *testing.T) { // Section 7.7
	s := suiteOf(t, 1)
	g := newGroup(t, s, 5)
	if got := g[0].Slots(); got != 8 {
		t.Fatalf("slots = %d", got)
	}
	commitAll(t, g[0], g[1:], Remove(2))
	commitAll(t, g[0], []*Group{g[1], g[3], g[4]}, Remove(4))
	if got := g[0].Slots(); got != 4 { // leaf 3 stands in the right half of four
		t.Errorf("slots = %d; want 4", got)
	}
	commitAll(t, g[0], []*Group{g[1], g[3]}, Remove(3))
	if got := g[0].Slots(); got != 2 { // over the blank leaf 2 as well
		t.Errorf("slots = %d; want 2", got)
	}
	commitAll(t, g[0], g[1:2], Remove(1))
	if got := g[0].Slots(); got != 1 {
		t.Errorf("slots = %d; want 1", got)
	}
}

func TestTreeEndsWithALeaf(t *testing.T) { // Section 12.4.3.3
	g := newGroup(t, suiteOf(t, 1), 3)
	b := g[0].cur.tree.encoded()
	nodes, err := decodeAll(b, decodeTree)
	if err != nil || len(nodes) != 5 {
		t.Fatalf("%d nodes, %v; want 5", len(nodes), err)
	}
	trailing := appendVec(nil, append(b[len(appendSize(nil, len(b)-2)):], 0))
	if _, err := decodeAll(trailing, decodeTree); !errors.Is(err, ErrMalformed) {
		t.Errorf("a tree with a blank at its end: %v", err)
	}
	if _, err := decodeAll([]byte{0}, decodeTree); !errors.Is(err, ErrMalformed) {
		t.Errorf("an empty tree: %v", err)
	}
}

func TestParentHashChains(t *testing.T) { // Section 7.9.2
	s := suiteOf(t, 1)
	g := warmGroup(t, s, 5)
	gc := g[0].cur.context
	good := g[0].cur.tree
	if err := good.verify(gc, anyone{}); err != nil {
		t.Fatal(err)
	}
	for x := nodeIndex(1); int(x) < len(good.nodes); x += 2 {
		if good.nodes[x] == nil {
			continue
		}
		key, err := s.deriveKey(s.deriveSecret(s.zero(), "x"))
		if err != nil {
			t.Fatal(err)
		}
		replaced := good.clone() // a parent node with a key that no leaf chose
		p := *good.nodes[x].parent
		p.encryptionKey, p.key = key.PublicKey().Bytes(), key.PublicKey()
		replaced.set(x, &node{parent: &p})
		refused(t, replaced.verify(gc, anyone{}), "7.9.2")
	}
	blank := good.clone() // a node missing from a chain
	blank.set(3, nil)
	refused(t, blank.verify(gc, anyone{}), "7.9.2")
}

func TestEpochZero(t *testing.T) { // Sections 8.2, 11
	g, err := Create(t.Context(), testConfig(t, suiteOf(t, 1), "0"), []byte("group"))
	if err != nil {
		t.Fatal(err)
	}
	e := g.cur
	if len(e.context.confirmed) != 0 || e.context.epoch != 0 {
		t.Errorf("confirmed transcript hash of epoch 0 = %x", e.context.confirmed)
	}
	tag := e.suite.mac(e.secrets.confirmation, nil)
	equalHex(t, "interim hash", e.interim, e.suite.digest(appendVec(nil, tag)))
}
