// SPDX-License-Identifier: Apache-2.0

package e2ee

import (
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"

	"incamera/media/frame"
	"incamera/media/sframe"
)

// keysOf is an epoch of two rooms with a base key of its own.
func keysOf(epoch uint64, self Leaf) EpochKeys {
	k := two(epoch, self)
	binary.BigEndian.PutUint64(k.BaseKey, epoch)
	return k
}

// TestDropLeaves checks that a removed room is not heard any more, even in the
// epoch in which it was a member.
func TestDropLeaves(t *testing.T) {
	a, b := ring(t, keysOf(7, 0)), ring(t, keysOf(7, 1))
	before := mustSeal(t, b, frame.Camera, "before")
	late := mustSeal(t, b, frame.Audio, "late")
	if _, err := a.Open(nil, frame.Camera, 1, before); err != nil {
		t.Fatal(err)
	}
	a.DropLeaves(6, 1) // no such epoch
	if _, err := a.Open(nil, frame.Audio, 1, late); err != nil {
		t.Fatal(err)
	}
	for kind := range frame.Kind(kinds) {
		wire := mustSeal(t, b, kind, "frame")
		a.DropLeaves(7, 1, 5)
		if _, err := a.Open(nil, kind, 1, wire); !errors.Is(err, ErrRefused) {
			t.Errorf("%v of a leaf that was dropped: %v, want %v", kind, err, ErrRefused)
		}
	}
}

// TestEpochs walks through more epochs than there are places and numbers.
func TestEpochs(t *testing.T) {
	a, b := NewKeyring(), NewKeyring()
	if _, err := a.Seal(nil, encoded(frame.Camera, "frame")); !errors.Is(err, ErrNoKey) {
		t.Fatalf("before the first epoch: %v, want %v", err, ErrNoKey)
	}
	var last []byte
	for n := range uint64(40) {
		for _, k := range []*Keyring{a, b} {
			self := Leaf(0)
			if k == b {
				self = 1
			}
			if err := k.Install(keysOf(n, self)); err != nil {
				t.Fatal(err)
			}
		}
		if n == 0 {
			if _, err := a.Seal(nil, encoded(frame.Camera, "frame")); !errors.Is(err, ErrNoKey) {
				t.Fatalf("installed but not sent with: %v, want %v", err, ErrNoKey)
			}
		} else if e, ok := a.Sending(); !ok || e != n-1 {
			t.Fatalf("installing %d moved sending to %d", n, e)
		}
		if err := a.SendWith(n); err != nil {
			t.Fatal(err)
		}
		if last != nil { // sealed in the epoch before
			if _, err := b.Open(nil, frame.Camera, 0, last); err != nil {
				t.Errorf("epoch %d: a frame of the one before: %v", n, err)
			}
		}
		first := mustSeal(t, a, frame.Camera, "first")
		if _, err := b.Open(nil, frame.Camera, 0, first); err != nil {
			t.Errorf("epoch %d: %v", n, err)
		}
		last = mustSeal(t, a, frame.Camera, "last")
		want := []uint64{n - 3, n - 2, n - 1, n}
		if n < 3 {
			want = want[3-n:]
		}
		if got := b.Epochs(); !slices.Equal(got, want) {
			t.Errorf("epoch %d: keys of %v, want %v", n, got, want)
		}
	}
	for _, n := range []uint64{38, 0, 40, 55} {
		if err := a.SendWith(n); !errors.Is(err, ErrEpoch) {
			t.Errorf("SendWith(%d) = %v, want %v", n, err, ErrEpoch)
		}
	}
	if e, _ := a.Sending(); e != 39 {
		t.Errorf("a refused SendWith moved sending to %d", e)
	}
	b.Forget(23) // the same low bits
	if _, err := b.Open(nil, frame.Camera, 0, last); err != nil {
		t.Errorf("after another epoch was forgotten: %v", err)
	}
	b.Forget(39)
	if _, err := b.Open(nil, frame.Camera, 0, mustSeal(t, a, frame.Camera, "frame")); !errors.Is(err, ErrRefused) {
		t.Errorf("a forgotten epoch: %v, want %v", err, ErrRefused)
	}
	a.Forget(39)
	if _, err := a.Seal(nil, encoded(frame.Camera, "frame")); !errors.Is(err, ErrNoKey) {
		t.Errorf("sending with a forgotten epoch: %v, want %v", err, ErrNoKey)
	}
}

