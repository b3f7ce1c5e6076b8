// SPDX-License-Identifier: Apache-2.0

package pairing

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

// TestStranger has no link and asks all the same: that counts as no attempt.
func TestStranger(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRoom(t)
		defer r.run()()
		w, _ := r.window()
		b := newBrowser(t)
		other := w
		other.nonce[15]++
		for range 20 {
			if _, err := r.Link(b.link(other, w.Role, w.secret)); !errors.Is(err, ErrClosed) {
				t.Fatal(err)
			}
		}
		for name, change := range map[string]func(*LinkRequest){
			"no window":    func(q *LinkRequest) { q.Window = "" },
			"longer":       func(q *LinkRequest) { q.Window += "A" },
			"padded":       func(q *LinkRequest) { q.Window += "==" },
			"no key":       func(q *LinkRequest) { q.Key = nil },
			"key of P-384": func(q *LinkRequest) { q.Key = p384(t) },
		} {
			q := b.link(w, w.Role, w.secret)
			change(&q)
			if _, err := r.Link(q); !errors.Is(err, ErrClosed) && !errors.Is(err, ErrKey) {
				t.Errorf("%s: %v", name, err)
			}
		}
		if r.book.Wrong != 0 {
			t.Errorf("%d attempts were counted", r.book.Wrong)
		}
		for name, change := range map[string]func(*LinkRequest){
			"no proof":     func(q *LinkRequest) { q.Proof = nil },
			"half a proof": func(q *LinkRequest) { q.Proof = q.Proof[:16] },
			"room's proof": func(q *LinkRequest) {
				q.Proof = proofOf("room", w.secret, webContext(origin, b.public, "ic-1", w.nonce, w.Role))
			},
			"another key":   func(q *LinkRequest) { q.Key = newBrowser(t).public },
			"another place": func(q *LinkRequest) { q.Origin = "https://evil.example" },
		} {
			q := b.link(w, w.Role, w.secret)
			change(&q)
			if _, err := r.Link(q); !errors.Is(err, ErrWrong) {
				t.Errorf("%s: %v", name, err)
			}
		}
	})
}

func p384(t *testing.T) []byte {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		t.Fatal(err)
	}
	return der
}

// TestCommit has everything that can go wrong between the two phases.
func TestCommit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRoom(t)
		stop := r.run()
		defer func() { stop() }()
		w, _ := r.window()
		b := newBrowser(t)
		g, err := r.Link(b.link(w, w.Role, w.secret))
		if err != nil {
			t.Fatal(err)
		}
		if s, _ := r.State(); len(s.Panels) != 0 {
			t.Error("it is on the list before it committed")
		}
		good := b.commit(t, w, g)
		for name, tt := range map[string]struct {
			change func(*CommitRequest)
			want   error
		}{
			"another cookie":   {func(q *CommitRequest) { q.Cookie = base64url.EncodeToString(make([]byte, 32)) }, ErrUnknown},
			"no cookie":        {func(q *CommitRequest) { q.Cookie = "" }, ErrUnknown},
			"another panel":    {func(q *CommitRequest) { q.Panel = "p-0000000000000000" }, ErrUnknown},
			"another place":    {func(q *CommitRequest) { q.Origin = "https://evil.example" }, ErrWrong},
			"no signature":     {func(q *CommitRequest) { q.Signature = nil }, ErrWrong},
			"zero":             {func(q *CommitRequest) { q.Signature = make([]byte, 64) }, ErrWrong},
			"another's":        {func(q *CommitRequest) { q.Signature = newBrowser(t).commit(t, w, g).Signature }, ErrWrong},
			"of another panel": {func(q *CommitRequest) { q.Signature = b.commit(t, w, Grant{Panel: "p-0000000000000000"}).Signature }, ErrWrong},
		} {
			q := good
			tt.change(&q)
			if err := r.Commit(t.Context(), q); !errors.Is(err, tt.want) {
				t.Errorf("%s: %v, want %v", name, err, tt.want)
			}
		}
		time.Sleep(commitTime + time.Second)
		if err := r.Commit(t.Context(), good); !errors.Is(err, ErrUnknown) {
			t.Errorf("after its time: %v", err)
		}
		synctest.Wait()
		w, open := r.window()
		if !open {
			t.Fatal("no new window after a pairing that was never finished")
		}
		if g, err = r.Link(b.link(w, w.Role, w.secret)); err != nil {
			t.Fatal(err)
		}
		good = b.commit(t, w, g)
		stop()
		r.restart()
		stop = r.run()
		if err := r.Commit(t.Context(), good); !errors.Is(err, ErrUnknown) {
			t.Errorf("after a restart: %v", err)
		}
		g = r.pair()
		for range 2 { // the answer may have been lost
			if err := r.Commit(t.Context(), CommitRequest{Panel: g.Panel, Cookie: g.Cookie, Origin: origin}); err != nil {
				t.Errorf("again: %v", err)
			}
		}
		if s, _ := r.State(); len(s.Panels) != 1 {
			t.Errorf("%d panels", len(s.Panels))
		}
	})
}

// TestWithoutRun has nobody look at the clock: each limit of time holds by
// itself.
func TestWithoutRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRoom(t)
		open := func() Window {
			w, err := r.OpenWindow(PanelRole)
			if err != nil {
				t.Fatal(err)
			}
			return w
		}
		w, b := open(), newBrowser(t)
		time.Sleep(windowTime)
		if _, err := r.Link(b.link(w, w.Role, w.secret)); !errors.Is(err, ErrClosed) {
			t.Errorf("a window after its time: %v", err)
		}
		w = open()
		g, err := r.Link(b.link(w, w.Role, w.secret))
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(commitTime)
		if err := r.Commit(t.Context(), b.commit(t, w, g)); !errors.Is(err, ErrUnknown) {
			t.Errorf("a commit after its time: %v", err)
		}
		w = open()
		_, p, a, err := r.try(w.PIN())
		if err != nil {
			t.Fatal(err)
		}
		last, _, err := p.Finish(a.Share, a.Confirm)
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(guessTime)
		if _, err := r.ConfirmPIN(a.Attempt, last); !errors.Is(err, ErrClosed) {
			t.Errorf("a guess after its time: %v", err)
		}
		time.Sleep(windowTime)
		if _, _, _, err := r.try(w.PIN()); !errors.Is(err, ErrClosed) {
			t.Errorf("a PIN after its time: %v", err)
		}
	})
}

// TestFull pairs as many panels as the room takes.
func TestFull(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRoom(t)
		defer r.run()()
		r.pair()
		for range maxPanels - 1 {
			if _, err := r.OpenWindow(PanelRole); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
			r.pair()
		}
		if _, err := r.OpenWindow(PanelRole); !errors.Is(err, ErrFull) {
			t.Errorf("one more: %v", err)
		}
		r.restart()
		if s, _ := r.State(); len(s.Panels) != maxPanels {
			t.Errorf("%d panels after a restart", len(s.Panels))
		}
	})
}
