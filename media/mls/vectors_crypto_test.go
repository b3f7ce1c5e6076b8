// SPDX-License-Identifier: Apache-2.0

package mls

import (
	"context"
	"crypto"
	"crypto/ecdh"
	"crypto/hpke"
	"crypto/mlkem"
	"crypto/sha3"
	"io"
	"testing"
)

func vectorDeserialization(t *testing.T, _ *Suite, c struct {
	Header hexBytes `json:"vlbytes_header"`
	Length int      `json:"length"`
},
) {
	r := &reader{b: c.Header}
	if got := r.size(); r.end() != nil || got != c.Length {
		t.Errorf("size = %d, %v; want %d", got, r.err, c.Length)
	}
	equalHex(t, "header", appendSize(nil, c.Length), c.Header)
}

type treeMathVector struct {
	Leaves  uint32       `json:"n_leaves"`
	Nodes   uint32       `json:"n_nodes"`
	Root    nodeIndex    `json:"root"`
	Left    []*nodeIndex `json:"left"`
	Right   []*nodeIndex `json:"right"`
	Parent  []*nodeIndex `json:"parent"`
	Sibling []*nodeIndex `json:"sibling"`
}

func vectorTreeMath(t *testing.T, _ *Suite, c treeMathVector) {
	if got := 2*c.Leaves - 1; got != c.Nodes {
		t.Errorf("nodes = %d; want %d", got, c.Nodes)
	}
	if got := rootOf(c.Leaves); got != c.Root {
		t.Errorf("root = %d; want %d", got, c.Root)
	}
	for x := range nodeIndex(c.Nodes) {
		if (c.Left[x] == nil) != x.isLeaf() || (c.Parent[x] == nil) != (x == c.Root) {
			t.Fatalf("node %d: a leaf has no children, the root no parent", x)
		}
		if !x.isLeaf() && (x.left() != *c.Left[x] || x.right() != *c.Right[x]) {
			t.Errorf("children of %d = %d, %d", x, x.left(), x.right())
		}
		if x != c.Root && (x.parent() != *c.Parent[x] || x.sibling() != *c.Sibling[x]) {
			t.Errorf("parent, sibling of %d = %d, %d", x, x.parent(), x.sibling())
		}
	}
}

type cryptoBasicsVector struct {
	RefHash struct {
		Label      string
		Value, Out hexBytes
	} `json:"ref_hash"`
	Expand struct {
		Secret, Context, Out hexBytes
		Label                string
		Length               int
	} `json:"expand_with_label"`
	Derive struct {
		Secret, Out hexBytes
		Label       string
	} `json:"derive_secret"`
	Tree struct {
		Secret, Out hexBytes
		Label       string
		Generation  uint32
		Length      int
	} `json:"derive_tree_secret"`
	Sign struct {
		Priv, Pub, Content, Signature hexBytes
		Label                         string
	} `json:"sign_with_label"`
	Encrypt struct {
		Priv, Pub, Context, Plaintext, Ciphertext hexBytes
		KEMOutput                                 hexBytes `json:"kem_output"`
		Label                                     string
	} `json:"encrypt_with_label"`
}

