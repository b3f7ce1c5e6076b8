// SPDX-License-Identifier: Apache-2.0

package spake

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"math/big"
	"testing"

	"filippo.io/nistec"
)

// published is the set of RFC 9383, Appendix C, for P-256 with SHA-256,
// HKDF-SHA256 and HMAC-SHA256.
var published = map[string]string{
	"Context":    "SPAKE2+-P256-SHA256-HKDF-SHA256-HMAC-SHA256 Test Vectors",
	"idProver":   "client",
	"idVerifier": "server",
	"w0":         "bb8e1bbcf3c48f62c08db243652ae55d3e5586053fca77102994f23ad95491b3",
	"w1":         "7e945f34d78785b8a3ef44d0df5a1a97d6b3b460409a345ca7830387a74b1dba",
	"L":          "04eb7c9db3d9a9eb1f8adab81b5794c1f13ae3e225efbe91ea487425854c7fc00f00bfedcbd09b2400142d40a14f2064ef31dfaa903b91d1faea7093d835966efd",
	"x":          "d1232c8e8693d02368976c174e2088851b8365d0d79a9eee709c6a05a2fad539",
	"shareP":     "04ef3bd051bf78a2234ec0df197f7828060fe9856503579bb1733009042c15c0c1de127727f418b5966afadfdd95a6e4591d171056b333dab97a79c7193e341727",
	"y":          "717a72348a182085109c8d3917d6c43d59b224dc6a7fc4f0483232fa6516d8b3",
	"shareV":     "04c0f65da0d11927bdf5d560c69e1d7d939a05b0e88291887d679fcadea75810fb5cc1ca7494db39e82ff2f50665255d76173e09986ab46742c798a9a68437b048",
	"Z":          "04bbfce7dd7f277819c8da21544afb7964705569bdf12fb92aa388059408d50091a0c5f1d3127f56813b5337f9e4e67e2ca633117a4fbd559946ab474356c41839",
	"V":          "0458bf27c6bca011c9ce1930e8984a797a3419797b936629a5a937cf2f11c8b9514b82b993da8a46e664f23db7c01edc87faa530db01c2ee405230b18997f16b68",
	"K_main":     "4c59e1ccf2cfb961aa31bd9434478a1089b56cd11542f53d3576fb6c2a438a29",
	"K_confirmP": "871ae3f7b78445e34438fb284504240239031c39d80ac23eb5ab9be5ad6db58a",
	"K_confirmV": "ccd53c7c1fa37b64a462b40db8be101cedcf838950162902054e644b400f1680",
	"confirmP":   "926cc713504b9b4d76c9162ded04b5493e89109f6d89462cd33adc46fda27527",
	"confirmV":   "9747bcc4f8fe9f63defee53ac9b07876d907d55047e6ff2def2e7529089d3e68",
	"K_shared":   "0c5f8ccd1413423a54f6c1fb26ff01534a87f893779c6e68666d772bfd91f3e7",
}

// TestVector runs both sides on the scalars of RFC 9383, appendix C.
func TestVector(t *testing.T) {
	v := published
	raw := func(name string) []byte {
		out, err := hex.DecodeString(v[name])
		if err != nil || len(out) == 0 {
			t.Fatalf("%s: %v", name, err)
		}
		return out
	}
	parties := Parties{[]byte(v["Context"]), v["idProver"], v["idVerifier"]}
	secret := Secret{[32]byte(raw("w0")), [32]byte(raw("w1"))}
	p, err := newProver(parties, secret, raw("x"))
	if err != nil {
		t.Fatal(err)
	}
	a, err := respond(parties, secret, p.Share(), raw("y"))
	if err != nil {
		t.Fatal(err)
	}
	last, key, err := p.Finish(a.Share, a.Confirm)
	if err != nil {
		t.Fatal(err)
	}
	same, err := a.Check(last)
	if err != nil {
		t.Fatal(err)
	}
	l, err := nistec.NewP256Point().ScalarBaseMult(raw("w1"))
	if err != nil {
		t.Fatal(err)
	}
	k, err := schedule(parties, raw("shareP"), raw("shareV"), raw("Z"), raw("V"), raw("w0"))
	if err != nil {
		t.Fatal(err)
	}
	for name, got := range map[string][]byte{
		"shareP": p.Share(), "shareV": a.Share, "confirmV": a.Confirm, "confirmP": last, "K_shared": key, "L": l.Bytes(),
		"K_confirmP": k.confirmP, "K_confirmV": k.confirmV,
	} {
		if !bytes.Equal(got, raw(name)) {
			t.Errorf("%s = %x, want %x", name, got, raw(name))
		}
	}
	if !bytes.Equal(same, key) {
		t.Error("the two sides have two keys")
	}
}

