// SPDX-License-Identifier: Apache-2.0

package mls

import (
	"bytes"
	"encoding/json"
	"errors"
	"testing"

	"incamera/media/internal/vectortest"
)

// seedMessages gives a fuzz target published messages; which of each case,
// pick says.
func seedMessages(f *testing.F, pick func(messagesVector) [][]byte) {
	f.Helper()
	var cases []messagesVector
	if err := json.Unmarshal(vectortest.Load(f, "mls/messages.json"), &cases); err != nil {
		f.Fatal(err)
	}
	for i := 0; i < len(cases); i += 20 {
		for _, b := range pick(cases[i]) {
			f.Add(b)
		}
	}
}

// decodesOnce fails the test unless what a decoder takes is encoded to the same
// bytes, and what it refuses is refused by one of the three errors.
func decodesOnce(t *testing.T, in []byte, err error, encode func() []byte) {
	t.Helper()
	if err != nil {
		if !errors.Is(err, ErrMalformed) && !errors.Is(err, ErrLimit) && !errors.Is(err, ErrUnsupported) {
			t.Errorf("refused with %v", err)
		}
		return
	}
	if out := encode(); !bytes.Equal(out, in) {
		t.Errorf("decoded from %x, encoded to %x", in, out)
	}
}

func FuzzMessage(f *testing.F) {
	seedMessages(f, func(c messagesVector) [][]byte {
		return [][]byte{c.Welcome, c.GroupInfo, c.KeyPackage, c.PublicApplication, c.PublicProposal, c.PublicCommit, c.Private}
	})
	f.Fuzz(func(t *testing.T, in []byte) {
		_, err := decodeMessage(in)
		decodesOnce(t, in, err, func() []byte { return reencodeMessage(t, in) })
	})
}

func FuzzTree(f *testing.F) {
	seedMessages(f, func(c messagesVector) [][]byte { return [][]byte{c.Tree} })
	s, err := SuiteByID(1)
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		nodes, err := decodeAll(in, decodeTree)
		decodesOnce(t, in, err, func() []byte { return (&tree{nodes: nodes}).encoded() })
		if err != nil {
			return
		}
		if tr, err := parseTree(s, nodes); err == nil { // whatever it is, it is judged without a panic
			tr.hash(tr.root())
			_ = tr.verify(&groupContext{groupID: []byte("g")}, anyone{})
			_ = tr.verifyParentHashes()
		}
	})
}

func FuzzCommit(f *testing.F) {
	seedMessages(f, func(c messagesVector) [][]byte { return [][]byte{c.Commit} })
	f.Fuzz(func(t *testing.T, in []byte) {
		c, err := decodeAll(in, decodeCommit)
		decodesOnce(t, in, err, func() []byte { return reencodeCommit(c) })
	})
}

func FuzzProposal(f *testing.F) {
	seedMessages(f, func(c messagesVector) [][]byte {
		var out [][]byte
		for k, b := range [][]byte{c.Add, c.Update, c.Remove, c.PSK, c.ReInit, c.ExternalInit, c.Extensions} {
			out = append(out, append(appendU16(nil, uint16(k+1)), b...))
		}
		return out
	})
	f.Add(SelfRemove().raw)
	f.Fuzz(func(t *testing.T, in []byte) {
		p, err := decodeAll(in, decodeProposal)
		decodesOnce(t, in, err, func() []byte { return reencodeProposal(p).raw })
	})
}

func FuzzGroupSecrets(f *testing.F) {
	seedMessages(f, func(c messagesVector) [][]byte { return [][]byte{c.Secrets} })
	f.Fuzz(func(t *testing.T, in []byte) {
		g, err := decodeAll(in, decodeGroupSecrets)
		decodesOnce(t, in, err, func() []byte { return g.append(nil) })
	})
}

func FuzzAppDataDictionary(f *testing.F) {
	f.Add(AppDataDictionary([]AppData{{Component: 1, Data: AppComponents([]ComponentID{1, 0x8000})}, {Component: 0x8000, Data: []byte("x")}}).Data)
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, in []byte) {
		d, err := ParseAppDataDictionary(in)
		decodesOnce(t, in, err, func() []byte { return AppDataDictionary(d).Data })
		if items, own, err := SplitSafeAAD(in); err == nil && !bytes.Equal(AppendSafeAAD(items, own), in) {
			t.Errorf("safe additional data %x", in)
		}
	})
}

func FuzzContextExtensions(f *testing.F) {
	f.Add(RequiredCapabilities{Extensions: []ExtensionType{6}, Proposals: []ProposalType{9}, Credentials: []CredentialType{2}}.Extension().Data)
	f.Add(ExternalSendersExtension([]ExternalSender{{SignatureKey: make([]byte, 32), Credential: Credential{Type: BasicCredential}}}).Data)
	f.Fuzz(func(t *testing.T, in []byte) {
		need, err := decodeAll(in, decodeRequiredCapabilities)
		decodesOnce(t, in, err, func() []byte { return need.Extension().Data })
		senders, err := decodeAll(in, decodeExternalSenders)
		decodesOnce(t, in, err, func() []byte { return ExternalSendersExtension(senders).Data })
	})
}

// FuzzPrivateContent decodes what a member sealed: content, signature, padding.
func FuzzPrivateContent(f *testing.F) {
	f.Add(append(appendVec(appendVec(nil, []byte("hello")), make([]byte, 64)), make([]byte, 32)...))
	s, err := SuiteByID(1)
	if err != nil {
		f.Fatal(err)
	}
	g := newGroup(f, s, 2)
	was := fingerprint(f, g[1])
	pair, keep := g[0].cur.messages.at(0)
	keep()
	first := bytes.Clone(pair[applicationRatchet].secret)
	f.Fuzz(func(t *testing.T, in []byte) {
		pair[applicationRatchet] = ratchet{secret: bytes.Clone(first)} // the receiver's never moves
		if got, err := g[1].Unprotect(t.Context(), sealRaw(t, g[0], in)); err == nil {
			t.Errorf("a message without a valid signature opened: %+v", got)
		}
		if fingerprint(t, g[1]) != was {
			t.Error("the state changed")
		}
	})
}