func vectorCryptoBasics(t *testing.T, s *Suite, c cryptoBasicsVector) {
	equalHex(t, "RefHash", s.refHash(c.RefHash.Label, c.RefHash.Value), c.RefHash.Out)
	equalHex(t, "ExpandWithLabel", s.expandWithLabel(secret(c.Expand.Secret), c.Expand.Label, c.Expand.Context, c.Expand.Length), c.Expand.Out)
	equalHex(t, "ExpandWithLabel of several", s.expander(secret(c.Expand.Secret)).expand(c.Expand.Label, c.Expand.Context, c.Expand.Length), c.Expand.Out)
	equalHex(t, "DeriveSecret", s.deriveSecret(secret(c.Derive.Secret), c.Derive.Label), c.Derive.Out)
	equalHex(t, "DeriveSecret of several", s.expander(secret(c.Derive.Secret)).deriveSecret(c.Derive.Label), c.Derive.Out)
	equalHex(t, "DeriveTreeSecret", s.expander(secret(c.Tree.Secret)).treeSecret(c.Tree.Label, c.Tree.Generation, c.Tree.Length), c.Tree.Out)

	if err := verifyWithLabel(s, c.Sign.Pub, c.Sign.Label, c.Sign.Content, c.Sign.Signature); err != nil {
		t.Errorf("VerifyWithLabel: %v", err)
	}
	k := signerOf(t, s, c.Sign.Priv)
	equalHex(t, "public key", k.Public(), c.Sign.Pub)
	sig, err := signWithLabel(t.Context(), k, c.Sign.Label, c.Sign.Content)
	if err != nil {
		t.Fatal(err)
	}
	if err := verifyWithLabel(s, c.Sign.Pub, c.Sign.Label, c.Sign.Content, sig); err != nil {
		t.Errorf("VerifyWithLabel of SignWithLabel: %v", err)
	}

	e := c.Encrypt
	key := keyOf(t, s, e.Priv)
	equalHex(t, "public key", key.Public(), e.Pub)
	got, err := unseal(t.Context(), s, key, e.Label, e.Context, hpkeCiphertext{e.KEMOutput, e.Ciphertext})
	if err != nil {
		t.Fatal(err)
	}
	equalHex(t, "DecryptWithLabel", got, e.Plaintext)
	pub, err := s.publicKey(e.Pub)
	if err != nil {
		t.Fatal(err)
	}
	ct, err := s.seal(pub, encryptInfo(e.Label, e.Context), secret(e.Plaintext))
	if err != nil {
		t.Fatal(err)
	}
	if got, err = unseal(t.Context(), s, key, e.Label, e.Context, ct); err != nil {
		t.Fatal(err)
	}
	equalHex(t, "DecryptWithLabel of EncryptWithLabel", got, e.Plaintext)
}

type refVector struct{ Input, Output hexBytes }

func vectorKeyPackageRef(t *testing.T, s *Suite, c refVector) {
	k, err := decodeAll(c.Input, decodeKeyPackage)
	if err != nil {
		t.Fatal(err)
	}
	equalHex(t, "KeyPackageRef", s.keyPackageRef(reencodeKeyPackage(k).raw), c.Output)
}

func vectorProposalRef(t *testing.T, s *Suite, c refVector) {
	a, err := decodeAll(c.Input, decodeAuthContent)
	if err != nil {
		t.Fatal(err)
	}
	equalHex(t, "ProposalRef", s.proposalRef(a.encoded()), c.Output)
}

func vectorPathSecret(t *testing.T, s *Suite, c struct{ Generations []hexBytes }) {
	for i := 1; i < len(c.Generations); i++ {
		equalHex(t, "path secret", s.deriveSecret(secret(c.Generations[i-1]), "path"), c.Generations[i])
	}
	if len(c.Generations) < 2 {
		t.Error("nothing to derive")
	}
}

// bytesOfNumbers is a byte string written as a list of numbers.
type bytesOfNumbers []int

func (l bytesOfNumbers) bytes() []byte {
	out := make([]byte, len(l))
	for i, v := range l {
		out[i] = byte(v)
	}
	return out
}

func vectorReuseGuard(t *testing.T, _ *Suite, c struct{ Nonce, Guard, Result bytesOfNumbers }) {
	equalHex(t, "nonce", guarded(c.Nonce.bytes(), c.Guard.bytes()), c.Result.bytes())
}

func vectorSenderData(t *testing.T, s *Suite, c struct {
	Secret     hexBytes
	Ciphertext hexBytes `json:"ciphertext_bytes"`
	Key        hexBytes `json:"expected_key"`
	Nonce      hexBytes `json:"expected_nonce"`
},
) {
	k := s.senderDataKey(secret(c.Secret), c.Ciphertext)
	equalHex(t, "key", k.key, c.Key)
	equalHex(t, "nonce", k.nonce, c.Nonce)
}

