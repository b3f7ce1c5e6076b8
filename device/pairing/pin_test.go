// SPDX-License-Identifier: Apache-2.0

package pairing

import (
	"context"
	"errors"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"incamera/device/pairing/spake"
)

// try begins a guess with a PIN.
func (r *room) try(pin string) (browser, *spake.Prover, PINAnswer, error) {
	r.t.Helper()
	s, _ := r.State()
	if s.PIN == nil {
		r.t.Fatal("there is no PIN")
	}
	b := newBrowser(r.t)
	var nonce [16]byte
	if !decode(nonce[:], s.PIN.Window) {
		r.t.Fatalf("the window is %q", s.PIN.Window)
	}
	secret, err := spake.NewSecret(pin, s.PIN.Salt, "panel", "room")
	if err != nil {
		r.t.Fatal(err)
	}
	p, err := spake.NewProver(spake.Parties{Context: webContext(origin, b.public, "ic-1", nonce, s.Role), Prover: "panel", Verifier: "room"}, secret)
	if err != nil {
		r.t.Fatal(err)
	}
	a, err := r.PIN(r.t.Context(), PINRequest{Window: s.PIN.Window, Key: b.public, Name: "Phone", Share: p.Share(), Origin: origin})
	return b, p, a, err
}

// guessWrong guesses wrong, and sees it.
func (r *room) guessWrong() {
	r.t.Helper()
	_, p, a, err := r.try("00000000")
	if err != nil {
		r.t.Fatal(err)
	}
	if _, _, err := p.Finish(a.Share, a.Confirm); !errors.Is(err, spake.ErrRefused) {
		r.t.Fatalf("the guess was right: %v", err)
	}
	if _, err := r.ConfirmPIN(a.Attempt, make([]byte, spake.ConfirmSize)); !errors.Is(err, ErrWrong) {
		r.t.Errorf("without the PIN: %v", err)
	}
	if _, err := r.ConfirmPIN(a.Attempt, make([]byte, spake.ConfirmSize)); !errors.Is(err, ErrClosed) {
		r.t.Errorf("a second proof for one guess: %v", err)
	}
}

// TestPIN pairs by the PIN that is shown.
func TestPIN(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRoom(t)
		defer r.run()()
		w, _ := r.window()
		if len(w.PIN()) != 8 || strings.Trim(w.PIN(), "0123456789") != "" {
			t.Fatalf("the PIN is %q", w.PIN())
		}
		b, p, a, err := r.try(w.PIN())
		if err != nil {
			t.Fatal(err)
		}
		if r.guesses.n != 1001 {
			t.Errorf("answered, and %d guesses counted", r.guesses.n-1000)
		}
		last, _, err := p.Finish(a.Share, a.Confirm)
		if err != nil {
			t.Fatal(err)
		}
		g, err := r.ConfirmPIN(a.Attempt, last)
		if err != nil || g.Role != Facilities {
			t.Fatal(g.Role, err)
		}
		s, _ := r.State()
		if s.Open || s.PIN != nil || len(s.Panels) != 0 {
			t.Errorf("before the commit: %+v", s)
		}
		// What names the PIN's window is in what the panel signs.
		signed := w
		signed.nonce = w.digits.nonce
		if err := r.Commit(t.Context(), b.commit(t, w, g)); !errors.Is(err, ErrWrong) {
			t.Errorf("a commit of the link: %v", err)
		}
		if err := r.Commit(t.Context(), b.commit(t, signed, g)); err != nil {
			t.Fatal(err)
		}
		r.restart()
		if s, _ := r.State(); len(s.Panels) != 1 || !s.PINLockedUntil.IsZero() || s.TriesLeft != maxTries {
			t.Errorf("after it paired: %+v", s)
		}
		again, err := r.OpenWindow(PanelRole)
		if err != nil || again.PIN() == w.PIN() || again.PIN() == "" {
			t.Errorf("the next PIN is %q, %v", again.PIN(), err)
		}
	})
}

