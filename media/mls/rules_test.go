// SPDX-License-Identifier: Apache-2.0

package mls

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"math/big"
	"slices"
	"testing"
	"time"
)

// TestKeyPackageRules has a row for each rule of Sections 7.3 and 10.1 that a
// KeyPackage can break.
func TestKeyPackageRules(t *testing.T) {
	s := suiteOf(t, P256AES128GCMSHA256P256)
	c := testConfig(t, s, "x")
	other := testConfig(t, s, "y")
	if _, err := ParseKeyPackage(newcomer(t, c, func(*KeyPackage) {}).Message()); err != nil {
		t.Fatalf("nothing changed, and refused: %v", err)
	}
	for _, row := range []struct {
		what   string
		change func(*KeyPackage)
		want   error
	}{
		{"version", func(k *KeyPackage) { k.version = 2 }, ErrInvalid},
		{"suite of other keys", func(k *KeyPackage) { k.suite = P384AES256GCMSHA384P384 }, ErrMalformed},
		{"unknown suite", func(k *KeyPackage) { k.suite = 0x7777 }, ErrUnsupported},
		{"init key is the encryption key", func(k *KeyPackage) { k.initKey = k.leaf.encryptionKey }, ErrInvalid},
		{"init key off the curve", func(k *KeyPackage) { k.initKey = make([]byte, 65) }, ErrMalformed},
		{"encryption key of the wrong size", func(k *KeyPackage) { k.leaf.encryptionKey = k.leaf.encryptionKey[1:] }, ErrMalformed},
		{"leaf of an update", func(k *KeyPackage) { k.leaf.source = sourceUpdate }, ErrInvalid},
		{"leaf of a commit", func(k *KeyPackage) { k.leaf.source = sourceCommit }, ErrInvalid},
		{"version not listed", func(k *KeyPackage) { k.leaf.capabilities.Versions = nil }, ErrInvalid},
		{"own credential type not listed", func(k *KeyPackage) { k.leaf.capabilities.Credentials = []CredentialType{X509Credential} }, ErrInvalid},
		{"own extension not listed", func(k *KeyPackage) { k.leaf.extensions = append(k.leaf.extensions, Extension{Type: 0xF321}) }, ErrInvalid},
		{"extension twice", func(k *KeyPackage) { k.leaf.extensions = append(k.leaf.extensions, k.leaf.extensions[0]) }, ErrMalformed},
		{"package extension twice", func(k *KeyPackage) { k.extensions = append(k.extensions, k.extensions[0]) }, ErrMalformed},
		{"key of somebody else", func(k *KeyPackage) { k.leaf.signatureKey = other.Signer.Public() }, ErrRefused},
		{"components out of order", func(k *KeyPackage) {
			k.leaf.extensions = append(k.leaf.extensions, Extension{Type: ExtAppDataDictionary, Data: []byte{6, 0, 2, 0, 0, 1, 0}})
		}, ErrMalformed},
		{"certificate chain without certificates", func(k *KeyPackage) { k.leaf.credential = Credential{Type: X509Credential} }, ErrInvalid},
		{"certificate that does not parse", func(k *KeyPackage) {
			k.leaf.credential = Credential{Type: X509Credential, Certificates: [][]byte{{1, 2, 3}}}
		}, ErrInvalid},
		{"certificate of another key", func(k *KeyPackage) { k.leaf.credential = certificateOf(t, s) }, ErrInvalid},
		{"too many extensions", func(k *KeyPackage) {
			for i := range maxExtensions + 1 {
				k.extensions = append(k.extensions, Extension{Type: ExtensionType(0xF000 + i)})
			}
		}, ErrLimit},
		{"too many capabilities", func(k *KeyPackage) { k.leaf.capabilities.Extensions = make([]ExtensionType, maxCapabilities+1) }, ErrLimit},
	} {
		t.Run(row.what, func(t *testing.T) {
			if _, err := ParseKeyPackage(newcomer(t, c, row.change).Message()); !errors.Is(err, row.want) {
				t.Errorf("parse: %v; want %v", err, row.want)
			}
		})
	}
	b := newBundle(t, c)
	broken := *b.pkg
	broken.encode(append(slices.Clone(b.pkg.signature[:len(b.pkg.signature)-1]), b.pkg.signature[len(b.pkg.signature)-1]^1))
	if _, err := ParseKeyPackage((&KeyPackageBundle{pkg: &broken}).Message()); !errors.Is(err, ErrRefused) {
		t.Errorf("another signature: %v", err)
	}
}

