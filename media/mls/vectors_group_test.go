// SPDX-License-Identifier: Apache-2.0

package mls

import (
	"bytes"
	"context"
	"testing"
)

func vectorWelcome(t *testing.T, s *Suite, c struct {
	InitPriv   hexBytes `json:"init_priv"`
	SignerPub  hexBytes `json:"signer_pub"`
	KeyPackage hexBytes `json:"key_package"`
	Welcome    hexBytes
},
) {
	kp, err := ParseKeyPackage(c.KeyPackage)
	if err != nil {
		t.Fatal(err)
	}
	m, err := decodeMessage(c.Welcome)
	if err != nil {
		t.Fatal(err)
	}
	cfg := &Config{Suite: s}
	gs, err := cfg.openSecrets(t.Context(), m.welcome, &KeyPackageBundle{pkg: kp, initKey: keyOf(t, s, c.InitPriv)})
	if err != nil {
		t.Fatal(err)
	}
	w, _ := s.epoch(gs.joiner, s.zero(), nil)
	plain, err := s.openGroupInfo(w, m.welcome.info)
	if err != nil {
		t.Fatal(err)
	}
	info, err := decodeAll(plain, decodeGroupInfo)
	if err != nil {
		t.Fatal(err)
	}
	equalHex(t, "GroupInfo", info.append(nil), plain)
	if err := verifyWithLabel(s, c.SignerPub, "GroupInfoTBS", info.tbs, info.signature); err != nil {
		t.Error(err)
	}
	_, secrets := s.epoch(gs.joiner, s.zero(), info.context.encoded())
	if err := s.confirm(secrets, info.context.confirmed, info.confirmationTag); err != nil {
		t.Error(err)
	}
}

// pskMap is a PSKStore of fixed keys.
type pskMap map[string][]byte

func (m pskMap) PSK(_ context.Context, id []byte) ([]byte, error) {
	if k, ok := m[string(id)]; ok {
		return k, nil
	}
	return nil, ErrUnknownPSK
}

type passiveVector struct {
	PSKs []struct {
		ID  hexBytes `json:"psk_id"`
		PSK hexBytes `json:"psk"`
	} `json:"external_psks"`
	KeyPackage    hexBytes `json:"key_package"`
	Signature     hexBytes `json:"signature_priv"`
	Encryption    hexBytes `json:"encryption_priv"`
	Init          hexBytes `json:"init_priv"`
	Welcome       hexBytes
	Tree          *hexBytes `json:"ratchet_tree"`
	Authenticator hexBytes  `json:"initial_epoch_authenticator"`
	Epochs        []struct {
		Proposals     []hexBytes
		Commit        hexBytes
		Authenticator hexBytes `json:"epoch_authenticator"`
	}
}

func vectorPassiveClient(t *testing.T, s *Suite, c passiveVector) {
	kp, err := ParseKeyPackage(c.KeyPackage)
	if err != nil {
		t.Fatal(err)
	}
	psks := pskMap{}
	for _, p := range c.PSKs {
		psks[string(p.ID)] = p.PSK
	}
	cfg := Config{
		Suite: s, Signer: signerOf(t, s, c.Signature), Credential: kp.Credential(),
		Authenticator: anyone{}, Now: fixedNow, PSKs: psks,
	}
	b := &KeyPackageBundle{pkg: kp, initKey: keyOf(t, s, c.Init), leafKey: keyOf(t, s, c.Encryption)}
	var tree []byte
	if c.Tree != nil {
		tree = *c.Tree
	}
	g, err := JoinWithTree(t.Context(), cfg, c.Welcome, tree, b)
	if err != nil {
		t.Fatal(err)
	}
	equalHex(t, "epoch authenticator", g.EpochAuthenticator(), c.Authenticator)
	for _, e := range c.Epochs {
		for _, p := range e.Proposals {
			if _, err := g.ReceiveProposal(t.Context(), p); err != nil {
				t.Fatalf("proposal: %v", err)
			}
		}
		applyCommit(t, g, e.Commit)
		equalHex(t, "epoch authenticator", g.EpochAuthenticator(), e.Authenticator)
	}
}