// TestGuesses uses up the PIN of window after window, with restarts between.
// The link goes on.
func TestGuesses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRoom(t)
		stop := r.run()
		defer func() { stop() }()
		for range 3 {
			r.guessWrong()
		}
		stop()
		r.restart() // gains no try
		stop = r.run()
		if s, _ := r.State(); s.PIN == nil || s.PIN.TriesLeft != 2 {
			t.Errorf("after a restart: %+v", s.PIN)
		}
		for i, wait := range []time.Duration{time.Minute, 5 * time.Minute, 15 * time.Minute, time.Hour, time.Hour} {
			for s, _ := r.State(); s.PIN != nil; s, _ = r.State() {
				r.guessWrong()
				if s.PIN.TriesLeft == 1 {
					break
				}
			}
			synctest.Wait()
			s, _ := r.State()
			if w, open := r.window(); !open || w.PIN() != "" || s.PIN != nil || time.Until(s.PINLockedUntil) != wait {
				t.Fatalf("lock %d: shown %v, %+v", i, open, s)
			}
			b := newBrowser(t)
			_, err := r.PIN(t.Context(), PINRequest{Window: base64url.EncodeToString(make([]byte, 16)), Key: b.public, Share: make([]byte, 65), Origin: origin})
			if locked, ok := errors.AsType[*LockedError](err); !ok || time.Until(locked.Until) != wait {
				t.Errorf("lock %d: %v", i, err)
			}
			time.Sleep(wait / 2)
			stop()
			r.restart() // the wait begins anew
			stop = r.run()
			time.Sleep(wait - time.Second)
			if s, _ := r.State(); s.PIN != nil || !s.Open {
				t.Errorf("lock %d: the plug gained time: %+v", i, s)
			}
			time.Sleep(windowTime + 2*time.Second)
			synctest.Wait()
			if s, _ := r.State(); s.PIN == nil || s.PIN.TriesLeft != maxTries {
				t.Fatalf("after lock %d: %+v", i, s)
			}
		}
		if r.guesses.n != 1025 || r.book.Wrong != 0 {
			t.Errorf("%d guesses and %d proofs were counted", r.guesses.n-1000, r.book.Wrong)
		}
		for range maxTries {
			r.guessWrong()
		}
		synctest.Wait()
		r.pair() // by the link
		if s, _ := r.State(); !s.PINLockedUntil.IsZero() {
			t.Errorf("after pairing: %+v", s)
		}
	})
}

// TestCountedFirst holds the counter up: nothing is answered before it counted,
// and two guesses are never open at once.
func TestCountedFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRoom(t)
		defer r.run()()
		w, _ := r.window()
		r.guesses.gate = make(chan struct{})
		answered := make(chan error, 1)
		go func() {
			_, _, _, err := r.try(w.PIN())
			answered <- err
		}()
		synctest.Wait()
		select {
		case err := <-answered:
			t.Fatalf("answered before it was counted: %v", err)
		default:
		}
		if _, _, _, err := r.try(w.PIN()); !errors.Is(err, ErrBusy) {
			t.Errorf("a second guess while one is counted: %v", err)
		}
		close(r.guesses.gate)
		if err := <-answered; err != nil {
			t.Error(err)
		}
		if _, _, _, err := r.try(w.PIN()); !errors.Is(err, ErrBusy) {
			t.Errorf("a second guess while one is open: %v", err)
		}
		time.Sleep(guessTime + time.Second)
		_, p, a, err := r.try(w.PIN())
		if err != nil {
			t.Fatal(err)
		}
		last, _, err := p.Finish(a.Share, a.Confirm)
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(guessTime + time.Second)
		if _, err := r.ConfirmPIN(a.Attempt, last); !errors.Is(err, ErrClosed) {
			t.Errorf("ten seconds later: %v", err)
		}
	})
}

// TestDeadCounter has a TPM that fails, at the start and later: there is no PIN,
// and the link works.
func TestDeadCounter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRoom(t)
		stop := r.run()
		w, _ := r.window()
		r.guesses.err = errors.New("the chip does not answer")
		if _, _, a, err := r.try(w.PIN()); !errors.Is(err, ErrNoPIN) || a.Confirm != nil {
			t.Errorf("uncounted: %+v, %v", a, err)
		}
		synctest.Wait()
		if w, open := r.window(); !open || w.PIN() != "" {
			t.Errorf("it shows the PIN %q", w.PIN())
		}
		stop()
		r.restart()
		stop = r.run()
		if s, _ := r.State(); !s.Open || s.PIN != nil {
			t.Errorf("after a restart: %+v", s)
		}
		r.pair()
		stop()
		r.guesses.err = nil
		r.guesses.n = 3 // another chip
		r.restart()
		if s, _ := r.State(); s.PINLockedUntil.IsZero() {
			t.Error("a counter below its baseline locks nothing")
		}
	})
}