// certificate makes a self-signed certificate of a key.
func certificate(tb testing.TB, key crypto.Signer) []byte {
	tb.Helper()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "room"},
		NotBefore: fixedNow().Add(-time.Hour), NotAfter: fixedNow().Add(time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		tb.Fatal(err)
	}
	return der
}

func certificateOf(tb testing.TB, s *Suite) Credential {
	tb.Helper()
	return x509Config(tb, s).Credential
}

// x509Config is a configuration with a certificate.
func x509Config(tb testing.TB, s *Suite) Config {
	tb.Helper()
	var key crypto.Signer
	if s.scheme == Ed25519 {
		_, k, err := ed25519.GenerateKey(rand.Reader)
		if err != nil {
			tb.Fatal(err)
		}
		key = k
	} else {
		c, err := curve(s.scheme)
		if err != nil {
			tb.Fatal(err)
		}
		k, err := ecdsa.GenerateKey(c, rand.Reader)
		if err != nil {
			tb.Fatal(err)
		}
		key = k
	}
	signer, err := SignerFrom(key)
	if err != nil {
		tb.Fatal(err)
	}
	return Config{
		Suite: s, Signer: signer, Credential: Credential{Type: X509Credential, Certificates: [][]byte{certificate(tb, key)}},
		Authenticator: anyone{}, Now: fixedNow,
	}
}

func TestX509Members(t *testing.T) { // Section 5.3
	for _, s := range Suites() {
		first, err := Create(t.Context(), x509Config(t, s), []byte("group"))
		if err != nil {
			t.Fatal(err)
		}
		c := x509Config(t, s)
		b := newBundle(t, c)
		p := commitAll(t, first, nil, Add(parsed(t, b, s)))
		second, err := Join(t.Context(), c, p.Welcome, b)
		if err != nil {
			t.Fatal(err)
		}
		same(t, first, second)
		if m, ok := first.Member(1); !ok || !m.Credential.Equal(c.Credential) {
			t.Errorf("%v: member %+v", s, m)
		}
	}
	other, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := x509Config(t, suiteOf(t, 2))
	c.Credential.Certificates[0] = certificate(t, other)
	if _, err := Create(t.Context(), c, nil); !errors.Is(err, ErrInvalid) {
		t.Errorf("a certificate on another curve: %v", err)
	}
}

func TestCredentialTypesAreKnownToAll(t *testing.T) { // Section 7.3
	s := suiteOf(t, 1)
	g := newGroup(t, s, 2)
	c := testConfig(t, s, "narrow")
	narrow := newcomer(t, c, func(k *KeyPackage) { k.leaf.capabilities.Credentials = []CredentialType{BasicCredential} })
	commitAll(t, g[0], g[1:], Add(narrow.pkg))
	add := Add(newBundle(t, x509Config(t, s)).pkg)
	refusesCommit(t, g[1], forge(t, g[0], byValue(add)), "7.3")
	_, err := g[0].Commit(t.Context(), []Proposal{add})
	refused(t, err, "7.3")
	commitAll(t, g[0], g[1:], Remove(2), add) // without the one who does not know it
}

// choosy takes everyone but some.
type choosy struct{ refuse string }

var errChoosy = errors.New("not on the list")

func (c choosy) Authenticate(x Credential, _ []byte) error {
	if string(x.Identity) == c.refuse {
		return errChoosy
	}
	return nil
}

