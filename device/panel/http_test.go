// SPDX-License-Identifier: Apache-2.0

package panel

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/coder/websocket"
)

// TestHTTP has every path of HTTP and every way to be refused.
func TestHTTP(t *testing.T) {
	const asJSON = "application/json"
	for _, tt := range []struct {
		name               string
		method, path, body string
		header             map[string]string
		status             int
		want               string // the body, or the reason of the problem
		done               string
	}{
		{"leaf", "GET", "/v1/status/audio/volume", "", nil, 200, "55", ""},
		{"branch", "GET", "/v1/status/audio/mute", "", nil, 200, `{"Sources":[],"State":"Off"}`, ""},
		{"two words", "GET", "/v1/status/system/boot-id", "", nil, 200, `"BOOT"`, ""},
		{"id", "GET", "/v1/status/directory/rooms/curie/name", "", nil, 200, `"Curie"`, ""},
		{"nothing there", "GET", "/v1/status/lobby/waiting", "", nil, 200, `{}`, ""},
		{"nobody there", "GET", "/v1/status/directory/rooms/x", "", nil, 404, "unknown_path", ""},
		{"no node", "GET", "/v1/status/audio/loudness", "", nil, 404, "unknown_path", ""},
		{"pascal", "GET", "/v1/status/Audio/Volume", "", nil, 404, "unknown_path", ""},
		{"pattern", "GET", "/v1/status/*", "", nil, 404, "unknown_path", ""},
		{"write", "PUT", "/v1/status/audio/volume", "5", nil, 405, "read_only", ""},
		{"nothing", "GET", "/v1/chat", "", nil, 404, "unknown_path", ""},
		{"no file", "GET", "/etc/passwd", "", nil, 404, "unknown_path", ""},

		{"command", "POST", "/v1/command/call/start", `{"Room":"curie"}`, map[string]string{"Content-Type": asJSON}, 200, `{"CallId":"c-1"}`, "start curie"},
		{"command without body", "POST", "/v1/command/audio/mute", "", nil, 200, `{}`, "mute"},
		{"command with two words", "POST", "/v1/command/audio/set-volume", `{"Volume":7}`, map[string]string{"Content-Type": asJSON + "; charset=utf-8"}, 200, `{}`, "volume"},
		{"command by GET", "GET", "/v1/command/audio/mute", "", nil, 400, "invalid_request", ""},
		{"no command", "POST", "/v1/command/audio/sing", "", nil, 404, "unknown_method", ""},
		{"a branch", "POST", "/v1/command/audio", "", nil, 404, "unknown_method", ""},
		{"form", "POST", "/v1/command/audio/set-volume", "Volume=7", map[string]string{"Content-Type": "application/x-www-form-urlencoded"}, 400, "invalid_request", ""},
		{"no JSON", "POST", "/v1/command/audio/set-volume", "{", map[string]string{"Content-Type": asJSON}, 400, "parse_error", ""},
		{"a list", "POST", "/v1/command/audio/set-volume", "[]", map[string]string{"Content-Type": asJSON}, 422, "invalid_params", ""},
		{"out of range", "POST", "/v1/command/audio/set-volume", `{"Volume":-1}`, map[string]string{"Content-Type": asJSON}, 422, "value_out_of_range", ""},
		{"too large", "POST", "/v1/command/audio/set-volume", `{"Volume":` + strings.Repeat(" ", maxRequest) + `1}`, map[string]string{"Content-Type": asJSON}, 400, "invalid_request", ""},
		{"bad name", "POST", "/v1/command/audio/mute", "", map[string]string{"In-Camera-Panel": "a b"}, 422, "invalid_params", ""},

		{"own name", "GET", "/v1/status/audio/volume", "", map[string]string{"Host": "vauban.example"}, 200, "55", ""},
		{"own name in capitals with port", "GET", "/v1/status/audio/volume", "", map[string]string{"Host": "VAUBAN.example.:443"}, 200, "55", ""},
		{"IPv6", "GET", "/v1/status/audio/volume", "", map[string]string{"Host": "[::1]:8080"}, 200, "55", ""},
		{"foreign name", "GET", "/v1/status/audio/volume", "", map[string]string{"Host": "evil.example"}, 403, "forbidden_role", ""},
		{"name within a name", "GET", "/v1/status/audio/volume", "", map[string]string{"Host": "localhost.evil.example"}, 403, "forbidden_role", ""},
		{"other address", "GET", "/v1/status/audio/volume", "", map[string]string{"Host": "192.0.2.1"}, 403, "forbidden_role", ""},
		{"own page", "POST", "/v1/command/audio/mute", "", map[string]string{"Host": "localhost:1", "Origin": "http://localhost:1", "Sec-Fetch-Site": "same-origin"}, 200, "{}", "mute"},
		{"page of another port", "POST", "/v1/command/audio/mute", "", map[string]string{"Host": "localhost:1", "Origin": "http://localhost:2"}, 403, "forbidden_role", ""},
		{"page of another scheme", "POST", "/v1/command/audio/mute", "", map[string]string{"Host": "localhost:1", "Origin": "https://localhost:1"}, 403, "forbidden_role", ""},
		{"page of nowhere", "GET", "/v1/status/audio/volume", "", map[string]string{"Origin": "null"}, 403, "forbidden_role", ""},
		{"page of another site", "POST", "/v1/command/audio/mute", "", map[string]string{"Sec-Fetch-Site": "cross-site"}, 403, "forbidden_role", ""},

		{"events of nothing", "GET", "/v1/events?query=Status/Chat", "", nil, 404, "unknown_path", ""},
		{"socket without upgrade", "GET", "/v1/ws", "", nil, 400, "invalid_request", ""},
		{"no reason", "GET", "/v1/errors/bad_mood", "", nil, 404, "unknown_path", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := newBox(t)
			r := httptest.NewRequestWithContext(t.Context(), tt.method, tt.path, strings.NewReader(tt.body))
			r.Host = "localhost"
			for k, v := range tt.header {
				r.Header.Set(k, v)
			}
			if h := tt.header["Host"]; h != "" {
				r.Host = h
			}
			w := httptest.NewRecorder()
			b.srv.Handler().ServeHTTP(w, r)
			got := strings.TrimSpace(w.Body.String())
			if w.Code >= 400 {
				var p struct {
					Type, Title, Detail, Instance string
					Status, Code                  int
					Reason                        Reason
					CorrelationID                 string `json:"CorrelationId"`
				}
				if err := json.Unmarshal(w.Body.Bytes(), &p); err != nil {
					t.Fatalf("%v in %s", err, got)
				}
				m := meanings[p.Reason]
				if w.Header().Get("Content-Type") != "application/problem+json" || p.Type != "/v1/errors/"+string(p.Reason) ||
					p.Code != m.code || p.Status != w.Code || p.Title == "" || p.Detail == "" || p.Instance != r.URL.Path || p.CorrelationID == "" {
					t.Errorf("problem = %s", got)
				}
				got = string(p.Reason)
			}
			want := strings.ReplaceAll(tt.want, "BOOT", b.srv.boot)
			if w.Code != tt.status || got != want {
				t.Errorf("%s %s = %d %s, want %d %s", tt.method, tt.path, w.Code, got, tt.status, want)
			}
			if got := strings.Join(b.done(), ", "); got != tt.done {
				t.Errorf("the room did %q, want %q", got, tt.done)
			}
		})
	}
}

