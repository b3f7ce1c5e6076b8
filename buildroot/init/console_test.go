// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"errors"
	"io"
	"strings"
	"testing"

	"incamera/secureboot/seal"
)

func TestAsk(t *testing.T) {
	long := strings.Repeat("x", maxLine)
	var out bytes.Buffer
	p := newPrompt(strings.NewReader("one\n  two \t\r\n\n"+long+"tail\n"+long+long+long+"\nlast"), &out, nil)
	for _, want := range []string{"one", "two", "", "", "", "last"} {
		got, err := p.ask("what?")
		if err != nil || got != want {
			t.Errorf("ask = %q, %v; want %q", got, err, want)
		}
	}
	if got, err := p.ask("more?"); !errors.Is(err, io.EOF) || got != "" {
		t.Errorf("at the end: %q, %v", got, err)
	}
	if want := strings.Repeat("in-camera: what?\n", 6) + "in-camera: more?\n"; out.String() != want {
		t.Errorf("written %q", out.String())
	}
	// Nobody sees the question.
	if _, err := newPrompt(strings.NewReader("an answer\n"), broken{}, nil).ask("what?"); !errors.Is(err, errBroken) {
		t.Errorf("on a console that is gone: %v", err)
	}
}

var errBroken = errors.New("broken")

type broken struct{}

func (broken) Write([]byte) (int, error) { return 0, errBroken }

// Whatever is typed, an answer is part of one line, without blanks around it, and
// no longer than a line may be.
func FuzzAsk(f *testing.F) {
	for _, s := range []string{"", "a\n", "a\r\nb\n", strings.Repeat("a", 1000) + "\nb", "\x00\xff\n"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, typed string) {
		p := newPrompt(strings.NewReader(typed), io.Discard, nil)
		asked := 0
		for {
			got, err := p.ask("what?")
			if err != nil && err != io.EOF { //nolint:errorlint // as the reader gives it
				t.Fatal(err)
			}
			if len(got) > maxLine || strings.Contains(got, "\n") || got != strings.TrimSpace(got) || !strings.Contains(typed, got) {
				t.Errorf("%q of %q", got, typed)
			}
			if err != nil {
				break
			}
			asked++
		}
		if lines := strings.Count(typed, "\n") + 1; asked > lines {
			t.Errorf("%d answers of %d lines", asked, lines)
		}
	})
}

// The key is shown, and whatever is typed that is a key goes back: package
// provision knows if it is the one.
func TestKeep(t *testing.T) {
	key, other := seal.NewRecoveryKey(), seal.NewRecoveryKey()
	var out bytes.Buffer
	p := newPrompt(strings.NewReader("\nno key\n"+strings.ToLower(key.Text())+"\n"+other.Text()+"\n"), &out, nil)
	for _, want := range []seal.RecoveryKey{key, other} {
		back, err := p.Keep(t.Context(), key)
		if err != nil || !back.Equal(want) {
			t.Errorf("Keep: %v", err)
		}
	}
	if n := strings.Count(out.String(), "in-camera: RECOVERY KEY "+key.Text()+"\n"); n != 2 {
		t.Errorf("shown %d times; want once each time:\n%s", n, out.String())
	}
	if n := strings.Count(out.String(), "in-camera: that is not a recovery key"); n != 2 {
		t.Errorf("refused %d times; want twice", n)
	}
	if _, err := p.Keep(t.Context(), key); !errors.Is(err, io.EOF) {
		t.Errorf("with nobody there: %v", err)
	}
	var _ interface {
		Keep(context.Context, seal.RecoveryKey) (seal.RecoveryKey, error)
	} = p
}
