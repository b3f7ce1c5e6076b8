// SPDX-License-Identifier: Apache-2.0

package panel

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/coder/websocket"

	"incamera/device/pairing"
)

// pair gives the box a keeper.
func (b *box) pair(t testing.TB, log *slog.Logger) {
	t.Helper()
	if b.folder == "" {
		b.folder, b.guesses = t.TempDir(), &guesses{}
	}
	b.shown = make(chan pairing.Window, 16)
	cert, err := pairing.LoadCertificate(filepath.Join(b.folder, "panel.pem"), []string{"vauban.example"})
	if err != nil {
		t.Fatal(err)
	}
	b.cert = cert
	b.keeper, err = pairing.Open(t.Context(), pairing.Options{
		Path: filepath.Join(b.folder, "panels.json"), Room: func() string { return "ic-1" }, Pin: pairing.PinOf(cert), Port: 443,
		Names: []string{"vauban.example"}, Display: b, Guesses: b.guesses,
	}, log)
	if err != nil {
		t.Fatal(err)
	}
}

// again returns the box as it is after a restart, with its disk and its TPM.
func (b *box) again(t testing.TB) *box {
	t.Helper()
	return startBox(t, &box{folder: b.folder, guesses: b.guesses})
}

// guesses counts as a TPM does.
type guesses struct{ n atomic.Uint64 }

// Count implements [pairing.GuessCounter].
func (g *guesses) Count(context.Context) (uint64, error) { return g.n.Load(), nil }

// Add implements [pairing.GuessCounter].
func (g *guesses) Add(context.Context) (uint64, error) { return g.n.Add(1), nil }

// Show implements [pairing.Display].
func (b *box) Show(w pairing.Window) { b.shown <- w }

// Hide implements [pairing.Display].
func (b *box) Hide() {}

// servePaired serves the box over TLS on loopback, and runs its keeper. It
// returns the host with its port.
func (b *box) servePaired(t testing.TB) string {
	t.Helper()
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{}, 2)
	go func() { _ = b.keeper.Run(ctx); done <- struct{}{} }()
	go func() { _ = b.srv.ServePaired(ctx, l, b.cert); done <- struct{}{} }()
	t.Cleanup(func() { cancel(); <-done; <-done })
	return l.Addr().String()
}

// transport meets the box and nobody else.
func (b *box) transport() *http.Transport {
	roots := x509.NewCertPool()
	roots.AddCert(b.cert.Leaf)
	return &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots, ServerName: "vauban.example", MinVersion: tls.VersionTLS13}}
}

// paired pairs a client at the box's window and opens a session.
func (b *box) paired(t testing.TB, host string, w pairing.Window) (*pairing.Client, *remote) {
	t.Helper()
	c, err := pairing.PairWeb(t.Context(), w.LinkAt(host), "Tablet")
	if err != nil {
		t.Fatal(err)
	}
	return c, reach(t, c)
}

func reach(t testing.TB, c *pairing.Client) *remote {
	t.Helper()
	conn, err := c.Dial(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.CloseNow() })
	conn.SetReadLimit(8 << 20)
	return &remote{t, conn}
}

// open counts the sessions.
func (s *Server) open() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.sessions
}

// requireBundle skips a test of the bundled page where it is not, and fails it
// where it must be.
func requireBundle(t *testing.T) {
	t.Helper()
	if os.Getenv("REQUIRE_BROWSER") == "1" {
		t.Fatal("the page is not bundled: run make ui")
	}
	t.Skip("the page is not bundled: run make ui")
}

// refused returns the reason of a refusal.
func refused(err error) Reason {
	if r, ok := errors.AsType[*pairing.RoomError](err); ok {
		return Reason(r.Reason)
	}
	return ""
}

