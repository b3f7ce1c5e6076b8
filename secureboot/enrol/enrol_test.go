// SPDX-License-Identifier: Apache-2.0

package enrol

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"incamera/secureboot/evidence"
)

func newKey(t testing.TB) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func newAuthority(t testing.TB, s Site) *Authority {
	t.Helper()
	rootKey, issuingKey := newKey(t), newKey(t)
	root, err := NewRoot(s, rootKey, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	issuing, err := NewIssuing(s, root, rootKey, issuingKey.Public(), time.Now())
	if err != nil {
		t.Fatal(err)
	}
	a, err := NewAuthority(root, issuing, issuingKey)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

var example = Site{Name: "Example", Domain: "rooms.example"}

// TestIssue has openssl judge what the CA issues: the chain, the usages, and
// that a name outside of the site's is refused although the key has signed it.
func TestIssue(t *testing.T) {
	if _, err := exec.LookPath("openssl"); err != nil {
		t.Fatalf("of the package openssl: %v", err)
	}
	a := newAuthority(t, example)
	now := time.Now()
	ear := []byte("\x83\x60\x40\x08")
	grant := Grant{Room: "lobby", Name: "Lobby", Use: UseIdentity, Key: &newKey(t).PublicKey, Result: ear, Life: MaxLife}
	identity, err := a.Issue(grant, now)
	if err != nil {
		t.Fatal(err)
	}
	grant.Use, grant.Key = UseLeaf, &newKey(t).PublicKey
	leaf, err := a.Issue(grant, now)
	if err != nil {
		t.Fatal(err)
	}
	foreign, err := sign(&x509.Certificate{
		NotBefore: now.Add(-skew), NotAfter: now.Add(time.Hour), DNSNames: []string{"lobby.other.example"},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}, a.issuing, &newKey(t).PublicKey, a.key)
	if err != nil {
		t.Fatal(err)
	}
	address, err := sign(&x509.Certificate{
		NotBefore: now.Add(-skew), NotAfter: now.Add(time.Hour), IPAddresses: []net.IP{net.IPv4(192, 0, 2, 1)},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}, a.issuing, &newKey(t).PublicKey, a.key)
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		name, purpose string
		der           []byte
		ok            bool
	}{
		{"identity as server", "sslserver", identity[0], true},
		{"identity as client", "sslclient", identity[0], true},
		{"leaf", "any", leaf[0], true},
		{"leaf as server", "sslserver", leaf[0], false},
		{"leaf as client", "sslclient", leaf[0], false},
		{"foreign name", "sslserver", foreign.Raw, false},
		{"address", "sslserver", address.Raw, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			dir := t.TempDir()
			for name, der := range map[string][]byte{"root.pem": a.root.Raw, "issuing.pem": a.issuing.Raw, "leaf.pem": test.der} {
				if err := os.WriteFile(filepath.Join(dir, name), pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			cmd := exec.CommandContext(t.Context(), "openssl", "verify", "-x509_strict", "-purpose", test.purpose, "-CAfile", "root.pem", "-untrusted", "issuing.pem", "leaf.pem")
			cmd.Dir = dir
			out, err := cmd.CombinedOutput()
			if (err == nil) != test.ok {
				t.Errorf("openssl verify: %v\n%s", err, out)
			}
			roots, issuing := x509.NewCertPool(), x509.NewCertPool()
			roots.AddCert(a.root)
			issuing.AddCert(a.issuing)
			usage := map[string]x509.ExtKeyUsage{"sslserver": x509.ExtKeyUsageServerAuth, "sslclient": x509.ExtKeyUsageClientAuth, "any": x509.ExtKeyUsageAny}
			cert, err := x509.ParseCertificate(test.der)
			if err != nil {
				t.Fatal(err)
			}
			_, err = cert.Verify(x509.VerifyOptions{Roots: roots, Intermediates: issuing, KeyUsages: []x509.ExtKeyUsage{usage[test.purpose]}})
			if (err == nil) != test.ok {
				t.Errorf("crypto/x509: %v", err)
			}
		})
	}
	cert, err := x509.ParseCertificate(identity[0])
	if err != nil {
		t.Fatal(err)
	}
	if got, err := evidence.FromCertificate(cert); err != nil || !bytes.Equal(got, ear) {
		t.Errorf("result in the certificate: %x, %v", got, err)
	}
	if life := cert.NotAfter.Sub(now); life > MaxLife || life < MaxLife-time.Minute {
		t.Errorf("life %v", life)
	}
}

func TestIssueRefuses(t *testing.T) {
	a := newAuthority(t, example)
	good := Grant{Room: "lobby", Name: "Lobby", Use: UseLeaf, Key: &newKey(t).PublicKey, Life: time.Hour}
	if _, err := a.Issue(good, time.Now()); err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(*Grant){
		"no id":          func(g *Grant) { g.Room = "" },
		"id with a dot":  func(g *Grant) { g.Room = "a.b" },
		"invisible name": func(g *Grant) { g.Name = "Lob\u202eby" },
		"no key":         func(g *Grant) { g.Key = nil },
		"too long":       func(g *Grant) { g.Life = MaxLife + 1 },
		"no life":        func(g *Grant) { g.Life = 0 },
		"other use":      func(g *Grant) { g.Use = "ca" },
		"address":        func(g *Grant) { g.Addresses = []net.IP{net.IPv4(192, 0, 2, 1)} },
	} {
		g := good
		change(&g)
		if _, err := a.Issue(g, time.Now()); err == nil {
			t.Errorf("%s: issued", name)
		}
	}
	if _, err := a.Issue(good, time.Now().Add(issuingLife+time.Hour)); err == nil {
		t.Error("issued after the end of the issuing certificate")
	}
	// Networks of the site are permitted.
	_, network, _ := net.ParseCIDR("192.0.2.0/24")
	with := newAuthority(t, Site{Name: "Example", Domain: "rooms.example", Networks: []net.IPNet{*network}})
	good.Addresses = []net.IP{net.IPv4(192, 0, 2, 1)}
	if _, err := with.Issue(good, time.Now()); err != nil {
		t.Errorf("an address of the site: %v", err)
	}
	good.Addresses = []net.IP{net.IPv4(198, 51, 100, 1)}
	if _, err := with.Issue(good, time.Now()); err == nil {
		t.Error("issued for an address outside of the site")
	}
	// A root that is not constrained, or another's, makes no authority.
	b := newAuthority(t, example)
	if _, err := NewAuthority(b.root, a.issuing, a.key); err == nil {
		t.Error("an authority under a root that did not sign it")
	}
	if _, err := NewAuthority(a.root, a.issuing, b.key); err == nil {
		t.Error("an authority with another key")
	}
	for _, s := range []Site{{Name: "", Domain: "a.example"}, {Name: "A", Domain: ""}, {Name: "A", Domain: ".example"}, {Name: "A", Domain: "Ex.ample"}} {
		if _, err := NewRoot(s, newKey(t), time.Now()); err == nil {
			t.Errorf("a root for %+v", s)
		}
	}
}

func TestCode(t *testing.T) {
	c := NewCode()
	if got := fmt.Sprint(c, &c) + fmt.Sprintf("%v %s", c, c); strings.Contains(got, c.text) {
		t.Errorf("a code prints as %s", got)
	}
	if got := c.Text(); len(got) != 19 {
		t.Errorf("Text = %q", got)
	}
	for _, s := range []string{c.Text(), strings.ToLower(c.text), " " + c.text + " ", strings.ReplaceAll(c.Text(), "-", " "), strings.ReplaceAll(strings.ReplaceAll(c.Text(), "0", "o"), "1", "L")} {
		if got, err := ParseCode(s); err != nil || got != c {
			t.Errorf("ParseCode(%q) = %v, %v", s, got, err)
		}
	}
	for _, s := range []string{"", c.text[:15], c.text + "0", strings.Repeat("-", 200) + c.text, c.text[:15] + "U", c.text[:15] + "é"} {
		if _, err := ParseCode(s); !errors.Is(err, ErrCode) {
			t.Errorf("ParseCode(%q) = %v, want ErrCode", s, err)
		}
	}
	if c.Hash("IC-1") == c.Hash("IC-2") {
		t.Error("a code has one hash for two boxes")
	}
	seen := map[rune]bool{}
	for range 200 {
		for _, r := range NewCode().text {
			seen[r] = true
		}
	}
	if len(seen) != 32 {
		t.Errorf("3200 characters of codes have %d kinds, want 32", len(seen))
	}
}

func TestVoucher(t *testing.T) {
	a, other := newAuthority(t, example), newAuthority(t, example)
	now := time.Now()
	b, v, err := a.SignVoucher(CodeRequest{Serial: "IC-1", Room: "lobby", Name: "Lobby"}, [32]byte{1}, now)
	if err != nil {
		t.Fatal(err)
	}
	got, err := a.CheckVoucher(b, "IC-1", now.Add(CodeLife))
	if err != nil || got.Room != "lobby" || got.Name != "Lobby" || !bytes.Equal(got.ID, v.ID) || got.Verifier[0] != 1 {
		t.Errorf("CheckVoucher = %+v, %v", got, err)
	}
	_, again, err := a.SignVoucher(CodeRequest{Serial: "IC-1", Room: "lobby", Name: "Lobby"}, [32]byte{1}, now)
	if err != nil || bytes.Equal(again.ID, v.ID) {
		t.Errorf("two vouchers with one id: %v", err)
	}
	for name, err := range map[string]error{
		"another box":  err2(a.CheckVoucher(b, "IC-2", now)),
		"too late":     err2(a.CheckVoucher(b, "IC-1", now.Add(CodeLife+2*time.Second))),
		"long before":  err2(a.CheckVoucher(b, "IC-1", now.Add(-time.Hour))),
		"another site": err2(other.CheckVoucher(b, "IC-1", now)),
		"empty":        err2(a.CheckVoucher(nil, "IC-1", now)),
		"trailing":     err2(a.CheckVoucher(append(bytes.Clone(b), 0), "IC-1", now)),
		"too long":     err2(a.CheckVoucher(make([]byte, maxVoucher+1), "IC-1", now)),
	} {
		if !errors.Is(err, ErrCode) {
			t.Errorf("%s: %v, want ErrCode", name, err)
		}
	}
	for i := range b {
		flipped := bytes.Clone(b)
		flipped[i] ^= 0x04
		if _, err := a.CheckVoucher(flipped, "IC-1", now); !errors.Is(err, ErrCode) {
			t.Errorf("byte %d flipped: %v, want ErrCode", i, err)
		}
	}
}

func err2[T any](_ T, err error) error { return err }

// FuzzVoucher: what is taken was signed, so nothing but the seed is.
func FuzzVoucher(f *testing.F) {
	a := newAuthority(f, example)
	now := time.Now()
	b, _, err := a.SignVoucher(CodeRequest{Serial: "IC-1", Room: "lobby", Name: "Lobby"}, [32]byte{1}, now)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Fuzz(func(t *testing.T, in []byte) {
		if _, err := a.CheckVoucher(in, "IC-1", now); (err == nil) != bytes.Equal(in, b) {
			t.Errorf("CheckVoucher(%x) = %v", in, err)
		}
	})
}

// FuzzPublic: a public area that is taken has one spelling, whichever check
// takes it.
func FuzzPublic(f *testing.F) {
	f.Add([]byte{0, 0x23, 0, 0x0b, 0, 3, 4, 0x72})
	f.Fuzz(func(t *testing.T, in []byte) {
		pub, name, err := parsePublic(in)
		if err != nil {
			return
		}
		if len(name.Buffer) < 2 {
			t.Errorf("no name for %x", in)
		}
		_, _ = endorsementKey(pub)
		_, _ = CheckAK(in)
		_, _ = signingKey(pub, make([]byte, 32))
	})
}

// FuzzEKCertificate: whatever the bytes, no root that did not sign vouches.
func FuzzEKCertificate(f *testing.F) {
	a := newAuthority(f, example)
	f.Add(a.root.Raw)
	f.Add(a.issuing.Raw)
	f.Fuzz(func(t *testing.T, der []byte) {
		if _, err := verifyEKChain([][]byte{der}, x509.NewCertPool(), time.Now()); !errors.Is(err, ErrEKUntrusted) {
			t.Errorf("verifyEKChain = %v, want ErrEKUntrusted", err)
		}
	})
}

// FuzzDecode: what is taken is within its bounds, and comes back as it was.
func FuzzDecode(f *testing.F) {
	f.Add([]byte(`{"device":"lobby"}`))
	f.Add([]byte(`{"code":"0000000000000000","serial":"IC-1","ek":"AA==","ak":"AA==","srk_name":"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=="}`))
	f.Add([]byte(`{"session":"00000000000000000000000000000000","secret":"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="}`))
	f.Fuzz(func(t *testing.T, in []byte) {
		decodes[BeginRequest](t, in)
		decodes[FinishRequest](t, in)
		decodes[AckRequest](t, in)
		decodes[ChallengeRequest](t, in)
		decodes[RenewRequest](t, in)
		decodes[CodeRequest](t, in)
		decodes[EKRequest](t, in)
		decodes[ReferenceDocument](t, in)
	})
}

func decodes[T Body](t *testing.T, in []byte) {
	t.Helper()
	v, err := Decode[T](bytes.NewReader(in))
	if err != nil {
		if !errors.Is(err, ErrMalformed) {
			t.Errorf("%T: %v, want ErrMalformed", v, err)
		}
		return
	}
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Decode[T](bytes.NewReader(b)); err != nil {
		t.Errorf("%T: what was taken is refused when written again: %v", v, err)
	}
}
