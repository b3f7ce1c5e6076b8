// SPDX-License-Identifier: Apache-2.0

package mls

import (
	"errors"
	"strings"
	"testing"
)

// forge frames a commit as the member of g would, signed with its key, with a
// confirmation tag that is wrong. What breaks a rule must be refused before
// the tag is looked at.
func forge(tb testing.TB, g *Group, c *commit) []byte {
	tb.Helper()
	return forgeContent(tb, g, contentCommit, c.append(nil), wirePrivate)
}

func forgeContent(tb testing.TB, g *Group, kind contentType, body []byte, wire WireFormat) []byte {
	tb.Helper()
	a := g.cur.content(kind, body)
	a.wire = wire
	if kind == contentCommit {
		a.confirmationTag = make([]byte, g.Suite().nh)
	}
	if err := a.sign(tb.Context(), g.cfg.Signer, g.cur.contextRaw); err != nil {
		tb.Fatal(err)
	}
	if wire == wirePublic {
		return g.cur.sealPublic(a)
	}
	msg, err := g.cur.sealPrivate(a, 0)
	if err != nil {
		tb.Fatal(err)
	}
	return msg
}

// opened returns the commit in a message of another member, to be spoilt.
func opened(tb testing.TB, g *Group, msg []byte) *commit {
	tb.Helper()
	a, _, err := g.openHandshake(msg)
	if err != nil {
		tb.Fatal(err)
	}
	return a.content.commit
}

// byValue is a commit of proposals without a path.
func byValue(p ...Proposal) *commit {
	c := &commit{}
	for _, x := range p {
		if x.ref == nil {
			x = x.encoded()
		}
		c.proposals = append(c.proposals, &x)
	}
	return c
}

// refused fails the test unless err is ErrInvalid and cites the section.
func refused(tb testing.TB, err error, section string) {
	tb.Helper()
	if !errors.Is(err, ErrInvalid) || !strings.Contains(err.Error(), "Section "+section+")") {
		tb.Errorf("error %v; want ErrInvalid by Section %s", err, section)
	}
}

// refusesCommit fails the test unless g refuses a commit by a section's rule
// and stays as it was.
func refusesCommit(tb testing.TB, g *Group, msg []byte, section string) {
	tb.Helper()
	was := stateOf(tb, g)
	_, err := g.Stage(tb.Context(), msg)
	refused(tb, err, section)
	unchanged(tb, g, was)
}

// newcomer makes a bundle, and lets change alter the KeyPackage before it is
// signed again.
func newcomer(tb testing.TB, c Config, change func(*KeyPackage)) *KeyPackageBundle {
	tb.Helper()
	b := newBundle(tb, c)
	if change == nil {
		return b
	}
	k, l := *b.pkg, *b.pkg.leaf
	k.leaf = &l
	change(&k)
	l.key = nil
	if err := l.sign(tb.Context(), c.Signer, nil, 0); err != nil {
		tb.Fatal(err)
	}
	k.encode(nil)
	sig, err := signWithLabel(tb.Context(), c.Signer, "KeyPackageTBS", k.raw[:k.tbs])
	if err != nil {
		tb.Fatal(err)
	}
	k.encode(sig)
	k.ref = c.Suite.keyPackageRef(k.raw)
	b.pkg = &k
	return b
}
