// SPDX-License-Identifier: Apache-2.0

package mls

import (
	"bytes"
	"context"
	"errors"
	"testing"
)

// The pitfalls of proposals, commits and Welcomes.

func TestPSKsAreCheckedAndOrdered(t *testing.T) { // Section 8.4
	s := suiteOf(t, 1)
	g := newGroup(t, s, 2)
	psk := func(change func(*preSharedKeyID)) Proposal {
		id := preSharedKeyID{kind: pskResumption, usage: usageApplication, groupID: g[0].ID(), nonce: make([]byte, s.nh)}
		change(&id)
		return Proposal{kind: ProposalPSK, psk: id}
	}
	for _, c := range []struct {
		what    string
		change  func(*preSharedKeyID)
		section string
	}{
		{"short nonce", func(p *preSharedKeyID) { p.nonce = p.nonce[1:] }, "12.1.4"},
		{"long nonce", func(p *preSharedKeyID) { p.nonce = append(p.nonce, 0) }, "12.1.4"},
		{"reinit", func(p *preSharedKeyID) { p.usage = usageReInit }, "12.1.4"},
		{"branch", func(p *preSharedKeyID) { p.usage = usageBranch }, "12.1.4"},
	} {
		t.Run(c.what, func(t *testing.T) {
			refusesCommit(t, g[1], forge(t, g[0], byValue(psk(c.change))), c.section)
		})
	}
	again := psk(func(p *preSharedKeyID) { p.nonce = bytes.Repeat([]byte{1}, s.nh) })
	refusesCommit(t, g[1], forge(t, g[0], byValue(psk(func(*preSharedKeyID) {}), again)), "12.2")

	a := preSharedKeyID{kind: pskExternal, id: []byte("a"), nonce: make([]byte, s.nh)}
	b := preSharedKeyID{kind: pskExternal, id: []byte("b"), nonce: make([]byte, s.nh)}
	ka, kb := secret("key a"), secret("key b")
	if bytes.Equal(s.pskSecret([]preSharedKeyID{a, b}, []secret{ka, kb}), s.pskSecret([]preSharedKeyID{b, a}, []secret{kb, ka})) {
		t.Error("the order of the commit does not count")
	}
}

func TestContextExtensionsJudgeAddedMembers(t *testing.T) { // Section 12.1.7
	s := suiteOf(t, 1)
	const special ExtensionType = 0xF123
	c := testConfig(t, s, "0")
	c.Extensions = []ExtensionType{special}
	first, err := Create(t.Context(), c, []byte("group"))
	if err != nil {
		t.Fatal(err)
	}
	require := SetExtensions([]Extension{RequiredCapabilities{Extensions: []ExtensionType{special}}.Extension()})
	able := testConfig(t, s, "able")
	able.Extensions = c.Extensions
	unable := newBundle(t, testConfig(t, s, "unable"))
	if _, err := first.Commit(t.Context(), []Proposal{require, Add(unable.pkg)}); err == nil {
		t.Error("a member without the capability was added by the commit that requires it")
	} else {
		refused(t, err, "11.1")
	}
	b := newBundle(t, able)
	p := commitAll(t, first, nil, require, Add(b.pkg))
	second, err := Join(t.Context(), able, p.Welcome, b)
	if err != nil {
		t.Fatal(err)
	}
	same(t, first, second)
	if _, ok := extension(second.Extensions(), ExtRequiredCapabilities); !ok {
		t.Error("the extension did not arrive")
	}
	_, err = first.Commit(t.Context(), []Proposal{Add(unable.pkg)})
	refused(t, err, "11.1")
	plain := newBundle(t, testConfig(t, s, "plain"))
	mixed := newGroup(t, s, 2) // only the committer knows the extension
	mixed[0].cfg.Extensions = c.Extensions
	commitAll(t, mixed[0], mixed[1:])
	for _, l := range [][]Extension{{{Type: special}}, {RequiredCapabilities{Extensions: []ExtensionType{special}}.Extension()}} {
		if _, err := mixed[0].Commit(t.Context(), []Proposal{SetExtensions(l)}); !errors.Is(err, ErrInvalid) {
			t.Errorf("an extension that another member lacks: %v", err)
		}
	}
	_, err = first.Commit(t.Context(), []Proposal{Add(plain.pkg)})
	refused(t, err, "11.1")
	commitAll(t, first, []*Group{second}, SetExtensions(nil)) // replaces: nothing is required any more
	commitAll(t, first, []*Group{second}, Add(unable.pkg))
}

