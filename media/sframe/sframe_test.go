// SPDX-License-Identifier: Apache-2.0

package sframe

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"slices"
	"sync"
	"testing"
)

var suites = []Suite{
	AES128CTRHMACSHA256Tag80, AES128CTRHMACSHA256Tag64, AES128CTRHMACSHA256Tag32, AES128GCMSHA256, AES256GCMSHA512,
}

// pair makes both ends of one key.
func pair(tb testing.TB, suite Suite, kid uint64) (*Sender, *Receiver) {
	tb.Helper()
	secret, err := NewSecret(suite, []byte("base key of a test, of any length"))
	if err != nil {
		tb.Fatal(err)
	}
	s, err := secret.Sender(kid)
	if err != nil {
		tb.Fatal(err)
	}
	r, err := secret.Receiver(kid)
	if err != nil {
		tb.Fatal(err)
	}
	return s, r
}

func mustSeal(tb testing.TB, s *Sender, metadata, frame string) []byte {
	tb.Helper()
	wire, err := s.Seal(nil, []byte(metadata), []byte(frame))
	if err != nil {
		tb.Fatal(err)
	}
	return wire
}

func TestSealOpen(t *testing.T) {
	for _, suite := range suites {
		for _, size := range []int{0, 1, 15, 16, 17, 1000} {
			t.Run(fmt.Sprintf("suite %d/%d bytes", suite, size), func(t *testing.T) {
				s, r := pair(t, suite, 0x123)
				frame := bytes.Repeat([]byte{0xA5}, size)
				wire, err := s.Seal([]byte("before"), []byte("metadata"), frame)
				if err != nil {
					t.Fatal(err)
				}
				if got := len(wire) - len("before") - size; got > s.Overhead() {
					t.Errorf("overhead %d, at most %d promised", got, s.Overhead())
				}
				got, err := r.Open([]byte("before"), []byte("metadata"), wire[len("before"):])
				if err != nil || string(got) != "before"+string(frame) || string(wire[:6]) != "before" {
					t.Errorf("Open = %q, %v; want %q", got, err, frame)
				}
			})
		}
	}
}

// TestEveryByteMatters changes each byte of a sealed frame and of its metadata
// in turn, and shortens it at each place.
func TestEveryByteMatters(t *testing.T) {
	for _, suite := range suites {
		t.Run(fmt.Sprintf("suite %d", suite), func(t *testing.T) {
			s, r := pair(t, suite, 0x123)
			mustSeal(t, s, "m", "counter 0, which lies in the config byte")
			s.ctr = 0x100
			wire, metadata := mustSeal(t, s, "meta", "a frame"), []byte("meta")
			for i := range wire {
				for _, flip := range []byte{1, 0x80, 0xFF} {
					bad := slices.Clone(wire)
					bad[i] ^= flip
					if _, err := r.Open(nil, metadata, bad); err == nil {
						t.Errorf("byte %d of %x changed by %#x: opened", i, wire, flip)
					}
				}
				if _, err := r.Open(nil, metadata, wire[:i]); err == nil {
					t.Errorf("%x cut after %d bytes: opened", wire, i)
				}
			}
			if _, err := r.Open(nil, metadata, append(slices.Clone(wire), 0)); !errors.Is(err, ErrAuthentication) {
				t.Errorf("a byte more: %v, want %v", err, ErrAuthentication)
			}
			for i := range metadata {
				bad := slices.Clone(metadata)
				bad[i] ^= 1
				if _, err := r.Open(nil, bad, wire); !errors.Is(err, ErrAuthentication) {
					t.Errorf("byte %d of the metadata changed: %v, want %v", i, err, ErrAuthentication)
				}
			}
			if _, err := r.Open(nil, metadata, wire); err != nil {
				t.Errorf("the frame itself: %v", err)
			}
		})
	}
}

