// SPDX-License-Identifier: Apache-2.0

package mls

import (
	"testing"
)

type keyScheduleVector struct {
	GroupID  hexBytes `json:"group_id"`
	InitInit hexBytes `json:"initial_init_secret"`
	Epochs   []struct {
		TreeHash      hexBytes `json:"tree_hash"`
		Commit        hexBytes `json:"commit_secret"`
		PSK           hexBytes `json:"psk_secret"`
		Confirmed     hexBytes `json:"confirmed_transcript_hash"`
		Context       hexBytes `json:"group_context"`
		Joiner        hexBytes `json:"joiner_secret"`
		Welcome       hexBytes `json:"welcome_secret"`
		Init          hexBytes `json:"init_secret"`
		SenderData    hexBytes `json:"sender_data_secret"`
		Encryption    hexBytes `json:"encryption_secret"`
		Exporter      hexBytes `json:"exporter_secret"`
		Authenticator hexBytes `json:"epoch_authenticator"`
		External      hexBytes `json:"external_secret"`
		Confirmation  hexBytes `json:"confirmation_key"`
		Membership    hexBytes `json:"membership_key"`
		Resumption    hexBytes `json:"resumption_psk"`
		ExternalPub   hexBytes `json:"external_pub"`
		Export        struct {
			Label           string
			Context, Secret hexBytes
			Length          int
		} `json:"exporter"`
	}
}

func vectorKeySchedule(t *testing.T, s *Suite, c keyScheduleVector) {
	init := secret(c.InitInit)
	for i, e := range c.Epochs {
		gc := groupContext{version: MLS10, suite: s.id, groupID: c.GroupID, epoch: uint64(i), treeHash: e.TreeHash, confirmed: e.Confirmed}
		raw := gc.encoded()
		equalHex(t, "GroupContext", raw, e.Context)
		joiner := s.joinerSecret(init, secret(e.Commit), raw)
		equalHex(t, "joiner_secret", joiner, e.Joiner)
		welcome, got := s.epoch(joiner, secret(e.PSK), raw)
		equalHex(t, "welcome_secret", welcome, e.Welcome)
		equalHex(t, "init_secret", got.init, e.Init)
		equalHex(t, "sender_data_secret", got.senderData, e.SenderData)
		equalHex(t, "encryption_secret", got.encryption, e.Encryption)
		equalHex(t, "exporter_secret", got.exporter, e.Exporter)
		equalHex(t, "epoch_authenticator", got.authenticator, e.Authenticator)
		equalHex(t, "external_secret", got.external, e.External)
		equalHex(t, "confirmation_key", got.confirmation, e.Confirmation)
		equalHex(t, "membership_key", got.membership, e.Membership)
		equalHex(t, "resumption_psk", got.resumption, e.Resumption)
		pub, err := s.externalKey(got)
		if err != nil {
			t.Fatal(err)
		}
		equalHex(t, "external_pub", pub.PublicKey().Bytes(), e.ExternalPub)
		out, err := s.export(got.exporter, e.Export.Label, e.Export.Context, e.Export.Length)
		if err != nil {
			t.Fatal(err)
		}
		equalHex(t, "exported", out, e.Export.Secret)
		init = got.init
	}
}

func vectorPSKSecret(t *testing.T, s *Suite, c struct {
	PSKs []struct {
		ID    hexBytes `json:"psk_id"`
		PSK   hexBytes `json:"psk"`
		Nonce hexBytes `json:"psk_nonce"`
	}
	Secret hexBytes `json:"psk_secret"`
},
) {
	var ids []preSharedKeyID
	var keys []secret
	for _, p := range c.PSKs {
		ids = append(ids, preSharedKeyID{kind: pskExternal, id: p.ID, nonce: p.Nonce})
		keys = append(keys, secret(p.PSK))
	}
	equalHex(t, "psk_secret", s.pskSecret(ids, keys), c.Secret)
}

func vectorTranscriptHashes(t *testing.T, s *Suite, c struct {
	Key       hexBytes `json:"confirmation_key"`
	Content   hexBytes `json:"authenticated_content"`
	Before    hexBytes `json:"interim_transcript_hash_before"`
	Confirmed hexBytes `json:"confirmed_transcript_hash_after"`
	After     hexBytes `json:"interim_transcript_hash_after"`
},
) {
	a, err := decodeAll(c.Content, decodeAuthContent)
	if err != nil {
		t.Fatal(err)
	}
	equalHex(t, "AuthenticatedContent", a.encoded(), c.Content)
	equalHex(t, "confirmed_transcript_hash", s.confirmedHash(c.Before, a), c.Confirmed)
	equalHex(t, "interim_transcript_hash", s.interimHash(c.Confirmed, a.confirmationTag), c.After)
	if err := s.confirm(&epochSecrets{confirmation: secret(c.Key)}, c.Confirmed, a.confirmationTag); err != nil {
		t.Error(err)
	}
}

type generationVector struct {
	Generation       uint32
	HandshakeKey     hexBytes `json:"handshake_key"`
	HandshakeNonce   hexBytes `json:"handshake_nonce"`
	ApplicationKey   hexBytes `json:"application_key"`
	ApplicationNonce hexBytes `json:"application_nonce"`
}

