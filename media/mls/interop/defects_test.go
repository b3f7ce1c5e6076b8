// SPDX-License-Identifier: Apache-2.0

//go:build interop

package interop

import (
	"errors"
	"math/rand/v2"
	"testing"

	"incamera/media/mls"
)

// TestDefects shows again what ts-mls does otherwise than RFC 9420 says, and
// what the scenarios therefore leave out or work around. A defect that is gone
// fails its test.
func TestDefects(t *testing.T) {
	p := startTSMLS(t)
	for _, d := range []struct {
		name, consequence string
		show              func(t *testing.T, p *peer)
	}{
		{"signature keys of the NIST curves are compressed points (5.1.1)", "refused; no peer for suites 2, 5, 7", showCompressed},
		{"external_pub has the key without its length (12.4.3.2)", "the script puts and strips the length", showExternalPub},
		{"external_senders is read as one sender without the list (12.1.8.1)", "external senders run with davey only", showExternalSenders},
		{"a commit of GroupContextExtensions has no path (12.4)", "refused; our side commits them", showNoPath},
		{"the path of such a commit is sealed under the old extensions (7.6)", "refused; our side commits them", showOldContext},
		{"an empty GroupContextExtensions is ignored (12.1.7)", "no scenario empties the extensions", showEmptyExtensions},
		{"a tree is refused unless all unmerged leaves above a leaf are equal (12.4.3.1)", "its joiner is removed again", showUnmerged},
		{"a removed member whose leaf the same commit fills does not notice (12.4.2)", "it is taken for removed", showRefilled},
		{"DeriveKeyPair of X-Wing is of an older draft", "the script has the labelled derivation", showDerive},
	} {
		t.Run(d.name, func(t *testing.T) {
			defect(t, tsmlsName, d.name, d.consequence)
			d.show(t, p)
		})
	}
}

// cast makes a meeting in which the n-th client is the peer's where parts has a
// 't' at n.
func cast(t *testing.T, p *peer, s *mls.Suite, parts string) *meeting {
	t.Helper()
	r := rand.New(rand.NewPCG(1, 2)) // style does not matter to a defect
	return newMeeting(r, p, s, func(n int) bool { return parts[n] == 't' })
}

func showCompressed(t *testing.T, p *peer) {
	for id, point := range map[mls.CipherSuite]int{
		mls.P256AES128GCMSHA256P256: 32, mls.P521AES256GCMSHA512P521: 66, mls.P384AES256GCMSHA384P384: 48,
	} {
		s := suiteOf(t, id)
		c := &tsmls{peer: p, suite: s, identity: t.Name() + s.String()}
		offer := c.offer(t)
		// version, wire format, version, suite, init_key, encryption_key
		at := 2 + 2 + 2 + 2
		for range 2 {
			at += vectorLen(offer[at:])
		}
		key := offer[at : at+vectorLen(offer[at:])]
		if head := key[len(key)-1-point]; len(key) > 2+1+point || head&^1 != 2 {
			t.Fatalf("%v: signature key %x is no compressed point", s, key)
		}
		if _, err := mls.ParseKeyPackage(offer); !errors.Is(err, mls.ErrMalformed) {
			t.Fatalf("%v: KeyPackage with a compressed key: %v", s, err)
		}
	}
}

// vectorLen returns the size of a variable-size vector, its length included
// (RFC 9420, Section 2.1.2).
func vectorLen(b []byte) int {
	if b[0]>>6 == 1 {
		return 2 + int(b[0]&0x3f)<<8 + int(b[1])
	}
	return 1 + int(b[0])
}

func showExternalPub(t *testing.T, p *peer) {
	m := cast(t, p, suiteOf(t, 1), "otot")
	a := m.start(t)
	b := m.add(t, a, 1)[0].(*tsmls)
	var out messages
	if err := b.call(t, "group_info", request{"raw": true}, &out); err != nil {
		t.Fatal(err)
	}
	_, err := m.newcomer(t).joinExternal(t, out.Info, false)
	if !errors.Is(err, mls.ErrMalformed) && !errors.Is(err, mls.ErrLimit) { // the key's first byte is taken for a length
		t.Fatalf("external_pub as the peer has it: %v", err)
	}
	info, err := a.info(t)
	if err != nil {
		t.Fatal(err)
	}
	d := m.newcomer(t).(*tsmls)
	d.offer(t)
	err = d.call(t, "external_join", request{"info": octets(info), "raw": true}, nil)
	if !says(err, "DeserializeError") && !says(err, "Invalid length") {
		t.Fatalf("our external_pub in the peer: %v", err)
	}
}

