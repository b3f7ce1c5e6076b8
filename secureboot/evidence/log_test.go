// SPDX-License-Identifier: Apache-2.0

package evidence

import (
	"bytes"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

func newLogKey(tb testing.TB, name string) (note.Signer, note.Verifier) {
	tb.Helper()
	private, public, err := note.GenerateKey(rand.Reader, name)
	if err != nil {
		tb.Fatal(err)
	}
	s, err := note.NewSigner(private)
	if err != nil {
		tb.Fatal(err)
	}
	v, err := note.NewVerifier(public)
	if err != nil {
		tb.Fatal(err)
	}
	return s, v
}

func document(i int) []byte { return fmt.Appendf(nil, "document %d", i) }

// TestLog proves every leaf of every size up to 20, and that each size contains
// each smaller one.
func TestLog(t *testing.T) {
	signer, verifier := newLogKey(t, "log.example")
	var l Log
	var states []Checkpoint
	for size := range 21 {
		c, err := l.Checkpoint("log.example")
		if err != nil {
			t.Fatal(err)
		}
		states = append(states, c)
		for i := range size {
			p, err := l.Prove(int64(i), signer)
			if err != nil {
				t.Fatal(err)
			}
			b, err := p.Marshal()
			if err != nil {
				t.Fatal(err)
			}
			if p, err = ParseProof(b); err != nil {
				t.Fatal(err)
			}
			if got, err := p.Verify(document(i), verifier); err != nil || got != c {
				t.Errorf("leaf %d of %d: %+v, %v", i, size, got, err)
			}
			if _, err := p.Verify(document(i+1), verifier); !errors.Is(err, ErrUnlogged) {
				t.Errorf("another document as leaf %d of %d: %v", i, size, err)
			}
			p.Index++
			if _, err := p.Verify(document(i), verifier); !errors.Is(err, ErrUnlogged) {
				t.Errorf("leaf %d of %d at another place: %v", i, size, err)
			}
		}
		for old, before := range states {
			proof, err := l.ProveConsistency(int64(old))
			if err != nil {
				t.Fatal(err)
			}
			if err := CheckConsistency(before, c, proof); err != nil {
				t.Errorf("from %d to %d: %v", old, size, err)
			}
			if forked := before; old > 0 {
				forked.Root[0] ^= 1
				if err := CheckConsistency(forked, c, proof); !errors.Is(err, ErrUnlogged) {
					t.Errorf("a fork at %d: %v", old, err)
				}
			}
			if old < size {
				if err := CheckConsistency(c, before, proof); !errors.Is(err, ErrUnlogged) {
					t.Errorf("back from %d to %d: %v", size, old, err)
				}
			}
		}
		again, err := ParseLog(l.Marshal())
		if err != nil || !bytes.Equal(again.Marshal(), l.Marshal()) || again.size != l.size {
			t.Errorf("log of %d read back: %v", size, err)
		}
		if _, err := l.Append(document(size)); err != nil {
			t.Fatal(err)
		}
	}
	other := states[3]
	other.Origin = "other.example"
	if err := CheckConsistency(other, states[3], nil); !errors.Is(err, ErrUnlogged) {
		t.Errorf("another log: %v", err)
	}
	for _, b := range [][]byte{make([]byte, 31), make([]byte, 2*32)} { // no log has two hashes
		if _, err := ParseLog(b); !errors.Is(err, ErrMalformed) {
			t.Errorf("log of %d bytes: %v", len(b), err)
		}
	}
}

func TestCheckpointRefuses(t *testing.T) {
	signer, verifier := newLogKey(t, "log.example")
	witness, witnessKey := newLogKey(t, "witness.example")
	_, stranger := newLogKey(t, "log.example")
	c := Checkpoint{Origin: "log.example", Size: 3, Root: tlog.Hash{1}}
	alone, err := SignCheckpoint(c, signer)
	if err != nil {
		t.Fatal(err)
	}
	both, err := SignCheckpoint(c, signer, witness)
	if err != nil {
		t.Fatal(err)
	}
	for name, tt := range map[string]struct {
		note []byte
		keys []note.Verifier
		ok   bool
	}{
		"log":                        {alone, []note.Verifier{verifier}, true},
		"log and witness":            {both, []note.Verifier{verifier, witnessKey}, true},
		"witness not asked for":      {both, []note.Verifier{verifier}, true},
		"no key":                     {alone, nil, false},
		"another key, same name":     {alone, []note.Verifier{stranger}, false},
		"witness missing":            {alone, []note.Verifier{verifier, witnessKey}, false},
		"origin of the witness":      {both, []note.Verifier{witnessKey, verifier}, false},
		"another size":               {bytes.Replace(alone, []byte("\n3\n"), []byte("\n4\n"), 1), []note.Verifier{verifier}, false},
		"no note":                    {[]byte("hello\n"), []note.Verifier{verifier}, false},
		"longer than a proof may be": {make([]byte, MaxProof+1), []note.Verifier{verifier}, false},
	} {
		got, err := ParseCheckpoint(tt.note, tt.keys...)
		if (err == nil) != tt.ok || tt.ok && got != c {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
	}
	// Signed texts in a second spelling.
	text := c.text()
	for name, bad := range map[string]string{
		"plus": strings.Replace(text, "3", "+3", 1), "zero": strings.Replace(text, "3", "03", 1),
		"negative": strings.Replace(text, "3", "-3", 1), "a line more": text + "more\n", "no origin": "\n" + strings.SplitN(text, "\n", 2)[1],
		"huge": strings.Replace(text, "3", "9223372036854775807", 1), "short root": strings.Replace(text, "AAAA=", "=", 1),
	} {
		signed, err := note.Sign(&note.Note{Text: bad}, signer)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := ParseCheckpoint(signed, verifier); err == nil {
			t.Errorf("%s is accepted", name)
		}
	}
	if _, err := SignCheckpoint(Checkpoint{Origin: "a\nb"}, signer); !errors.Is(err, ErrMalformed) {
		t.Errorf("origin of two lines: %v", err)
	}
	if !slices.Equal(strings.Split(text, "\n")[:2], []string{"log.example", "3"}) {
		t.Errorf("text %q", text)
	}
}
