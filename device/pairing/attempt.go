// SPDX-License-Identifier: Apache-2.0

package pairing

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"log/slog"
	"time"
)

// A LinkRequest is what a browser that opened the link asks.
type LinkRequest struct {
	Window string // the nonce from the link
	Key    []byte // SubjectPublicKeyInfo in DER
	Name   string // as the panel calls itself
	Proof  []byte // that it has the secret
	Origin string // of the page, checked by the caller to be this room's
}

// A Grant is the room's answer: what the panel must store before it commits. It
// holds the cookie, and prints without it.
type Grant struct {
	Panel  string
	Role   Role
	Cookie string
	Proof  []byte // that the room has the secret of the link; a PIN has proved that before
}

func (Grant) String() string { return "[redacted]" }

// GoString implements fmt.GoStringer.
func (Grant) GoString() string { return "[redacted]" }

// LogValue implements [slog.LogValuer].
func (Grant) LogValue() slog.Value { return slog.StringValue("[redacted]") }

// A candidate is confirmed and not yet on the list. It is nowhere but in memory:
// a restart ends it.
type candidate struct {
	panel  Panel
	nonce  [16]byte
	origin string
	until  time.Time
}

// Link checks that a panel has the secret of the window. The attempt is counted
// before it is checked, let alone answered. A right answer closes the window and
// gives the panel a minute to store what it got.
//
// Who names no open window learns just that, and it counts as no attempt: the
// nonce is on the room's display alone, so that a stranger in the network can
// neither guess nor lock the people at the room out.
func (k *Keeper) Link(r LinkRequest) (Grant, error) {
	var nonce [16]byte
	if !decode(nonce[:], r.Window) {
		return Grant{}, ErrClosed
	}
	if _, err := parseKey(r.Key); err != nil {
		return Grant{}, err
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	switch now := time.Now(); {
	case k.window == nil && now.Before(k.locked):
		return Grant{}, &LockedError{k.locked}
	case k.window == nil, !now.Before(k.window.Until), !hmac.Equal(k.window.nonce[:], nonce[:]):
		return Grant{}, ErrClosed
	}
	w := k.window
	if err := k.editLocked(func(b *book) error { b.Wrong++; return nil }); err != nil {
		return Grant{}, err
	}
	context := webContext(r.Origin, r.Key, k.o.Room(), nonce, w.Role)
	if !hmac.Equal(r.Proof, proofOf("panel", w.secret, context)) {
		k.failed++
		k.log.Warn("wrong proof of a pairing link", "wrong", k.book.Wrong)
		if k.book.Wrong%maxTries == 0 {
			k.window = nil
			k.locked = lock(k.book.Wrong, time.Now())
			k.change()
		}
		return Grant{}, ErrWrong
	}
	g := k.grant(Panel{Name: nameOf(r.Name), Role: w.Role, Kind: kindBrowser, Key: r.Key}, nonce, r.Origin)
	g.Proof = proofOf("room", w.secret, context)
	return g, nil
}

// grant closes the window and makes a candidate of the panel. k.mu is held.
func (k *Keeper) grant(p Panel, nonce [16]byte, origin string) Grant {
	var id [8]byte
	var cookie [32]byte
	_, _ = rand.Read(id[:]) // never fails
	_, _ = rand.Read(cookie[:])
	g := Grant{Panel: "p-" + hex.EncodeToString(id[:]), Role: p.Role, Cookie: base64url.EncodeToString(cookie[:])}
	hash := sha256.Sum256(cookie[:])
	p.ID, p.Cookie = g.Panel, hash[:]
	k.window, k.guess = nil, nil
	k.waiting = &candidate{p, nonce, origin, time.Now().Add(commitTime)}
	k.change()
	return g
}

// A CommitRequest is how a panel says that it has stored its key for good.
type CommitRequest struct {
	Panel     string
	Cookie    string
	Origin    string
	Signature []byte // by the key
}

// Commit puts the panel on the list, durably. The same commit again is no error:
// the answer to the first may be lost.
func (k *Keeper) Commit(ctx context.Context, r CommitRequest) error {
	hash, ok := hashCookie(r.Cookie)
	if !ok {
		return ErrUnknown
	}
	if p, _, err := k.ByCookie(r.Cookie); err == nil && p.ID == r.Panel {
		return nil
	}
	count, counted := k.count(ctx)
	k.mu.Lock()
	defer k.mu.Unlock()
	c := k.waiting
	if c == nil || c.panel.ID != r.Panel || !c.panel.has(hash) || !time.Now().Before(c.until) {
		return ErrUnknown
	}
	if r.Origin != c.origin || !signed(c.panel.Key, commitMessage(c.origin, k.o.Room(), c.nonce, c.panel.ID), r.Signature) {
		return ErrWrong
	}
	if len(k.book.Panels) >= maxPanels {
		return ErrFull
	}
	p := c.panel
	p.Paired = time.Now().UTC().Truncate(time.Second)
	err := k.editLocked(func(b *book) error {
		b.Panels = append(b.Panels, p)
		b.Paired = true
		b.Wrong = 0
		if counted {
			b.Baseline = &count
		}
		return nil
	})
	if err != nil {
		return err
	}
	k.waiting, k.locked = nil, time.Time{}
	if counted {
		k.guesses, k.pinLocked = 0, time.Time{}
	}
	k.log.InfoContext(ctx, "panel paired", "panel", p.ID, "name", p.Name, "role", string(p.Role))
	return nil
}

// Challenge returns the room's part of a proof, for [Session].
func Challenge() (c [32]byte) {
	_, _ = rand.Read(c[:]) // never fails
	return c
}
