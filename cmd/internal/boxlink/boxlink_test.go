// SPDX-License-Identifier: Apache-2.0

package boxlink

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"incamera/cmd/internal/strict"
)

// desk is a box that writes down what it is asked for, and takes bundles of up to
// limit bytes.
type desk struct {
	asked  string
	limit  int
	refuse error
	ended  chan error // how an installation ended
	got    chan bool  // the first half is here; then all of it
}

func (d *desk) note(call string, args ...any) error {
	d.asked = call + fmt.Sprint(args...)
	return d.refuse
}

var (
	aStatus = Status{
		Serial: "IC-0001", Board: "qemu-arm64/debian",
		Update: Update{Phase: Trial, Running: Release{"1.5.0", 8}, Target: &Release{"1.5.0", 8}, Failure: &Failure{"1.4.0", "unhealthy", "no sound"}, Floor: 3},
		Work:   Work{Writing, 5, 10, "1.6.0"},
	}
	aNetwork = NetworkState{Network{Static, "10.0.0.5/24", "10.0.0.1", []string{"10.0.0.2"}}, time.Date(2026, 3, 1, 9, 2, 0, 0, time.UTC), wired(sysfs), nil}
)

func (d *desk) Status(context.Context) (Status, error) { return aStatus, d.note("status") }

func (d *desk) Install(ctx context.Context, bundle io.Reader, older bool) (Release, error) {
	b := make([]byte, d.limit)
	n, err := io.ReadFull(bundle, b[:d.limit/2])
	if err == nil && d.got != nil {
		d.got <- false
		if _, err = io.Copy(io.Discard, bundle); err == nil {
			d.got <- true
		}
		<-ctx.Done()
	}
	if d.ended != nil {
		d.ended <- errors.Join(err, context.Cause(ctx))
	}
	if d.refuse == nil && err != nil {
		return Release{}, err
	}
	return Release{"1.6.0", uint64(n)}, d.note("install", older)
}

func (d *desk) Stick(context.Context) ([]Bundle, error) { return nil, d.note("stick") }

func (d *desk) Import(_ context.Context, name string, older bool) (Release, error) {
	return Release{"1.6.0", 9}, d.note("import", name, " ", older)
}
func (d *desk) Health(_ context.Context, h Health) error       { return d.note("health", h) }
func (d *desk) Restart(_ context.Context, reason string) error { return d.note("restart", reason) }
func (d *desk) Reset(_ context.Context, serial string) error   { return d.note("reset", serial) }
func (d *desk) Network(context.Context) (NetworkState, error)  { return aNetwork, d.note("network") }
func (d *desk) SetNetwork(_ context.Context, n Network) error  { return d.note("set", n) }
func (d *desk) ConfirmNetwork(context.Context) error           { return d.note("confirm") }

// serve has the desk answer at a socket.
func serve(t *testing.T, b Box) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "s")
	ln, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	s := &http.Server{Handler: Handler(b, slog.New(slog.DiscardHandler)), ReadHeaderTimeout: time.Second}
	done := make(chan struct{})
	go func() { defer close(done); _ = s.Serve(ln) }()
	t.Cleanup(func() { s.Close(); <-done })
	return path
}