func TestAuthenticatorIsAsked(t *testing.T) { // Section 5.3.1
	s := suiteOf(t, 1)
	g := newGroup(t, s, 2)
	g[1].cfg.Authenticator = choosy{"mallory"}
	mallory := testConfig(t, s, "mallory")
	b := newBundle(t, mallory)
	was := stateOf(t, g[1])
	add, err := g[0].Commit(t.Context(), []Proposal{Add(b.pkg)})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := g[1].Stage(t.Context(), add.Message); !errors.Is(err, ErrInvalid) || !errors.Is(err, errChoosy) {
		t.Errorf("Add: %v", err)
	}
	add.Discard()
	g[0].cfg.Credential.Identity = []byte("mallory") // a leaf that changes its name
	p, err := g[0].Commit(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := g[1].Stage(t.Context(), p.Message); !errors.Is(err, errChoosy) {
		t.Errorf("path: %v", err)
	}
	unchanged(t, g[1], was)
	p = commitAll(t, g[0], nil, Add(b.pkg))
	mallory.Authenticator = choosy{"1"} // a joiner asks about everyone
	if _, err := Join(t.Context(), mallory, p.Welcome, b); !errors.Is(err, errChoosy) {
		t.Errorf("Join: %v", err)
	}
	if _, err := g[0].Commit(t.Context(), nil); err != nil {
		t.Error(err)
	}
}

// TestListRules has a row for each rule of Section 12.2 and 12.1 that a list by
// value can break.
func TestListRules(t *testing.T) {
	s := suiteOf(t, 1)
	g := newGroup(t, s, 4)
	commitAll(t, g[0], []*Group{g[1], g[2]}, Remove(3)) // and leaf 3 is gone
	update := Proposal{kind: ProposalUpdate, update: g[0].cur.tree.leaf(0)}
	for _, row := range []struct {
		what    string
		list    []Proposal
		section string
	}{
		{"own Update", []Proposal{update}, "7.3"},
		{"committer removes itself", []Proposal{Remove(0)}, "12.2"},
		{"Remove twice", []Proposal{Remove(1), Remove(1)}, "12.2"},
		{"Remove of a blank leaf", []Proposal{Remove(3)}, "12.1.3"},
		{"Remove beyond the tree", []Proposal{Remove(1 << 31)}, "12.1.3"},
		{"extensions twice", []Proposal{SetExtensions(nil), SetExtensions(nil)}, "12.2"},
		{"ratchet tree in the context", []Proposal{SetExtensions([]Extension{{Type: ExtRatchetTree}})}, "17.3"},
		{"external pub in the context", []Proposal{SetExtensions([]Extension{{Type: ExtExternalPub}})}, "17.3"},
		{"an extension nobody supports", []Proposal{SetExtensions([]Extension{{Type: 0xF777}})}, "12.4"},
	} {
		t.Run(row.what, func(t *testing.T) {
			refusesCommit(t, g[1], forge(t, g[0], byValue(row.list...)), row.section)
		})
	}
	_, err := g[0].Commit(t.Context(), []Proposal{SetExtensions([]Extension{{Type: 0xF777}})})
	refused(t, err, "7.3")
	reinit := Proposal{kind: ProposalReInit, reInit: &reInit{groupID: []byte("new"), version: MLS10, suite: 1}}
	if _, err := g[1].Stage(t.Context(), forge(t, g[0], byValue(reinit))); !errors.Is(err, ErrUnsupported) {
		t.Errorf("ReInit: %v", err)
	}
	if _, err := g[0].Commit(t.Context(), []Proposal{Update()}); err == nil {
		t.Error("Commit took an Update of its own")
	}
	var many []Proposal
	for range maxProposals + 1 {
		many = append(many, Remove(1))
	}
	if _, err := g[1].Stage(t.Context(), forge(t, g[0], byValue(many...))); !errors.Is(err, ErrLimit) {
		t.Errorf("%d proposals: %v", len(many), err)
	}
	if _, err := g[1].Stage(t.Context(), forge(t, g[0], byValue(ByReference([]byte("unknown"))))); !errors.Is(err, ErrUnknownProposal) {
		t.Errorf("an unknown reference: %v", err)
	}
	// Two proposals for one leaf, one of them its own Update.
	msg, ref, err := g[2].Propose(t.Context(), Update())
	if err != nil {
		t.Fatal(err)
	}
	for _, to := range g[:2] {
		if _, err := to.ReceiveProposal(t.Context(), msg); err != nil {
			t.Fatal(err)
		}
	}
	refusesCommit(t, g[1], forge(t, g[0], byValue(ByReference(ref), Remove(2))), "12.2")
	refusesCommit(t, g[1], forge(t, g[0], byValue(ByReference(ref), ByReference(ref))), "12.2")
	refusesCommit(t, g[0], forge(t, g[2], byValue(ByReference(ref))), "12.2")
}

func TestProposalsByReference(t *testing.T) { // Section 12.1, 12.4
	for _, plain := range []bool{false, true} {
		s := suiteOf(t, 1)
		g := newGroup(t, s, 4)
		for _, m := range g {
			m.cfg.Plain = plain
		}
		send := func(from *Group, p Proposal) Proposal {
			t.Helper()
			msg, ref, err := from.Propose(t.Context(), p)
			if err != nil {
				t.Fatal(err)
			}
			for _, to := range g {
				if to == from {
					continue
				}
				got, err := to.ReceiveProposal(t.Context(), msg)
				if err != nil {
					t.Fatal(err)
				}
				if got.Sender != from.Self() || got.External || got.Proposal.Type() != p.Type() {
					t.Errorf("received %+v", got)
				}
			}
			return ByReference(ref)
		}
		c := testConfig(t, s, "new")
		b := newBundle(t, c)
		list := []Proposal{send(g[1], Update()), send(g[2], Add(parsed(t, b, s))), send(g[3], Remove(2)), Remove(3)}
		old := g[1].cur.tree.leaf(1).encryptionKey
		p := commitAll(t, g[0], g[1:], list...)
		joined, err := Join(t.Context(), c, p.Welcome, b)
		if err != nil {
			t.Fatal(err)
		}
		same(t, g[0], g[1], joined)
		if !g[2].Removed() || !g[3].Removed() {
			t.Error("removed members do not know it")
		}
		if m, _ := g[0].Member(1); string(m.EncryptionKey) == string(old) {
			t.Error("the Update changed nothing")
		}
		if d := p.Diff(); !d.ByReference || len(d.Updated) != 2 || len(d.Previous) != 2 || len(d.Removed) != 2 || len(d.Added) != 1 {
			t.Errorf("diff %+v", d)
		}
		commitAll(t, g[1], []*Group{g[0], joined}) // with its updated key
		same(t, g[0], g[1], joined)
	}
}

func TestWaitingProposalsAreBounded(t *testing.T) {
	g := newGroup(t, suiteOf(t, 1), 2)
	for i := range maxCachedPerSender + 1 {
		msg, _, err := g[0].Propose(t.Context(), ExternalPSK([]byte{byte(i)}))
		if i == maxCachedPerSender {
			if !errors.Is(err, ErrLimit) {
				t.Errorf("proposal %d: %v", i, err)
			}
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if _, err := g[1].ReceiveProposal(t.Context(), msg); err != nil {
			t.Fatal(err)
		}
		if _, err := g[1].ReceiveProposal(t.Context(), msg); !errors.Is(err, ErrReplayed) {
			t.Errorf("again: %v", err)
		}
		if _, err := g[0].ReceiveProposal(t.Context(), msg); !errors.Is(err, ErrOwn) {
			t.Errorf("own: %v", err)
		}
	}
}

func TestExternalSenders(t *testing.T) { // Section 12.1.8
	s := suiteOf(t, 1)
	authority := testConfig(t, s, "authority")
	c := testConfig(t, s, "0")
	g0, err := Create(t.Context(), c, []byte("group"), ExternalSendersExtension([]ExternalSender{
		{SignatureKey: authority.Signer.Public(), Credential: authority.Credential},
	}))
	if err != nil {
		t.Fatal(err)
	}
	g := grow(t, []*Group{g0}, 2)
	propose := func(k Signer, index uint32, epoch uint64, p Proposal) ([]byte, error) {
		return ProposeFromOutside(t.Context(), k, index, []byte("group"), epoch, p)
	}
	msg, err := propose(authority.Signer, 0, g0.Epoch(), Remove(2))
	if err != nil {
		t.Fatal(err)
	}
	var ref []byte
	for _, to := range g {
		got, err := to.ReceiveProposal(t.Context(), msg)
		if err != nil {
			t.Fatal(err)
		}
		if !got.External {
			t.Error("not reported as external")
		}
		ref = got.Ref
	}
	for what, make := range map[string]func() ([]byte, error){
		"another key":   func() ([]byte, error) { return propose(c.Signer, 0, g0.Epoch(), Remove(2)) },
		"another index": func() ([]byte, error) { return propose(authority.Signer, 1, g0.Epoch(), Remove(2)) },
	} {
		bad, err := make()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := g0.ReceiveProposal(t.Context(), bad); !errors.Is(err, ErrRefused) {
			t.Errorf("%s: %v", what, err)
		}
	}
	if stale, err := propose(authority.Signer, 0, g0.Epoch()-1, Remove(2)); err != nil {
		t.Fatal(err)
	} else if _, err := g0.ReceiveProposal(t.Context(), stale); !errors.Is(err, ErrPastEpoch) {
		t.Errorf("past epoch: %v", err)
	}
	if _, err := propose(authority.Signer, 0, g0.Epoch(), Update()); !errors.Is(err, ErrInvalid) {
		t.Errorf("Update from outside: %v", err)
	}
	commitAll(t, g[0], g[1:], ByReference(ref))
	same(t, g[0], g[1])
	if !g[2].Removed() {
		t.Error("leaf 2 is still in")
	}
	self := testConfig(t, s, "self")
	b := newBundle(t, self)
	if msg, err = ProposeSelf(t.Context(), self.Signer, []byte("group"), g0.Epoch(), b); err != nil {
		t.Fatal(err)
	}
	for _, to := range g[:2] {
		got, err := to.ReceiveProposal(t.Context(), msg)
		if err != nil {
			t.Fatal(err)
		}
		ref = got.Ref
	}
	p := commitAll(t, g[0], g[1:2], ByReference(ref))
	joined, err := Join(t.Context(), self, p.Welcome, b)
	if err != nil {
		t.Fatal(err)
	}
	same(t, g[0], g[1], joined)
}

func TestPSKs(t *testing.T) { // Section 8.4, 8.6
	s := suiteOf(t, 1)
	g := newGroup(t, s, 3)
	for _, m := range g {
		m.cfg.PSKs = pskMap{"code": []byte("1234")}
	}
	commitAll(t, g[0], g[1:], ExternalPSK([]byte("code")), ResumptionPSK(g[0].ID(), g[0].Epoch()))
	same(t, g...)
	g[2].cfg.PSKs = pskMap{"code": []byte("1235")}
	p, err := g[0].Commit(t.Context(), []Proposal{ExternalPSK([]byte("code"))})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := g[2].Stage(t.Context(), p.Message); !errors.Is(err, ErrRefused) {
		t.Errorf("another key: %v", err)
	}
	if _, err := g[0].Commit(t.Context(), []Proposal{ExternalPSK([]byte("other"))}); !errors.Is(err, ErrUnknownPSK) {
		t.Errorf("an unknown key: %v", err)
	}
	first := g[0].Epoch()
	for range keepResumption {
		commitAll(t, g[0], g[1:])
	}
	if _, err := g[0].Commit(t.Context(), []Proposal{ResumptionPSK(g[0].ID(), first)}); !errors.Is(err, ErrUnknownPSK) {
		t.Errorf("older than the window: %v", err)
	}
	commitAll(t, g[0], g[1:], ResumptionPSK(g[0].ID(), first+1))
	same(t, g...)
}

func TestGREASE(t *testing.T) { // Section 13.5
	s := suiteOf(t, 1)
	seen := map[uint16]bool{}
	for range 300 {
		v := grease()
		if v&0x0f0f != 0x0a0a || v>>8 != v&0xff || v == 0xfafa {
			t.Fatalf("%#04x is not reserved", v)
		}
		seen[v] = true
	}
	if len(seen) < 10 {
		t.Errorf("only %d values were seen", len(seen))
	}
	k := parsed(t, newBundle(t, testConfig(t, s, "x")), s)
	c, reserved := k.leaf.capabilities, func(v uint16) bool { return v&0x0f0f == 0x0a0a }
	for what, has := range map[string]bool{
		"suites":      slices.ContainsFunc(c.Suites, func(v CipherSuite) bool { return reserved(uint16(v)) }),
		"proposals":   slices.ContainsFunc(c.Proposals, func(v ProposalType) bool { return reserved(uint16(v)) }),
		"credentials": slices.ContainsFunc(c.Credentials, func(v CredentialType) bool { return reserved(uint16(v)) }),
		"extensions":  slices.ContainsFunc(c.Extensions, func(v ExtensionType) bool { return reserved(uint16(v)) }),
		"leaf":        slices.ContainsFunc(k.leaf.extensions, func(e Extension) bool { return reserved(uint16(e.Type)) }),
		"package":     slices.ContainsFunc(k.extensions, func(e Extension) bool { return reserved(uint16(e.Type)) }),
	} {
		if !has {
			t.Errorf("no reserved value in %s", what)
		}
	}
	quiet := testConfig(t, s, "x")
	quiet.NoGREASE = true
	if l := parsed(t, newBundle(t, quiet), s).leaf; len(l.extensions) != 0 || len(l.capabilities.Suites) != 1 {
		t.Errorf("NoGREASE: %+v", l.capabilities)
	}
}

func TestLastResort(t *testing.T) {
	s := suiteOf(t, 1)
	c := testConfig(t, s, "x")
	c.LastResort = true
	b := newBundle(t, c)
	if !parsed(t, b, s).LastResort() {
		t.Fatal("not marked")
	}
	for i := range 2 {
		g, err := Create(t.Context(), testConfig(t, s, "0"), []byte{byte(i)})
		if err != nil {
			t.Fatal(err)
		}
		p := commitAll(t, g, nil, Add(b.pkg))
		joined, err := Join(t.Context(), c, p.Welcome, b)
		if err != nil {
			t.Fatalf("group %d: %v", i, err)
		}
		same(t, g, joined)
		commitAll(t, joined, []*Group{g})
		joined.Destroy()
	}
	once := newBundle(t, testConfig(t, s, "once"))
	g := newGroup(t, s, 1)[0]
	p := commitAll(t, g, nil, Add(once.pkg))
	if _, err := Join(t.Context(), testConfig(t, s, "once"), p.Welcome, once); err != nil {
		t.Fatal(err)
	}
	if _, err := Join(t.Context(), testConfig(t, s, "once"), p.Welcome, once); !errors.Is(err, errDestroyed) {
		t.Errorf("a bundle used twice: %v", err)
	}
	older := newcomer(t, testConfig(t, s, "y"), func(k *KeyPackage) { k.extensions = []Extension{{Type: ExtLastResort}} })
	if !parsed(t, older, s).LastResort() {
		t.Error("the older extension is not read")
	}
}

func TestSuiteNumberIsConfiguration(t *testing.T) {
	s, err := suiteOf(t, MLKEM768X25519AES256GCMSHA384Ed25519).WithID(0xF123)
	if err != nil {
		t.Fatal(err)
	}
	same(t, newGroup(t, s, 2)...)
	b := newBundle(t, testConfig(t, s, "x"))
	if _, err := ParseKeyPackage(b.Message()); !errors.Is(err, ErrUnsupported) {
		t.Errorf("a number nobody configured: %v", err)
	}
	if _, err := s.WithID(1); err == nil {
		t.Error("an assigned number was taken")
	}
}
