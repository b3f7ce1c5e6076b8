// SPDX-License-Identifier: Apache-2.0

package pairing

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// aBook returns a list with one panel, as JSON.
func aBook(t testing.TB) string {
	t.Helper()
	b := newBrowser(t)
	n := uint64(1000)
	text, err := json.Marshal(book{Version: 1, Paired: true, Baseline: &n, Panels: []Panel{{
		ID: "p-00112233445566aa", Name: "Table", Role: PanelRole, Kind: kindBrowser, Key: b.public,
		Cookie: bytes.Repeat([]byte{7}, 32), Paired: time.Date(2026, 11, 3, 9, 0, 0, 0, time.UTC),
	}}})
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// TestDamagedBook has lists that are none: none of them makes a room that was
// never paired.
func TestDamagedBook(t *testing.T) {
	good := aBook(t)
	panel := good[strings.Index(good, "[")+1 : strings.LastIndex(good, "]")]
	for name, text := range map[string]string{
		"empty":               "",
		"nothing":             "null",
		"zeros":               strings.Repeat("\x00", len(good)),
		"half":                good[:len(good)/2],
		"more behind":         good + "{}",
		"newer version":       strings.Replace(good, `"version":1`, `"version":2`, 1),
		"never paired":        strings.Replace(good, `"paired":true`, `"paired":false`, 1),
		"twice":               strings.Replace(good, panel, panel+","+panel, 1),
		"same cookie":         strings.Replace(good, panel, panel+","+strings.Replace(panel, "66aa", "66ab", 1), 1),
		"short cookie":        strings.Replace(good, `"cookie":"Bwc`, `"cookie":"`, 1),
		"another key":         strings.Replace(good, `"key":"MFkw`, `"key":"MFkx`, 1),
		"role of nobody":      strings.Replace(good, `"role":"Panel"`, `"role":"Security"`, 1),
		"kind of nothing":     strings.Replace(good, `"Browser"`, `"Native"`, 1),
		"id with a path":      strings.Replace(good, "p-0011", "p/0011", 1),
		"name with a control": strings.Replace(good, `"Table"`, `"Tab\u202ele"`, 1),
		"too long":            good + strings.Repeat(" ", maxBook),
		"negative baseline":   strings.Replace(good, `"baseline":1000`, `"baseline":-1`, 1),
		"too many":            strings.Replace(good, panel, strings.Repeat(panel+",", maxPanels)+panel, 1),
	} {
		t.Run(name, func(t *testing.T) {
			if text == good {
				t.Fatal("the case is no case")
			}
			path := filepath.Join(t.TempDir(), "panels.json")
			if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			if _, err := Open(t.Context(), Options{Path: path}, slog.New(slog.DiscardHandler)); !errors.Is(err, errBook) {
				t.Errorf("Open = %v", err)
			}
			if after, err := os.ReadFile(path); err != nil || string(after) != text {
				t.Errorf("the file was changed: %v", err)
			}
		})
	}
	if _, err := parseBook([]byte(strings.Replace(good, `"version":1`, `"version":1,"later":[1]`, 1))); err != nil {
		t.Errorf("what a newer release added: %v", err)
	}
}

// TestStorageFails takes the disk away: nothing changes that is not written.
func TestStorageFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRoom(t)
		defer r.run()()
		g := r.pair()
		if _, err := r.OpenWindow(PanelRole); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		w, _ := r.window()
		b := newBrowser(t)
		second, err := r.Link(b.link(w, w.Role, w.secret))
		if err != nil {
			t.Fatal(err)
		}
		folder := filepath.Dir(r.path)
		if err := os.Rename(folder, folder+"-away"); err != nil {
			t.Fatal(err)
		}
		if err := r.Commit(t.Context(), b.commit(t, w, second)); !errors.Is(err, ErrStore) {
			t.Errorf("commit: %v", err)
		}
		if err := r.Unpair(g.Panel); !errors.Is(err, ErrStore) {
			t.Errorf("unpair: %v", err)
		}
		if s, _ := r.State(); len(s.Panels) != 1 || s.Panels[0].ID != g.Panel {
			t.Errorf("panels = %v", s.Panels)
		}
		if err := os.Rename(folder+"-away", folder); err != nil {
			t.Fatal(err)
		}
		if err := r.Commit(t.Context(), b.commit(t, w, second)); err != nil {
			t.Errorf("commit once the disk is back: %v", err)
		}
	})
}

// TestPowerCut leaves what a cut leaves at each step of a write, and starts.
func TestPowerCut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRoom(t)
		stop := r.run()
		g := r.pair()
		stop()
		whole, err := os.ReadFile(r.path)
		if err != nil {
			t.Fatal(err)
		}
		for _, n := range []int{0, 1, len(whole) / 2, len(whole) - 1, len(whole)} {
			if err := os.WriteFile(filepath.Join(filepath.Dir(r.path), ".pairing-1234"), whole[:n], 0o600); err != nil {
				t.Fatal(err)
			}
			r.restart()
			if _, _, err := r.Panel(g.Panel); err != nil {
				t.Errorf("cut after %d bytes: %v", n, err)
			}
		}
		info, err := os.Stat(r.path)
		if err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("mode %v, %v", info.Mode(), err)
		}
		if bytes.Contains(whole, []byte(g.Cookie)) {
			t.Error("the disk holds a cookie")
		}
	})
}

func TestRedacted(t *testing.T) {
	w := newWindow(PanelRole, time.Now())
	w.hosts = []string{"192.0.2.7"}
	g := Grant{Panel: "p-1", Cookie: "secretcookie", Proof: []byte("secretproof")}
	c := &Client{Panel: "p-1", cookie: "secretcookie"}
	w.digits = &digits{text: "48213905"}
	secret := base64url.EncodeToString(w.secret[:])
	var logged bytes.Buffer
	log := slog.New(slog.NewJSONHandler(&logged, nil))
	log.Info("x", "window", *w, "grant", g)
	for _, format := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x"} {
		fmt.Fprintf(&logged, format+format+format, *w, g, c)
	}
	text := logged.String()
	for _, hidden := range []string{secret, fmt.Sprintf("%x", w.secret), fmt.Sprintf("%d", w.secret[0:4]), "48213905", "secretcookie", "secretproof", "736563726574"} {
		if strings.Contains(text, hidden) {
			t.Errorf("%q stands in %s", hidden, text)
		}
	}
	if links := w.Links(); len(links) != 1 || !strings.Contains(links[0], secret) {
		t.Errorf("links = %v", links)
	}
}

func FuzzBook(f *testing.F) {
	f.Add([]byte(aBook(f)))
	f.Add([]byte(`{"version":1,"paired":false}`))
	f.Add([]byte(`{"version":1,"paired":true,"baseline":18446744073709551615}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		b, err := parseBook(data)
		if err != nil {
			return
		}
		// What is accepted is kept as it is, and fits the file.
		text, err := json.Marshal(b)
		if err != nil || len(text) > maxBook {
			t.Fatalf("%d bytes, %v", len(text), err)
		}
		again, err := parseBook(text)
		if err != nil {
			t.Fatal(err)
		}
		if more, err := json.Marshal(again); err != nil || !bytes.Equal(more, text) {
			t.Fatalf("%s becomes %s", text, more)
		}
	})
}
