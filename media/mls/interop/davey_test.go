// SPDX-License-Identifier: Apache-2.0

//go:build interop

package interop

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"testing"

	"incamera/media/mls"
)

const daveyName = "davey 0.1.12 (OpenMLS)"

// channel is the number of the group of the tests.
const channel = 0x0102030405060708

// A guest is a client in a group of the DAVE protocol: its credential is a
// number of 64 bits, and what changes the group is proposed from outside by the
// gateway, which is the test.
type guest interface {
	user() uint64
	theirs() bool
	offer(t *testing.T) (keyPackage []byte)
	create(t *testing.T, sender mls.ExternalSender)
	// take takes proposals of the gateway.
	take(t *testing.T, proposals [][]byte)
	// revoke forgets one of them, of all it has.
	revoke(t *testing.T, ref []byte)
	// commit commits all proposals that it took.
	commit(t *testing.T) (msg, welcome []byte)
	// process takes the commit that won, which may be its own. It returns false
	// for one that it is removed by.
	process(t *testing.T, msg []byte, own bool) (in bool)
	join(t *testing.T, welcome []byte, sender mls.ExternalSender)
	view(t *testing.T) guestView
}

type guestView struct {
	Epoch         uint64        `json:"epoch"`
	Leaf          mls.LeafIndex `json:"leaf"`
	Authenticator octets        `json:"authenticator"`
	Users         []string      `json:"users"`
}

func credential(user uint64) []byte { return binary.BigEndian.AppendUint64(nil, user) }

func userName(user uint64) string { return strconv.FormatUint(user, 10) }

// ourGuest is a guest of package mls.
type ourGuest struct {
	*ours
	id uint64
}

func (g *ourGuest) user() uint64 { return g.id }

func (g *ourGuest) create(t *testing.T, sender mls.ExternalSender) {
	t.Helper()
	if err := g.ours.create(t, credential(channel), mls.ExternalSendersExtension([]mls.ExternalSender{sender})); err != nil {
		t.Fatal(err)
	}
}

func (g *ourGuest) take(t *testing.T, proposals [][]byte) {
	t.Helper()
	for _, msg := range proposals {
		if got, err := g.ours.process(t, msg); err != nil || got.Kind != "proposal" {
			t.Fatalf("user %d: %s %v", g.id, got.Kind, err)
		}
	}
}

func (g *ourGuest) revoke(_ *testing.T, ref []byte) {
	g.refs = slices.DeleteFunc(g.refs, func(r []byte) bool { return bytes.Equal(r, ref) })
}

func (g *ourGuest) commit(t *testing.T) (msg, welcome []byte) {
	t.Helper()
	msg, welcome, err := g.ours.commit(t)
	if err != nil {
		t.Fatal(err)
	}
	return msg, welcome
}

func (g *ourGuest) process(t *testing.T, msg []byte, own bool) bool {
	t.Helper()
	if own {
		if err := g.apply(t); err != nil {
			t.Fatal(err)
		}
		return true
	}
	if g.next != nil {
		g.discard(t)
	}
	got, err := g.ours.process(t, msg)
	if err != nil {
		t.Fatalf("user %d: %v", g.id, err)
	}
	return !got.Removed
}

func (g *ourGuest) join(t *testing.T, welcome []byte, _ mls.ExternalSender) {
	t.Helper()
	if err := g.ours.join(t, welcome); err != nil {
		t.Fatalf("user %d: %v", g.id, err)
	}
}

func (g *ourGuest) view(t *testing.T) guestView {
	t.Helper()
	v := g.ours.view(t)
	out := guestView{Epoch: v.Epoch, Leaf: v.Leaf, Authenticator: v.Authenticator}
	for _, m := range v.Members {
		out.Users = append(out.Users, userName(binary.BigEndian.Uint64(m)))
	}
	return out
}

// davey is a guest of the peer. Its operations are those of davey.mjs. It
// commits whenever it takes proposals, and finds out later whether that won.
type davey struct {
	peer     *peer
	id       uint64
	sender   mls.ExternalSender
	users    *[]string // whom the gateway knows
	prepared struct {
		Commit  octets `json:"commit"`
		Welcome octets `json:"welcome"`
	}
}

func (g *davey) user() uint64 { return g.id }
func (g *davey) theirs() bool { return true }