type messagesVector struct {
	Welcome           hexBytes `json:"mls_welcome"`
	GroupInfo         hexBytes `json:"mls_group_info"`
	KeyPackage        hexBytes `json:"mls_key_package"`
	Tree              hexBytes `json:"ratchet_tree"`
	Secrets           hexBytes `json:"group_secrets"`
	Add               hexBytes `json:"add_proposal"`
	Update            hexBytes `json:"update_proposal"`
	Remove            hexBytes `json:"remove_proposal"`
	PSK               hexBytes `json:"pre_shared_key_proposal"`
	ReInit            hexBytes `json:"re_init_proposal"`
	ExternalInit      hexBytes `json:"external_init_proposal"`
	Extensions        hexBytes `json:"group_context_extensions_proposal"`
	Commit            hexBytes `json:"commit"`
	PublicApplication hexBytes `json:"public_message_application"`
	PublicProposal    hexBytes `json:"public_message_proposal"`
	PublicCommit      hexBytes `json:"public_message_commit"`
	Private           hexBytes `json:"private_message"`
}

func vectorMessages(t *testing.T, _ *Suite, c messagesVector) {
	for _, m := range [][]byte{c.Welcome, c.GroupInfo, c.KeyPackage, c.PublicApplication, c.PublicProposal, c.PublicCommit, c.Private} {
		equalHex(t, "message", reencodeMessage(t, m), m)
	}
	nodes, err := decodeAll(c.Tree, decodeTree)
	if err != nil {
		t.Fatal(err)
	}
	equalHex(t, "tree", (&tree{nodes: nodes}).encoded(), c.Tree)
	gs, err := decodeAll(c.Secrets, decodeGroupSecrets)
	if err != nil {
		t.Fatal(err)
	}
	equalHex(t, "group secrets", gs.append(nil), c.Secrets)
	for kind, body := range map[ProposalType][]byte{
		ProposalAdd: c.Add, ProposalUpdate: c.Update, ProposalRemove: c.Remove, ProposalPSK: c.PSK,
		ProposalReInit: c.ReInit, ProposalExternalInit: c.ExternalInit, ProposalGroupContextExtensions: c.Extensions,
	} {
		b := append(appendU16(nil, uint16(kind)), body...)
		p, err := decodeAll(b, decodeProposal)
		if err != nil {
			t.Fatalf("proposal %d: %v", kind, err)
		}
		equalHex(t, "proposal", reencodeProposal(p).raw, b)
	}
	cm, err := decodeAll(c.Commit, decodeCommit)
	if err != nil {
		t.Fatal(err)
	}
	equalHex(t, "commit", reencodeCommit(cm), c.Commit)
}

// The functions below encode from the fields alone, not from kept bytes.

func reencodeLeaf(n *LeafNode) *LeafNode {
	c := *n
	c.raw, c.tbs = nil, 0
	c.encode(n.signature)
	return &c
}

func reencodeKeyPackage(k *KeyPackage) *KeyPackage {
	c := *k
	c.leaf, c.raw = reencodeLeaf(k.leaf), nil
	c.encode(k.signature)
	return &c
}

func reencodeProposal(p *Proposal) Proposal {
	c := *p
	if c.add != nil {
		c.add = reencodeKeyPackage(c.add)
	}
	if c.update != nil {
		c.update = reencodeLeaf(c.update)
	}
	return c.encoded()
}

func reencodeCommit(c *commit) []byte {
	out := &commit{}
	for _, p := range c.proposals {
		if p.ref == nil {
			q := reencodeProposal(p)
			p = &q
		}
		out.proposals = append(out.proposals, p)
	}
	if c.path != nil {
		out.path = &updatePath{leaf: reencodeLeaf(c.path.leaf), nodes: c.path.nodes}
	}
	return out.append(nil)
}

func reencodeMessage(tb testing.TB, b []byte) []byte {
	tb.Helper()
	m, err := decodeMessage(b)
	if err != nil {
		tb.Fatal(err)
	}
	head := messageHead(m.wire)
	switch {
	case m.public != nil:
		c := m.public.auth.content
		switch {
		case c.proposal != nil:
			c.body = reencodeProposal(c.proposal).raw
		case c.commit != nil:
			c.body = reencodeCommit(c.commit)
		default:
			c.body = appendVec(nil, c.application)
		}
		again := *m.public
		again.auth.content = c
		return again.append(head)
	case m.private != nil:
		return m.private.append(head)
	case m.welcome != nil:
		return m.welcome.append(head)
	case m.groupInfo != nil:
		again := *m.groupInfo
		again.encode()
		return again.append(head)
	}
	if !bytes.Equal(m.keyPackage.raw, b[4:]) {
		tb.Error("KeyPackage keeps other bytes")
	}
	return reencodeKeyPackage(m.keyPackage).append(head)
}