// TestPaired has two panels over TLS: the first looks after the room and lets
// the second in, for meetings alone.
func TestPaired(t *testing.T) {
	b := newBox(t)
	host := b.servePaired(t)
	first, care := b.paired(t, host, <-b.shown)
	if first.Role != pairing.Facilities {
		t.Errorf("the first panel has the role %s", first.Role)
	}
	answer := care.ask(`{"jsonrpc":"2.0","id":1,"method":"Command/Pairing/OpenWindow","params":{"Role":"Panel"}}`)
	w := <-b.shown
	var opened openedWindow
	if err := json.Unmarshal(answer.Result, &opened); err != nil || opened.Role != pairing.PanelRole || !equal(opened.Links, w.Links()) {
		t.Errorf("OpenWindow = %s", answer.Result)
	}
	second, meets := b.paired(t, host, w)

	for _, tt := range []struct {
		p      *remote
		method string
		reason Reason
		done   string
	}{
		{care, `Command/Audio/Mute"`, "", "mute"},
		{care, `Command/System/Restart"`, "", "restart"},
		{meets, `Command/Audio/Mute"`, "", "mute"},
		{meets, `Command/System/Restart"`, ForbiddenRole, ""},
		{meets, `Command/Pairing/OpenWindow","params":{"Role":"Facilities"}`, ForbiddenRole, ""},
		{meets, `Command/Pairing/Unpair","params":{"Panel":"` + first.Panel + `"}`, ForbiddenRole, ""},
		{meets, `Tree.Get","params":{"Path":"Status/Pairing/Panels"}`, ForbiddenRole, ""},
		{meets, `Session.Prove","params":{}`, UnknownMethod, ""},
		{care, `Command/Pairing/Unpair","params":{"Panel":"p-0000000000000000"}`, TargetChanged, ""},
		{care, `Command/Pairing/Rename","params":{"Panel":"` + second.Panel + `","Name":"Door"}`, "", ""},
	} {
		m := tt.p.ask(`{"jsonrpc":"2.0","id":1,"method":"` + tt.method + `}`)
		if got := reasonOf(m); got != tt.reason {
			t.Errorf("%s: %q, want %q", tt.method, got, tt.reason)
		}
		if got := strings.Join(b.done(), ", "); got != tt.done {
			t.Errorf("%s: did %q, want %q", tt.method, got, tt.done)
		}
	}

	var panels map[string]pairedPanel
	b.soon(t, func() bool {
		panels = nil
		err := first.Get(t.Context(), "/v1/status/pairing/panels", &panels)
		return err == nil && panels[second.Panel].Name == "Door"
	})
	if len(panels) != 2 || panels[first.Panel].Role != "Facilities" || panels[second.Panel].Role != "Panel" || panels[second.Panel].LastSeen.IsZero() {
		t.Errorf("panels = %+v", panels)
	}

	// What a panel does shows who did it; a name of the query counts for nothing.
	care.ask(`{"jsonrpc":"2.0","id":2,"method":"Feedback.Subscribe","params":{"Query":["Status/Audio/**","Event/Pairing/*"]}}`)
	meets.ask(`{"jsonrpc":"2.0","id":3,"method":"Command/Audio/SetVolume","params":{"Volume":30}}`)
	meets.ask(`{"jsonrpc":"2.0","id":3,"method":"Command/Audio/Unmute"}`)
	if d := care.delta(); d.By != second.Panel {
		t.Errorf("by %q, want %q", d.By, second.Panel)
	}

	// The session of one panel does not open HTTP for the cookie of another.
	mixed, other := http.Header{}, http.Header{}
	first.Identify(mixed)
	second.Identify(other)
	mixed.Set(tokenHeader, other.Get(tokenHeader))
	if status, text := call(t, &http.Client{Transport: withHeader{b.transport(), mixed}}, host, "/v1/status", ""); status != http.StatusUnauthorized {
		t.Errorf("a session of another panel: %d %s", status, text)
	}

	// Unpaired, it is out within a second, for good.
	events := b.events(t, second, host)
	began := time.Now()
	if got := reasonOf(care.ask(`{"jsonrpc":"2.0","id":4,"method":"Command/Pairing/Unpair","params":{"Panel":"` + second.Panel + `"}}`)); got != "" {
		t.Fatal(got)
	}
	_, err := meets.next()
	for err == nil {
		_, err = meets.next()
	}
	if took := time.Since(began); websocket.CloseStatus(err) != statusUnpaired || took > time.Second {
		t.Errorf("after %v: %v", took, err)
	}
	if _, err := second.Dial(t.Context()); refused(err) != NotPaired {
		t.Errorf("it comes back: %v", err)
	}
	if err := second.Get(t.Context(), "/v1/status", new(any)); refused(err) != NotPaired {
		t.Errorf("it reads: %v", err)
	}
	select {
	case <-events:
	case <-time.After(3 * time.Second):
		t.Error("its events go on")
	}
	for d := care.delta(); !slices.ContainsFunc(d.Events, func(e happening) bool { return e.Path == "Event/Pairing/Unpaired" }); {
		d = care.delta()
	}
	if got := reasonOf(care.ask(`{"jsonrpc":"2.0","id":5,"method":"Command/Audio/Mute"}`)); got != "" {
		t.Errorf("the other panel: %s", got)
	}

	// A session that ended opens no HTTP.
	_ = care.conn.CloseNow()
	b.soon(t, func() bool { return refused(first.Get(t.Context(), "/v1/status", new(any))) == NotAuthenticated })
}

