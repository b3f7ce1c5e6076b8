// SPDX-License-Identifier: Apache-2.0

package pairing

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"fmt"
	"time"

	"incamera/device/pairing/spake"
)

// A PINRequest is how a browser begins to guess the PIN.
type PINRequest struct {
	Window string // from [PINState]
	Key    []byte // SubjectPublicKeyInfo in DER
	Name   string // as the panel calls itself
	Share  []byte // of SPAKE2+
	Origin string // of the page, checked by the caller to be this room's
}

// A PINAnswer is the room's half. Who gets it can tell whether the guess was
// right.
type PINAnswer struct {
	Attempt        string
	Share, Confirm []byte
}

// A guess is a PIN that was answered: it is counted, and waits for the proof.
type guess struct {
	id     [16]byte
	answer *spake.Answer
	panel  Panel
	nonce  [16]byte
	origin string
	until  time.Time
}

// PIN answers a guess of the PIN, once it is counted where no power cut takes it
// back: the answer tells the result. One guess is open at a time, for ten
// seconds.
func (k *Keeper) PIN(ctx context.Context, r PINRequest) (PINAnswer, error) {
	var nonce [16]byte
	if !decode(nonce[:], r.Window) {
		return PINAnswer{}, ErrClosed
	}
	if _, err := parseKey(r.Key); err != nil {
		return PINAnswer{}, err
	}
	if !k.attempts.TryLock() {
		return PINAnswer{}, ErrBusy
	}
	defer k.attempts.Unlock()
	w, err := k.guessable(nonce)
	if err != nil {
		return PINAnswer{}, err
	}
	parties := spake.Parties{Context: webContext(r.Origin, r.Key, k.o.Room(), nonce, w.Role), Prover: "panel", Verifier: "room"}
	answer, err := spake.Respond(parties, w.digits.secret, r.Share)
	if err != nil {
		return PINAnswer{}, ErrWrong // no share at all: nothing is learnt, and nothing counts
	}
	if err := k.charge(ctx); err != nil {
		return PINAnswer{}, err
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	now := time.Now()
	if k.guesses%maxTries == 0 {
		k.pinLocked = lock(k.guesses, now)
	}
	if k.window == nil || k.window.digits != w.digits {
		return PINAnswer{}, ErrClosed // by a person, in the meantime
	}
	if k.guesses%maxTries == 0 {
		used := *k.window // shown anew, without the PIN
		used.digits = nil
		k.window = &used
	}
	k.guess = &guess{
		answer: answer, nonce: nonce, origin: r.Origin, until: now.Add(guessTime),
		panel: Panel{Name: nameOf(r.Name), Role: w.Role, Kind: kindBrowser, Key: r.Key},
	}
	_, _ = rand.Read(k.guess.id[:]) // never fails
	k.change()
	return PINAnswer{base64url.EncodeToString(k.guess.id[:]), answer.Share, answer.Confirm}, nil
}

// guessable returns the window whose PIN has the nonce, if it may be guessed.
func (k *Keeper) guessable(nonce [16]byte) (*Window, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	now := time.Now()
	switch w := k.window; {
	case k.guess != nil && now.Before(k.guess.until):
		return nil, ErrBusy
	case now.Before(k.pinLocked):
		return nil, &LockedError{k.pinLocked}
	case k.dead:
		return nil, ErrNoPIN
	case w == nil, w.digits == nil, !now.Before(w.Until), !hmac.Equal(w.digits.nonce[:], nonce[:]):
		return nil, ErrClosed
	default:
		return w, nil
	}
}

// charge counts a guess. Without the count there is no answer: a dead counter
// closes the PIN, and leaves the link.
func (k *Keeper) charge(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), guessTime)
	defer cancel()
	_, err := k.o.Guesses.Add(ctx)
	k.mu.Lock()
	defer k.mu.Unlock()
	k.guesses++ // even then: it may have been counted
	if err != nil {
		k.dead = true
		k.log.ErrorContext(ctx, "guess not counted, there are no PINs until the next start", "err", err)
		if k.window != nil {
			used := *k.window
			used.digits = nil
			k.window = &used
			k.change()
		}
		return fmt.Errorf("%w: %w", ErrNoPIN, err)
	}
	k.log.WarnContext(ctx, "a PIN is tried", "tries", k.guesses)
	return nil
}

// ConfirmPIN takes the panel's proof that it knew the PIN. As with the link, a
// right one closes the window, and the panel has a minute to store what it got.
func (k *Keeper) ConfirmPIN(attempt string, confirm []byte) (Grant, error) {
	var id [16]byte
	if !decode(id[:], attempt) {
		return Grant{}, ErrClosed
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	g := k.guess
	if g == nil || !hmac.Equal(g.id[:], id[:]) || !time.Now().Before(g.until) {
		return Grant{}, ErrClosed
	}
	k.guess = nil // one proof for each guess
	k.change()
	if _, err := g.answer.Check(confirm); err != nil {
		k.failed++
		return Grant{}, ErrWrong
	}
	if k.window == nil {
		return Grant{}, ErrClosed
	}
	return k.grant(g.panel, g.nonce, g.origin), nil
}
