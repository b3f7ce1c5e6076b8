// SPDX-License-Identifier: Apache-2.0

package mls

import (
	"bytes"
	"crypto/cipher"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/hpke"
	"hash"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
)

// A floor is the cryptography that an operation cannot avoid, and nothing
// else: calls of the standard library on inputs of the right number and size,
// prepared beforehand. What it leaves out is what this package adds: encoding
// and decoding, the tree, rules, copies, state.
//
// Each step is what some section of RFC 9420 makes the operation do. Nothing
// is in it that could be done before, after or once for several operations:
// keys that are in the tree already are parsed, and tree hashes of what did
// not change are known.
type floor struct {
	tb    testing.TB
	s     *Suite
	h     hash.Hash
	steps []func()
}

func newFloor(tb testing.TB, s *Suite) *floor {
	tb.Helper()
	return &floor{tb: tb, s: s, h: s.hash.New()}
}

func (f *floor) run() {
	for _, step := range f.steps {
		step()
	}
}

func (f *floor) add(step func()) { f.steps = append(f.steps, step) }

func (f *floor) must(err error) {
	if err != nil {
		f.tb.Fatal(err)
	}
}

// hash is one hash of n bytes.
func (f *floor) hash(n int) {
	in, out := make([]byte, n), make([]byte, 0, f.s.nh)
	f.add(func() {
		f.h.Reset()
		f.h.Write(in)
		f.h.Sum(out)
	})
}

// expand is as many ExpandWithLabel (Section 8) of one secret: one HMAC each.
func (f *floor) expand(times int) {
	from, info := make([]byte, f.s.nh), make([]byte, 24)
	f.add(func() {
		m := hmac.New(f.s.hash.New, from)
		for range times {
			m.Reset()
			m.Write(info)
			m.Sum(nil)
		}
	})
}

func (f *floor) extract() {
	in := make([]byte, f.s.nh)
	f.add(func() {
		_, err := hkdf.Extract(f.s.hash.New, in, in)
		f.must(err)
	})
}

func (f *floor) mac() {
	in := make([]byte, f.s.nh)
	f.add(func() {
		m := hmac.New(f.s.hash.New, in)
		m.Write(in)
		m.Sum(nil)
	})
}

// generate is a new key pair, at random.
func (f *floor) generate() {
	f.add(func() {
		_, err := f.s.kem.GenerateKey()
		f.must(err)
	})
}

// derive is a key pair derived from a secret.
func (f *floor) derive() {
	from := make([]byte, f.s.nh)
	f.add(func() {
		_, err := f.s.kem.DeriveKeyPair(from)
		f.must(err)
	})
}

// parse is a public key of the KEM that has just come in.
func (f *floor) parse(key []byte) {
	f.add(func() {
		_, err := f.s.kem.NewPublicKey(key)
		f.must(err)
	})
}

func (f *floor) sign(k Signer, n int) {
	content := make([]byte, n)
	f.add(func() {
		_, err := k.Sign(f.tb.Context(), content)
		f.must(err)
	})
}

// verification prepares a genuine signature over n bytes to be verified. A
// key that is new to the verifier is parsed, too.
func (f *floor) verification(n int, parsed bool) func() {
	k, err := NewSoftwareSigner(f.s.scheme)
	f.must(err)
	content := make([]byte, n)
	sig, err := k.Sign(f.tb.Context(), content)
	f.must(err)
	if f.s.scheme == Ed25519 {
		key := ed25519.PublicKey(k.Public())
		return func() {
			if !ed25519.Verify(key, content, sig) {
				f.tb.Error("refused")
			}
		}
	}
	c, err := curve(f.s.scheme)
	f.must(err)
	key, err := ecdsa.ParseUncompressedPublicKey(c, k.Public())
	f.must(err)
	return func() {
		key := key
		if !parsed {
			key, _ = ecdsa.ParseUncompressedPublicKey(c, k.Public())
		}
		h := schemeHash(f.s.scheme).New()
		h.Write(content)
		if !ecdsa.VerifyASN1(key, h.Sum(nil), sig) {
			f.tb.Error("refused")
		}
	}
}

func (f *floor) verify(n int, parsed bool) { f.add(f.verification(n, parsed)) }

