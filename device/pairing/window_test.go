// SPDX-License-Identifier: Apache-2.0

package pairing

import (
	"bytes"
	"crypto/tls"
	"encoding/pem"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestLinks(t *testing.T) {
	w := newWindow(PanelRole, time.Now())
	w.hosts = []string{"192.0.2.7", "[2001:db8::7]:8443"}
	for _, address := range w.Links() {
		u, err := url.Parse(address)
		if err != nil || u.Scheme != "https" || u.Path != "/pair" || u.RawQuery != "" {
			t.Fatalf("%s: %v", address, err)
		}
		l, err := parseLink(u.Fragment)
		if err != nil || l.nonce != w.nonce || l.secret != w.secret || l.pin != w.pin {
			t.Errorf("%s is read as %v, %v", address, l, err)
		}
	}
	good := link{w.nonce, w.secret, w.pin}.fragment()
	parts := strings.Split(good, ".")
	for name, text := range map[string]string{
		"empty": "", "version": strings.Replace(good, "IC1", "IC2", 1), "lower case": strings.Replace(good, "IC1", "ic1", 1),
		"short secret": strings.Join([]string{parts[0], parts[1], parts[2][1:], parts[3]}, "."),
		"no pin":       strings.Join(parts[:3], "."), "more": good + ".AA", "padded": good + "=",
		"second spelling": good[:len(good)-1] + "B", "newline": good + "\n", "other alphabet": strings.Replace(good, parts[1], parts[1][:21]+"+", 1),
	} {
		if _, err := parseLink(text); err == nil {
			t.Errorf("%s: %q is a link", name, text)
		}
	}
}

func FuzzLink(f *testing.F) {
	w := newWindow(PanelRole, time.Now())
	f.Add(link{w.nonce, w.secret, w.pin}.fragment())
	f.Add("IC1...")
	f.Fuzz(func(t *testing.T, text string) {
		l, err := parseLink(text)
		if err == nil && l.fragment() != text {
			t.Fatalf("%q is spelled %q", text, l.fragment())
		}
	})
}

func FuzzKey(f *testing.F) {
	b := newBrowser(f)
	f.Add(b.public, []byte("message"), bytes.Repeat([]byte{1}, 64))
	compressed := append([]byte{}, b.public...)
	compressed[26] = 2
	f.Add(compressed, []byte{}, []byte{})
	f.Fuzz(func(t *testing.T, der, message, signature []byte) {
		_, err := parseKey(der)
		if err == nil && len(der) != keySize {
			t.Fatalf("a key of %d bytes", len(der))
		}
		if signed(der, message, signature) {
			t.Fatal("a signature that nobody made") // with a probability of 2^-128
		}
	})
}

// FuzzJoin looks for two lists of fields that a proof could not tell apart.
func FuzzJoin(f *testing.F) {
	f.Add([]byte("a"), []byte("bc"), []byte("ab"), []byte("c"))
	f.Add([]byte{}, []byte("\x00\x00\x00\x00"), []byte("\x00\x00\x00\x00"), []byte{})
	f.Fuzz(func(t *testing.T, a, b, c, d []byte) {
		same := bytes.Equal(a, c) && bytes.Equal(b, d)
		if bytes.Equal(join(a, b), join(c, d)) != same {
			t.Fatalf("%q %q and %q %q", a, b, c, d)
		}
		if bytes.Equal(join(append(append([]byte{}, a...), b...)), join(a, b)) {
			t.Fatalf("%q %q as one", a, b)
		}
	})
}

func FuzzLinkRequest(f *testing.F) {
	w := newWindow(PanelRole, time.Now())
	b := newBrowser(f)
	q := b.link(*w, PanelRole, w.secret)
	f.Add(q.Window, q.Key, q.Name, q.Proof)
	f.Add("", []byte{}, "\xff\u202e", []byte{})
	r := newRoom(f)
	f.Fuzz(func(t *testing.T, window string, key []byte, name string, proof []byte) {
		r.Keeper.mu.Lock()
		r.Keeper.window = newWindow(PanelRole, time.Now())
		r.Keeper.mu.Unlock()
		before := r.book.Wrong
		_, err := r.Link(LinkRequest{Window: window, Key: key, Name: name, Proof: proof, Origin: origin})
		if err == nil {
			t.Fatal("paired without the secret")
		}
		if counted := r.book.Wrong != before; counted != errors.Is(err, ErrWrong) {
			t.Fatalf("%v, counted %v", err, counted)
		}
		if n := nameOf(name); n != nameOf(n) || len([]rune(n)) > maxName || n == "" {
			t.Fatalf("the name %q becomes %q", name, n)
		}
	})
}

func TestCertificate(t *testing.T) {
	path := filepath.Join(t.TempDir(), "panel.pem")
	first, err := LoadCertificate(path, []string{"ic-1.local", "192.0.2.7"})
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	second, err := LoadCertificate(path, []string{"another.local"})
	if err != nil || !bytes.Equal(first.Certificate[0], second.Certificate[0]) || PinOf(first) != PinOf(second) {
		t.Errorf("the second start has another certificate: %v", err)
	}
	for _, host := range []string{"ic-1.local", "192.0.2.7"} {
		if err := first.Leaf.VerifyHostname(host); err != nil {
			t.Error(err)
		}
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	other, err := makeCertificate(nil)
	if err != nil {
		t.Fatal(err)
	}
	block, rest := pem.Decode(text)
	for name, damaged := range map[string][]byte{
		"empty": {}, "half": text[:len(text)/2], "key of another": append(pem.EncodeToMemory(block), other[bytes.Index(other, []byte("-----BEGIN PRIVATE")):]...),
		"no certificate": rest, "chain": append(pem.EncodeToMemory(block), text...), "too long": append(append([]byte{}, text...), make([]byte, maxCertificate)...),
	} {
		if err := os.WriteFile(path, damaged, 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := LoadCertificate(path, nil); err == nil {
			t.Errorf("%s: it is a certificate", name)
		}
		if after, err := os.ReadFile(path); err != nil || !bytes.Equal(after, damaged) {
			t.Errorf("%s: the file was changed", name)
		}
	}
}

// TestNotice looks at the file that the console shows.
func TestNotice(t *testing.T) {
	path := filepath.Join(t.TempDir(), "pairing")
	n := NewNotice(path, slog.New(slog.DiscardHandler))
	n.Hide()
	w := newWindow(PanelRole, time.Now())
	w.hosts = []string{"192.0.2.7", "room.example"}
	n.Show(*w)
	text, err := os.ReadFile(path)
	want := "in-camera: pair a panel: " + w.LinkAt("192.0.2.7") + "\nin-camera: pair a panel: " + w.LinkAt("room.example") + "\n"
	if err != nil || string(text) != want {
		t.Errorf("it says %q, %v", text, err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	w.digits = &digits{text: "01234567"}
	n.Show(*w)
	text, err = os.ReadFile(path)
	want += "in-camera: or type the PIN 0123 4567 at https://192.0.2.7/pair\nin-camera: or type the PIN 0123 4567 at https://room.example/pair\n"
	if err != nil || string(text) != want {
		t.Errorf("it says %q, %v", text, err)
	}
	n.Hide()
	if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("it is still there: %v", err)
	}
}

// TestDisplay keeps the display true through closing and a new address.
func TestDisplay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRoom(t)
		stop := r.run()
		w, _ := r.window()
		r.Keeper.mu.Lock()
		moved := *r.Keeper.window
		moved.hosts = []string{"198.51.100.1"} // an address that is gone by the next look
		r.Keeper.window = &moved
		r.Keeper.mu.Unlock()
		time.Sleep(2 * addressTime)
		synctest.Wait()
		at, open := r.window()
		if !open || at.nonce != w.nonce || len(at.hosts) != len(w.hosts) {
			t.Errorf("after the addresses changed it shows %v", at.hosts)
		}
		r.pair()
		synctest.Wait()
		if _, open := r.window(); open {
			t.Error("it shows a link that was used")
		}
		stop()
		if r.count != 1 {
			t.Errorf("%d windows were shown", r.count)
		}
	})
}

// TestImpostor has a server with another key than the link promises: it is told
// nothing.
func TestImpostor(t *testing.T) {
	asked := 0
	hs := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { asked++ }))
	hs.TLS = &tls.Config{MinVersion: tls.VersionTLS13}
	hs.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelInfo)
	hs.StartTLS()
	defer hs.Close()
	w := newWindow(PanelRole, time.Now())
	if _, err := PairWeb(t.Context(), w.LinkAt(strings.TrimPrefix(hs.URL, "https://")), "x"); err == nil || asked > 0 {
		t.Errorf("PairWeb = %v, %d requests", err, asked)
	}
	for _, address := range []string{"", "http://127.0.0.1/pair#" + link{}.fragment(), "https://127.0.0.1/pair", "https:///pair#" + link{}.fragment(), "https://127.0.0.1/pair#x"} {
		if _, err := PairWeb(t.Context(), address, "x"); !errors.Is(err, errLink) {
			t.Errorf("%q: %v", address, err)
		}
	}
}
