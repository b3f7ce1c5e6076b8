// SPDX-License-Identifier: Apache-2.0

//go:build interop

package interop

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"incamera/media/mls"
)

// A lounge is a group of the DAVE protocol with guests of both sides, and its
// gateway, an external sender.
type lounge struct {
	meeting // for its counts
	peer    *peer
	in      []guest
	gateway mls.Signer
	sender  mls.ExternalSender
	users   []string
	epoch   uint64
}

func newLounge(t *testing.T, p *peer, r *rand.Rand) *lounge {
	t.Helper()
	k, err := mls.NewSoftwareSigner(mls.ECDSAP256SHA256)
	if err != nil {
		t.Fatal(err)
	}
	l := &lounge{meeting: meeting{r: r, suite: suiteOf(t, mls.P256AES128GCMSHA256P256)}, peer: p, gateway: k}
	l.sender = mls.ExternalSender{SignatureKey: k.Public(), Credential: mls.Credential{Type: mls.BasicCredential, Identity: credential(0)}}
	return l
}

func (l *lounge) guest(t *testing.T, theirs bool) guest {
	t.Helper()
	id := l.r.Uint64()
	l.users = append(l.users, userName(id))
	if theirs {
		return &davey{peer: l.peer, id: id, sender: l.sender, users: &l.users}
	}
	g := &ourGuest{ours: newOurs(t, l.suite, credential(id), style{plain: true}), id: id}
	g.cfg.NoGREASE = true // see TestDaveyDefects
	return g
}

func (l *lounge) found(t *testing.T, theirs bool) {
	t.Helper()
	g := l.guest(t, theirs)
	g.create(t, l.sender)
	l.in = []guest{g}
}

// say makes proposals of the gateway and lets all members take them. One of the
// peer does not take its own removal, for which it would make a commit, too:
// the gateway just sends it away.
func (l *lounge) say(t *testing.T, list ...mls.Proposal) {
	t.Helper()
	for _, p := range list {
		leaf, ok := p.Removed()
		l.in = slices.DeleteFunc(l.in, func(g guest) bool { return ok && g.theirs() && g.view(t).Leaf == leaf })
	}
	var msgs [][]byte
	for _, p := range list {
		msg, err := mls.ProposeFromOutside(t.Context(), l.gateway, 0, credential(channel), l.epoch, p)
		if err != nil {
			t.Fatal(err)
		}
		msgs = append(msgs, msg)
	}
	for _, g := range l.in {
		g.take(t, msgs)
	}
}

// invite lets by commit the Add of a new guest, who joins.
func (l *lounge) invite(t *testing.T, by guest, theirs bool) guest {
	t.Helper()
	g := l.guest(t, theirs)
	l.say(t, l.addition(t, g))
	l.decide(t, by, g)
	return g
}

func (l *lounge) addition(t *testing.T, g guest) mls.Proposal {
	t.Helper()
	k, err := mls.ParseKeyPackage(g.offer(t))
	if err != nil {
		t.Fatalf("user %d: %v", g.user(), err)
	}
	return mls.Add(k)
}

// expel lets by commit the Remove of a member.
func (l *lounge) expel(t *testing.T, by, g guest) {
	t.Helper()
	l.say(t, mls.Remove(g.view(t).Leaf))
	l.decide(t, by)
}

// replaceable reports whether both sides keep a member without g and those who
// go already; the first of gone stays.
func (l *lounge) replaceable(g guest, gone []guest) bool {
	for _, x := range l.in {
		if x != g && x.theirs() == g.theirs() && !slices.Contains(gone[1:], x) {
			return true
		}
	}
	return false
}

// revoke takes back the last proposal: it is not committed.
func (l *lounge) revoke(t *testing.T) {
	t.Helper()
	var ref []byte
	for _, g := range l.in {
		if o, ok := g.(*ourGuest); ok {
			ref = o.refs[len(o.refs)-1]
		}
	}
	for _, g := range l.in {
		g.revoke(t, ref)
	}
}

// decide lets by's commit win, newcomers join and all compare.
func (l *lounge) decide(t *testing.T, by guest, newcomers ...guest) {
	t.Helper()
	msg, welcome := by.commit(t)
	for _, g := range slices.Clone(l.in) {
		if !g.process(t, msg, g == by) {
			l.in = slices.DeleteFunc(l.in, func(x guest) bool { return x == g })
		}
	}
	for _, g := range newcomers {
		g.join(t, welcome, l.sender)
	}
	l.in = append(l.in, newcomers...)
	l.epoch++
	l.compare(t)
}

// compare fails the test unless all members agree on epoch, epoch authenticator
// and users, these are those of the model, and the peer's media keys are what
// our exporter says.
func (l *lounge) compare(t *testing.T) {
	t.Helper()
	var want []string
	for _, g := range l.in {
		want = append(want, userName(g.user()))
	}
	slices.Sort(want)
	var exporter *ourGuest
	first := l.in[0].view(t)
	for _, g := range l.in {
		v := g.view(t)
		slices.Sort(v.Users)
		if v.Epoch != l.epoch || !bytes.Equal(v.Authenticator, first.Authenticator) || !slices.Equal(v.Users, want) {
			t.Fatalf("user %d is in epoch %d with %s; want %d, %s and the authenticator of user %d", g.user(), v.Epoch, v.Users, l.epoch, want, l.in[0].user())
		}
		if o, ok := g.(*ourGuest); ok {
			exporter = o
		}
	}
	for _, g := range l.in {
		if d, ok := g.(*davey); ok && exporter != nil && len(l.in) > 1 {
			text := fmt.Appendf(nil, "user %d speaks in epoch %d, and long enough to tell a key by it", d.id, l.epoch)
			if err := openFrame(exporter.group, d.id, d.frame(t, text), text); err != nil {
				t.Fatalf("user %d: %v", d.id, err)
			}
			l.opened++
		}
	}
	l.epochs++
}

// openFrame verifies that a media frame of the DAVE protocol is text under the
// key that our exporter has for the user: ciphertext, 8 bytes of tag, nonce,
// one byte of length, 0xFAFA.
func openFrame(g *mls.Group, user uint64, frame, text []byte) error {
	base, err := g.Export("Discord Secure Frames v0", binary.LittleEndian.AppendUint64(nil, user), 16)
	if err != nil {
		return err
	}
	const tag = 8
	if len(frame) < len(text)+tag+4 || frame[len(frame)-1] != 0xfa || frame[len(frame)-2] != 0xfa {
		return fmt.Errorf("a frame of %d bytes: %x", len(frame), frame)
	}
	count, n := binary.Uvarint(frame[len(text)+tag:])
	if n <= 0 || count>>24 != 0 {
		return fmt.Errorf("nonce %x", frame[len(text)+tag:])
	}
	// Generation 0 of a ratchet as in RFC 9420, Section 9.1.
	info := []byte{0, 16, byte(len("MLS 1.0 key"))}
	info = append(info, "MLS 1.0 key"...)
	info = append(info, 4, 0, 0, 0, 0)
	key, err := hkdf.Expand(sha256.New, base, string(info), 16)
	if err != nil {
		return err
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return err
	}
	gcm, err := cipher.NewGCM(block)
	if err != nil {
		return err
	}
	nonce := binary.LittleEndian.AppendUint32(make([]byte, 8), uint32(count))
	if want := gcm.Seal(nil, nonce, text, nil); !bytes.Equal(frame[:len(text)+tag], want[:len(text)+tag]) {
		return fmt.Errorf("frame %x is not sealed by the exporter's key: %x", frame, want)
	}
	return nil
}
