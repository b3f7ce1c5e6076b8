// SPDX-License-Identifier: Apache-2.0

package mls

import (
	"bytes"
	"errors"
	"testing"
)

func treeOf(t *testing.T, s *Suite, b []byte) *tree {
	t.Helper()
	nodes, err := decodeAll(b, decodeTree)
	if err != nil {
		t.Fatal(err)
	}
	tr, err := parseTree(s, nodes)
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range nodes {
		switch {
		case n == nil:
		case n.leaf != nil:
			err = n.leaf.check(s, n.leaf.source)
		default:
			n.parent.key, err = s.publicKey(n.parent.encryptionKey)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	equalHex(t, "tree, encoded again", tr.encoded(), b)
	return tr
}

func vectorTreeOperations(t *testing.T, s *Suite, c struct {
	Before     hexBytes `json:"tree_before"`
	Proposal   hexBytes
	Sender     LeafIndex `json:"proposal_sender"`
	After      hexBytes  `json:"tree_after"`
	HashBefore hexBytes  `json:"tree_hash_before"`
	HashAfter  hexBytes  `json:"tree_hash_after"`
},
) {
	before := treeOf(t, s, c.Before)
	equalHex(t, "tree hash before", before.hash(before.root()), c.HashBefore)
	p, err := decodeAll(c.Proposal, decodeProposal)
	if err != nil {
		t.Fatal(err)
	}
	tr := before.clone()
	switch p.kind {
	case ProposalAdd:
		if _, err := tr.add(p.add.leaf); err != nil {
			t.Fatal(err)
		}
	case ProposalUpdate:
		tr.update(c.Sender, p.update)
	case ProposalRemove:
		tr.remove(p.remove)
	case ProposalPSK, ProposalReInit, ProposalExternalInit, ProposalGroupContextExtensions, ProposalSelfRemove:
		t.Fatalf("proposal %d", p.kind)
	}
	equalHex(t, "tree after", tr.encoded(), c.After)
	equalHex(t, "tree hash after", tr.hash(tr.root()), c.HashAfter)
	equalHex(t, "the tree that was cloned", before.encoded(), c.Before)
}

func vectorTreeValidation(t *testing.T, s *Suite, c struct {
	Tree        hexBytes
	GroupID     hexBytes   `json:"group_id"`
	TreeHashes  []hexBytes `json:"tree_hashes"`
	Resolutions [][]nodeIndex
},
) {
	tr := treeOf(t, s, c.Tree)
	if len(c.TreeHashes) != len(tr.nodes) {
		t.Fatalf("%d nodes; want %d", len(tr.nodes), len(c.TreeHashes))
	}
	for x := range tr.nodes {
		equalHex(t, "tree hash", tr.hash(nodeIndex(x)), c.TreeHashes[x])
		res := tr.resolution(nodeIndex(x))
		if len(res) != len(c.Resolutions[x]) {
			t.Fatalf("resolution of %d = %v; want %v", x, res, c.Resolutions[x])
		}
		for i := range res {
			if res[i] != c.Resolutions[x][i] {
				t.Fatalf("resolution of %d = %v; want %v", x, res, c.Resolutions[x])
			}
		}
	}
	if err := tr.verify(&groupContext{groupID: c.GroupID}, anyone{}); err != nil {
		t.Error(err)
	}
}

type treeKEMVector struct {
	GroupID   hexBytes `json:"group_id"`
	Epoch     uint64
	Confirmed hexBytes `json:"confirmed_transcript_hash"`
	Tree      hexBytes `json:"ratchet_tree"`
	Private   []struct {
		Index      LeafIndex
		Encryption hexBytes `json:"encryption_priv"`
		Signature  hexBytes `json:"signature_priv"`
		Path       []struct {
			Node   nodeIndex
			Secret hexBytes `json:"path_secret"`
		} `json:"path_secrets"`
	} `json:"leaves_private"`
	Paths []struct {
		Sender    LeafIndex
		Path      hexBytes    `json:"update_path"`
		Secrets   []*hexBytes `json:"path_secrets"`
		Commit    hexBytes    `json:"commit_secret"`
		HashAfter hexBytes    `json:"tree_hash_after"`
	} `json:"update_paths"`
}

// keys returns the private state of a leaf, each key compared with the tree's.
func (c *treeKEMVector) keys(t *testing.T, s *Suite, tr *tree, k int) *ownKeys {
	t.Helper()
	p := c.Private[k]
	own := &ownKeys{leaf: keyOf(t, s, p.Encryption)}
	own = own.with(tr, p.Index, own.leaf, nil)
	equalHex(t, "leaf key", own.leaf.Public(), tr.leaf(p.Index).encryptionKey)
	for _, n := range p.Path {
		priv, err := s.deriveKey(s.deriveSecret(secret(n.Secret), "node"))
		if err != nil {
			t.Fatal(err)
		}
		equalHex(t, "parent key", priv.PublicKey().Bytes(), tr.nodes[n.Node].encryptionKey())
		own.path[n.Node] = newNodeKey(priv)
	}
	return own
}

func vectorTreeKEM(t *testing.T, s *Suite, c treeKEMVector) {
	tr := treeOf(t, s, c.Tree)
	gc := &groupContext{version: MLS10, suite: s.id, groupID: c.GroupID, epoch: c.Epoch, confirmed: c.Confirmed}
	for _, u := range c.Paths {
		path, err := decodeAll(u.Path, decodeUpdatePath)
		if err != nil {
			t.Fatal(err)
		}
		equalHex(t, "update path", path.append(nil), u.Path)
		e := &epoch{messageState: messageState{suite: s, context: gc, tree: tr}}
		tn, err := e.apply(nil, memberSender(u.Sender))
		if err != nil {
			t.Fatal(err)
		}
		steps, err := tn.mergePath(path, memberSender(u.Sender))
		if err != nil {
			t.Fatal(err)
		}
		after := *gc
		after.treeHash = tn.tree.hash(tn.tree.root())
		equalHex(t, "tree hash after", after.treeHash, u.HashAfter)
		for k, p := range c.Private {
			want := u.Secrets[p.Index]
			if want == nil {
				continue
			}
			got, err := c.keys(t, s, tr, k).openPath(t.Context(), tn.tree, p.Index, steps, path, nil, after.encoded())
			if err != nil {
				t.Fatal(err)
			}
			equalHex(t, "path secret", got.secrets[0], *want)
			equalHex(t, "commit secret", got.commit, u.Commit)
		}
		c.ownPath(t, s, tr, gc, u.Sender)
	}
}

// ownPath makes a path as a leaf and lets the others open it.
func (c *treeKEMVector) ownPath(t *testing.T, s *Suite, tr *tree, gc *groupContext, from LeafIndex) {
	t.Helper()
	var k Signer
	for _, p := range c.Private {
		if p.Index == from {
			k = signerOf(t, s, p.Signature)
		}
	}
	old := tr.leaf(from)
	cfg := &Config{Suite: s, Signer: k, Credential: old.credential, Authenticator: anyone{}, Now: fixedNow}
	e := &epoch{messageState: messageState{suite: s, context: gc, tree: tr}}
	tn, err := e.apply(nil, memberSender(from))
	if err != nil {
		t.Fatal(err)
	}
	key, err := NewSoftwareKey(t.Context(), s)
	if err != nil {
		t.Fatal(err)
	}
	b := &builder{cfg: cfg, from: e, sender: memberSender(from)}
	made, leaf, err := b.renew(t.Context(), tn, key)
	if err != nil {
		t.Fatal(err)
	}
	after := *gc
	after.treeHash = tn.tree.hash(tn.tree.root())
	nodes, err := tn.tree.sealPath(t.Context(), made, nil, after.encoded())
	if err != nil {
		t.Fatal(err)
	}
	received, err := decodeAll((&updatePath{leaf: leaf, nodes: nodes}).append(nil), decodeUpdatePath)
	if err != nil {
		t.Fatal(err)
	}
	tn2, err := e.apply(nil, memberSender(from))
	if err != nil {
		t.Fatal(err)
	}
	steps, err := tn2.mergePath(received, memberSender(from))
	if err != nil {
		t.Fatal(err)
	}
	equalHex(t, "tree hash of the own path", tn2.tree.hash(tn2.tree.root()), after.treeHash)
	for i, p := range c.Private {
		if p.Index == from {
			continue
		}
		got, err := c.keys(t, s, tr, i).openPath(t.Context(), tn2.tree, p.Index, steps, received, nil, after.encoded())
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got.commit, made.commit) {
			t.Errorf("leaf %d has another commit secret", p.Index)
		}
	}
}

func vectorTreeHash(t *testing.T, s *Suite, c struct {
	Tree hexBytes `json:"tree_data"`
	Hash hexBytes `json:"tree_hash"`
},
) {
	tr := treeOf(t, s, c.Tree)
	equalHex(t, "tree hash", tr.hash(tr.root()), c.Hash)
}

// vectorParentHash is a refusal. The published trees are the figure of Section
// 7.9.2 with parent hashes that were computed one path after another without
// leaves that commit to them, so no parent node has a chain to a leaf.
func vectorParentHash(t *testing.T, s *Suite, c struct {
	Tree hexBytes `json:"tree_data"`
},
) {
	tr := treeOf(t, s, c.Tree)
	for i := range LeafIndex(tr.slots()) {
		if n := tr.leaf(i); n != nil && n.source == sourceCommit {
			t.Fatal("a leaf that commits to its parent")
		}
	}
	if err := tr.verifyParentHashes(); !errors.Is(err, ErrInvalid) {
		t.Errorf("verifyParentHashes = %v; want ErrInvalid", err)
	}
}