// withHeader sends each request with a header.
type withHeader struct {
	http.RoundTripper
	header http.Header
}

// RoundTrip implements [http.RoundTripper].
func (w withHeader) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	for name, values := range w.header {
		r.Header[name] = values
	}
	return w.RoundTripper.RoundTrip(r)
}

func reasonOf(m message) Reason {
	if m.Error == nil {
		return ""
	}
	return m.Error.Data.Reason
}

func (b *box) soon(t testing.TB, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); !ok(); time.Sleep(100 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("it never happened")
		}
	}
}

// events follows the events of a panel by HTTP; the channel is closed when they
// end.
func (b *box) events(t testing.TB, c *pairing.Client, host string) <-chan struct{} {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://"+host+"/v1/events", nil)
	if err != nil {
		t.Fatal(err)
	}
	c.Identify(r.Header)
	answer, err := (&http.Client{Transport: b.transport()}).Do(r) //nolint:bodyclose // closed where the events end
	if err != nil || answer.StatusCode != http.StatusOK {
		t.Fatalf("events: %v, %v", answer, err)
	}
	first := make([]byte, 64)
	if _, err := io.ReadFull(answer.Body, first); err != nil || !strings.Contains(string(first), "Session.Hello") {
		t.Fatalf("events begin with %q, %v", first, err)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_, _ = io.Copy(io.Discard, answer.Body)
		_ = answer.Body.Close()
	}()
	return ended
}

