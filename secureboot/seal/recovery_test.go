// SPDX-License-Identifier: Apache-2.0

package seal

import (
	"bytes"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
)

func TestRecovery(t *testing.T) {
	k := NewRecoveryKey()
	secret := make([]byte, 32)
	_, _ = rand.Read(secret)
	r, err := k.Wrap(State, secret)
	if err != nil {
		t.Fatal(err)
	}
	stored, err := r.Marshal()
	if err != nil {
		t.Fatal(err)
	}

	// Another day, another board: the file and a piece of paper, and no TPM.
	typed, err := ParseRecoveryKey(" " + strings.ToLower(strings.ReplaceAll(k.Text(), "-", " ")) + "\n")
	if err != nil || !typed.Equal(k) {
		t.Fatalf("ParseRecoveryKey: %v", err)
	}
	if r, err = ParseRecovery(stored); err != nil {
		t.Fatal(err)
	}
	if got, err := typed.Unwrap(r); err != nil || !bytes.Equal(got, secret) {
		t.Errorf("Unwrap: %v", err)
	}

	if _, err := NewRecoveryKey().Unwrap(r); !errors.Is(err, ErrRecoveryKey) {
		t.Errorf("Unwrap by another key: %v", err)
	}
	again, err := k.Wrap(State, secret)
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Equal(again.sealed, r.sealed) {
		t.Error("wrapped twice under one key and nonce")
	}
	for i := range stored {
		for bit := range 8 {
			altered := bytes.Clone(stored)
			altered[i] ^= 1 << bit
			r, err := ParseRecovery(altered)
			if err != nil {
				continue
			}
			if _, err := k.Unwrap(r); !errors.Is(err, ErrRecoveryKey) {
				t.Errorf("byte %d, bit %d altered: %v", i, bit, err)
			}
		}
	}
	for _, secret := range [][]byte{nil, make([]byte, MaxSecret+1)} {
		if _, err := k.Wrap(State, secret); err == nil {
			t.Errorf("wrapped %d bytes", len(secret))
		}
	}
	if _, err := k.Wrap(Floor, secret); err == nil {
		t.Error("wrapped for the use of an index")
	}
}

// A person who errs is told so: any two wrong symbols, any two that changed
// places.
func TestRecoveryKeyTypos(t *testing.T) {
	text := strings.ReplaceAll(RecoveryKey{bits: [16]byte{0: 0xfe, 5: 7, 9: 0x81, 15: 0xff}}.Text(), "-", "")
	if _, err := ParseRecoveryKey(text); err != nil {
		t.Fatal(err)
	}
	refuse := func(typed, what string) {
		t.Helper()
		if typed == text {
			return
		}
		if _, err := ParseRecoveryKey(typed); !errors.Is(err, ErrRecoveryKey) {
			t.Errorf("%s: %v", what, err)
		}
	}
	n := 0
	for i := range len(text) {
		refuse(text[:i]+text[i+1:], "one left out")
		refuse(text[:i]+"7"+text[i:], "one too many")
		for _, c := range digits {
			one := text[:i] + string(c) + text[i+1:]
			refuse(one, "one wrong")
			for j := i + 1; j < len(text); j++ {
				for _, d := range digits {
					typed := one[:j] + string(d) + one[j+1:]
					if typed == text {
						continue
					}
					n++
					refuse(typed, "two wrong")
				}
			}
		}
		for j := i + 1; j < len(text); j++ {
			swapped := []byte(text)
			swapped[i], swapped[j] = swapped[j], swapped[i]
			refuse(string(swapped), "two changed places")
		}
	}
	if n < 28*27/2*31*31 {
		t.Errorf("tried %d pairs only", n)
	}
}