func TestPathIsRequired(t *testing.T) { // Section 12.4
	s := suiteOf(t, 1)
	g := newGroup(t, s, 4)
	update, ref, err := g[2].Propose(t.Context(), Update())
	if err != nil {
		t.Fatal(err)
	}
	for _, to := range []*Group{g[0], g[1]} {
		if _, err := to.ReceiveProposal(t.Context(), update); err != nil {
			t.Fatal(err)
		}
	}
	for what, p := range map[string][]Proposal{
		"nothing": nil, "Remove": {Remove(3)}, "extensions": {SetExtensions(nil)}, "Update": {ByReference(ref)},
	} {
		t.Run(what, func(t *testing.T) {
			refusesCommit(t, g[1], forge(t, g[0], byValue(p...)), "12.4")
		})
	}
}

func TestPathlessCommitIsTaken(t *testing.T) { // Section 12.4: Adds and PSKs need none
	s := suiteOf(t, 1)
	g := newGroup(t, s, 2)
	b := newBundle(t, testConfig(t, s, "x"))
	_, err := g[1].Stage(t.Context(), forge(t, g[0], byValue(Add(b.pkg))))
	if !errors.Is(err, ErrRefused) { // all is well but the forged tag
		t.Errorf("stage: %v", err)
	}
}

