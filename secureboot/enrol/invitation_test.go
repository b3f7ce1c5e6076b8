// SPDX-License-Identifier: Apache-2.0

package enrol

import (
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
)

func invited(t testing.TB, verifier string) Invitation {
	t.Helper()
	i, err := NewInvitation(verifier, [32]byte{1, 2, 3}, NewCode())
	if err != nil {
		t.Fatal(err)
	}
	return i
}

func TestInvitation(t *testing.T) {
	for _, verifier := range []string{
		"https://verifier.rooms.example:8444", "https://10.0.2.100:8443", "https://[fd00::1]:8443", "https://verifier.rooms.example",
		"https://" + strings.Repeat("a.", 55) + "example:8444",
	} {
		i := invited(t, verifier)
		line := i.String()
		if len(line) > MaxInvitation {
			t.Errorf("%s: %d bytes", verifier, len(line))
		}
		for _, typed := range []string{line, " " + line + "\r\n", line[:40] + "\n  " + line[40:]} {
			if got, err := ParseInvitation(typed); err != nil || got != i {
				t.Errorf("ParseInvitation(%q) = %v, %v", typed, got, err)
			}
		}
		// One letter that was copied wrongly, at any place.
		for at := range line {
			other := byte('A')
			if line[at] == other {
				other = 'B'
			}
			if _, err := ParseInvitation(line[:at] + string(other) + line[at+1:]); !errors.Is(err, ErrInvitation) {
				t.Errorf("letter %d of %q changed: %v", at, line, err)
			}
		}
		for n := range line {
			if _, err := ParseInvitation(line[:n]); !errors.Is(err, ErrInvitation) {
				t.Errorf("%d bytes of %q: %v", n, line, err)
			}
		}
	}
	for _, verifier := range []string{
		"", "http://a:1", "https://", "https://:8444", "https://a:1/", "https://a:1/path", "https://u@a:1", "https://a:1?q", "https://a:1#f",
		"https://[fe80::1%25eth0]:1", "https://a b:1", "HTTPS://a:1", "https://a:port", "https://" + strings.Repeat("a", 200),
	} {
		if _, err := NewInvitation(verifier, [32]byte{}, NewCode()); err == nil {
			t.Errorf("an invitation to %q", verifier)
		}
	}
	if _, err := NewInvitation("https://a:1", [32]byte{}, Code{}); err == nil {
		t.Error("an invitation without a code")
	}
}

// TestInvitationOtherForms has what a careless reader would take as well.
func TestInvitationOtherForms(t *testing.T) {
	code := NewCode()
	line := func(w any, tail ...byte) string {
		payload, err := voucherEncode.Marshal(w)
		if err != nil {
			t.Fatal(err)
		}
		return invitationWord + base64.RawURLEncoding.EncodeToString(append(append(payload, checksum(payload)...), tail...))
	}
	good := wireInvitation{"https://a:1", [32]byte{1}, code.text}
	if _, err := ParseInvitation(line(good)); err != nil {
		t.Fatal(err)
	}
	lower, site := good, good
	lower.Code, site.Verifier = strings.ToLower(good.Code), "https://a:1/x"
	for name, text := range map[string]string{
		"code in another spelling": line(lower),
		"verifier with a path":     line(site),
		"bytes behind":             line(good, 0),
		"another member":           line(map[int]any{1: good.Verifier, 2: good.Key[:], 3: good.Code, 4: "x"}),
		"key of 31 bytes":          line(map[int]any{1: good.Verifier, 2: good.Key[:31], 3: good.Code}),
		"no code":                  line(map[int]any{1: good.Verifier, 2: good.Key[:]}),
		"padding":                  line(good) + "=",
		"another version":          "ic2." + strings.TrimPrefix(line(good), "ic1."),
		"very long":                strings.Repeat(" ", 4*MaxInvitation) + line(good),
	} {
		if _, err := ParseInvitation(text); !errors.Is(err, ErrInvitation) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestInvitationIsSecret: nothing prints the code but String.
func TestInvitationIsSecret(t *testing.T) {
	i := invited(t, "https://a:1")
	var log strings.Builder
	for _, h := range []slog.Handler{slog.NewTextHandler(&log, nil), slog.NewJSONHandler(&log, nil)} {
		slog.New(h).Info("x", "invitation", i, "pointer", &i, "inside", struct{ I Invitation }{i})
	}
	fmt.Fprintf(&log, "%v %+v %#v %s %q %x %v", i, i, i, i, i, i, []Invitation{i})
	for _, secret := range []string{i.Code.text, i.Code.Text(), i.String()[20:]} {
		if strings.Contains(log.String(), secret) {
			t.Errorf("%q is in %s", secret, &log)
		}
	}
}

// FuzzInvitation: what is accepted is spelled in one way, but for white space.
func FuzzInvitation(f *testing.F) {
	f.Add(invited(f, "https://10.0.2.100:8443").String())
	f.Add(invited(f, "https://[fd00::1]:8443").String() + "\n")
	f.Add("ic1.")
	f.Fuzz(func(t *testing.T, s string) {
		i, err := ParseInvitation(s)
		if err != nil {
			if !errors.Is(err, ErrInvitation) {
				t.Errorf("%q: %v", s, err)
			}
			return
		}
		line := i.String()
		if strings.Join(strings.Fields(s), "") != line || len(line) > MaxInvitation {
			t.Errorf("%q was read as %q", s, line)
		}
		if again, err := NewInvitation(i.Verifier, i.Key, i.Code); err != nil || again != i {
			t.Errorf("%q cannot be made: %v", line, err)
		}
	})
}