func secretOf(t testing.TB, pin string) Secret {
	t.Helper()
	s, err := NewSecret(pin, bytes.Repeat([]byte{9}, SaltSize), "panel", "room")
	if err != nil {
		t.Fatal(err)
	}
	return s
}

var parties = Parties{[]byte("context"), "panel", "room"}

// TestRefusals changes one thing at a time: neither side accepts.
func TestRefusals(t *testing.T) {
	right := secretOf(t, "48213905")
	run := func(prover, verifier Parties, guess Secret, change func(share, confirm []byte)) error {
		p, err := NewProver(prover, guess)
		if err != nil {
			t.Fatal(err)
		}
		a, err := Respond(verifier, right, p.Share())
		if err != nil {
			t.Fatal(err)
		}
		share, confirm := bytes.Clone(a.Share), bytes.Clone(a.Confirm)
		change(share, confirm)
		last, key, err := p.Finish(share, confirm)
		if err != nil {
			// A guesser who goes on without the right confirmation gets nowhere.
			if _, err := a.Check(bytes.Repeat([]byte{0}, ConfirmSize)); !errors.Is(err, ErrRefused) {
				t.Errorf("zeros are accepted: %v", err)
			}
			return err
		}
		same, err := a.Check(last)
		if err == nil && !bytes.Equal(same, key) {
			t.Error("the two sides have two keys")
		}
		if _, err := a.Check(confirm); !errors.Is(err, ErrRefused) {
			t.Errorf("the room's own confirmation is accepted: %v", err)
		}
		return err
	}
	same := func([]byte, []byte) {}
	if err := run(parties, parties, right, same); err != nil {
		t.Fatal(err)
	}
	for name, err := range map[string]error{
		"another PIN":      run(parties, parties, secretOf(t, "48213906"), same),
		"no PIN":           run(parties, parties, secretOf(t, ""), same),
		"another context":  run(Parties{[]byte("contexu"), "panel", "room"}, parties, right, same),
		"moved boundary":   run(Parties{[]byte("contextp"), "anel", "room"}, parties, right, same),
		"other names":      run(Parties{[]byte("context"), "room", "panel"}, parties, right, same),
		"confirmation bit": run(parties, parties, right, func(_, c []byte) { c[31] ^= 1 }),
		"share bit":        run(parties, parties, right, func(s, _ []byte) { s[64] ^= 1 }),
		"only w0": func() error {
			half := right
			half.w1 = secretOf(t, "other").w1
			return run(parties, parties, half, same)
		}(),
	} {
		if !errors.Is(err, ErrRefused) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestShares has points that are no shares, above all the one that leaves the
// identity.
func TestShares(t *testing.T) {
	s := secretOf(t, "48213905")
	good, err := NewProver(parties, s)
	if err != nil {
		t.Fatal(err)
	}
	m, err := nistec.NewP256Point().ScalarMult(pointM, s.w0[:])
	if err != nil {
		t.Fatal(err)
	}
	n, err := nistec.NewP256Point().ScalarMult(pointN, s.w0[:])
	if err != nil {
		t.Fatal(err)
	}
	offCurve := bytes.Clone(good.Share())
	offCurve[64] ^= 1
	compressed, err := nistec.NewP256Point().SetBytes(good.Share())
	if err != nil {
		t.Fatal(err)
	}
	for name, share := range map[string][]byte{
		"nothing": nil, "identity": {0}, "zeros": make([]byte, ShareSize), "w0*M": m.Bytes(), "off the curve": offCurve,
		"compressed": compressed.BytesCompressed(), "longer": append(bytes.Clone(good.Share()), 0), "hybrid": append([]byte{6}, good.Share()[1:]...),
	} {
		if _, err := Respond(parties, s, share); !errors.Is(err, ErrRefused) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, _, err := good.Finish(n.Bytes(), make([]byte, ConfirmSize)); !errors.Is(err, ErrRefused) {
		t.Errorf("w0*N: %v", err)
	}
	if text := fmt.Sprintf("%v %+v %#v %s", s, s, s, s); bytes.Contains([]byte(text), []byte(fmt.Sprint(s.w0[0]))) {
		t.Errorf("it prints %s", text)
	}
}

// TestReduce compares with big numbers at the edges.
func TestReduce(t *testing.T) {
	n, one := orderOf(), big.NewInt(1)
	wide := new(big.Int).Lsh(one, 320)
	for _, v := range []*big.Int{
		big.NewInt(0), one, new(big.Int).Sub(n, one), n, new(big.Int).Add(n, one), new(big.Int).Lsh(one, 256),
		new(big.Int).Sub(new(big.Int).Lsh(one, 256), one), new(big.Int).Sub(wide, one), new(big.Int).Lsh(one, 319),
		new(big.Int).Mul(n, new(big.Int).Div(wide, n)), new(big.Int).Sub(new(big.Int).Mul(n, new(big.Int).Div(wide, n)), one),
	} {
		checkReduce(t, [wideSize]byte(v.FillBytes(make([]byte, wideSize))))
	}
}

func orderOf() *big.Int {
	n := new(big.Int)
	for i := 3; i >= 0; i-- {
		n.Or(n.Lsh(n, 64), new(big.Int).SetUint64(order[i]))
	}
	return n
}

func checkReduce(t *testing.T, wide [wideSize]byte) {
	t.Helper()
	want := new(big.Int).Mod(new(big.Int).SetBytes(wide[:]), orderOf())
	if got := reduce(wide); new(big.Int).SetBytes(got[:]).Cmp(want) != 0 {
		t.Fatalf("%x is %x, want %x", wide, got, want)
	}
}

func FuzzReduce(f *testing.F) {
	f.Add(bytes.Repeat([]byte{255}, wideSize))
	f.Fuzz(func(t *testing.T, in []byte) {
		var wide [wideSize]byte
		copy(wide[:], in)
		checkReduce(t, wide)
	})
}

// FuzzShare gives both sides what nobody made.
func FuzzShare(f *testing.F) {
	s := secretOf(f, "48213905")
	p, err := NewProver(parties, s)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(p.Share(), make([]byte, ConfirmSize))
	f.Add([]byte{0}, []byte{})
	f.Fuzz(func(t *testing.T, share, confirm []byte) {
		if a, err := Respond(parties, s, share); err == nil {
			if len(a.Share) != ShareSize || len(a.Confirm) != ConfirmSize {
				t.Fatalf("it answers %d and %d bytes", len(a.Share), len(a.Confirm))
			}
			if _, err := a.Check(confirm); err == nil {
				t.Fatal("a confirmation that nobody made")
			}
		}
		if _, _, err := p.Finish(share, confirm); err == nil {
			t.Fatal("an answer that nobody made")
		}
	})
}

// BenchmarkPairing is one guess, both sides.
func BenchmarkPairing(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		s := secretOf(b, "48213905")
		p, err := NewProver(parties, s)
		if err != nil {
			b.Fatal(err)
		}
		a, err := Respond(parties, s, p.Share())
		if err != nil {
			b.Fatal(err)
		}
		last, _, err := p.Finish(a.Share, a.Confirm)
		if err != nil {
			b.Fatal(err)
		}
		if _, err := a.Check(last); err != nil {
			b.Fatal(err)
		}
	}
}