func TestCalls(t *testing.T) {
	d := &desk{limit: 10}
	c := New(serve(t, d))
	ctx := t.Context()
	var err error
	if aNetwork.Current, err = addresses(aNetwork.Interface); err != nil {
		t.Fatal(err)
	}
	for _, call := range []struct {
		want   string // what the box was asked for
		answer any
		do     func() (any, error)
	}{
		{"status", aStatus, func() (any, error) { return c.Status(ctx) }},
		{"installtrue", Release{"1.6.0", 5}, func() (any, error) { return c.Install(ctx, strings.NewReader("0123456789"), true) }},
		{"installfalse", Release{"1.6.0", 5}, func() (any, error) { return c.Install(ctx, strings.NewReader("0123456789"), false) }},
		{"stick", []Bundle{}, func() (any, error) { return c.Stick(ctx) }},
		{"importin-camera-1.6.0.bundle true", Release{"1.6.0", 9}, func() (any, error) { return c.Import(ctx, "in-camera-1.6.0.bundle", true) }},
		{"health{false no sound}", nil, func() (any, error) { return nil, c.Health(ctx, Health{Detail: "no sound"}) }},
		{"restartupdate", nil, func() (any, error) { return nil, c.Restart(ctx, "update") }},
		{"resetIC-0001", nil, func() (any, error) { return nil, c.Reset(ctx, "IC-0001") }},
		{"network", aNetwork, func() (any, error) { return c.Network(ctx) }},
		{"set{static 10.0.0.5/24 10.0.0.1 [10.0.0.2]}", nil, func() (any, error) { return nil, c.SetNetwork(ctx, aNetwork.Network) }},
		{"confirm", nil, func() (any, error) { return nil, c.ConfirmNetwork(ctx) }},
	} {
		got, err := call.do()
		if err != nil || !reflect.DeepEqual(got, call.answer) || d.asked != call.want {
			t.Errorf("asked %q, answered %+v, %v; want %q and %+v", d.asked, got, err, call.want, call.answer)
		}
		d.refuse = &Refusal{Busy, "not now"}
		_, err = call.do()
		if r, ok := errors.AsType[*Refusal](err); !ok || *r != (Refusal{Busy, "not now"}) {
			t.Errorf("%s: refused with %v; want %v", call.want, err, d.refuse)
		}
		d.refuse = errors.New("secret of the box")
		if _, err := call.do(); err == nil || strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: an error that is not for the other end: %v", call.want, err)
		}
		d.refuse = nil
	}
}

// TestRefusedEarly: a bundle is refused before it was sent, and the sender learns
// why, however much it still has.
func TestRefusedEarly(t *testing.T) {
	d := &desk{limit: 8, refuse: &Refusal{"wrong_board", "for another"}}
	c := New(serve(t, d))
	for range 20 {
		_, err := c.Install(t.Context(), io.LimitReader(zeros{}, 64<<20), false)
		if r, ok := errors.AsType[*Refusal](err); !ok || r.Reason != "wrong_board" {
			t.Fatalf("refused with %v", err)
		}
	}
}

type zeros struct{}

func (zeros) Read(b []byte) (int, error) { clear(b); return len(b), nil }

// TestHangUp: a sender that goes is not a bundle that ends, whenever it goes.
func TestHangUp(t *testing.T) {
	for _, whole := range []bool{false, true} {
		d := &desk{limit: 8, ended: make(chan error, 1), got: make(chan bool)}
		c := New(serve(t, d))
		ctx, cancel := context.WithCancel(t.Context())
		from, to := io.Pipe()
		sent := make(chan error, 1)
		go func() {
			_, err := c.Install(ctx, from, false)
			sent <- err
		}()
		if _, err := to.Write([]byte("01234567")); err != nil {
			t.Fatal(err)
		}
		<-d.got
		if whole {
			to.Close()
			<-d.got
		}
		cancel()
		if err := <-sent; !errors.Is(err, context.Canceled) {
			t.Errorf("whole %v: the sender has %v", whole, err)
		}
		err := <-d.ended
		if errors.Is(err, errGone) == whole || whole && !errors.Is(err, context.Canceled) || errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("whole %v: the box has %v", whole, err)
		}
		to.Close()
	}
}

// raw sends a request as it is and returns status and body.
func raw(t *testing.T, socket, request string) (int, Refusal) {
	t.Helper()
	conn, err := net.Dial("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	c := http.Client{Transport: &http.Transport{
		DialContext:       func(context.Context, string, string) (net.Conn, error) { return conn, nil },
		DisableKeepAlives: true,
	}}
	head, body, _ := strings.Cut(request, "\n")
	method, path, _ := strings.Cut(head, " ")
	r, err := http.NewRequestWithContext(t.Context(), method, "http://box"+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/json")
	answer, err := c.Do(r)
	if err != nil {
		t.Fatalf("%.80q: %v", request, err)
	}
	defer answer.Body.Close()
	b, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	var refusal Refusal
	_ = json.Unmarshal(b, &refusal) // an answer of net/http is no JSON
	return answer.StatusCode, refusal
}