func TestOpenRejects(t *testing.T) {
	s, r := pair(t, AES256GCMSHA512, 9)
	other, _ := pair(t, AES256GCMSHA512, 10)
	short, _ := pair(t, AES128GCMSHA256, 9)
	opened, old := mustSeal(t, s, "", "opened"), mustSeal(t, s, "", "old")
	s.ctr = 5000
	for _, wire := range [][]byte{opened, mustSeal(t, s, "", "newest")} {
		if _, err := r.Open(nil, nil, wire); err != nil {
			t.Fatal(err)
		}
	}
	good := mustSeal(t, s, "", "frame")
	for _, tt := range []struct {
		name string
		wire []byte
		want error
	}{
		{"empty", nil, ErrHeader},
		{"truncated header", good[:2], ErrHeader},
		{"second spelling of the counter", slices.Concat([]byte{good[0] + 1, good[1], 0}, good[2:]), ErrHeader},
		{"another key identifier", mustSeal(t, other, "", "frame"), ErrKID},
		{"shorter than a tag", good[:len(good)-len("frame")-1], ErrAuthentication},
		{"the key of another suite", mustSeal(t, short, "", "frame"), ErrReplay},
		{"opened before", opened, ErrReplay},
		{"behind the window", old, ErrReplay},
		{"bad tag", append(slices.Clone(good[:len(good)-1]), good[len(good)-1]^1), ErrAuthentication},
		{"trailing byte", append(slices.Clone(good), 0), ErrAuthentication},
	} {
		t.Run(tt.name, func(t *testing.T) {
			before := r.window
			if got, err := r.Open(nil, nil, tt.wire); got != nil || !errors.Is(err, tt.want) {
				t.Errorf("Open(%x) = %q, %v; want %v", tt.wire, got, err, tt.want)
			}
			if r.window != before {
				t.Error("a refused frame moved the replay window")
			}
		})
	}
	if _, err := r.Open(nil, nil, good); err != nil {
		t.Errorf("the frame itself, in the end: %v", err)
	}
}

// TestReplay opens frames in many orders: each opens once, and a forged counter
// far ahead shuts out nobody.
func TestReplay(t *testing.T) {
	s, r := pair(t, AES256GCMSHA512, 1)
	var wires [][]byte
	for range 3 * windowSize {
		wires = append(wires, mustSeal(t, s, "", "frame"))
	}
	h := Header{KID: 1, CTR: math.MaxUint64}
	forged, _ := h.AppendBinary(nil)
	open := func(i int, want error) {
		t.Helper()
		if _, err := r.Open(nil, nil, wires[i]); !errors.Is(err, want) {
			t.Errorf("frame %d: %v, want %v", i, err, want)
		}
		if _, err := r.Open(nil, nil, append(forged, make([]byte, 40)...)); !errors.Is(err, ErrAuthentication) {
			t.Fatalf("forged frame: %v, want %v", err, ErrAuthentication)
		}
	}
	open(1, nil)
	open(0, nil) // late
	open(0, ErrReplay)
	open(1, ErrReplay)
	open(2, nil)
	open(windowSize+2, nil)
	open(2, ErrReplay) // just fell out of the window
	open(3, nil)       // its last place
	open(3, ErrReplay)
	open(4, nil)
	open(3*windowSize-1, nil) // clears all
	open(windowSize+3, ErrReplay)
	open(2*windowSize-1, ErrReplay)
	open(2*windowSize, nil)
	open(3*windowSize-1, ErrReplay)
}

