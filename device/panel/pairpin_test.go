// SPDX-License-Identifier: Apache-2.0

package panel

import (
	"bytes"
	"compress/gzip"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"

	"incamera/device/pairing/spake"
)

// TestPINOverHTTP guesses the PIN until it is locked, and goes on after a
// restart of the room. The link still pairs.
func TestPINOverHTTP(t *testing.T) {
	b := newBox(t)
	host := b.servePaired(t)
	w := <-b.shown
	guess := func(b *box, host string) (int, Reason) {
		t.Helper()
		b.srv.limits.mu.Lock()
		clear(b.srv.limits.clients) // more than a person types in that time
		b.srv.limits.mu.Unlock()
		client := &http.Client{Transport: b.transport()}
		var state struct{ Window struct{ Pin *pinState } }
		if status, text := call(t, client, host, "/v1/pairing", ""); status != 200 || json.Unmarshal(text, &state) != nil {
			t.Fatalf("%d %s", status, text)
		}
		if state.Window.Pin == nil {
			state.Window.Pin = &pinState{Window: strings.Repeat("A", 22), Salt: "AA"}
		}
		salt, err := base64url.DecodeString(state.Window.Pin.Salt)
		if err != nil {
			t.Fatal(err)
		}
		secret, err := spake.NewSecret("not the PIN", salt, "panel", "room")
		if err != nil {
			t.Fatal(err)
		}
		p, err := spake.NewProver(spake.Parties{Prover: "panel", Verifier: "room"}, secret)
		if err != nil {
			t.Fatal(err)
		}
		request := `{"Window":"` + state.Window.Pin.Window + `","Name":"Phone","Key":"` + aKey(t) + `","Share":"` + base64url.EncodeToString(p.Share()) + `"}`
		status, text := call(t, client, host, "/v1/pairing/pin", request)
		if status != 200 {
			return status, reasonIn(t, text)
		}
		var answer struct{ Attempt string }
		if err := json.Unmarshal(text, &answer); err != nil {
			t.Fatal(err)
		}
		status, text = call(t, client, host, "/v1/pairing/pin/confirm", `{"Attempt":"`+answer.Attempt+`","Confirm":"`+strings.Repeat("A", 43)+`"}`)
		return status, reasonIn(t, text)
	}
	for i := range 5 {
		if status, reason := guess(b, host); status != 401 || reason != NotAuthenticated {
			t.Fatalf("guess %d: %d %s", i, status, reason)
		}
	}
	if status, reason := guess(b, host); status != 429 || reason != PairingLocked {
		t.Errorf("a sixth guess: %d %s", status, reason)
	}
	if n := b.guesses.n.Load(); n != 5 {
		t.Errorf("%d guesses were counted", n)
	}

	again := b.again(t)
	host = again.servePaired(t)
	if status, reason := guess(again, host); status != 429 || reason != PairingLocked {
		t.Errorf("after a restart: %d %s", status, reason)
	}
	shown := <-again.shown
	if shown.PIN() != "" || w.PIN() == "" {
		t.Errorf("after a restart the room shows the PIN %q, before %q", shown.PIN(), w.PIN())
	}
	again.paired(t, host, shown)
}