// verifyAll is verifications of keys that are new, on all cores.
func (f *floor) verifyAll(sizes []int) {
	all := make([]func(), len(sizes))
	for i, n := range sizes {
		all[i] = f.verification(n, false)
	}
	f.add(func() {
		var next atomic.Int64
		var wg sync.WaitGroup
		for range runtime.GOMAXPROCS(0) {
			wg.Go(func() {
				for i := next.Add(1) - 1; int(i) < len(all); i = next.Add(1) - 1 {
					all[i]()
				}
			})
		}
		wg.Wait()
	})
}

// seal is one HPKE seal of n bytes under an info of that size.
func (f *floor) seal(to hpke.PublicKey, info, n int) {
	context, plain := make([]byte, info), make([]byte, n)
	f.add(func() {
		_, sender, err := hpke.NewSender(to, f.s.kdf, f.s.aead, context)
		f.must(err)
		_, err = sender.Seal(nil, plain)
		f.must(err)
	})
}

// open is one HPKE open of n bytes.
func (f *floor) open(info, n int) {
	key, err := f.s.kem.GenerateKey()
	f.must(err)
	context := make([]byte, info)
	enc, sender, err := hpke.NewSender(key.PublicKey(), f.s.kdf, f.s.aead, context)
	f.must(err)
	sealed, err := sender.Seal(nil, make([]byte, n))
	f.must(err)
	f.add(func() {
		r, err := hpke.NewRecipient(enc, key, f.s.kdf, f.s.aead, context)
		f.must(err)
		_, err = r.Open(nil, sealed)
		f.must(err)
	})
}

// aead is one seal or open, which cost the same, under a key of its own: every
// message of MLS has a key of its own.
func (f *floor) aead(n int, opens bool) {
	key, nonce, plain := make([]byte, f.s.nk), make([]byte, nn), make([]byte, n)
	sealed := f.key(key).Seal(nil, nonce, plain, nil)
	out := make([]byte, 0, len(sealed))
	f.add(func() {
		if a := f.key(key); !opens {
			a.Seal(out, nonce, plain, nil)
		} else if _, err := a.Open(out, nonce, sealed, nil); err != nil {
			f.tb.Error(err)
		}
	})
}

func (f *floor) key(k []byte) cipher.AEAD {
	a, err := f.s.open(k)
	f.must(err)
	return a
}

// schedule is the key schedule of an epoch (Section 8, figure 22 and table 4):
// joiner, member and epoch secret, the nine secrets of an epoch, and the
// confirmation tag. An epoch consists of them.
func (f *floor) schedule() {
	f.extract() // init_secret with commit_secret
	f.expand(1) // joiner_secret
	f.extract() // with psk_secret
	f.expand(1) // epoch_secret
	f.expand(9)
	f.mac()
}

// private is the frame of a PrivateMessage (Section 6.3): a step of the
// ratchet, the content, and the sender data under a key of its own.
func (f *floor) private(n int, opens bool) {
	f.expand(3) // key, nonce, next secret
	f.aead(n, opens)
	f.expand(2) // key and nonce of the sender data
	f.aead(senderDataLen, opens)
}

// treeHashes is a tree hash (Section 7.8) for each node whose hash is not what
// it was in old, which is nil for a tree that came as a whole.
func (f *floor) treeHashes(t, old *tree) {
	t.hash(t.root())
	for x, n := range t.nodes {
		switch {
		case old != nil && x < len(old.hashes) && bytes.Equal(t.hashes[x], old.hashes[x]):
		case nodeIndex(x).isLeaf() && n != nil:
			f.hash(8 + len(n.leaf.raw))
		case nodeIndex(x).isLeaf():
			f.hash(8)
		case n != nil:
			f.hash(8 + len(n.parent.append(nil)) + 2*f.s.nh)
		default:
			f.hash(8 + 2*f.s.nh)
		}
	}
}

// parentHashes is a parent hash (Section 7.9) for that many nodes.
func (f *floor) parentHashes(t *tree, n int) {
	key := len(t.leaf(t.firstLeaf()).encryptionKey)
	for range n {
		f.hash(8 + key + 2*f.s.nh)
	}
}

func (t *tree) firstLeaf() LeafIndex {
	for i := LeafIndex(0); ; i++ {
		if t.leaf(i) != nil {
			return i
		}
	}
}

// transcript is both transcript hashes (Section 8.2) of a commit.
func (f *floor) transcript(n int) {
	f.hash(n)
	f.hash(2 * f.s.nh)
}