func vectorSecretTree(t *testing.T, s *Suite, c struct {
	SenderData struct {
		Secret     hexBytes `json:"sender_data_secret"`
		Ciphertext hexBytes
		Key, Nonce hexBytes
	} `json:"sender_data"`
	Encryption hexBytes `json:"encryption_secret"`
	Leaves     [][]generationVector
},
) {
	sd := s.senderDataKey(secret(c.SenderData.Secret), c.SenderData.Ciphertext)
	equalHex(t, "sender data key", sd.key, c.SenderData.Key)
	equalHex(t, "sender data nonce", sd.nonce, c.SenderData.Nonce)
	slots := uint32(1)
	for slots < uint32(len(c.Leaves)) {
		slots *= 2
	}
	tree := newSecretTree(s, slots, secret(c.Encryption))
	for i, generations := range c.Leaves {
		for _, g := range generations {
			for kind, want := range [][2]hexBytes{{g.HandshakeKey, g.HandshakeNonce}, {g.ApplicationKey, g.ApplicationNonce}} {
				k, spend, err := tree.find(LeafIndex(i), ratchetKind(kind), g.Generation)
				if err != nil {
					t.Fatal(err)
				}
				equalHex(t, "key", k.key, want[0])
				equalHex(t, "nonce", k.nonce, want[1])
				spend()
			}
		}
	}
}

type messageProtectionVector struct {
	GroupID        hexBytes `json:"group_id"`
	Epoch          uint64
	TreeHash       hexBytes `json:"tree_hash"`
	Confirmed      hexBytes `json:"confirmed_transcript_hash"`
	SignaturePriv  hexBytes `json:"signature_priv"`
	SignaturePub   hexBytes `json:"signature_pub"`
	Encryption     hexBytes `json:"encryption_secret"`
	SenderData     hexBytes `json:"sender_data_secret"`
	Membership     hexBytes `json:"membership_key"`
	Proposal       hexBytes
	ProposalPriv   hexBytes `json:"proposal_priv"`
	ProposalPub    hexBytes `json:"proposal_pub"`
	Commit         hexBytes
	CommitPriv     hexBytes `json:"commit_priv"`
	CommitPub      hexBytes `json:"commit_pub"`
	Application    hexBytes
	ApplicationPrv hexBytes `json:"application_priv"`
}

// group makes a group of two leaves of which the second sends; self sees it.
func (c *messageProtectionVector) group(t *testing.T, s *Suite, self LeafIndex) *Group {
	t.Helper()
	tree := newTree(s)
	for i := range 2 {
		leaf := &LeafNode{signatureKey: c.SignaturePub, encryptionKey: []byte{byte(i)}}
		if _, err := tree.place(leaf); err != nil {
			t.Fatal(err)
		}
	}
	gc := &groupContext{version: MLS10, suite: s.id, groupID: c.GroupID, epoch: c.Epoch, treeHash: c.TreeHash, confirmed: c.Confirmed}
	secrets := &epochSecrets{
		encryption: append(secret(nil), c.Encryption...), senderData: secret(c.SenderData), membership: secret(c.Membership),
	}
	e := newEpoch(s, gc, gc.encoded(), tree, self, secrets, nil, &ownKeys{})
	return &Group{cfg: Config{Suite: s, Signer: signerOf(t, s, c.SignaturePriv), Authenticator: anyone{}, Now: fixedNow}, cur: e}
}

func vectorMessageProtection(t *testing.T, s *Suite, c messageProtectionVector) {
	for _, m := range []struct {
		what string
		kind contentType
		body []byte
		sent [][]byte
	}{
		{"proposal", contentProposal, c.Proposal, [][]byte{c.ProposalPriv, c.ProposalPub}},
		{"commit", contentCommit, c.Commit, [][]byte{c.CommitPriv, c.CommitPub}},
		{"application", contentApplication, c.Application, [][]byte{c.ApplicationPrv}},
	} {
		for i, msg := range m.sent {
			got := c.open(t, s, m.kind, msg)
			equalHex(t, m.what, got, m.body)

			from := c.group(t, s, 1)
			from.cfg.Plain = i == 1
			if m.kind == contentApplication {
				msg, err := from.Protect(t.Context(), nil, m.body)
				if err != nil {
					t.Fatal(err)
				}
				equalHex(t, m.what+", own", c.open(t, s, m.kind, msg), m.body)
				continue
			}
			a := from.handshake(m.kind, m.body)
			if m.kind == contentCommit {
				a.confirmationTag = make([]byte, s.nh)
			}
			if err := a.sign(t.Context(), from.cfg.Signer, from.cur.contextRaw); err != nil {
				t.Fatal(err)
			}
			msg, err := from.sealHandshake(from.cur, a)
			if err != nil {
				t.Fatal(err)
			}
			equalHex(t, m.what+", own", c.open(t, s, m.kind, msg), m.body)
		}
	}
}

func (c *messageProtectionVector) open(t *testing.T, s *Suite, kind contentType, msg []byte) []byte {
	t.Helper()
	to := c.group(t, s, 0)
	if kind == contentApplication {
		got, err := to.Unprotect(t.Context(), msg)
		if err != nil {
			t.Fatal(err)
		}
		return got.Data
	}
	a, spend, err := to.openHandshake(msg)
	if err != nil {
		t.Fatal(err)
	}
	spend()
	return a.content.body
}
