// SPDX-License-Identifier: Apache-2.0

//go:build interop

package interop

import (
	"context"
	"encoding/hex"
	"errors"
	"slices"
	"testing"
	"time"

	"incamera/media/mls"
)

// The label and context that all exporters are compared with.
const (
	exportLabel  = "interop"
	exportLength = 40
)

var exportContext = []byte("context")

// The external pre-shared key that everybody knows.
var (
	sharedID  = []byte("shared")
	sharedKey = []byte("a key all members have by other means")
)

// A proposal is one change, before a member puts it into its own words. Of its
// fields one is set; pointers tell a leaf or epoch 0 from none.
type proposal struct {
	add        []byte // a KeyPackage
	remove     *mls.LeafIndex
	update     bool
	psk        bool // the shared one
	resumption *uint64
	extensions []mls.Extension
}

// A view is what members of one epoch must agree on, and where one stands.
type view struct {
	Epoch         uint64        `json:"epoch"`
	Leaf          mls.LeafIndex `json:"leaf"`
	Members       []octets      `json:"members"`
	Authenticator octets        `json:"authenticator"`
	Exporter      octets        `json:"exporter"`
}

// agreed is the part of a view that is the same for all.
func (v view) agreed() (epoch uint64, secrets string, members []string) {
	for _, m := range v.Members {
		members = append(members, string(m))
	}
	return v.Epoch, hex.EncodeToString(v.Authenticator) + hex.EncodeToString(v.Exporter), members
}

// What a message turned out to be.
type opened struct {
	Kind    string `json:"kind"` // "proposal", "commit" or "application"
	Removed bool   `json:"removed"`
	Data    octets `json:"data"`
}

// A member is one client in one group, ours or the peer's. What it refuses is
// an error and leaves it as it was.
type member interface {
	name() string
	theirs() bool // whether it is the peer's
	offer(t *testing.T) (keyPackage []byte)
	create(t *testing.T, group []byte, extensions ...mls.Extension) error
	join(t *testing.T, welcome []byte) error
	propose(t *testing.T, p proposal) ([]byte, error)
	// commit makes a commit of p and of all proposals of the epoch.
	commit(t *testing.T, p ...proposal) (msg, welcome []byte, err error)
	// apply and discard end what commit and joinExternal began.
	apply(t *testing.T) error
	discard(t *testing.T)
	process(t *testing.T, msg []byte) (opened, error)
	protect(t *testing.T, data []byte) ([]byte, error)
	info(t *testing.T) ([]byte, error)
	// joinExternal makes an external commit; resync removes the former leaf.
	joinExternal(t *testing.T, info []byte, resync bool) (msg []byte, err error)
	proposeSelf(t *testing.T, info []byte) ([]byte, error)
	view(t *testing.T) view
}

// style is how a member likes its messages.
type style struct {
	plain   bool
	padding int
}

// ours is a member of package mls.
type ours struct {
	cfg    mls.Config
	bundle *mls.KeyPackageBundle
	group  *mls.Group
	refs   [][]byte // proposals of the epoch
	next   interface {
		Discard()
	}
}

// anyone is an Authenticator that takes every credential.
type anyone struct{}

func (anyone) Authenticate(mls.Credential, []byte) error { return nil }

// keys is the PSKStore of the shared key.
type keys struct{}

func (keys) PSK(_ context.Context, id []byte) ([]byte, error) {
	if string(id) != string(sharedID) {
		return nil, mls.ErrUnknownPSK
	}
	return sharedKey, nil
}

func newOurs(t *testing.T, s *mls.Suite, identity []byte, how style) *ours {
	t.Helper()
	k, err := mls.NewSoftwareSigner(s.Scheme())
	if err != nil {
		t.Fatal(err)
	}
	return &ours{cfg: mls.Config{
		Suite: s, Signer: k, Credential: mls.Credential{Type: mls.BasicCredential, Identity: identity},
		Authenticator: anyone{}, Now: time.Now, PSKs: keys{}, Plain: how.plain, Padding: how.padding,
	}}
}

func (m *ours) name() string { return string(m.cfg.Credential.Identity) }
func (m *ours) theirs() bool { return false }

func (m *ours) offer(t *testing.T) []byte {
	t.Helper()
	var err error
	if m.bundle, err = mls.NewKeyPackage(t.Context(), m.cfg); err != nil {
		t.Fatal(err)
	}
	return m.bundle.Message()
}

func (m *ours) create(t *testing.T, group []byte, extensions ...mls.Extension) (err error) {
	m.group, err = mls.Create(t.Context(), m.cfg, group, extensions...)
	return err
}

func (m *ours) join(t *testing.T, welcome []byte) (err error) {
	m.group, err = mls.Join(t.Context(), m.cfg, welcome, m.bundle)
	return err
}

