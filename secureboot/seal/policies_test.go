// SPDX-License-Identifier: Apache-2.0

package seal

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"errors"
	"testing"
)

func p256(t testing.TB) *ecdsa.PrivateKey {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// example is policies.cbor with every kind of line, and the root that it is for.
func example(t testing.TB) ([]byte, RootKey) {
	t.Helper()
	root, policy := p256(t), p256(t)
	b, err := MakePolicies(Release{Version: 7, Generation: 2, Predictions: []Prediction{
		{State, map[int][32]byte{11: {1}}},
		{Identity, map[int][32]byte{7: {3}, 11: {2}}},
		{Owner, map[int][32]byte{11: {2}}},
	}}, 1, root, policy)
	if err != nil {
		t.Fatal(err)
	}
	return b, RootKey{1, &root.PublicKey}
}

func TestPoliciesHaveOneSpelling(t *testing.T) {
	b, root := example(t)
	p, err := ParsePolicies(b)
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Verify(root); err != nil {
		t.Fatal(err)
	}
	if again, err := p.Marshal(); err != nil || !bytes.Equal(again, b) {
		t.Errorf("Marshal: %x, %v; want %x", again, err, b)
	}
	if len(p.Approvals) != 3 || len(p.Delegations) != 3 || len(p.Writes) != 2 {
		t.Errorf("%d approvals, %d delegations, %d writes", len(p.Approvals), len(p.Delegations), len(p.Writes))
	}
	t.Logf("policies.cbor of one release: %d bytes", len(b))
}

// Every bit counts: what is altered is not parsed, or not verified. One line of
// each kind is enough.
func TestPoliciesAltered(t *testing.T) {
	private, policy := p256(t), p256(t)
	root := RootKey{1, &private.PublicKey}
	parts := make([]*Policies, 3)
	var errs [3]error
	parts[0], errs[0] = Delegate(1, private, 2, &policy.PublicKey, State)
	parts[1], errs[1] = AllowWrite(1, private, Floor, 7, false)
	parts[2], errs[2] = Approve(Release{Version: 7, Generation: 2, Predictions: []Prediction{{State, map[int][32]byte{11: {1}}}}}, root, policy)
	if err := errors.Join(errs[:]...); err != nil {
		t.Fatal(err)
	}
	p, err := Merge(parts...)
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Verify(root); err != nil {
		t.Fatal(err)
	}
	b, err := p.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	for i := range b {
		altered := bytes.Clone(b)
		altered[i] ^= 1 << (i % 8)
		p, err := ParsePolicies(altered)
		if err != nil {
			continue
		}
		if err := p.Verify(root); err == nil {
			t.Errorf("byte %d of %d altered, and verified", i, len(b))
		}
	}
	for i := range b {
		if _, err := ParsePolicies(b[:i]); err == nil {
			t.Errorf("cut after %d bytes, and parsed", i)
		}
	}
	if _, err := ParsePolicies(append(b, 0)); err == nil {
		t.Error("parsed with a byte behind it")
	}
}

func TestPoliciesRefused(t *testing.T) {
	b, root := example(t)
	good := func() *Policies {
		p, err := ParsePolicies(b)
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	for name, spoil := range map[string]func(*Policies){
		"format":             func(p *Policies) { p.Format = 0 },
		"too many lines":     func(p *Policies) { p.Approvals = make([]Approval, maxEntries+1) },
		"unknown root":       func(p *Policies) { p.Approvals[0].Root = 2 },
		"root 0":             func(p *Policies) { p.Roots[0] = p.Roots[1] },
		"root 9":             func(p *Policies) { p.Roots[MaxRoots+1] = p.Roots[1] },
		"root off the curve": func(p *Policies) { k := p.Roots[1]; k[64] ^= 1; p.Roots[1] = k },
		"key off the curve":  func(p *Policies) { p.Delegations[0].Key[64] ^= 1 },
		"approval to write":  func(p *Policies) { p.Approvals[0].Use = Floor },
		"delegation of root": func(p *Policies) { p.Delegations[0].Use = Floor },
		"write of a secret":  func(p *Policies) { p.Writes[0].Use = State },
		"unknown use":        func(p *Policies) { p.Approvals[0].Use = "in-camera/state/v2" },
		"no PCR":             func(p *Policies) { p.Approvals[0].PCRs = 0 },
		"without PCR 11":     func(p *Policies) { p.Approvals[0].PCRs = 1 << 7 },
		"PCR of firmware":    func(p *Policies) { p.Approvals[0].PCRs |= 1 },
		"PCR of debugging":   func(p *Policies) { p.Approvals[0].PCRs |= 1 << 16 },
	} {
		p := good()
		spoil(p)
		if _, err := p.Marshal(); err == nil {
			t.Errorf("%s: encoded", name)
		}
		raw, err := encMode.Marshal(p)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := ParsePolicies(raw); !errors.Is(err, errMalformed) {
			t.Errorf("%s: %v", name, err)
		}
	}
	newer := bytes.Clone(b)
	newer[1] = 2
	if _, err := ParsePolicies(newer); !errors.Is(err, ErrVersion) {
		t.Errorf("format 2: %v", err)
	}
	if _, err := ParsePolicies(make([]byte, maxPolicies+1)); !errors.Is(err, errMalformed) {
		t.Errorf("too long: %v", err)
	}
	// Same meaning, other bytes: the array with its length in a second byte.
	if _, err := ParsePolicies(append([]byte{0x98, 5}, b[1:]...)); !errors.Is(err, errMalformed) {
		t.Errorf("second spelling: %v", err)
	}
	if err := good().Verify(RootKey{2, root.Key}); !errors.Is(err, ErrUntrusted) {
		t.Errorf("Verify for a root that it does not speak for: %v", err)
	}
	other := p256(t)
	if err := good().Verify(RootKey{1, &other.PublicKey}); !errors.Is(err, ErrPolicies) {
		t.Errorf("Verify under another root: %v", err)
	}
	if err := good().Verify(RootKey{}); err == nil {
		t.Error("Verify under no root")
	}
}

func TestBuildRefuses(t *testing.T) {
	root, policy := p256(t), p256(t)
	p384, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	predictions := func(pcrs map[int][32]byte) Release {
		return Release{Version: 1, Generation: 1, Predictions: []Prediction{{State, pcrs}}}
	}
	good := predictions(map[int][32]byte{11: {1}})
	for name, f := range map[string]func() error{
		"PCR without value": func() error {
			_, err := MakePolicies(predictions(map[int][32]byte{11: {}}), 1, root, policy)
			return err
		},
		"no PCR": func() error { _, err := MakePolicies(predictions(nil), 1, root, policy); return err },
		"PCR 24": func() error {
			_, err := MakePolicies(predictions(map[int][32]byte{11: {1}, 24: {1}}), 1, root, policy)
			return err
		},
		"generation 0": func() error { _, err := MakePolicies(good, 0, root, policy); return err },
		"root P-384":   func() error { _, err := MakePolicies(good, 1, p384, policy); return err },
		"key P-384":    func() error { _, err := MakePolicies(good, 1, root, p384); return err },
		"two roots of one generation": func() error {
			a, err := AllowWrite(1, root, Floor, 2, false)
			if err != nil {
				t.Fatal(err)
			}
			b, err := AllowWrite(1, policy, Floor, 3, false)
			if err != nil {
				t.Fatal(err)
			}
			_, err = Merge(a, b)
			return err
		},
		"delegation of an index": func() error { _, err := Delegate(1, root, 1, &policy.PublicKey, Floor); return err },
		"write of a secret":      func() error { _, err := AllowWrite(1, root, State, 1, true); return err },
	} {
		if f() == nil {
			t.Errorf("%s: built", name)
		}
	}
	if _, err := MakePolicies(good, 1, root, policy); err != nil {
		t.Errorf("what is right: %v", err)
	}
}

func FuzzParsePolicies(f *testing.F) {
	b, root := example(f)
	f.Add(b)
	f.Add([]byte{0x85, 1, 0xa0, 0xf6, 0xf6, 0xf6})
	f.Add([]byte{0x85, 1, 0xa0, 0x80, 0x80, 0x80})
	f.Add([]byte{0x85, 2})
	f.Fuzz(func(t *testing.T, b []byte) {
		p, err := ParsePolicies(b)
		if err != nil {
			return
		}
		if again, err := p.Marshal(); err != nil || !bytes.Equal(again, b) {
			t.Errorf("%x has the second spelling %x, %v", b, again, err)
		}
		_ = p.Verify(root)
		policy, err := AuthPolicy(root, State)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = p.chains(State, policy)
	})
}