func TestPathKeysAreNew(t *testing.T) { // Section 12.4.2
	s := suiteOf(t, 1)
	g := warmGroup(t, s, 4)
	made, err := g[0].Commit(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	fresh := func() *commit { return opened(t, g[1], made.Message) }
	old := g[0].cur.tree
	c := fresh()
	c.path.nodes[0].encryptionKey = old.leaf(3).encryptionKey
	refusesCommit(t, g[1], forge(t, g[0], c), "12.4.2")
	c = fresh()
	c.path.nodes[1].encryptionKey = old.nodes[old.root()].encryptionKey()
	refusesCommit(t, g[1], forge(t, g[0], c), "12.4.2")
	c = fresh()
	c.path.nodes[1].encryptionKey = c.path.nodes[0].encryptionKey
	refusesCommit(t, g[1], forge(t, g[0], c), "12.4.2")
	c = fresh()
	other, err := NewSoftwareKey(t.Context(), s)
	if err != nil {
		t.Fatal(err)
	}
	c.path.nodes[1].encryptionKey = other.Public()
	refusesCommit(t, g[1], forge(t, g[0], c), "7.9")
	c = fresh()
	c.path.nodes = c.path.nodes[:1]
	refusesCommit(t, g[1], forge(t, g[0], c), "7.5")
	c = fresh()
	c.path.nodes[1].sealed = append(c.path.nodes[1].sealed, c.path.nodes[1].sealed[0])
	refusesCommit(t, g[1], forge(t, g[0], c), "7.5")
	c = fresh() // a leaf that is not signed for its place
	l := *c.path.leaf
	l.encode(append(bytes.Clone(l.signature[:len(l.signature)-1]), l.signature[len(l.signature)-1]^1))
	c.path.leaf = &l
	if _, err := g[1].Stage(t.Context(), forge(t, g[0], c)); !errors.Is(err, ErrRefused) {
		t.Errorf("a leaf with another signature: %v", err)
	}
	c = fresh() // one that keeps its encryption key
	l = *c.path.leaf
	l.encryptionKey, l.key = old.leaf(0).encryptionKey, nil
	if err := l.sign(t.Context(), g[0].cfg.Signer, g[0].ID(), 0); err != nil {
		t.Fatal(err)
	}
	c.path.leaf = &l
	refusesCommit(t, g[1], forge(t, g[0], c), "7.3")
	kept := g[0].cfg.NewKey
	g[0].cfg.NewKey = func(context.Context, *Suite) (HPKEKey, error) { return lentKey{g[0].cur.own.leaf}, nil }
	_, err = g[0].Commit(t.Context(), nil)
	refused(t, err, "7.3")
	g[0].cfg.NewKey = kept
	c = fresh() // one of the wrong source
	l = *c.path.leaf
	l.source = sourceUpdate
	if err := l.sign(t.Context(), g[0].cfg.Signer, g[0].ID(), 0); err != nil {
		t.Fatal(err)
	}
	c.path.leaf = &l
	refusesCommit(t, g[1], forge(t, g[0], c), "7.3")
}

func TestPathSecretMustLeadToItsKey(t *testing.T) { // Section 7.5
	s := suiteOf(t, 1)
	g := newGroup(t, s, 2)
	made, err := g[0].Commit(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	c := opened(t, g[1], made.Message)
	gc := made.staged.next.context.next(nil)
	gc.epoch, gc.treeHash, gc.confirmed = made.staged.next.context.epoch, made.staged.next.context.treeHash, g[0].cur.context.confirmed
	for what, plain := range map[string]secret{"another secret": s.zero(), "a short one": s.zero()[1:], "nothing": {}} {
		c.path.nodes[0].sealed[0], err = s.seal(g[1].cur.tree.leaf(1).key, encryptInfo("UpdatePathNode", gc.encoded()), plain)
		if err != nil {
			t.Fatal(err)
		}
		section := "7.5"
		if len(plain) != s.nh {
			section = "7.4"
		}
		t.Run(what, func(t *testing.T) { refusesCommit(t, g[1], forge(t, g[0], c), section) })
	}
}

func TestCommitSecretComesAfterTheLastPathSecret(t *testing.T) { // Section 7.4
	s := suiteOf(t, 1)
	p, err := s.derivePath(make([]pathStep, 2), s.zero())
	if err != nil {
		t.Fatal(err)
	}
	equalHex(t, "commit_secret", p.commit, s.deriveSecret(s.deriveSecret(s.zero(), "path"), "path"))
}

func TestWelcomeTreeIsVerifiedFirst(t *testing.T) { // Section 12.4.3.1
	s := suiteOf(t, 1)
	g := newGroup(t, s, 3)
	info, err := g[0].cur.groupInfo(t.Context(), &g[0].cfg, true, true)
	if err != nil {
		t.Fatal(err)
	}
	c := testConfig(t, s, "x")
	if _, err := c.verifyGroupInfo(info, nil); err != nil {
		t.Fatal(err)
	}
	resign := func(change func(*groupInfo)) *groupInfo {
		i := *info
		gc := *info.context
		i.context = &gc
		i.extensions = append([]Extension(nil), info.extensions...)
		change(&i)
		i.encode()
		sig, err := signWithLabel(t.Context(), g[0].cfg.Signer, "GroupInfoTBS", i.tbs)
		if err != nil {
			t.Fatal(err)
		}
		i.signature = sig
		return &i
	}
	bad := g[0].cur.tree.clone() // its leaf 2 was signed for another group
	leaf := *bad.leaf(2)
	leaf.source = sourceUpdate
	if err := leaf.sign(t.Context(), g[2].cfg.Signer, []byte("other"), 2); err != nil {
		t.Fatal(err)
	}
	bad.set(4, &node{leaf: &leaf})
	withTree := func(i *groupInfo, tr *tree) {
		i.extensions[0].Data = tr.encoded()
		i.context.treeHash = tr.hash(tr.root())
	}
	for what, c2 := range map[string]struct {
		change func(*groupInfo)
		want   error
	}{
		"tree hash":      {func(i *groupInfo) { i.context.treeHash = make([]byte, s.nh) }, ErrInvalid},
		"leaf of others": {func(i *groupInfo) { withTree(i, bad) }, ErrRefused},
		"signer":         {func(i *groupInfo) { i.signer = 1 }, ErrRefused},
		"blank signer":   {func(i *groupInfo) { i.signer = 3 }, ErrRefused},
		"far signer":     {func(i *groupInfo) { i.signer = 1 << 31 }, ErrRefused},
		"no tree":        {func(i *groupInfo) { i.extensions = i.extensions[1:] }, ErrInvalid},
		"suite":          {func(i *groupInfo) { i.context.suite = 3 }, ErrWrongGroup},
		"version":        {func(i *groupInfo) { i.context.version = 2 }, ErrWrongGroup},
	} {
		t.Run(what, func(t *testing.T) {
			if _, err := c.verifyGroupInfo(resign(c2.change), nil); !errors.Is(err, c2.want) {
				t.Errorf("verify: %v; want %v", err, c2.want)
			}
		})
	}
}

// TestParentRules has a row for each rule that a parent node of a Welcome's tree
// can break.
func TestParentRules(t *testing.T) { // Section 12.4.3.1
	s := suiteOf(t, 1)
	g := warmGroup(t, s, 4)
	commitAll(t, g[0], g[1:], Remove(3))
	good := g[0].cur.tree
	if err := good.checkParent(3); err != nil {
		t.Fatal(err)
	}
	for what, change := range map[string]func(*tree, *parentNode){
		"key of a leaf":      func(tr *tree, p *parentNode) { p.encryptionKey = tr.leaf(2).encryptionKey },
		"key of a parent":    func(tr *tree, p *parentNode) { p.encryptionKey = tr.nodes[1].encryptionKey() },
		"blank unmerged":     func(_ *tree, p *parentNode) { p.unmerged = []LeafIndex{3} },
		"unmerged elsewhere": func(_ *tree, p *parentNode) { p.unmerged = []LeafIndex{9} },
		"merged below":       func(_ *tree, p *parentNode) { p.unmerged = []LeafIndex{1} }, // node 1 says nothing of it
	} {
		t.Run(what, func(t *testing.T) {
			bad := good.clone()
			p := *good.nodes[3].parent
			change(bad, &p)
			bad.set(3, &node{parent: &p})
			refused(t, bad.checkParent(3), "12.4.3.1")
			if err := bad.verify(g[0].cur.context, anyone{}); !errors.Is(err, ErrInvalid) {
				t.Errorf("verify: %v", err)
			}
		})
	}
}

func TestPathSecretOfAWelcomeMustMatchTheTree(t *testing.T) { // Section 12.4.3.1
	s := suiteOf(t, 1)
	g := newGroup(t, s, 4)
	own := &ownKeys{path: nil}
	refused(t, own.deriveAbove(g[0].cur.tree, 1, 0, s.zero()), "12.4.3.1")
	refused(t, own.deriveAbove(g[0].cur.tree, 1, 1, s.zero()), "12.4.3.1")
	refused(t, own.deriveAbove(g[0].cur.tree, 1, 1<<30, s.zero()), "12.4.3.1")
}

func TestExternalCommit(t *testing.T) { // Section 12.4.3.2
	s := suiteOf(t, 1)
	g := newGroup(t, s, 4)
	commitAll(t, g[0], []*Group{g[1], g[3]}, Remove(2)) // leaf 2 is free, and 1 after the resync
	info, err := g[0].GroupInfo(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	x, err := JoinExternal(t.Context(), g[1].cfg, info, []Proposal{Remove(1), ResumptionPSK(g[1].ID(), g[1].Epoch()-1)}, g[1])
	if err != nil {
		t.Fatal(err)
	}
	for _, to := range []*Group{g[0], g[3]} {
		d := applyCommit(t, to, x.Message)
		if !d.External || d.Committer != 1 || len(d.Added) != 1 || len(d.Removed) != 1 || len(d.Resumed) != 1 {
			t.Errorf("diff %+v", d)
		}
	}
	staged, err := g[1].Stage(t.Context(), x.Message) // the former self learns that it is out
	if err != nil || !staged.Diff().SelfRemoved {
		t.Fatalf("former self: %v", err)
	}
	back, err := x.Apply()
	if err != nil {
		t.Fatal(err)
	}
	if back.Self() != 1 {
		t.Errorf("placed at %d; want the leftmost leaf blank after the Remove", back.Self())
	}
	same(t, g[0], g[3], back)
	commitAll(t, back, []*Group{g[0], g[3]})
	same(t, g[0], g[3], back)
	if _, err := x.Apply(); !errors.Is(err, ErrMoved) {
		t.Errorf("applied twice: %v", err)
	}
}

func TestExternalCommitRules(t *testing.T) { // Section 12.2
	s := suiteOf(t, 1)
	g := newGroup(t, s, 3)
	info, err := g[0].GroupInfo(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	c := testConfig(t, s, "x")
	for what, p := range map[string][]Proposal{
		"two Removes": {Remove(1), Remove(2)}, "Add": {Add(newBundle(t, c).pkg)}, "extensions": {SetExtensions(nil)},
		"second ExternalInit": {{kind: ProposalExternalInit, kemOutput: []byte("x")}},
	} {
		t.Run(what, func(t *testing.T) {
			_, err := JoinExternal(t.Context(), c, info, p, nil)
			refused(t, err, "12.2")
		})
	}
	if _, err := JoinExternal(t.Context(), c, info, []Proposal{ByReference([]byte("x"))}, nil); err == nil {
		t.Error("an external commit by reference was made")
	}
	good, err := JoinExternal(t.Context(), c, info, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	// The same by a peer that does refer to a proposal, and one without a path.
	a, _, err := g[1].openHandshake(good.Message)
	if err != nil {
		t.Fatal(err)
	}
	msg, ref, err := g[2].Propose(t.Context(), Remove(0))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := g[1].ReceiveProposal(t.Context(), msg); err != nil {
		t.Fatal(err)
	}
	for what, change := range map[string]func(*commit){
		"reference": func(c *commit) { c.proposals = append(c.proposals, &Proposal{ref: ref}) },
		"no init":   func(c *commit) { c.proposals = nil },
	} {
		b := *a
		cm := *a.content.commit
		change(&cm)
		b.content.commit, b.content.body = &cm, cm.append(nil)
		if err := b.sign(t.Context(), c.Signer, g[0].cur.contextRaw); err != nil {
			t.Fatal(err)
		}
		t.Run(what, func(t *testing.T) { refusesCommit(t, g[1], g[0].cur.sealPublic(&b), "12.2") })
	}
	refusesCommit(t, g[1], forge(t, g[0], byValue(Proposal{kind: ProposalExternalInit, kemOutput: []byte("x")})), "12.2")
}