// proposal puts p into the words of package mls.
func (m *ours) proposal(p proposal) (mls.Proposal, error) {
	switch {
	case p.add != nil:
		k, err := mls.ParseKeyPackage(p.add, m.cfg.Suite)
		if err != nil {
			return mls.Proposal{}, err
		}
		return mls.Add(k), nil
	case p.remove != nil:
		return mls.Remove(*p.remove), nil
	case p.update:
		return mls.Update(), nil
	case p.psk:
		return mls.ExternalPSK(sharedID), nil
	case p.resumption != nil:
		return mls.ResumptionPSK(m.group.ID(), *p.resumption), nil
	}
	return mls.SetExtensions(p.extensions), nil
}

func (m *ours) propose(t *testing.T, p proposal) ([]byte, error) {
	q, err := m.proposal(p)
	if err != nil {
		return nil, err
	}
	msg, ref, err := m.group.Propose(t.Context(), q)
	if err == nil {
		m.refs = append(m.refs, ref)
	}
	return msg, err
}

func (m *ours) commit(t *testing.T, list ...proposal) (msg, welcome []byte, err error) {
	var all []mls.Proposal
	for _, r := range m.refs {
		all = append(all, mls.ByReference(r))
	}
	for _, p := range list {
		q, err := m.proposal(p)
		if err != nil {
			return nil, nil, err
		}
		all = append(all, q)
	}
	c, err := m.group.Commit(t.Context(), all)
	if err != nil {
		return nil, nil, err
	}
	m.next = c
	return c.Message, c.Welcome, nil
}

func (m *ours) apply(*testing.T) (err error) {
	switch x := m.next.(type) {
	case *mls.Pending:
		err = x.Apply()
	case *mls.ExternalCommit:
		m.group, err = x.Apply()
	default:
		err = errors.New("nothing to apply")
	}
	m.refs, m.next = nil, nil
	return err
}

func (m *ours) discard(*testing.T) {
	m.next.Discard()
	m.next = nil
}

func (m *ours) process(t *testing.T, msg []byte) (opened, error) {
	head, err := mls.Peek(msg)
	if err != nil {
		return opened{}, err
	}
	switch {
	case head.Application:
		a, err := m.group.Unprotect(t.Context(), msg)
		return opened{Kind: "application", Data: a.Data}, err
	case head.Proposal:
		p, err := m.group.ReceiveProposal(t.Context(), msg)
		if err == nil {
			m.refs = append(m.refs, p.Ref)
		}
		return opened{Kind: "proposal"}, err
	}
	s, err := m.group.Stage(t.Context(), msg)
	if err != nil {
		return opened{}, err
	}
	m.refs = nil
	return opened{Kind: "commit", Removed: s.Diff().SelfRemoved}, s.Apply()
}

func (m *ours) protect(t *testing.T, data []byte) ([]byte, error) {
	return m.group.Protect(t.Context(), nil, data)
}

func (m *ours) info(t *testing.T) ([]byte, error) { return m.group.GroupInfo(t.Context()) }

func (m *ours) joinExternal(t *testing.T, info []byte, resync bool) ([]byte, error) {
	var list []mls.Proposal
	if resync {
		list = append(list, mls.Remove(m.group.Self()), mls.ResumptionPSK(m.group.ID(), m.group.Epoch()))
	}
	x, err := mls.JoinExternal(t.Context(), m.cfg, info, list, m.group)
	if err != nil {
		return nil, err
	}
	m.next = x
	return x.Message, nil
}

func (m *ours) proposeSelf(t *testing.T, info []byte) ([]byte, error) {
	group, epoch, err := infoHead(info)
	if err != nil {
		return nil, err
	}
	return mls.ProposeSelf(t.Context(), m.cfg.Signer, group, epoch, m.bundle)
}

func (m *ours) view(t *testing.T) view {
	t.Helper()
	exporter, err := m.group.Export(exportLabel, exportContext, exportLength)
	if err != nil {
		t.Fatalf("%s: %v", m.name(), err)
	}
	v := view{Epoch: m.group.Epoch(), Leaf: m.group.Self(), Authenticator: m.group.EpochAuthenticator(), Exporter: exporter}
	for _, x := range m.group.Members() {
		v.Members = append(v.Members, x.Credential.Identity)
	}
	return v
}

// infoHead reads group id and epoch of a GroupInfo (RFC 9420, Section 12.4.3):
// who proposes itself learns them by other means.
func infoHead(info []byte) (group []byte, epoch uint64, err error) {
	b := info[min(len(info), 2+2+2+2):] // version, wire format; version, suite
	if len(b) == 0 || b[0] >= 0x40 || len(b) < 1+int(b[0])+8 {
		return nil, 0, errors.New("interop: GroupInfo without a short group id")
	}
	group, b = slices.Clone(b[1:1+b[0]]), b[1+b[0]:]
	for _, c := range b[:8] {
		epoch = epoch<<8 | uint64(c)
	}
	return group, epoch, nil
}