type hpkeVector struct {
	KEM         uint16 `json:"kem_id"`
	KDF         uint16 `json:"kdf_id"`
	AEAD        uint16 `json:"aead_id"`
	Info        hexBytes
	IkmR        hexBytes
	SkRm, PkRm  hexBytes
	Enc         hexBytes
	Encryptions []struct{ AAD, Ct, Pt hexBytes }
	Exports     []struct {
		Context hexBytes `json:"exporter_context"`
		L       int
		Value   hexBytes `json:"exported_value"`
	}
	AccExports hexBytes `json:"exports_accumulated"`
}

// vectorHPKE runs a case as a recipient: keys derive as they should, and what
// was sealed opens. A hybrid key also opens with its curve half behind the
// hardware adapter.
func vectorHPKE(t *testing.T, _ *Suite, c hpkeVector) {
	kem, err := hpke.NewKEM(c.KEM)
	if err != nil {
		t.Fatal(err)
	}
	kdf, err := hpke.NewKDF(c.KDF)
	if err != nil {
		t.Fatal(err)
	}
	aead, err := hpke.NewAEAD(c.AEAD)
	if err != nil {
		t.Fatal(err)
	}
	priv, err := kem.NewPrivateKey(c.SkRm)
	if err != nil {
		t.Fatal(err)
	}
	equalHex(t, "public key", priv.PublicKey().Bytes(), c.PkRm)
	derived, err := kem.DeriveKeyPair(c.IkmR)
	if err != nil {
		t.Fatal(err)
	}
	equalHex(t, "derived public key", derived.PublicKey().Bytes(), c.PkRm)
	r, err := hpke.NewRecipient(c.Enc, priv, kdf, aead, c.Info)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range c.Encryptions {
		got, err := r.Open(e.AAD, e.Ct)
		if err != nil {
			t.Fatal(err)
		}
		equalHex(t, "plaintext", got, e.Pt)
	}
	for _, e := range c.Exports {
		got, err := r.Export(string(e.Context), e.L)
		if err != nil {
			t.Fatal(err)
		}
		equalHex(t, "exported", got, e.Value)
	}
	if len(c.AccExports) > 0 {
		equalHex(t, "accumulated exports", accumulateExports(t, r), c.AccExports)
	}
	if c.KEM == 0x50 || c.KEM == 0x51 || c.KEM == 0x647a {
		checkAdapter(t, c, kdf, aead)
	}
}

// accumulateExports hashes 1,000 exports of contexts and lengths drawn from a
// fixed stream, as rfc9180.json has it.
func accumulateExports(t *testing.T, r *hpke.Recipient) []byte {
	t.Helper()
	source, sink := sha3.NewSHAKE128(), sha3.NewSHAKE128()
	for l := range 1000 {
		context := drawInput(t, source)
		got, err := r.Export(string(context), l)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = sink.Write(got)
	}
	out := make([]byte, 16)
	_, _ = sink.Read(out)
	return out
}

func drawInput(t *testing.T, source io.Reader) []byte {
	t.Helper()
	var n [1]byte
	if _, err := source.Read(n[:]); err != nil {
		t.Fatal(err)
	}
	b := make([]byte, n[0])
	if _, err := io.ReadFull(source, b); err != nil {
		t.Fatal(err)
	}
	return b
}

// strippingKey is a DHKey that leaves out leading zeros, as a TPM may.
type strippingKey struct{ priv *ecdh.PrivateKey }

func (k strippingKey) PublicKey() *ecdh.PublicKey { return k.priv.PublicKey() }
func (k strippingKey) Destroy()                   {}

func (k strippingKey) ECDH(_ context.Context, peer *ecdh.PublicKey) ([]byte, error) {
	b, err := k.priv.ECDH(peer)
	if k.priv.Curve() == ecdh.X25519() {
		return b, err
	}
	for len(b) > 0 && b[0] == 0 {
		b = b[1:]
	}
	return b, err
}

