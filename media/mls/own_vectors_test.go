// SPDX-License-Identifier: Apache-2.0

package mls

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"testing"
)

var update = flag.Bool("update", false, "write testdata/pq-*.json anew")

// TestOwnVectors reads the vectors of the hybrid suites, for which nobody else
// has published any, in the formats of the working group. With -update it
// writes them.
func TestOwnVectors(t *testing.T) {
	for _, f := range []struct {
		name string
		run  func(*testing.T, *Suite, json.RawMessage)
		make func(*testing.T, *Suite) any
	}{
		{"pq-crypto-basics.json", each(vectorCryptoBasics), makeCryptoBasics},
		{"pq-passive-client-handling-commit.json", each(vectorPassiveClient), makePassiveClient},
	} {
		t.Run(f.name, func(t *testing.T) {
			path := filepath.Join("testdata", f.name)
			if *update {
				var all []any
				for _, s := range Suites() {
					if s.Hybrid() {
						all = append(all, f.make(t, s))
					}
				}
				b, err := json.MarshalIndent(all, "", "  ")
				if err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(path, append(b, '\n'), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			b, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			var cases []json.RawMessage
			if err := json.Unmarshal(b, &cases); err != nil {
				t.Fatal(err)
			}
			if len(cases) != 3 {
				t.Fatalf("%d cases; want one for each hybrid suite", len(cases))
			}
			for _, raw := range cases {
				var head struct {
					Suite CipherSuite `json:"cipher_suite"`
				}
				if err := json.Unmarshal(raw, &head); err != nil {
					t.Fatal(err)
				}
				s := suiteOf(t, head.Suite)
				t.Run(s.String(), func(t *testing.T) { f.run(t, s, raw) })
			}
		})
	}
}

type object map[string]any

func random(n int) []byte {
	b := make([]byte, n)
	_, _ = rand.Read(b) // never fails: package crypto/rand
	return b
}

// rawKey returns a signature key and its private form in vectors.
func rawKey(t *testing.T, s *Suite) (Signer, []byte) {
	t.Helper()
	if s.scheme == Ed25519 {
		seed := random(ed25519.SeedSize)
		return signerOf(t, s, seed), seed
	}
	c, err := curve(s.scheme)
	if err != nil {
		t.Fatal(err)
	}
	k, err := ecdsa.GenerateKey(c, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	b, err := k.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	return signerOf(t, s, b), b
}

// privateBytes returns the serialised form of a key in memory.
func privateBytes(t *testing.T, k HPKEKey) string {
	t.Helper()
	m, ok := k.(*memoryKey)
	if !ok {
		t.Fatalf("a key of type %T", k)
	}
	b, err := m.priv.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	return hex.EncodeToString(b)
}

func makeCryptoBasics(t *testing.T, s *Suite) any {
	t.Helper()
	x := hex.EncodeToString
	value, context, content, plain := random(32), random(32), random(32), random(32)
	from := secret(random(s.nh))
	signer, priv := rawKey(t, s)
	sig, err := signWithLabel(t.Context(), signer, "SignWithLabel", content)
	if err != nil {
		t.Fatal(err)
	}
	key, err := NewSoftwareKey(t.Context(), s)
	if err != nil {
		t.Fatal(err)
	}
	pub, err := s.publicKey(key.Public())
	if err != nil {
		t.Fatal(err)
	}
	ct, err := s.seal(pub, encryptInfo("EncryptWithLabel", context), secret(plain))
	if err != nil {
		t.Fatal(err)
	}
	return object{
		"cipher_suite":       s.id,
		"ref_hash":           object{"label": "RefHash", "value": x(value), "out": x(s.refHash("RefHash", value))},
		"expand_with_label":  object{"secret": x(from), "label": "ExpandWithLabel", "context": x(context), "length": 16, "out": x(s.expandWithLabel(from, "ExpandWithLabel", context, 16))},
		"derive_secret":      object{"secret": x(from), "label": "DeriveSecret", "out": x(s.deriveSecret(from, "DeriveSecret"))},
		"derive_tree_secret": object{"secret": x(from), "label": "DeriveTreeSecret", "generation": 7, "length": 32, "out": x(s.expander(from).treeSecret("DeriveTreeSecret", 7, 32))},
		"sign_with_label":    object{"priv": x(priv), "pub": x(signer.Public()), "content": x(content), "label": "SignWithLabel", "signature": x(sig)},
		"encrypt_with_label": object{
			"priv": privateBytes(t, key), "pub": x(key.Public()), "label": "EncryptWithLabel", "context": x(context),
			"plaintext": x(plain), "kem_output": x(ct.kemOutput), "ciphertext": x(ct.ciphertext),
		},
	}
}

// makePassiveClient lets a client join a group of three and follow it: an empty
// commit, an Add, an Update by reference with a Remove, a pre-shared key.
func makePassiveClient(t *testing.T, s *Suite) any {
	t.Helper()
	x := hex.EncodeToString
	signer, priv := rawKey(t, s)
	psks := pskMap{"id": []byte("pre-shared key")}
	c := testConfig(t, s, "passive")
	c.Signer, c.PSKs = signer, psks
	b := newBundle(t, c)
	out := object{
		"cipher_suite": s.id, "ratchet_tree": nil,
		"external_psks": []object{{"psk_id": x([]byte("id")), "psk": x(psks["id"])}},
		"key_package":   x(b.Message()), "signature_priv": x(priv),
		"init_priv": privateBytes(t, b.initKey), "encryption_priv": privateBytes(t, b.leafKey),
	}
	g := newGroup(t, s, 3)
	for _, m := range g {
		m.cfg.PSKs = psks
	}
	p := commitAll(t, g[0], g[1:], Add(b.pkg))
	out["welcome"] = x(p.Welcome)
	out["initial_epoch_authenticator"] = x(g[0].EpochAuthenticator())
	epochs := []object{}
	follow := func(proposals []string, by *Group, others []*Group, list ...Proposal) {
		p := commitAll(t, by, others, list...)
		epochs = append(epochs, object{"proposals": proposals, "commit": x(p.Message), "epoch_authenticator": x(by.EpochAuthenticator())})
	}
	follow([]string{}, g[1], []*Group{g[0], g[2]})
	follow([]string{}, g[0], g[1:], Add(newBundle(t, testConfig(t, s, "new")).pkg))
	msg, ref, err := g[1].Propose(t.Context(), Update())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := g[0].ReceiveProposal(t.Context(), msg); err != nil {
		t.Fatal(err)
	}
	follow([]string{x(msg)}, g[0], g[1:2], ByReference(ref), Remove(2))
	follow([]string{}, g[1], g[:1], ExternalPSK([]byte("id")))
	out["epochs"] = epochs
	return out
}