func (g *davey) call(t *testing.T, op string, r request, out any) {
	t.Helper()
	r["who"] = userName(g.id)
	if err := g.peer.call(t, op, r, out); err != nil {
		t.Fatalf("user %d: %v", g.id, err)
	}
}

// bareSender is an ExternalSender outside its list (RFC 9420, Section
// 12.1.8.1).
func bareSender(s mls.ExternalSender) octets {
	list := mls.ExternalSendersExtension([]mls.ExternalSender{s}).Data
	if list[0]>>6 == 0 {
		return list[1:]
	}
	return list[2:]
}

func (g *davey) open(t *testing.T) {
	t.Helper()
	g.call(t, "open", request{"channel": userName(channel), "sender": bareSender(g.sender)}, nil)
}

func (g *davey) offer(t *testing.T) []byte {
	t.Helper()
	g.open(t)
	var out struct {
		KeyPackage octets `json:"keypackage"`
	}
	g.call(t, "keypackage", request{}, &out)
	return append([]byte{0, 1, 0, 5}, out.KeyPackage...) // as an MLSMessage
}

func (g *davey) create(t *testing.T, _ mls.ExternalSender) {
	t.Helper()
	g.open(t)
}

func (g *davey) take(t *testing.T, proposals [][]byte) {
	t.Helper()
	g.prepare(t, slices.Concat(proposals...), false)
}

func (g *davey) revoke(t *testing.T, ref []byte) {
	t.Helper()
	g.prepare(t, append([]byte{byte(len(ref))}, ref...), true)
}

// prepare hands over a vector of proposals or references.
func (g *davey) prepare(t *testing.T, items []byte, revoke bool) {
	t.Helper()
	list := append([]byte{0x80, byte(len(items) >> 16), byte(len(items) >> 8), byte(len(items))}, items...)
	switch { // the shortest length (RFC 9420, Section 2.1.2)
	case len(items) < 1<<6:
		list = list[3:]
		list[0] = byte(len(items))
	case len(items) < 1<<14:
		list = list[2:]
		list[0] |= 0x40
	}
	g.prepared.Commit, g.prepared.Welcome = nil, nil
	g.call(t, "proposals", request{"list": octets(list), "users": *g.users, "revoke": revoke}, &g.prepared)
}

func (g *davey) commit(t *testing.T) (msg, welcome []byte) {
	t.Helper()
	if g.prepared.Commit == nil {
		t.Fatalf("user %d has no commit", g.id)
	}
	if w := g.prepared.Welcome; w != nil {
		welcome = append([]byte{0, 1, 0, 3}, w...) // as an MLSMessage
	}
	return g.prepared.Commit, welcome
}

func (g *davey) process(t *testing.T, msg []byte, _ bool) bool {
	t.Helper()
	g.call(t, "commit", request{"commit": octets(msg)}, nil)
	return slices.Contains(g.view(t).Users, userName(g.id))
}

func (g *davey) join(t *testing.T, welcome []byte, _ mls.ExternalSender) {
	t.Helper()
	g.call(t, "welcome", request{"welcome": octets(welcome[4:])}, nil)
}

func (g *davey) view(t *testing.T) guestView {
	t.Helper()
	var v guestView
	g.call(t, "view", request{}, &v)
	return v
}

func (g *davey) frame(t *testing.T, data []byte) []byte {
	t.Helper()
	var out struct {
		Frame octets `json:"frame"`
	}
	g.call(t, "frame", request{"data": octets(data)}, &out)
	return out.Frame
}

func TestDavey(t *testing.T) {
	p := startPeer(t, "davey.mjs")
	r := random(t)
	for first := range 2 {
		for second := range 2 {
			t.Run(fmt.Sprintf("founder %d, member %d", first, second), func(t *testing.T) {
				l := newLounge(t, p, r)
				report(t, daveyName, "external senders' Add and Remove, by every side", l.suite, &l.meeting)
				l.found(t, first == 1)
				a := l.in[0]
				b := l.invite(t, a, second == 1)
				c := l.invite(t, b, first == 0)
				d := l.invite(t, c, second == 0)
				l.expel(t, d, b)
				l.expel(t, c, a)
				e := l.invite(t, d, true)
				l.invite(t, e, false)
				l.expel(t, c, e)
			})
		}
	}
}