func TestETag(t *testing.T) {
	b := newBox(t)
	get := func(tag string) *httptest.ResponseRecorder {
		r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/v1/status/audio", nil)
		r.Host = "localhost"
		r.Header.Set("If-None-Match", tag)
		w := httptest.NewRecorder()
		b.srv.Handler().ServeHTTP(w, r)
		return w
	}
	first := get("")
	tag := first.Header().Get("ETag")
	if again := get(tag); first.Code != 200 || tag == "" || again.Code != http.StatusNotModified || again.Body.Len() != 0 {
		t.Errorf("%d %q, then %d %q", first.Code, tag, again.Code, again.Body)
	}
	b.srv.Publish(func(tx *Tx) { tx.Set("Audio/Volume", 56) })
	if w := get(tag); w.Code != 200 || w.Header().Get("ETag") == tag {
		t.Errorf("after a change: %d with the tag %q", w.Code, w.Header().Get("ETag"))
	}
}

// TestReasons has each reason in a page, and each code and status of its own
// table row.
func TestReasons(t *testing.T) {
	b := newBox(t)
	for reason, m := range meanings {
		r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/v1/errors/"+string(reason), nil)
		r.Host = "localhost"
		w := httptest.NewRecorder()
		b.srv.Handler().ServeHTTP(w, r)
		if w.Code != 200 || !strings.Contains(w.Body.String(), string(reason)) || !strings.Contains(w.Body.String(), fmt.Sprint(m.code)) || m.remedy == "" {
			t.Errorf("%s: %d %s", reason, w.Code, w.Body)
		}
	}
}