// TestUnpaired has every door for who is not paired.
func TestUnpaired(t *testing.T) {
	b := newBox(t)
	host := b.servePaired(t)
	<-b.shown
	client := &http.Client{Transport: b.transport(), Timeout: 10 * time.Second}
	own := map[string]string{"Origin": "https://" + host}
	stolen := map[string]string{"Cookie": cookieName + "=" + strings.Repeat("A", 43)}
	as := func(m map[string]string, more ...string) map[string]string {
		out := map[string]string{}
		for k, v := range m {
			out[k] = v
		}
		for i := 0; i < len(more); i += 2 {
			out[more[i]] = more[i+1]
		}
		return out
	}
	post := as(own, "Content-Type", "application/json")
	for _, tt := range []struct {
		name, method, path, body string
		header                   map[string]string
		status                   int
		want                     string // in the body, or the reason
	}{
		{"page", "GET", "/", "", nil, 200, "<title>"},
		{"page of pairing", "GET", "/pair", "", nil, 200, "<title>"},
		{"state", "GET", "/v1/pairing", "", nil, 200, `{"Api":"1.0","Room":{"Id":"ic-1","Name":"Vauban"},"Window":{"Open":true,"Role":"Facilities","Pin":{"Window":"`},
		{"status", "GET", "/v1/status", "", nil, 403, "not_paired"},
		{"name", "GET", "/v1/status/system/name", "", nil, 403, "not_paired"},
		{"status with a name", "GET", "/v1/status?panel=table", "", as(nil, "In-Camera-Panel", "table"), 403, "not_paired"},
		{"status with a cookie of nobody", "GET", "/v1/status", "", stolen, 403, "not_paired"},
		{"events", "GET", "/v1/events?panel=table", "", nil, 403, "not_paired"},
		{"command", "POST", "/v1/command/audio/mute", "", own, 403, "not_paired"},
		{"window", "POST", "/v1/command/pairing/open-window", `{"Role":"Facilities"}`, post, 403, "not_paired"},
		{"socket", "GET", "/v1/ws?panel=table", "", as(own, "Connection", "Upgrade", "Upgrade", "websocket", "Sec-WebSocket-Version", "13", "Sec-WebSocket-Key", "AAAAAAAAAAAAAAAAAAAAAA==", "Sec-WebSocket-Protocol", subprotocol), 403, "not_paired"},
		{"reason", "GET", "/v1/errors/not_paired", "", nil, 200, "Pair this panel"},

		{"address of a neighbour", "GET", "/v1/pairing", "", as(nil, "Host", "192.0.2.1"), 403, "forbidden_role"},
		{"own address by another name", "GET", "/v1/pairing", "", as(nil, "Host", "evil.example"), 403, "forbidden_role"},
		{"own name", "GET", "/v1/pairing", "", as(nil, "Host", "vauban.example"), 200, "Vauban"},
		{"page of another host", "POST", "/v1/pairing/link", `{}`, as(post, "Origin", "https://evil.example"), 403, "forbidden_role"},
		{"page of another scheme", "POST", "/v1/pairing/link", `{}`, as(post, "Origin", "http://"+host), 403, "forbidden_role"},
		{"no page", "POST", "/v1/pairing/link", `{}`, as(nil, "Content-Type", "application/json"), 403, "forbidden_role"},
		{"a form", "POST", "/v1/pairing/link", `Window=1`, as(own, "Content-Type", "application/x-www-form-urlencoded"), 400, "invalid_request"},
		{"no JSON", "POST", "/v1/pairing/link", `{`, post, 400, "parse_error"},
		{"other members", "POST", "/v1/pairing/link", `{"Role":"Facilities"}`, post, 422, "invalid_params"},
		{"no members", "POST", "/v1/pairing/link", `{}`, post, 422, "invalid_params"},
		{"no window", "POST", "/v1/pairing/link", `{"Window":"","Key":"","Proof":""}`, post, 403, "pairing_closed"},
		{"second spelling", "POST", "/v1/pairing/link", `{"Window":"","Key":"AB","Proof":""}`, post, 422, "invalid_params"},
		{"too large", "POST", "/v1/pairing/link", `{"Name":"` + strings.Repeat("x", maxRequest) + `"}`, post, 400, "invalid_request"},
		{"commit of nobody", "POST", "/v1/pairing/commit", `{"Panel":"p-1","Signature":""}`, as(post, "Cookie", stolen["Cookie"]), 403, "not_paired"},
		{"commit without cookie", "POST", "/v1/pairing/commit", `{"Panel":"p-1","Signature":""}`, post, 422, "invalid_params"},
		{"link by GET", "GET", "/v1/pairing/link", "", own, 404, "unknown_path"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b.srv.limits.mu.Lock()
			clear(b.srv.limits.clients) // all of them come from one address
			b.srv.limits.mu.Unlock()
			r, err := http.NewRequestWithContext(t.Context(), tt.method, "https://"+host+tt.path, strings.NewReader(tt.body))
			if err != nil {
				t.Fatal(err)
			}
			for k, v := range tt.header {
				r.Header.Set(k, v)
			}
			r.Host = tt.header["Host"]
			answer, err := client.Do(r)
			if err != nil {
				t.Fatal(err)
			}
			defer answer.Body.Close()
			text, err := io.ReadAll(answer.Body)
			if err != nil || answer.StatusCode != tt.status || !strings.Contains(string(text), tt.want) {
				t.Errorf("%d %s, %v; want %d %s", answer.StatusCode, text, err, tt.status, tt.want)
			}
			if strings.Contains(string(text), "Curie") || answer.Header.Get("Set-Cookie") != "" {
				t.Errorf("it says %s %v", text, answer.Header)
			}
			if did := b.done(); len(did) > 0 {
				t.Errorf("the room did %q", did)
			}
		})
	}
}