// commit is a commit that g made (Sections 7.4 to 7.6, 12.4.1), with the
// KeyPackages that it adds.
func (f *floor) commit(g *Group, p *Pending, added ...*KeyPackage) {
	e, t := p.staged.base, p.staged.next.tree
	steps := t.filteredPath(e.self)
	fresh := make([]LeafIndex, 0, len(added))
	for _, m := range p.Diff().Added {
		fresh = append(fresh, m.Index)
	}
	raw := len(p.staged.next.contextRaw)

	f.generate() // the leaf's key pair
	for range steps {
		f.expand(2) // node_secret, next path_secret; the last is commit_secret
		f.derive()
	}
	f.parentHashes(t, len(steps))
	f.sign(g.cfg.Signer, len(t.leaf(e.self).raw)) // LeafNodeTBS
	f.treeHashes(t, e.tree)
	for _, step := range steps {
		for _, x := range t.recipients(step, fresh) {
			f.seal(t.nodes[x].public(), raw+24, f.s.nh)
		}
	}
	f.sign(g.cfg.Signer, len(p.Message)+raw) // FramedContentTBS
	f.transcript(len(p.Message))
	f.schedule()
	f.private(len(p.Message), false)
	if len(added) == 0 {
		return
	}
	m, err := decodeMessage(p.Welcome)
	f.must(err)
	info := len(m.welcome.info)
	f.sign(g.cfg.Signer, info) // GroupInfoTBS
	f.expand(1)                // welcome_secret
	f.expand(2)                // key, nonce
	f.aead(info, false)
	for i, k := range added {
		to, err := f.s.publicKey(k.initKey) // parsed when the KeyPackage was verified
		f.must(err)
		f.seal(to, info+16, len(m.welcome.secrets[i].sealed.ciphertext))
	}
}

// process is such a commit, without Adds, received by to (Section 12.4.2).
func (f *floor) process(from, to *Group, p *Pending) {
	t := p.staged.next.tree
	steps := t.filteredPath(from.Self())
	raw := len(to.cur.contextRaw)

	for range t.root().level() + 1 { // the sender's first message: from the secret tree's root to its ratchets (Section 9)
		f.expand(2)
	}
	f.private(len(p.Message), true)
	f.verify(len(p.Message)+raw, true) // FramedContentTBS
	leaf := t.leaf(from.Self())
	f.verify(len(leaf.raw), true) // LeafNodeTBS; its signature key is known
	f.parse(leaf.encryptionKey)
	for _, step := range steps { // new keys that this member cannot derive
		if !step.node.above(to.Self()) {
			f.parse(t.nodes[step.node].encryptionKey())
		}
	}
	f.parentHashes(t, len(steps))
	f.treeHashes(t, from.cur.tree)
	f.open(raw+24, f.s.nh)
	for _, step := range steps {
		if step.node.above(to.Self()) {
			f.expand(2)
			f.derive()
		}
	}
	f.transcript(len(p.Message))
	f.schedule()
}

// join is a Welcome (Section 12.4.3.1) by which k entered the group of p.
func (f *floor) join(p *Pending, k *KeyPackage) {
	t := p.staged.next.tree
	m, err := decodeMessage(p.Welcome)
	f.must(err)
	info := len(m.welcome.info)

	f.open(info+16, len(m.welcome.secrets[0].sealed.ciphertext))
	f.expand(1) // welcome_secret
	f.expand(2) // key, nonce
	f.aead(info, true)
	f.verify(info, true) // GroupInfoTBS, by a member whose key is parsed below
	f.treeHashes(t, nil)
	self, _ := t.find(k.leaf)
	meet := commonAncestor(self, p.Diff().Committer)
	var leaves []int
	for x, n := range t.nodes {
		switch {
		case n == nil:
			continue
		case n.leaf != nil:
			f.parse(n.leaf.encryptionKey)
			leaves = append(leaves, len(n.leaf.raw))
			continue
		case nodeIndex(x).level() >= meet.level() && nodeIndex(x).above(self): // from the path secret
			f.expand(2)
			f.derive()
		default:
			f.parse(n.parent.encryptionKey)
		}
		f.parentHashes(t, 1)
	}
	f.verifyAll(leaves)
	f.schedule()
	f.hash(2 * f.s.nh) // interim transcript hash
}

// message is an application message: its AEAD, twice as MLS encrypts the
// sender apart, and its signature. The ratchet is not in it.
func (f *floor) message(g *Group, data, msg int, opens bool) {
	n := data + 24 + len(g.cur.contextRaw)
	if opens {
		f.verify(n, true)
	} else {
		f.sign(g.cfg.Signer, n)
	}
	f.aead(msg, opens)
	f.aead(senderDataLen, opens)
}