func TestHostileRequests(t *testing.T) {
	d := &desk{limit: 8}
	socket := serve(t, d)
	huge := `{"healthy": false, "detail": "` + strings.Repeat("a", 16<<20) + `"}`
	for _, request := range []string{
		"POST /v1/health\n" + huge,
		"POST /v1/health\n" + strings.Repeat("[", 4000),
		"POST /v1/health\n",
		"POST /v1/health\n{",
		"POST /v1/health\n[]",
		"POST /v1/health\n{\"healthy\": 1}",
		"POST /v1/health\n{\"healthy\": true, \"force\": true}",
		"POST /v1/health\n{\"healthy\": true} {}",
		"POST /v1/import\n{\"name\": [\"a\"]}",
		"POST /v1/restart\n{\"serial\": \"IC-0001\"}",
		"POST /v1/reset\n\"IC-0001\"",
		"PUT /v1/network\n{\"method\": \"dhcp\", \"exec\": \"/bin/sh\"}",
		"POST /v1/network/confirm\n",
		"POST /v1/network/confirm\n{\"method\": \"dhcp\"}",
		"POST /v1/install?older=2\nICBUNDL1",
		"POST /v1/install?older=0&older=1\nICBUNDL1",
		"POST /v1/install?force\nICBUNDL1",
	} {
		if status, refusal := raw(t, socket, request); status != http.StatusBadRequest || refusal.Reason != BadRequest {
			t.Errorf("%.80q: status %d, %+v", request, status, refusal)
		}
	}
	for request, want := range map[string]int{
		"GET /v1/other\n": http.StatusNotFound, "GET /\n": http.StatusNotFound, "DELETE /v1/network\n": http.StatusMethodNotAllowed,
		"GET /v1/reset\n": http.StatusMethodNotAllowed,
	} {
		if status, _ := raw(t, socket, request); status != want {
			t.Errorf("%q: status %d; want %d", request, status, want)
		}
	}
	if d.asked != "" {
		t.Errorf("the box was asked: %s", d.asked)
	}
}

// TestHostileAnswers: what answers at the socket need not be boxd.
func TestHostileAnswers(t *testing.T) {
	for _, answer := range []string{
		"{", "null {}", `{"serial": "a", "more": 1}`, `{"serial": "` + strings.Repeat("a", maxAnswer) + `"}`, strings.Repeat("[", 4000),
	} {
		for _, status := range []int{http.StatusOK, http.StatusConflict} {
			path := filepath.Join(t.TempDir(), "s")
			ln, err := net.Listen("unix", path)
			if err != nil {
				t.Fatal(err)
			}
			s := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				w.WriteHeader(status)
				_, _ = io.WriteString(w, answer)
			})}
			go func() { _ = s.Serve(ln) }()
			_, err = New(path).Status(t.Context())
			if _, ok := errors.AsType[*Refusal](err); err == nil || ok || len(err.Error()) > 200 {
				t.Errorf("%d %.40q: taken: %v", status, answer, err)
			}
			s.Close()
		}
	}
	if _, err := New(filepath.Join(t.TempDir(), "none")).Status(t.Context()); err == nil {
		t.Error("an answer from nobody")
	}
}

// FuzzNetwork: what is taken means the same when written again.
func FuzzNetwork(f *testing.F) {
	for _, v := range []any{aNetwork.Network, aStatus, Health{true, "a"}, importRequest{"a", true}} {
		b, err := json.Marshal(v)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		var n Network
		if strict.Decode(b, &n) != nil {
			return
		}
		again, err := json.Marshal(n)
		if err != nil {
			t.Fatal(err)
		}
		var m Network
		if err := strict.Decode(again, &m); err != nil || !reflect.DeepEqual(n, m) {
			t.Errorf("%q: %+v, again %+v, %v", b, n, m, err)
		}
		if bytes.ContainsRune(again, '\n') {
			t.Errorf("%q has a line break", again)
		}
	})
}