// TestDaveySchedule lets a gateway invite, expel and think better of it by
// chance, and a member by chance commit.
func TestDaveySchedule(t *testing.T) {
	p := startPeer(t, "davey.mjs")
	r := random(t)
	l := newLounge(t, p, r)
	report(t, daveyName, fmt.Sprintf("%d random operations", scheduleLength), l.suite, &l.meeting)
	l.found(t, r.IntN(2) == 0)
	l.invite(t, l.in[0], !l.in[0].theirs())
	counts := map[string]int{}
	for done := 0; done < scheduleLength; {
		by := l.in[r.IntN(len(l.in))]
		var list []mls.Proposal
		var newcomers []guest
		gone := []guest{by}
		for range 1 + r.IntN(3) {
			g := l.in[r.IntN(len(l.in))]
			if r.IntN(2) == 0 && !slices.Contains(gone, g) && l.replaceable(g, gone) {
				gone = append(gone, g)
				list = append(list, mls.Remove(g.view(t).Leaf))
				counts["remove"]++
			} else if len(l.in)+len(newcomers) < crowd {
				n := l.guest(t, r.IntN(2) == 0)
				newcomers = append(newcomers, n)
				list = append(list, l.addition(t, n))
				counts["add"]++
			}
		}
		if len(list) == 0 {
			continue
		}
		l.say(t, list...)
		// See showRevoked for the exception.
		if r.IntN(4) == 0 && (!by.theirs() || len(newcomers) == 0) {
			counts["revoke"]++
			revoked := l.guest(t, r.IntN(2) == 0)
			l.say(t, l.addition(t, revoked))
			l.revoke(t)
		}
		if by.theirs() {
			counts["committed by theirs"]++
		}
		l.decide(t, by, newcomers...)
		done++
	}
	t.Logf("%d members at the end; %v", len(l.in), counts)
}

// TestDaveyDefects is TestDefects for davey and the OpenMLS in it.
func TestDaveyDefects(t *testing.T) {
	p := startPeer(t, "davey.mjs")
	for _, d := range []struct {
		name, consequence string
		show              func(t *testing.T, l *lounge)
	}{
		{
			"a leaf with a GREASE extension that its capabilities list is refused (7.3, 13.5)",
			"our side has GREASE off with it (openmls/openmls#2156)", showGREASE,
		},
		{
			"after another proposal was revoked, a commit with an Add has no Welcome",
			"our side commits Adds after a revocation", showRevoked,
		},
	} {
		t.Run(d.name, func(t *testing.T) {
			defect(t, daveyName, d.name, d.consequence)
			d.show(t, newLounge(t, p, rand.New(rand.NewPCG(1, 2))))
		})
	}
}

func showGREASE(t *testing.T, l *lounge) {
	a := l.guest(t, false).(*ourGuest)
	a.cfg.NoGREASE = false
	a.create(t, l.sender)
	l.in = []guest{a}
	b := l.guest(t, true).(*davey)
	l.say(t, l.addition(t, b))
	_, welcome := a.commit(t)
	err := b.peer.call(t, "welcome", request{"who": userName(b.id), "welcome": octets(welcome[4:])}, nil)
	if !says(err, "LeafNodeValidation(UnsupportedExtensions)") {
		t.Fatalf("a Welcome of a group with GREASE: %v", err)
	}
}

func showRevoked(t *testing.T, l *lounge) {
	l.found(t, false)
	b := l.invite(t, l.in[0], true)
	l.say(t, l.addition(t, l.guest(t, true)))
	if _, welcome := b.commit(t); welcome == nil {
		t.Fatal("no Welcome before the revocation")
	}
	l.say(t, mls.Remove(l.in[0].view(t).Leaf))
	l.revoke(t)
	msg, welcome := b.commit(t)
	if welcome != nil {
		t.Fatal("a Welcome after the revocation")
	}
	staged, err := l.in[0].(*ourGuest).group.Stage(t.Context(), msg)
	if err != nil {
		t.Fatal(err)
	}
	if d := staged.Diff(); len(d.Added) != 1 || len(d.Removed) != 0 {
		t.Fatalf("the commit adds %d members and removes %d", len(d.Added), len(d.Removed))
	}
}