// TestSecret has an error that is no refusal: its text is for the log alone.
func TestSecret(t *testing.T) {
	b := newBox(t)
	b.fail(fmt.Errorf("pin 1234 is wrong"))
	for _, err := range []error{fmt.Errorf("pin 1234 is wrong"), &Refusal{Reason: Conflict, Err: fmt.Errorf("pin 1234")}, &Refusal{Reason: "made_up", Detail: "pin 1234"}} {
		b.fail(err)
		r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/v1/command/audio/mute", nil)
		r.Host = "localhost"
		w := httptest.NewRecorder()
		b.srv.Handler().ServeHTTP(w, r)
		if strings.Contains(w.Body.String(), "1234") || w.Code < 400 {
			t.Errorf("%d %s", w.Code, w.Body)
		}
		p := dial(t, b.serve(t).URL, "table")
		if m := p.ask(`{"jsonrpc":"2.0","id":1,"method":"Command/Audio/Mute"}`); m.Error == nil || strings.Contains(m.Error.Message, "1234") {
			t.Errorf("over the socket: %+v", m.Error)
		}
	}
}

// TestPage serves the page under its policy, or says how to make it.
func TestPage(t *testing.T) {
	b := newBox(t)
	get := func(path string) *httptest.ResponseRecorder {
		r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, path, nil)
		r.Host = "localhost:8080"
		w := httptest.NewRecorder()
		b.srv.Handler().ServeHTTP(w, r)
		return w
	}
	b.srv.page = newPage(fstest.MapFS{"README.md": {Data: []byte("note")}})
	if w := get("/"); w.Code != http.StatusServiceUnavailable || w.Body.String() != missingPage {
		t.Errorf("without the page: %d %s", w.Code, w.Body)
	}
	b.srv.page = newPage(fstest.MapFS{"README.md": {Data: []byte("note")}, "index.html": {Data: []byte("<p>")}, "app.js": {Data: []byte("1")}})
	w := get("/")
	policy := w.Header().Get("Content-Security-Policy")
	for _, part := range []string{"default-src 'none'", "script-src 'self'", "style-src 'self'", "connect-src 'self' ws://localhost:8080", "require-trusted-types-for 'script'", "trusted-types 'none'", "frame-ancestors 'none'"} {
		if !strings.Contains(policy, part) {
			t.Errorf("the policy lacks %s: %s", part, policy)
		}
	}
	if w.Code != 200 || strings.Contains(policy, "unsafe") || w.Header().Get("X-Content-Type-Options") != "nosniff" {
		t.Errorf("page: %d %v", w.Code, w.Header())
	}
	if w := get("/app.js"); w.Code != 200 || w.Header().Get("Content-Type") != "text/javascript; charset=utf-8" {
		t.Errorf("script: %d %v", w.Code, w.Header())
	}
	if w := get("/README.md"); w.Code != 404 {
		t.Errorf("the note is served: %d", w.Code)
	}
}