// TestNoShare sends what is no share: it learns nothing, and counts as nothing.
func TestNoShare(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRoom(t)
		defer r.run()()
		s, _ := r.State()
		b := newBrowser(t)
		for name, tt := range map[string]struct {
			q    PINRequest
			want error
		}{
			"no share":  {PINRequest{Window: s.PIN.Window, Key: b.public}, ErrWrong},
			"zeros":     {PINRequest{Window: s.PIN.Window, Key: b.public, Share: make([]byte, 65)}, ErrWrong},
			"no key":    {PINRequest{Window: s.PIN.Window, Share: b.public[26:]}, ErrKey},
			"no window": {PINRequest{Key: b.public, Share: b.public[26:]}, ErrClosed},
			"another":   {PINRequest{Window: base64url.EncodeToString(make([]byte, 16)), Key: b.public, Share: b.public[26:]}, ErrClosed},
		} {
			if _, err := r.PIN(t.Context(), tt.q); !errors.Is(err, tt.want) {
				t.Errorf("%s: %v, want %v", name, err, tt.want)
			}
		}
		if r.guesses.n != 1000 {
			t.Errorf("%d guesses were counted", r.guesses.n-1000)
		}
		for _, attempt := range []string{"", "A", base64url.EncodeToString(make([]byte, 16))} {
			if _, err := r.ConfirmPIN(attempt, nil); !errors.Is(err, ErrClosed) {
				t.Errorf("%q: %v", attempt, err)
			}
		}
	})
}

// TestClosedMeanwhile closes the window between the two halves of a guess.
func TestClosedMeanwhile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRoom(t)
		defer r.run()()
		w, _ := r.window()
		_, p, a, err := r.try(w.PIN())
		if err != nil {
			t.Fatal(err)
		}
		last, _, err := p.Finish(a.Share, a.Confirm)
		if err != nil {
			t.Fatal(err)
		}
		r.CloseWindow()
		if _, err := r.ConfirmPIN(a.Attempt, last); !errors.Is(err, ErrClosed) {
			t.Errorf("closed by a person: %v", err)
		}
	})
}

func FuzzPINRequest(f *testing.F) {
	r := newRoom(f)
	w := newWindow(PanelRole, time.Now())
	d, err := newDigits()
	if err != nil {
		f.Fatal(err)
	}
	w.digits = d
	b := newBrowser(f)
	f.Add(base64url.EncodeToString(d.nonce[:]), b.public, b.public[26:], make([]byte, spake.ConfirmSize))
	f.Add("", []byte{}, []byte{0}, []byte{})
	f.Fuzz(func(t *testing.T, window string, key, share, confirm []byte) {
		r.Keeper.mu.Lock()
		open := *w
		k := r.Keeper
		k.window, k.guess, k.guesses, k.pinLocked = &open, nil, 0, time.Time{}
		r.Keeper.mu.Unlock()
		before := r.guesses.n
		a, err := r.PIN(context.Background(), PINRequest{Window: window, Key: key, Share: share, Origin: origin})
		if counted := r.guesses.n == before+1; counted != (err == nil) {
			t.Fatalf("%v, counted %v", err, counted)
		}
		if err == nil {
			if _, err := r.ConfirmPIN(a.Attempt, confirm); !errors.Is(err, ErrWrong) {
				t.Fatalf("without the PIN: %v", err)
			}
		}
	})
}

// TestPINIsShownAlone looks for the PIN where it must not be.
func TestPINIsShownAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRoom(t)
		defer r.run()()
		w, _ := r.window()
		text, err := os.ReadFile(r.path)
		if err != nil || strings.Contains(string(text), w.PIN()) {
			t.Errorf("the disk holds the PIN: %s, %v", text, err)
		}
	})
}
