// SPDX-License-Identifier: Apache-2.0

package e2ee

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"math/big"
	"testing"
	"time"

	"incamera/media/mls"
)

// leafOf is a leaf with a certificate of that name; judge looks at no chain.
func leafOf(t *testing.T, index mls.LeafIndex, name, key string) mls.Member {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1),
		Subject:      pkix.Name{CommonName: name, Organization: []string{"Paris"}},
		NotBefore:    time.Now(), NotAfter: time.Now().Add(time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &k.PublicKey, k)
	if err != nil {
		t.Fatal(err)
	}
	return mls.Member{
		Index: index, SignatureKey: []byte(key),
		Credential: mls.Credential{Type: mls.X509Credential, Certificates: [][]byte{der}},
	}
}

// TestJudge breaks each objective rule alone. Some of these commits package mls
// or the session would not let come so far.
func TestJudge(t *testing.T) {
	leaves := []mls.Member{leafOf(t, 0, "Vauban", "a"), leafOf(t, 1, "Curie", "b")}
	before := &Epoch{Number: 4}
	for _, l := range leaves {
		m, _, err := newMember(l)
		if err != nil {
			t.Fatal(err)
		}
		before.Members = append(before.Members, m)
	}
	base := func() mls.Diff {
		return mls.Diff{Epoch: 5, Committer: 1, Updated: []mls.Member{leafOf(t, 1, "Curie", "b")}}
	}
	basic := leafOf(t, 2, "Monge", "c")
	basic.Credential = mls.Credential{Type: mls.BasicCredential, Identity: []byte("Monge")}
	for _, tt := range []struct {
		name   string
		change func(*mls.Diff)
		want   error
	}{
		{"empty commit", func(*mls.Diff) {}, nil},
		{"add", func(d *mls.Diff) {
			d.Proposals, d.Added = []mls.ProposalType{mls.ProposalAdd}, []mls.Member{leafOf(t, 2, "Monge", "c")}
		}, nil},
		{"remove", func(d *mls.Diff) {
			d.Proposals, d.Removed = []mls.ProposalType{mls.ProposalRemove}, leaves[:1]
		}, nil},
		{"restart", func(d *mls.Diff) {
			d.Proposals = []mls.ProposalType{mls.ProposalRemove, mls.ProposalAdd}
			d.Removed, d.Added = leaves[:1], []mls.Member{leafOf(t, 0, "Vauban", "a")}
		}, nil},
		{"external", func(d *mls.Diff) { d.External = true }, ErrPolicy},
		{"by reference", func(d *mls.Diff) { d.ByReference = true }, ErrPolicy},
		{"update", func(d *mls.Diff) { d.Proposals = []mls.ProposalType{mls.ProposalUpdate} }, ErrPolicy},
		{"pre-shared key", func(d *mls.Diff) { d.Proposals = []mls.ProposalType{mls.ProposalPSK} }, ErrPolicy},
		{"pre-shared key mixed in", func(d *mls.Diff) { d.PSKs = 1 }, ErrPolicy},
		{"reinitialisation", func(d *mls.Diff) { d.Proposals = []mls.ProposalType{mls.ProposalReInit} }, ErrPolicy},
		{"external init", func(d *mls.Diff) { d.Proposals = []mls.ProposalType{mls.ProposalExternalInit} }, ErrPolicy},
		{"extensions", func(d *mls.Diff) { d.Proposals = []mls.ProposalType{mls.ProposalGroupContextExtensions} }, ErrPolicy},
		{"context changed", func(d *mls.Diff) { d.ContextChanged = true }, ErrPolicy},
		{"unknown proposal", func(d *mls.Diff) { d.Proposals = []mls.ProposalType{0xF00D} }, ErrPolicy},
		{"another member's leaf", func(d *mls.Diff) { d.Committer = 0 }, ErrPolicy},
		{"blank leaf changed", func(d *mls.Diff) {
			d.Committer, d.Updated = 3, []mls.Member{leafOf(t, 3, "Curie", "b")}
		}, ErrPolicy},
		{"committer's name", func(d *mls.Diff) { d.Updated = []mls.Member{leafOf(t, 1, "curie", "b")} }, ErrPolicy},
		{"committer's key", func(d *mls.Diff) { d.Updated = []mls.Member{leafOf(t, 1, "Curie", "x")} }, ErrPolicy},
		{"committer's credential", func(d *mls.Diff) { d.Updated[0].Credential = basic.Credential }, ErrIdentity},
		{"newcomer's name taken", func(d *mls.Diff) { d.Added = []mls.Member{leafOf(t, 2, "VAUBAN", "c")} }, ErrPolicy},
		{"newcomer's key taken", func(d *mls.Diff) { d.Added = []mls.Member{leafOf(t, 2, "Monge", "a")} }, ErrPolicy},
		{"two newcomers of one name", func(d *mls.Diff) {
			d.Added = []mls.Member{leafOf(t, 2, "Monge", "c"), leafOf(t, 3, "Monge", "d")}
		}, ErrPolicy},
		{"newcomer's credential", func(d *mls.Diff) { d.Added = []mls.Member{basic} }, ErrIdentity},
	} {
		t.Run(tt.name, func(t *testing.T) {
			d := base()
			tt.change(&d)
			if err := judge(before, d); !errors.Is(err, tt.want) {
				t.Errorf("judge = %v, want %v", err, tt.want)
			}
		})
	}
}

// FuzzIdentify gives it certificates from outside: what it takes can stand on a
// panel as it is.
func FuzzIdentify(f *testing.F) {
	f.Add([]byte{})
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		f.Fatal(err)
	}
	for _, name := range []string{"Curie", "", "Cu\u202erie", "Cu\nrie"} {
		template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name, Organization: []string{"Paris"}}}
		der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(der)
	}
	f.Fuzz(func(t *testing.T, der []byte) {
		id, _, err := identify(mls.Credential{Type: mls.X509Credential, Certificates: [][]byte{der}})
		if err != nil {
			if !errors.Is(err, ErrIdentity) || id != (identity{}) {
				t.Errorf("identify = %+v, %v", id, err)
			}
			return
		}
		for _, s := range []string{id.name, id.site} {
			if len(s) == 0 || len(s) > maxName || !presentable(s) {
				t.Errorf("took the name %q", s)
			}
		}
	})
}