// splitHybrid returns the two halves of a hybrid key from its seed
// (draft-ietf-hpke-pq).
func splitHybrid(t *testing.T, kem uint16, seed []byte) (crypto.Decapsulator, *ecdh.PrivateKey) {
	t.Helper()
	xof := sha3.NewSHAKE256()
	_, _ = xof.Write(seed)
	seedPQ := make([]byte, mlkem.SeedSize)
	_, _ = xof.Read(seedPQ)
	c, size := ecdh.P256(), 32
	switch kem {
	case 0x51:
		c, size = ecdh.P384(), 48
	case 0x647a:
		c = ecdh.X25519()
	}
	for {
		b := make([]byte, size)
		_, _ = xof.Read(b)
		k, err := c.NewPrivateKey(b)
		if err != nil {
			continue // out of range: draw again
		}
		if kem == 0x51 {
			pq, err := mlkem.NewDecapsulationKey1024(seedPQ)
			if err != nil {
				t.Fatal(err)
			}
			return pq, k
		}
		pq, err := mlkem.NewDecapsulationKey768(seedPQ)
		if err != nil {
			t.Fatal(err)
		}
		return pq, k
	}
}

func checkAdapter(t *testing.T, c hpkeVector, kdf hpke.KDF, aead hpke.AEAD) {
	t.Helper()
	kem, err := hpke.NewKEM(c.KEM)
	if err != nil {
		t.Fatal(err)
	}
	pq, curve := splitHybrid(t, c.KEM, c.SkRm)
	s := newSuite(0xF000, "test", kem, kdf, aead, crypto.SHA384, Ed25519)
	k, err := NewHardwareKey(s, pq, strippingKey{curve})
	if err != nil {
		t.Fatal(err)
	}
	equalHex(t, "adapter's public key", k.Public(), c.PkRm)
	h, ok := k.(*hardwareKey)
	if !ok {
		t.Fatalf("adapter is a %T", k)
	}
	priv, err := h.private(exchange{ctx: t.Context(), key: h.key, failed: new(error)})
	if err != nil {
		t.Fatal(err)
	}
	r, err := hpke.NewRecipient(c.Enc, priv, kdf, aead, c.Info)
	if err != nil {
		t.Fatal(err)
	}
	e := c.Encryptions[0]
	got, err := r.Open(e.AAD, e.Ct)
	if err != nil {
		t.Fatal(err)
	}
	equalHex(t, "opened by the adapter", got, e.Pt)
}

// vectorXWing checks the KEM of draft-connolly-cfrg-xwing-kem by itself: the
// public key of a seed, and the shared secret by the parts of the combiner.
func vectorXWing(t *testing.T, _ *Suite, c struct{ Seed, SS, SK, PK, CT hexBytes }) {
	priv, err := hpke.MLKEM768X25519().NewPrivateKey(c.Seed)
	if err != nil {
		t.Fatal(err)
	}
	equalHex(t, "public key", priv.PublicKey().Bytes(), c.PK)
	pq, dh := splitHybrid(t, 0x647a, c.Seed)
	ssM, err := pq.Decapsulate(c.CT[:mlkem.CiphertextSize768])
	if err != nil {
		t.Fatal(err)
	}
	peer, err := ecdh.X25519().NewPublicKey(c.CT[mlkem.CiphertextSize768:])
	if err != nil {
		t.Fatal(err)
	}
	ssX, err := dh.ECDH(peer)
	if err != nil {
		t.Fatal(err)
	}
	h := sha3.New256()
	for _, p := range [][]byte{ssM, ssX, peer.Bytes(), dh.PublicKey().Bytes(), []byte(`\.//^\`)} {
		_, _ = h.Write(p)
	}
	equalHex(t, "shared secret", h.Sum(nil), c.SS)
}