// TestEvictionOfSender installs epochs faster than sending follows.
func TestEvictionOfSender(t *testing.T) {
	k := ring(t, keysOf(0, 0))
	for n := uint64(1); n < 6; n++ {
		if err := k.Install(keysOf(n, 0)); err != nil {
			t.Fatal(err)
		}
	}
	if e, ok := k.Sending(); !ok || e != 2 {
		t.Errorf("sending with %d, %v; want the oldest that holds keys, 2", e, ok)
	}
	mustSeal(t, k, frame.Audio, "frame")
	// Sixteen epochs on the low bits are the same: the old one is gone at once.
	if err := k.Install(keysOf(18, 0)); err != nil {
		t.Fatal(err)
	}
	if got, want := k.Epochs(), []uint64{3, 4, 5, 18}; !slices.Equal(got, want) {
		t.Errorf("keys of %v, want %v", got, want)
	}
}

func TestHold(t *testing.T) {
	a, b := ring(t, keysOf(0, 0)), ring(t, keysOf(0, 1))
	try := func(want error) {
		t.Helper()
		if _, err := a.Seal(nil, encoded(frame.Camera, "frame")); !errors.Is(err, want) {
			t.Errorf("held for %q: Seal = %v, want %v", a.Held(), err, want)
		}
	}
	try(nil)
	a.Hold(HoldQuestion)
	a.Hold(HoldRemoval | HoldFork)
	try(ErrNoKey)
	if got := a.Held().String(); got != "question,removal,fork" {
		t.Errorf("Held = %q", got)
	}
	a.Release(HoldQuestion)
	a.Release(HoldFork)
	a.Release(HoldFork)
	try(ErrNoKey)
	if _, err := a.Open(nil, frame.Camera, 1, mustSeal(t, b, frame.Camera, "frame")); err != nil {
		t.Errorf("held, and what arrives: %v", err)
	}
	if err := a.Install(keysOf(1, 0)); err != nil {
		t.Fatal(err)
	}
	if err := a.SendWith(1); err != nil {
		t.Fatal(err)
	}
	try(ErrNoKey) // a new epoch is no release
	a.Release(HoldRemoval)
	try(nil)
	if a.Held() != 0 || a.Held().String() != "" {
		t.Errorf("Held = %v, want none", a.Held())
	}
}

func TestClose(t *testing.T) {
	a, b := ring(t, keysOf(0, 0)), ring(t, keysOf(0, 1))
	wire := mustSeal(t, a, frame.Camera, "frame")
	for range 2 {
		a.Close()
		b.Close()
	}
	if _, err := a.Seal(nil, encoded(frame.Camera, "frame")); !errors.Is(err, ErrNoKey) {
		t.Errorf("Seal = %v, want %v", err, ErrNoKey)
	}
	if _, err := b.Open(nil, frame.Camera, 0, wire); !errors.Is(err, ErrRefused) {
		t.Errorf("Open = %v, want %v", err, ErrRefused)
	}
	if err := a.Install(keysOf(1, 0)); !errors.Is(err, ErrEpoch) {
		t.Errorf("Install = %v, want %v", err, ErrEpoch)
	}
	if err := a.SendWith(0); !errors.Is(err, ErrEpoch) {
		t.Errorf("SendWith = %v, want %v", err, ErrEpoch)
	}
}

// TestSealDuringChanges seals from all sides while epochs and holds change: a
// frame sealed after SendWith or Hold returned is never of the old kind.
func TestSealDuringChanges(t *testing.T) {
	k := ring(t, keysOf(0, 0))
	stop := make(chan struct{})
	var wg sync.WaitGroup
	for kind := range frame.Kind(kinds) {
		wg.Go(func() {
			p, _ := profileOf(kind)
			buf := make([]byte, 0, 256)
			for {
				select {
				case <-stop:
					return
				default:
				}
				least, _ := k.Sending()
				s, err := k.Seal(buf, encoded(kind, "frame"))
				if err != nil {
					continue
				}
				most, _ := k.Sending()
				h, _, err := sframe.ParseHeader(s.Bytes()[p.clear:])
				if ahead := (h.KID - least) & 15; err != nil || ahead > most-least {
					t.Errorf("sealed in epoch %d (low bits) while sending moved from %d to %d", h.KID&15, least, most)
					return
				}
			}
		})
	}
	for n := uint64(1); n < 40; n++ {
		if err := k.Install(keysOf(n, 0)); err != nil {
			t.Error(err)
		}
		if err := k.SendWith(n); err != nil {
			t.Error(err)
		}
		k.Hold(HoldRemoval)
		if _, err := k.Seal(nil, encoded(frame.Camera, "frame")); !errors.Is(err, ErrNoKey) {
			t.Errorf("held: %v, want %v", err, ErrNoKey)
		}
		k.Release(HoldRemoval)
	}
	close(stop)
	wg.Wait()
}