func showExternalSenders(t *testing.T, p *peer) {
	m := cast(t, p, suiteOf(t, 1), "oto")
	k, err := mls.NewSoftwareSigner(mls.Ed25519)
	if err != nil {
		t.Fatal(err)
	}
	a := m.start(t, mls.ExternalSendersExtension([]mls.ExternalSender{{
		SignatureKey: k.Public(), Credential: mls.Credential{Type: mls.BasicCredential, Identity: []byte("door")},
	}}))
	x := m.add(t, a, 2)
	msg, err := mls.ProposeFromOutside(t.Context(), k, 0, []byte("meeting"), 1, mls.Remove(x[1].view(t).Leaf))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := a.process(t, msg); err != nil {
		t.Fatal(err)
	}
	if _, err := x[0].process(t, msg); !isRefusal(err) {
		t.Fatalf("a proposal of an external sender in the peer: %v", err)
	}
}

func isRefusal(err error) bool {
	_, ok := errors.AsType[*refusal](err)
	return ok
}

// someExtensions are for a GroupContext.
func someExtensions() []mls.Extension {
	return []mls.Extension{mls.AppDataDictionary([]mls.AppData{{Component: 0x8000, Data: []byte("some")}})}
}

func showNoPath(t *testing.T, p *peer) {
	m := cast(t, p, suiteOf(t, 1), "ot")
	a := m.start(t)
	b := m.add(t, a, 1)[0]
	msg, _, err := b.commit(t, proposal{extensions: someExtensions()})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := a.process(t, msg); !errors.Is(err, mls.ErrInvalid) {
		t.Fatalf("a commit without its path: %v", err)
	}
}

func showOldContext(t *testing.T, p *peer) {
	m := cast(t, p, suiteOf(t, 1), "ottt")
	a := m.start(t)
	x := m.add(t, a, 3)
	msg, _, err := x[0].commit(t, proposal{extensions: someExtensions()}, removal(t, x[1]))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := a.process(t, msg); !errors.Is(err, mls.ErrRefused) {
		t.Fatalf("a path under the old context: %v", err)
	}
	if _, err := x[2].process(t, msg); !isRefusal(err) {
		t.Fatalf("the same among the peer's own: %v", err)
	}
}

func showEmptyExtensions(t *testing.T, p *peer) {
	m := cast(t, p, suiteOf(t, 1), "oto")
	a := m.start(t, someExtensions()...)
	x := m.add(t, a, 2)
	msg, _, err := a.commit(t, proposal{extensions: []mls.Extension{}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := x[1].process(t, msg); err != nil {
		t.Fatal(err)
	}
	if _, err := x[0].process(t, msg); !isRefusal(err) {
		t.Fatalf("empty extensions in the peer: %v", err)
	}
}

// showUnmerged builds, of the peer's clients alone, a tree in which leaf 2 is
// unmerged at node 3 and not at the root, which is sound: the member that
// committed since then sits in the other half.
func showUnmerged(t *testing.T, p *peer) {
	m := cast(t, p, suiteOf(t, 1), "tttttttt")
	a := m.start(t)
	x := m.add(t, a, 4)
	m.commit(t, a)
	m.commit(t, a, removal(t, x[1])) // leaf 2 is blank, nodes 3 and 7 are not
	m.add(t, x[3], 1)                // it is filled, without a path
	m.commit(t, x[3])                // node 7 is new
	c, adds := m.newcomers(t, 1)
	welcome := m.commit(t, x[3], adds...)
	if err := c[0].join(t, welcome); !says(err, unmergedDefect) {
		t.Fatalf("the peer joins its own group: %v", err)
	}
}

func showRefilled(t *testing.T, p *peer) {
	m := cast(t, p, suiteOf(t, 1), "tttt")
	a := m.start(t)
	x := m.add(t, a, 2)
	_, adds := m.newcomers(t, 1)
	msg, _, err := a.commit(t, append(adds, removal(t, x[0]))...)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := x[0].process(t, msg); !says(err, refilledDefect) {
		t.Fatalf("a removed client of the peer: %v", err)
	}
}

// showDerive runs X-Wing as the peer's library derives its keys, under another
// number.
func showDerive(t *testing.T, p *peer) {
	s, err := suiteOf(t, mls.MLKEM768X25519AES256GCMSHA384Ed25519).WithID(0xF0A4)
	if err != nil {
		t.Fatal(err)
	}
	m := cast(t, p, s, "ot")
	a := m.start(t)
	b := m.add(t, a, 1)[0]
	msg, _, err := b.commit(t)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := a.process(t, msg); !errors.Is(err, mls.ErrInvalid) {
		t.Fatalf("a path whose keys derive otherwise: %v", err)
	}
}
