// SPDX-License-Identifier: Apache-2.0

package mls_test

import (
	"bytes"
	"context"
	"fmt"
	"time"

	"incamera/media/mls"
)

// site accepts whoever it knows; a room checks a certificate chain here.
type site map[string]bool

func (s site) Authenticate(c mls.Credential, _ []byte) error {
	if !s[string(c.Identity)] {
		return fmt.Errorf("%q is not of this site", c.Identity)
	}
	return nil
}

func config(suite *mls.Suite, name string) mls.Config {
	key, err := mls.NewSoftwareSigner(suite.Scheme())
	if err != nil {
		panic(err)
	}
	return mls.Config{
		Suite: suite, Signer: key,
		Credential:    mls.Credential{Type: mls.BasicCredential, Identity: []byte(name)},
		Authenticator: site{"Vauban": true, "Curie": true},
		Now:           func() time.Time { return time.Unix(1_800_000_000, 0) },
	}
}

// Two rooms meet: Vauban creates the group and adds Curie, and both derive the
// same key for their media.
func Example() {
	ctx := context.Background()
	suite, err := mls.SuiteByID(mls.MLKEM768P256AES256GCMSHA384P256)
	if err != nil {
		panic(err)
	}
	vauban, err := mls.Create(ctx, config(suite, "Vauban"), []byte("meeting 1"))
	if err != nil {
		panic(err)
	}

	// Curie publishes a KeyPackage and keeps its private keys.
	curieConfig := config(suite, "Curie")
	bundle, err := mls.NewKeyPackage(ctx, curieConfig)
	if err != nil {
		panic(err)
	}
	published := bundle.Message()

	// Vauban commits. Nothing changes until the commit has won its epoch.
	offer, err := mls.ParseKeyPackage(published)
	if err != nil {
		panic(err)
	}
	commit, err := vauban.Commit(ctx, []mls.Proposal{mls.Add(offer)})
	if err != nil {
		panic(err)
	}
	for _, m := range commit.Diff().Added {
		fmt.Printf("%s joins as leaf %d\n", m.Credential.Identity, m.Index)
	}
	if err := commit.Apply(); err != nil {
		panic(err)
	}

	curie, err := mls.Join(ctx, curieConfig, commit.Welcome, bundle)
	if err != nil {
		panic(err)
	}
	a, err := vauban.Export("SFrame 1.0 Base Key", nil, 32)
	if err != nil {
		panic(err)
	}
	b, err := curie.Export("SFrame 1.0 Base Key", nil, 32)
	if err != nil {
		panic(err)
	}
	fmt.Println("epoch", curie.Epoch(), "same keys:", bytes.Equal(a, b))

	sealed, err := curie.Protect(ctx, nil, []byte("hello"))
	if err != nil {
		panic(err)
	}
	got, err := vauban.Unprotect(ctx, sealed)
	if err != nil {
		panic(err)
	}
	fmt.Printf("leaf %d says %s\n", got.Sender, got.Data)
	// Output:
	// Curie joins as leaf 1
	// epoch 1 same keys: true
	// leaf 1 says hello
}