// slowSealer seals until the keyring is held, and a while longer.
type slowSealer struct {
	k        *Keyring
	began    chan struct{}
	finished atomic.Bool
}

func (s *slowSealer) Seal(dst, _, _ []byte) ([]byte, error) {
	close(s.began)
	for s.k.Held() == 0 {
		runtime.Gosched()
	}
	for range 10_000 {
		runtime.Gosched()
	}
	s.finished.Store(true)
	return dst, nil
}

func (s *slowSealer) Wipe() {}

// TestHoldWaits holds while a frame is being sealed: Hold returns when that
// frame is done, so that none is under way afterwards.
func TestHoldWaits(t *testing.T) {
	k := ring(t, keysOf(0, 0))
	slow := &slowSealer{k: k, began: make(chan struct{})}
	k.state.Load().send.senders[frame.Camera] = slow
	var wg sync.WaitGroup
	wg.Go(func() { _, _ = k.Seal(nil, encoded(frame.Camera, "frame")) })
	<-slow.began
	k.Hold(HoldRemoval)
	if !slow.finished.Load() {
		t.Error("Hold returned while a frame was being sealed")
	}
	wg.Wait()
}

// TestEvictedSender evicts the epoch to send with by one that has its low bits,
// while an older one is still held: sending moves on, never back.
func TestEvictedSender(t *testing.T) {
	k := ring(t, keysOf(3, 0))
	for _, n := range []uint64{5, 21} {
		if n == 21 {
			if err := k.SendWith(5); err != nil {
				t.Fatal(err)
			}
		}
		if err := k.Install(keysOf(n, 0)); err != nil {
			t.Fatal(err)
		}
	}
	if got, ok := k.Sending(); got != 21 || !ok {
		t.Errorf("sends with %d, %v; want 21", got, ok)
	}
	if _, err := k.Seal(nil, encoded(frame.Camera, "frame")); err != nil {
		t.Error(err)
	}
}

// TestKeyringModel runs random changes against a plain model of what may be
// sealed and opened.
func TestKeyringModel(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 0))
	k := NewKeyring()
	others := map[uint64]*Keyring{} // the other room, one keyring for each epoch
	var held []uint64               // ascending
	dropped := map[uint64]bool{}
	var next uint64
	var sending int64 = -1
	var floor uint64
	var reason Reason
	for range 2000 {
		pick := func() uint64 { // some epoch, known or not
			return next - min(next, rng.Uint64N(6))
		}
		switch n := pick(); rng.IntN(7) {
		case 0:
			next += rng.Uint64N(3) + 1
			if err := k.Install(keysOf(next, 0)); err != nil {
				t.Fatal(err)
			}
			others[next] = ring(t, keysOf(next, 1))
			held = slices.DeleteFunc(held, func(e uint64) bool { return e%16 == next%16 })
			held = append(held, next)
			for len(held) > maxEpochs {
				held = held[1:]
			}
			if sending >= 0 && !slices.Contains(held, uint64(sending)) {
				sending = int64(held[slices.IndexFunc(held, func(e uint64) bool { return e >= floor })])
			}
		case 1:
			ok := slices.Contains(held, n) && n >= floor
			if err := k.SendWith(n); (err == nil) != ok {
				t.Fatalf("SendWith(%d) = %v with %v held, sending %d", n, err, held, sending)
			}
			if ok {
				sending, floor = int64(n), n
			}
		case 2:
			k.Forget(n)
			held = slices.DeleteFunc(held, func(e uint64) bool { return e == n })
			if sending == int64(n) {
				sending = -1
			}
		case 3:
			k.DropLeaves(n, 1)
			if slices.Contains(held, n) {
				dropped[n] = true
			}
		case 4:
			r := Reason(1 << rng.IntN(5))
			k.Hold(r)
			reason |= r
		case 5, 6:
			r := Reason(rng.IntN(32))
			k.Release(r)
			reason &^= r
		}
		if got := k.Epochs(); !slices.Equal(got, held) {
			t.Fatalf("keys of %v, want %v", got, held)
		}
		if _, err := k.Seal(nil, encoded(frame.Camera, "frame")); (err == nil) != (sending >= 0 && reason == 0) {
			t.Fatalf("Seal = %v while sending with %d, held for %q", err, sending, reason)
		}
		for n, other := range others {
			_, err := k.Open(nil, frame.Audio, 1, mustSeal(t, other, frame.Audio, "frame"))
			if want := slices.Contains(held, n) && !dropped[n]; (err == nil) != want {
				t.Fatalf("a frame of epoch %d: %v; held %v, dropped %v", n, err, held, dropped)
			}
			if next-n > 20 {
				delete(others, n)
			}
		}
	}
}
