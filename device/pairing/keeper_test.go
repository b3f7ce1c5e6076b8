// SPDX-License-Identifier: Apache-2.0

package pairing

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"errors"
	"log/slog"
	"path/filepath"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

const origin = "https://192.0.2.7"

// A counter counts like the TPM's: it outlives the keeper.
type counter struct {
	mu   sync.Mutex
	n    uint64
	err  error
	gate chan struct{} // Add waits for it, if not nil
}

func (c *counter) Count(context.Context) (uint64, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.n, c.err
}

func (c *counter) Add(ctx context.Context) (uint64, error) {
	if c.gate != nil {
		select {
		case <-c.gate:
		case <-ctx.Done():
			return 0, ctx.Err()
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err == nil {
		c.n++
	}
	return c.n, c.err
}

// A room is a keeper with what it shows.
type room struct {
	*Keeper
	t       testing.TB
	path    string
	guesses *counter

	mu    sync.Mutex
	shown *Window
	count int // windows shown
}

func (r *room) Show(w Window) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.shown == nil || r.shown.nonce != w.nonce {
		r.count++
	}
	r.shown = &w
}

func (r *room) Hide() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.shown = nil
}

// window returns what the room shows.
func (r *room) window() (Window, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.shown == nil {
		return Window{}, false
	}
	return *r.shown, true
}

func newRoom(t testing.TB) *room {
	t.Helper()
	r := &room{t: t, path: filepath.Join(t.TempDir(), "panels.json"), guesses: &counter{n: 1000}}
	r.restart()
	return r
}

// restart opens the keeper anew, as a start of the room does.
func (r *room) restart() {
	r.t.Helper()
	r.Hide()
	k, err := Open(r.t.Context(), Options{
		Path: r.path, Room: func() string { return "ic-1" }, Port: 443, Guesses: r.guesses, Display: r,
	}, slog.New(slog.DiscardHandler))
	if err != nil {
		r.t.Fatal(err)
	}
	r.Keeper = k
}

// run runs the keeper until what it returns is called.
func (r *room) run() func() {
	ctx, cancel := context.WithCancel(r.t.Context())
	done := make(chan struct{})
	k := r.Keeper
	go func() { defer close(done); _ = k.Run(ctx) }()
	synctest.Wait()
	return func() { cancel(); <-done }
}

// A browser is the panel's side of a pairing.
type browser struct {
	key    *ecdsa.PrivateKey
	public []byte
}

func newBrowser(t testing.TB) browser {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	public, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		t.Fatal(err)
	}
	return browser{key, public}
}

func (b browser) link(w Window, role Role, secret [16]byte) LinkRequest {
	return LinkRequest{
		Window: base64url.EncodeToString(w.nonce[:]), Key: b.public, Name: "Tablet", Origin: origin,
		Proof: proofOf("panel", secret, webContext(origin, b.public, "ic-1", w.nonce, role)),
	}
}

func (b browser) commit(t testing.TB, w Window, g Grant) CommitRequest {
	t.Helper()
	signature, err := (&Client{key: b.key}).sign(commitMessage(origin, "ic-1", w.nonce, g.Panel))
	if err != nil {
		t.Fatal(err)
	}
	return CommitRequest{Panel: g.Panel, Cookie: g.Cookie, Origin: origin, Signature: signature}
}

// pair pairs a browser in the window that is shown.
func (r *room) pair() Grant {
	r.t.Helper()
	w, open := r.window()
	if !open {
		r.t.Fatal("no window is shown")
	}
	b := newBrowser(r.t)
	g, err := r.Link(b.link(w, w.Role, w.secret))
	if err != nil {
		r.t.Fatal(err)
	}
	if string(g.Proof) != string(proofOf("room", w.secret, webContext(origin, b.public, "ic-1", w.nonce, w.Role))) {
		r.t.Fatal("the room's proof is not of this pairing")
	}
	if err := r.Commit(r.t.Context(), b.commit(r.t, w, g)); err != nil {
		r.t.Fatal(err)
	}
	return g
}

// wrong gives a wrong answer in the window that is shown.
func (r *room) wrong() error {
	r.t.Helper()
	w, open := r.window()
	if !open {
		r.t.Fatal("no window is shown")
	}
	_, err := r.Link(newBrowser(r.t).link(w, w.Role, [16]byte{}))
	return err
}