// TestSocketOrigin has pages elsewhere and wrong subprotocols.
func TestSocketOrigin(t *testing.T) {
	b := newBox(t)
	url := b.serve(t).URL
	for _, tt := range []struct{ name, origin, protocol string }{
		{"foreign page", "http://evil.example", subprotocol},
		{"null", "null", subprotocol},
		{"no subprotocol", "", ""},
		{"other subprotocol", "", "in-camera.v2"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			o := &websocket.DialOptions{HTTPHeader: http.Header{}}
			if tt.origin != "" {
				o.HTTPHeader.Set("Origin", tt.origin)
			}
			if tt.protocol != "" {
				o.Subprotocols = []string{tt.protocol}
			}
			conn, resp, err := websocket.Dial(t.Context(), "ws"+strings.TrimPrefix(url, "http")+"/v1/ws", o) //nolint:bodyclose // the library closes it
			if err == nil {
				_ = conn.CloseNow()
				t.Fatal("connected")
			}
			if resp == nil || resp.StatusCode/100 != 4 {
				t.Errorf("%v %v", resp, err)
			}
		})
	}
}

// An eventStream reads server-sent events.
type eventStream struct {
	t  *testing.T
	in *bufio.Scanner
}

func (s *eventStream) next() (name, id, data string) {
	s.t.Helper()
	for s.in.Scan() {
		key, v, _ := strings.Cut(s.in.Text(), ": ")
		switch key {
		case "event":
			name = v
		case "id":
			id = v
		case "data":
			data = v
		case "":
			if name != "Session.Beat" {
				return name, id, data
			}
			name, id, data = "", "", ""
		}
	}
	s.t.Fatalf("the stream ended: %v", s.in.Err())
	return "", "", ""
}

func follow(t *testing.T, url, last string) *eventStream {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	if last != "" {
		r.Header.Set("Last-Event-ID", last)
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { resp.Body.Close() })
	if resp.StatusCode != 200 || resp.Header.Get("Content-Type") != "text/event-stream" {
		text, _ := io.ReadAll(resp.Body)
		t.Fatalf("%d %s", resp.StatusCode, text)
	}
	return &eventStream{t, bufio.NewScanner(resp.Body)}
}

// TestEvents follows over HTTP, loses the stream and comes back.
func TestEvents(t *testing.T) {
	b := newBox(t)
	url := b.serve(t).URL + "/v1/events?query=Status/Audio/Volume&query=Event/**"
	s := follow(t, url, "")
	if name, _, data := s.next(); name != "Session.Hello" || !strings.Contains(data, `"Api":"1.0"`) {
		t.Fatalf("%s %s", name, data)
	}
	name, _, data := s.next()
	if name != "Feedback.Snapshot" || !strings.Contains(data, `{"Audio":{"Volume":55}}`) {
		t.Fatalf("%s %s", name, data)
	}
	b.srv.Publish(func(tx *Tx) { tx.Set("Audio/Volume", 60) })
	name, id, data := s.next()
	if name != "Feedback.Event" || !strings.Contains(data, `"Volume":60`) || !strings.HasPrefix(id, b.srv.boot+":") {
		t.Fatalf("%s %s %s", name, id, data)
	}
	b.srv.Publish(func(tx *Tx) {
		tx.Set("Audio/Volume", 65)
		tx.Event("Call/EpochChanged", map[string]int{"Epoch": 4})
	})
	again := follow(t, url, id)
	again.next() // hello
	if name, _, data := again.next(); name != "Feedback.Event" || !strings.Contains(data, `"Volume":65`) || !strings.Contains(data, `"Epoch":4`) {
		t.Fatalf("resumed with %s %s", name, data)
	}
	other := follow(t, url, "x:1")
	other.next()
	if name, _, data := other.next(); name != "Feedback.Snapshot" || !strings.Contains(data, `"Volume":65`) {
		t.Fatalf("after another boot: %s %s", name, data)
	}
	b.srv.Close()
	for s.in.Scan() { // it ends
	}
}