func TestRecoveryKeyText(t *testing.T) {
	for _, test := range []struct {
		key  RecoveryKey
		want string
	}{
		{RecoveryKey{}, "0000-0000-0000-0000-0000-0000-0000"},
		// Worked out apart from the code: long division by (x-1)(x-2) with
		// tables of logarithms.
		{RecoveryKey{bits: [16]byte{0x08}}, "1000-0000-0000-0000-0000-0000-0067"},
		{RecoveryKey{bits: [16]byte{15: 0x01}}, "0000-0000-0000-0000-0000-0000-04C8"},
		{RecoveryKey{bits: [16]byte{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15}}, "000G-40R4-0M30-E209-185G-R38E-1WHQ"},
	} {
		got := test.key.Text()
		if got != test.want {
			t.Errorf("Text = %s; want %s", got, test.want)
		}
		if k, err := ParseRecoveryKey(got); err != nil || !k.Equal(test.key) {
			t.Errorf("ParseRecoveryKey(%s): %v", got, err)
		}
	}
	k := NewRecoveryKey()
	confused := strings.NewReplacer("1", "l", "0", "o").Replace(k.Text())
	if got, err := ParseRecoveryKey(confused); err != nil || !got.Equal(k) {
		t.Errorf("with l for 1 and o for 0: %v", err)
	}
	// The first is a word of the code that sets one of the two spare bits.
	for _, text := range []string{"0000-0000-0000-0000-0000-0000-0132", "", "U", strings.Repeat("0", 27), strings.Repeat("0", 29), strings.Repeat("-", maxTyped+1), strings.Repeat("0", 28) + strings.Repeat(" ", maxTyped)} {
		if _, err := ParseRecoveryKey(text); !errors.Is(err, ErrRecoveryKey) {
			t.Errorf("ParseRecoveryKey(%q): %v", text, err)
		}
	}
}

func TestSecretsDoNotPrint(t *testing.T) {
	k := RecoveryKey{bits: [16]byte([]byte("recovery key 128"))}
	s := Secret("a state key of 32 bytes in ASCII")
	var out bytes.Buffer
	log := slog.New(slog.NewJSONHandler(&out, nil))
	log.Info("secrets", "key", k, "secret", s)
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d"} {
		fmt.Fprintf(&out, verb+verb+verb, k, s, struct{ Secret }{s})
	}
	fmt.Fprintln(&out, k, s)
	for _, leak := range []string{"recovery", "state", fmt.Sprintf("%x", "recovery"), fmt.Sprintf("%X", "state"), "115 116 97 116 101", k.Text()[:9]} {
		if strings.Contains(out.String(), leak) {
			t.Errorf("%q shows in %s", leak, &out)
		}
	}
	if !strings.Contains(out.String(), redacted) {
		t.Errorf("no %s in %s", redacted, &out)
	}
}

func FuzzParseRecoveryKey(f *testing.F) {
	f.Add(RecoveryKey{}.Text())
	f.Add(NewRecoveryKey().Text())
	f.Add("oooo oooo LLLL")
	f.Fuzz(func(t *testing.T, text string) {
		k, err := ParseRecoveryKey(text)
		if err != nil {
			return
		}
		// What is accepted is the key's own text, but for how it is written.
		canonical := strings.NewReplacer("I", "1", "L", "1", "O", "0", "-", "", " ", "", "\t", "", "\r", "", "\n", "").Replace(strings.ToUpper(text))
		if canonical != strings.ReplaceAll(k.Text(), "-", "") {
			t.Errorf("%q was taken for %s", text, k.Text())
		}
	})
}

func FuzzParseRecovery(f *testing.F) {
	r, err := RecoveryKey{}.Wrap(State, []byte("secret"))
	if err != nil {
		f.Fatal(err)
	}
	b, err := r.Marshal()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Add([]byte{0x84, 2})
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := ParseRecovery(b)
		if err != nil {
			return
		}
		if again, err := r.Marshal(); err != nil || !bytes.Equal(again, b) {
			t.Errorf("%x has the second spelling %x, %v", b, again, err)
		}
	})
}