// TestWindows follows a room from its first start to its second panel.
func TestWindows(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRoom(t)
		stop := r.run()
		defer func() { stop() }()
		first, open := r.window()
		if !open || first.Role != Facilities {
			t.Fatal("a room that was never paired shows no window")
		}
		time.Sleep(windowTime - time.Second)
		if w, _ := r.window(); w.nonce != first.nonce {
			t.Error("the window ended early")
		}
		time.Sleep(2 * time.Second)
		second, open := r.window()
		if !open || second.nonce == first.nonce || second.secret == first.secret {
			t.Fatal("the next window has the secrets of the first")
		}
		if _, err := r.Link(newBrowser(t).link(first, Facilities, first.secret)); !errors.Is(err, ErrClosed) {
			t.Errorf("the first link after its time: %v", err)
		}
		g := r.pair()
		synctest.Wait()
		if _, open := r.window(); open {
			t.Error("a window is shown after pairing")
		}
		if _, err := r.Link(newBrowser(t).link(second, Facilities, second.secret)); !errors.Is(err, ErrClosed) {
			t.Errorf("the link that was used: %v", err)
		}
		time.Sleep(24 * time.Hour)
		if _, open := r.window(); open {
			t.Error("a paired room opened a window by itself")
		}
		stop()
		r.restart()
		stop = r.run()
		time.Sleep(time.Hour)
		if _, open := r.window(); open {
			t.Error("a paired room opened a window after a restart")
		}

		w, err := r.OpenWindow(PanelRole)
		if err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if at, open := r.window(); !open || at.nonce != w.nonce || at.Role != PanelRole {
			t.Error("the window that was asked for is not shown")
		}
		if _, err := r.Link(newBrowser(t).link(w, Facilities, w.secret)); !errors.Is(err, ErrWrong) {
			t.Errorf("another role than the window's: %v", err)
		}
		r.pair()
		s, _ := r.State()
		if len(s.Panels) != 2 || s.Panels[0].ID != g.Panel || s.Panels[0].Role != Facilities || s.Panels[1].Role != PanelRole || s.Open {
			t.Errorf("state = %+v", s)
		}
		if _, err := r.OpenWindow("Security"); err == nil {
			t.Error("a window for the role Security")
		}
		if _, err := r.OpenWindow(PanelRole); err != nil {
			t.Error(err)
		}
		r.CloseWindow()
		synctest.Wait()
		if _, open := r.window(); open {
			t.Error("the window was closed and is shown")
		}
	})
}

// TestUnpairedForGood takes the last panel off: that opens no window.
func TestUnpairedForGood(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRoom(t)
		defer r.run()()
		g := r.pair()
		_, gone, err := r.Panel(g.Panel)
		if err != nil {
			t.Fatal(err)
		}
		if p, _, err := r.ByCookie(g.Cookie); err != nil || p.ID != g.Panel {
			t.Errorf("by its cookie: %v %v", p.ID, err)
		}
		if err := r.Rename(g.Panel, " Table\u202e\n "); err != nil {
			t.Fatal(err)
		}
		if p, _, _ := r.Panel(g.Panel); p.Name != "Table" {
			t.Errorf("its name is %q", p.Name)
		}
		if err := r.Unpair(g.Panel); err != nil {
			t.Fatal(err)
		}
		select {
		case <-gone:
		default:
			t.Error("its sessions were not told")
		}
		for name, err := range map[string]error{
			"panel": second(r.Panel(g.Panel)), "cookie": second(r.ByCookie(g.Cookie)), "again": r.Unpair(g.Panel), "rename": r.Rename(g.Panel, "x"),
		} {
			if !errors.Is(err, ErrUnknown) {
				t.Errorf("%s: %v", name, err)
			}
		}
		time.Sleep(time.Hour)
		if _, open := r.window(); open {
			t.Error("whoever stands at the room may pair now")
		}
	})
}

func second(_ Panel, _ <-chan struct{}, err error) error { return err }

// TestWrongLinks has wrong proofs until the room is locked, pulls the plug, and
// goes on.
func TestWrongLinks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRoom(t)
		stop := r.run()
		defer func() { stop() }()
		for range 3 {
			if err := r.wrong(); !errors.Is(err, ErrWrong) {
				t.Fatal(err)
			}
		}
		stop()
		r.restart() // gains no try
		stop = r.run()
		if s, _ := r.State(); s.TriesLeft != 2 {
			t.Errorf("%d tries are left after a restart, want 2", s.TriesLeft)
		}
		waits := []time.Duration{time.Minute, 5 * time.Minute, 15 * time.Minute, time.Hour, time.Hour}
		for i, wait := range waits {
			w, open := r.window()
			if !open {
				t.Fatalf("no window before lock %d", i)
			}
			for s, _ := r.State(); ; s, _ = r.State() {
				left := s.TriesLeft
				if err := r.wrong(); !errors.Is(err, ErrWrong) {
					t.Fatal(err)
				}
				if left == 1 {
					break
				}
			}
			synctest.Wait()
			if _, open := r.window(); open {
				t.Fatalf("a window is shown after lock %d", i)
			}
			locked, isLocked := errors.AsType[*LockedError](linked(r.Link(newBrowser(t).link(w, w.Role, w.secret))))
			if !isLocked || time.Until(locked.Until) != wait {
				t.Errorf("lock %d: %v, want %v", i, locked, wait)
			}
			if _, err := r.OpenWindow(PanelRole); err == nil {
				t.Errorf("lock %d: a window can be opened", i)
			}
			time.Sleep(wait / 2)
			stop()
			r.restart() // the wait begins anew
			stop = r.run()
			time.Sleep(wait - time.Second)
			if _, open := r.window(); open {
				t.Errorf("lock %d: the plug gained time", i)
			}
			time.Sleep(2 * time.Second)
			synctest.Wait()
		}
		if r.book.Wrong != 25 || r.guesses.n != 1000 {
			t.Errorf("%d proofs and %d PINs were counted, want 25 and 0", r.book.Wrong, r.guesses.n-1000)
		}
		r.pair()
		if s, _ := r.State(); s.TriesLeft != maxTries || !s.LockedUntil.IsZero() {
			t.Errorf("after pairing: %+v", s)
		}
		stop()
		r.restart()
		stop = r.run()
		if _, err := r.OpenWindow(PanelRole); err != nil {
			t.Errorf("old failures count after pairing: %v", err)
		}
	})
}

func linked(_ Grant, err error) error { return err }
