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

// A scenario is played with every cast of so many clients in which both sides
// have a part. Later clients take the parts again from the first on.
type scenario struct {
	name string
	cast int
	play func(t *testing.T, m *meeting)
}

var scenarios = []scenario{
	{"create, Add, Welcome", 3, playAdd},
	{"Remove, blank leaves filled again", 3, playRemove},
	{"Update; empty commits", 3, playUpdate},
	{"concurrent commits, one discarded", 2, playRivals},
	{"PSK external and of resumption, in commit and Welcome", 3, playPSK},
	{"GroupContextExtensions", 2, playExtensions},
	{"external commit, resync", 3, playExternal},
	{"Add proposed by the newcomer", 2, playSelf},
	{"application messages reversed, twice, late", 2, playMessages},
	{"nine members, each commits, half leave", 2, playNine},
}

// suitesOfTSMLS are those with which ts-mls and this package can speak.
var suitesOfTSMLS = []mls.CipherSuite{
	mls.X25519AES128GCMSHA256Ed25519, mls.X25519ChaCha20Poly1305SHA256Ed25519, mls.MLKEM768X25519AES256GCMSHA384Ed25519,
}

func suiteOf(t *testing.T, id mls.CipherSuite) *mls.Suite {
	t.Helper()
	s, err := mls.SuiteByID(id)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// newMeeting makes a meeting to whose names part says which side they are on.
func newMeeting(r *rand.Rand, p *peer, s *mls.Suite, part func(n int) (theirs bool)) *meeting {
	m := &meeting{r: r, suite: s}
	m.recruit = func(t *testing.T, n int) member {
		t.Helper()
		name := fmt.Sprintf("%s/%d", t.Name(), n)
		how := style{plain: r.IntN(2) == 0, padding: r.IntN(300)}
		if part(n) {
			return &tsmls{peer: p, suite: s, identity: name, how: how}
		}
		return newOurs(t, s, []byte(name), how)
	}
	return m
}

func startTSMLS(t *testing.T) *peer {
	t.Helper()
	p := startPeer(t, "tsmls.mjs")
	if err := p.call(t, "psk", request{"psk": octets(sharedID), "key": octets(sharedKey)}, nil); err != nil {
		t.Fatal(err)
	}
	return p
}

func TestTSMLS(t *testing.T) {
	p := startTSMLS(t)
	r := random(t)
	for _, sc := range scenarios {
		for _, id := range suitesOfTSMLS {
			for cast := 1; cast < 1<<sc.cast-1; cast++ {
				t.Run(fmt.Sprintf("%s/%#04x/cast %0*b", sc.name, uint16(id), sc.cast, cast), func(t *testing.T) {
					s := suiteOf(t, id)
					m := newMeeting(r, p, s, func(n int) bool { return cast>>(n%sc.cast)&1 == 1 })
					report(t, tsmlsName, sc.name, s, m)
					sc.play(t, m)
				})
			}
		}
	}
}

func playAdd(t *testing.T, m *meeting) {
	a := m.start(t)
	m.compare(t)
	b := m.add(t, a, 1)[0]
	m.talk(t)
	m.add(t, b, 2)
	m.talk(t)
	clients, adds := m.newcomers(t, 1)
	m.propose(t, a, adds[0])
	m.welcome(t, clients[0], m.commit(t, b))
	m.compare(t)
	m.talk(t)
}

func playRemove(t *testing.T, m *meeting) {
	a := m.start(t)
	x := m.add(t, a, 4)
	m.commit(t, x[1], removal(t, a)) // the creator's leaf, at the left
	m.talk(t)
	m.add(t, x[2], 1)
	m.talk(t)
	m.propose(t, x[0], removal(t, x[0])) // it leaves by itself
	m.commit(t, x[2])
	m.talk(t)
	// The right half goes, and the tree shrinks; one is in by the same commit.
	m.add(t, x[1], 1, removal(t, x[3]))
	m.talk(t)
	if len(m.in) != 4 {
		t.Fatalf("%d members are in; want 4", len(m.in))
	}
}

func playUpdate(t *testing.T, m *meeting) {
	a := m.start(t)
	m.add(t, a, 4)
	for i, by := range m.in {
		m.commit(t, by)
		m.propose(t, m.in[(i+1)%len(m.in)], proposal{update: true})
		m.propose(t, m.in[(i+2)%len(m.in)], proposal{update: true})
		m.commit(t, by)
		m.talk(t)
	}
}

func playRivals(t *testing.T, m *meeting) {
	a := m.start(t)
	b := m.add(t, a, 1)[0]
	c := m.add(t, b, 1)[0]
	for _, pair := range [][2]member{{a, b}, {b, a}, {c, a}, {b, c}} {
		won, lost := pair[0], pair[1]
		msg, _, err := won.commit(t)
		if err != nil {
			t.Fatal(err)
		}
		rival, _, err := lost.commit(t)
		if err != nil {
			t.Fatal(err)
		}
		lost.discard(t)
		m.deliver(t, msg, "commit", won)
		if err := won.apply(t); err != nil {
			t.Fatal(err)
		}
		m.compare(t)
		if _, err := won.process(t, rival); err == nil {
			t.Fatalf("%s took a commit of the epoch before", won.name())
		}
		m.talk(t)
	}
}

func playPSK(t *testing.T, m *meeting) {
	a := m.start(t)
	b := m.add(t, a, 1, proposal{psk: true})[0]
	m.talk(t)
	c := m.add(t, b, 1, proposal{psk: true})[0]
	m.propose(t, a, proposal{psk: true})
	m.commit(t, c)
	m.talk(t)
	for _, by := range []member{a, b, c} {
		now := by.view(t).Epoch
		before := now - 1
		m.commit(t, by, proposal{resumption: &before}, proposal{psk: true}, proposal{resumption: &now})
	}
	m.talk(t)
}

// playExtensions commits extensions by our side only: see
// TestExtensionsNeedAPath.
func playExtensions(t *testing.T, m *meeting) {
	first := mls.AppDataDictionary([]mls.AppData{{Component: 0x8000, Data: []byte("first")}})
	a := m.start(t, first)
	m.add(t, a, 2)
	second := mls.AppDataDictionary([]mls.AppData{{Component: 0x8000, Data: []byte("second")}})
	need := mls.RequiredCapabilities{Extensions: []mls.ExtensionType{mls.ExtAppDataDictionary}, Credentials: []mls.CredentialType{mls.BasicCredential}}
	ours := m.in[slices.IndexFunc(m.in, func(c member) bool { return !c.theirs() })]
	m.commit(t, ours, proposal{extensions: []mls.Extension{second, need.Extension()}})
	m.talk(t)
	theirs := m.in[slices.IndexFunc(m.in, member.theirs)]
	m.propose(t, theirs, proposal{extensions: []mls.Extension{first}})
	m.commit(t, ours)
	m.talk(t)
	m.add(t, theirs, 1)
	m.talk(t)
}

func playExternal(t *testing.T, m *meeting) {
	a := m.start(t)
	b := m.add(t, a, 1)[0]
	c := m.newcomer(t)
	m.external(t, a, c, false)
	m.talk(t)
	d := m.newcomer(t)
	m.external(t, c, d, false)
	m.talk(t)
	m.commit(t, d)
	m.external(t, d, b, true) // into the leaf it leaves
	m.talk(t)
	m.commit(t, a, removal(t, b))
	m.external(t, c, m.newcomer(t), false) // into the blank leaf
	m.commit(t, d)
	m.talk(t)
}

func playSelf(t *testing.T, m *meeting) {
	a := m.start(t)
	b := m.add(t, a, 1)[0]
	for _, by := range []member{a, b} {
		c := m.newcomer(t)
		c.offer(t)
		info, err := by.info(t)
		if err != nil {
			t.Fatal(err)
		}
		msg, err := c.proposeSelf(t, info)
		if err != nil {
			t.Fatal(err)
		}
		m.deliver(t, msg, "proposal")
		m.welcome(t, c, m.commit(t, by))
		m.compare(t)
		m.talk(t)
	}
}

func playMessages(t *testing.T, m *meeting) {
	a := m.start(t)
	b := m.add(t, a, 1)[0]
	for _, late := range []int{0, 1, 2} {
		for _, pair := range [][2]member{{a, b}, {b, a}} {
			from, to := pair[0], pair[1]
			var msgs [][]byte
			for i := range 6 {
				msg, err := from.protect(t, []byte{byte(i)})
				if err != nil {
					t.Fatal(err)
				}
				msgs = append(msgs, msg)
			}
			for range late {
				m.commit(t, from)
			}
			for i, msg := range slices.Backward(msgs) {
				m.open(t, to, msg, string([]byte{byte(i)}))
				if _, err := to.process(t, msg); err == nil {
					t.Fatalf("%s opened a message twice", to.name())
				}
			}
		}
	}
	big := make([]byte, 60<<10)
	msg, err := a.protect(t, big)
	if err != nil {
		t.Fatal(err)
	}
	m.open(t, b, msg, string(big))
}

func playNine(t *testing.T, m *meeting) {
	a := m.start(t)
	m.add(t, a, 8)
	for _, by := range m.in {
		m.commit(t, by)
	}
	m.talk(t)
	for i, c := range slices.Clone(m.in) {
		if i%2 == 1 {
			m.commit(t, m.in[(i+1)%len(m.in)], removal(t, c))
		}
	}
	m.talk(t)
}