// TestPINRequests has what is no request of the page.
func TestPINRequests(t *testing.T) {
	b := newBox(t)
	host := b.servePaired(t)
	<-b.shown
	client := &http.Client{Transport: b.transport()}
	for _, tt := range []struct {
		path, body string
		reason     Reason
	}{
		{"/v1/pairing/pin", `{}`, InvalidParams},
		{"/v1/pairing/pin", `[]`, InvalidParams},
		{"/v1/pairing/pin", `{"Pin":"00000000"}`, InvalidParams},
		{"/v1/pairing/pin", `{"Window":"","Key":"","Share":""}`, PairingClosed},
		{"/v1/pairing/pin", `{"Window":"` + strings.Repeat("A", 22) + `","Key":"","Share":""}`, InvalidParams},
		{"/v1/pairing/pin", `{"Window":"` + strings.Repeat("A", 22) + `","Key":"` + aKey(t) + `","Share":""}`, PairingClosed},
		{"/v1/pairing/pin", `{"Window":7,"Key":7,"Share":7}`, InvalidParams},
		{"/v1/pairing/pin/confirm", `{}`, InvalidParams},
		{"/v1/pairing/pin/confirm", `{"Attempt":"","Confirm":""}`, PairingClosed},
		{"/v1/pairing/pin/confirm", `{"Attempt":"` + strings.Repeat("A", 22) + `","Confirm":"` + strings.Repeat("A", 43) + `"}`, PairingClosed},
	} {
		if _, text := call(t, client, host, tt.path, tt.body); reasonIn(t, text) != tt.reason {
			t.Errorf("%s %s: %s, want %s", tt.path, tt.body, text, tt.reason)
		}
	}
	if n := b.guesses.n.Load(); n != 0 {
		t.Errorf("%d guesses were counted", n)
	}
}

// call posts a body as the room's own page does; without one it reads.
func call(t *testing.T, client *http.Client, host, path, text string) (int, []byte) {
	t.Helper()
	method := http.MethodPost
	if text == "" {
		method = http.MethodGet
	}
	r, err := http.NewRequestWithContext(t.Context(), method, "https://"+host+path, strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Origin", "https://"+host)
	r.Header.Set("Content-Type", "application/json")
	answer, err := client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	out, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer.StatusCode, out
}

func reasonIn(t *testing.T, text []byte) Reason {
	t.Helper()
	var p struct{ Reason Reason }
	if err := json.Unmarshal(text, &p); err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return p.Reason
}

func aKey(t *testing.T) string {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		t.Fatal(err)
	}
	return base64url.EncodeToString(der)
}

// TestPairPage checks which page may load the module, and the module.
func TestPairPage(t *testing.T) {
	b := newBox(t)
	if _, there := b.srv.page.files["/pair.html"]; !there {
		requireBundle(t)
	}
	host := b.servePaired(t)
	c, _ := b.paired(t, host, <-b.shown)
	for _, tt := range []struct {
		path   string
		paired bool
		wasm   bool
	}{{"/", true, false}, {"/", false, true}, {"/pair", true, true}, {"/pair", false, true}, {"/pin.wasm", false, false}, {"/app.js", false, false}} {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://"+host+tt.path, nil)
		if err != nil {
			t.Fatal(err)
		}
		if tt.paired {
			c.Identify(r.Header)
		}
		transport := b.transport()
		transport.DisableCompression = true
		answer, err := (&http.Client{Transport: transport}).Do(r)
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(answer.Body)
		_ = answer.Body.Close()
		if err != nil || answer.StatusCode != 200 {
			t.Fatalf("%s: %d, %v", tt.path, answer.StatusCode, err)
		}
		if got := strings.Contains(answer.Header.Get("Content-Security-Policy"), "wasm-unsafe-eval"); got != tt.wasm {
			t.Errorf("%s, paired %v: the policy is %s", tt.path, tt.paired, answer.Header.Get("Content-Security-Policy"))
		}
		if strings.HasPrefix(tt.path, "/pa") || tt.path == "/" {
			if got := bytes.Contains(text, []byte("/pin.js")); got != tt.wasm {
				t.Errorf("%s, paired %v: %s", tt.path, tt.paired, text)
			}
		}
		if tt.path != "/pin.wasm" {
			continue
		}
		z, err := gzip.NewReader(bytes.NewReader(text))
		if err != nil || answer.Header.Get("Content-Encoding") != "gzip" || answer.Header.Get("Content-Type") != "application/wasm" {
			t.Fatalf("the module comes as %v, %v", answer.Header, err)
		}
		raw, err := io.ReadAll(z)
		if err != nil || !bytes.HasPrefix(raw, []byte("\x00asm")) {
			t.Errorf("the module begins with %q, %v", raw[:min(4, len(raw))], err)
		}
		t.Logf("the module has %d bytes, %d compressed", len(raw), len(text))
	}
}