// TestNonceUnique seals from many goroutines and records what the cipher sees.
func TestNonceUnique(t *testing.T) {
	s, _ := pair(t, AES256GCMSHA512, 7)
	rec := &recordingAEAD{seen: map[string]bool{}}
	s.aead = rec
	const routines, frames = 8, 500
	var wg sync.WaitGroup
	for range routines {
		wg.Go(func() {
			for range frames {
				if _, err := s.Seal(nil, nil, []byte("frame")); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	if len(rec.seen) != routines*frames || rec.repeated != 0 {
		t.Errorf("%d different nonces, %d repeated; want %d and 0", len(rec.seen), rec.repeated, routines*frames)
	}

	// The last counter value is used once, then the sender is spent.
	s.ctr = math.MaxUint64
	if _, err := s.Seal(nil, nil, nil); err != nil {
		t.Errorf("the last counter value: %v", err)
	}
	for range 2 {
		if _, err := s.Seal(nil, nil, nil); !errors.Is(err, ErrSpent) {
			t.Errorf("after the last counter value: %v, want %v", err, ErrSpent)
		}
	}
	if rec.repeated != 0 {
		t.Errorf("%d nonces repeated after the wrap", rec.repeated)
	}
}

// TestNoncePerSender checks that streams under one base key share no nonce and
// no key: the same frame looks different under each.
func TestNoncePerSender(t *testing.T) {
	seen := map[string]uint64{}
	for kid := range uint64(64) {
		s, _ := pair(t, AES256GCMSHA512, kid)
		wire := mustSeal(t, s, "", "the same frame")
		tail := string(wire[len(wire)-30:])
		if before, ok := seen[tail]; ok {
			t.Errorf("key identifiers %d and %d seal alike", before, kid)
		}
		seen[tail] = kid
	}
}

// recordingAEAD remembers nonces; Sender's lock guards it.
type recordingAEAD struct {
	seen     map[string]bool
	repeated int
}

func (a *recordingAEAD) NonceSize() int { return saltSize }
func (a *recordingAEAD) Overhead() int  { return 0 }
func (a *recordingAEAD) Seal(dst, nonce, plaintext, _ []byte) []byte {
	if a.seen[string(nonce)] {
		a.repeated++
	}
	a.seen[string(nonce)] = true
	return append(dst, plaintext...)
}

func (a *recordingAEAD) Open(_, _, _, _ []byte) ([]byte, error) { return nil, errOpen }

func TestSecret(t *testing.T) {
	for _, suite := range []Suite{0, 6, 0xFFFF} {
		if _, err := NewSecret(suite, []byte("key")); !errors.Is(err, ErrSuite) {
			t.Errorf("suite %d: %v, want %v", suite, err, ErrSuite)
		}
	}
	if _, err := NewSecret(AES256GCMSHA512, nil); !errors.Is(err, ErrBaseKey) {
		t.Errorf("no base key: %v, want %v", err, ErrBaseKey)
	}
	secret, err := NewSecret(AES256GCMSHA512, []byte("key"))
	if err != nil {
		t.Fatal(err)
	}
	s, err := secret.Sender(1)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := secret.Sender(1); !errors.Is(err, ErrSenderMade) {
		t.Errorf("a second sender: %v, want %v", err, ErrSenderMade)
	}
	r, err := secret.Receiver(1)
	if err != nil {
		t.Fatal(err)
	}
	if s.KID() != 1 || r.KID() != 1 {
		t.Errorf("KID = %d, %d; want 1", s.KID(), r.KID())
	}
	secret.Wipe()
	secret.Wipe()
	if _, err := secret.Sender(2); !errors.Is(err, ErrWiped) {
		t.Errorf("a sender of a wiped secret: %v, want %v", err, ErrWiped)
	}
	if _, err := secret.Receiver(1); !errors.Is(err, ErrWiped) {
		t.Errorf("a receiver of a wiped secret: %v, want %v", err, ErrWiped)
	}
	wire := mustSeal(t, s, "", "sealed after the secret was wiped")
	s.Wipe()
	r.Wipe()
	if _, err := s.Seal(nil, nil, nil); !errors.Is(err, ErrWiped) {
		t.Errorf("a wiped sender: %v, want %v", err, ErrWiped)
	}
	if _, err := r.Open(nil, nil, wire); !errors.Is(err, ErrWiped) {
		t.Errorf("a wiped receiver: %v, want %v", err, ErrWiped)
	}
	for _, v := range []fmt.Stringer{secret, s, r} {
		if got := v.String(); got != "redacted" {
			t.Errorf("%T prints %q", v, got)
		}
	}
}
