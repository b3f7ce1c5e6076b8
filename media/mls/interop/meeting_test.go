// SPDX-License-Identifier: Apache-2.0

//go:build interop

package interop

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"incamera/media/mls"
)

// A meeting is one group with members of both sides, and the plain model of
// who is in.
type meeting struct {
	r     *rand.Rand
	suite *mls.Suite
	in    []member
	// recruit makes the client of the n-th name.
	recruit func(t *testing.T, n int) member
	// excuse says of a member that is on its way out that it fails for a known
	// defect; nil excuses nobody.
	excuse func(c member, err error) bool

	names  int
	since  map[string]uint64 // the first epoch of each member
	epochs int               // compared and equal
	opened int               // application messages
	met    int               // defects of the peer that stopped a client
}

// start lets the first newcomer create the group.
func (m *meeting) start(t *testing.T, extensions ...mls.Extension) member {
	t.Helper()
	first := m.newcomer(t)
	if err := first.create(t, []byte("meeting"), extensions...); err != nil {
		t.Fatal(err)
	}
	m.enter(t, first)
	return first
}

func (m *meeting) newcomer(t *testing.T) member {
	t.Helper()
	m.names++
	return m.recruit(t, m.names-1)
}

// newcomers are n clients and an Add of each.
func (m *meeting) newcomers(t *testing.T, n int) (clients []member, adds []proposal) {
	t.Helper()
	for range n {
		c := m.newcomer(t)
		clients, adds = append(clients, c), append(adds, proposal{add: c.offer(t)})
	}
	return clients, adds
}

// enter notes that a client is a member now.
func (m *meeting) enter(t *testing.T, c member) {
	t.Helper()
	if m.since == nil {
		m.since = map[string]uint64{}
	}
	m.since[c.name()] = c.view(t).Epoch
	m.in = append(m.in, c)
}

// others are the members but some.
func (m *meeting) others(but ...member) []member {
	return slices.DeleteFunc(slices.Clone(m.in), func(c member) bool { return slices.Contains(but, c) })
}

// deliver lets all members but some process a handshake message. Those whom it
// removes are in no longer.
func (m *meeting) deliver(t *testing.T, msg []byte, kind string, but ...member) {
	t.Helper()
	for _, c := range m.others(but...) {
		got, err := c.process(t, msg)
		switch {
		case err != nil && m.excuse != nil && m.excuse(c, err):
			m.in = m.others(c)
		case err != nil:
			t.Fatalf("%s: %v", c.name(), err)
		case got.Kind != kind:
			t.Fatalf("%s took a %s for a %s", c.name(), kind, got.Kind)
		case got.Removed:
			m.in = m.others(c)
		}
	}
}

// propose sends a proposal to all.
func (m *meeting) propose(t *testing.T, by member, p proposal) {
	t.Helper()
	msg, err := by.propose(t, p)
	if err != nil {
		t.Fatalf("%s proposes: %v", by.name(), err)
	}
	m.deliver(t, msg, "proposal", by)
}

// commit makes a commit, delivers and applies it, and compares all members. It
// returns the Welcome.
func (m *meeting) commit(t *testing.T, by member, list ...proposal) (welcome []byte) {
	t.Helper()
	msg, welcome, err := by.commit(t, list...)
	if err != nil {
		t.Fatalf("%s commits: %v", by.name(), err)
	}
	m.deliver(t, msg, "commit", by)
	if err := by.apply(t); err != nil {
		t.Fatal(err)
	}
	m.compare(t)
	return welcome
}

// add lets by add clients by one commit; what else it commits is in list.
func (m *meeting) add(t *testing.T, by member, n int, list ...proposal) []member {
	t.Helper()
	clients, adds := m.newcomers(t, n)
	welcome := m.commit(t, by, append(adds, list...)...)
	for _, c := range clients {
		m.welcome(t, c, welcome)
	}
	m.compare(t)
	return clients
}

// welcome lets a client join that was added.
func (m *meeting) welcome(t *testing.T, c member, welcome []byte) {
	t.Helper()
	if err := c.join(t, welcome); err != nil {
		t.Fatalf("%s joins: %v", c.name(), err)
	}
	m.enter(t, c)
}

// external lets a client join by an external commit, or come back by one.
func (m *meeting) external(t *testing.T, by, c member, resync bool) {
	t.Helper()
	info, err := by.info(t)
	if err != nil {
		t.Fatal(err)
	}
	msg, err := c.joinExternal(t, info, resync)
	if err != nil {
		t.Fatalf("%s joins: %v", c.name(), err)
	}
	m.enterBy(t, c, msg)
}

// enterBy delivers and applies an external commit.
func (m *meeting) enterBy(t *testing.T, c member, msg []byte) {
	t.Helper()
	m.in = m.others(c)
	m.deliver(t, msg, "commit")
	if err := c.apply(t); err != nil {
		t.Fatal(err)
	}
	m.enter(t, c)
	m.compare(t)
}

// compare fails the test unless all members agree on epoch, exporter, epoch
// authenticator and members.
func (m *meeting) compare(t *testing.T) {
	t.Helper()
	epoch, secrets, members := m.in[0].view(t).agreed()
	for _, c := range m.in[1:] {
		e, s, l := c.view(t).agreed()
		if e != epoch || s != secrets || !slices.Equal(l, members) {
			t.Fatalf("%s is in epoch %d with %s, %s in epoch %d with %s", m.in[0].name(), epoch, members, c.name(), e, l)
		}
	}
	m.epochs++
}

// settled compares the group with the model, too: nobody is on the way in.
func (m *meeting) settled(t *testing.T) {
	t.Helper()
	_, _, members := m.in[0].view(t).agreed()
	var want []string
	for _, c := range m.in {
		want = append(want, c.name())
	}
	slices.Sort(members)
	slices.Sort(want)
	if !slices.Equal(members, want) {
		t.Fatalf("the group has %s; want %s", members, want)
	}
}

// talk lets every member say something to all others.
func (m *meeting) talk(t *testing.T) {
	t.Helper()
	m.settled(t)
	for _, from := range m.in {
		text := fmt.Sprintf("%s in epoch %d", from.name(), from.view(t).Epoch)
		msg, err := from.protect(t, []byte(text))
		if err != nil {
			t.Fatalf("%s: %v", from.name(), err)
		}
		for _, to := range m.others(from) {
			m.open(t, to, msg, text)
		}
	}
}

// open lets a member open an application message.
func (m *meeting) open(t *testing.T, to member, msg []byte, text string) {
	t.Helper()
	got, err := to.process(t, msg)
	if err != nil || got.Kind != "application" || string(got.Data) != text {
		t.Fatalf("%s opened %s %q, %v; want %q", to.name(), got.Kind, got.Data, err, text)
	}
	m.opened++
}

// removal is a proposal to remove a member.
func removal(t *testing.T, c member) proposal {
	t.Helper()
	leaf := c.view(t).Leaf
	return proposal{remove: &leaf}
}

// leafNamed returns the leaf of a name as one of our members sees it.
func (m *meeting) leafNamed(t *testing.T, name string) mls.LeafIndex {
	t.Helper()
	for _, c := range m.in {
		o, ok := c.(*ours)
		if !ok {
			continue
		}
		for _, x := range o.group.Members() {
			if string(x.Credential.Identity) == name {
				return x.Index
			}
		}
	}
	t.Fatalf("nobody of ours sees %s", name)
	return 0
}
