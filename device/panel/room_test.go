// SPDX-License-Identifier: Apache-2.0

package panel

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"

	"incamera/device/pairing"
)

// A box is a room behind the panel: it does what it is told at once, unless err
// is set, and publishes the result.
type box struct {
	srv    *Server
	keeper *pairing.Keeper // not run, unless a test does
	cert   tls.Certificate
	shown  chan pairing.Window

	folder  string // its disk
	guesses *guesses

	mu    sync.Mutex
	err   error           // what every command answers
	gate  <-chan struct{} // commands wait for it, if not nil
	calls []string        // what was done
}

func (b *box) do(ctx context.Context, what string, change func(*Tx)) error {
	b.mu.Lock()
	b.calls = append(b.calls, what)
	err, gate := b.err, b.gate
	b.mu.Unlock()
	if gate != nil {
		select {
		case <-gate:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	if err != nil {
		return err
	}
	b.srv.Publish(func(tx *Tx) {
		tx.By(By(ctx))
		change(tx)
	})
	return nil
}

// done returns what was done, and forgets it.
func (b *box) done() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	out := b.calls
	b.calls = nil
	return out
}

func (b *box) fail(err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.err = err
}

func (b *box) hold(gate <-chan struct{}) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.gate = gate
}

func (b *box) Start(ctx context.Context, room string) (string, error) {
	return "c-1", b.do(ctx, "start "+room, func(tx *Tx) {
		tx.Set("Call", map[string]any{
			"State": "Ringing", "Direction": "Outgoing", "CallId": "c-1",
			"Peer": Peer{Room: room, Name: strings.ToUpper(room[:1]) + room[1:], Site: "Nord"}, "Since": start,
		})
	})
}

func (b *box) Answer(ctx context.Context, id string) error {
	return b.do(ctx, "answer "+id, func(tx *Tx) {
		tx.Set("Call/State", "Joining")
		tx.Set("Call/Step", "Connecting")
	})
}

func (b *box) Decline(ctx context.Context, id string) error { return b.end(ctx, "decline "+id) }

func (b *box) Leave(ctx context.Context, id string) error { return b.end(ctx, "leave "+id) }

func (b *box) EndForAll(ctx context.Context, id string) error { return b.end(ctx, "end "+id) }

func (b *box) end(ctx context.Context, what string) error {
	return b.do(ctx, what, func(tx *Tx) {
		tx.Set("Call", map[string]string{"State": "Idle"})
		tx.Remove("Roster/Members")
	})
}

func (b *box) Remove(ctx context.Context, member, credential string) error {
	return b.do(ctx, "remove "+member+" "+credential, func(tx *Tx) { tx.Remove("Roster/Members/" + member) })
}

func (b *box) Admit(ctx context.Context, id, credential string) error {
	return b.do(ctx, "admit "+id+" "+credential, func(tx *Tx) { tx.Remove("Lobby/Waiting/" + id) })
}

func (b *box) Refuse(ctx context.Context, id, credential string) error {
	return b.do(ctx, "refuse "+id+" "+credential, func(tx *Tx) { tx.Remove("Lobby/Waiting/" + id) })
}

func (b *box) Mute(ctx context.Context) error {
	return b.do(ctx, "mute", func(tx *Tx) { muted(tx, true) })
}

func (b *box) Unmute(ctx context.Context) error {
	return b.do(ctx, "unmute", func(tx *Tx) { muted(tx, false) })
}

func muted(tx *Tx, on bool) {
	tx.Set("Audio/Silent", on)
	if on {
		tx.Set("Audio/Mute", map[string]any{"State": "On", "Sources": []string{"Panel"}})
	} else {
		tx.Set("Audio/Mute", map[string]any{"State": "Off", "Sources": []string{}})
	}
}

func (b *box) SetVolume(ctx context.Context, percent int) error {
	return b.do(ctx, "volume", func(tx *Tx) { tx.Set("Audio/Volume", percent) })
}

func (b *box) StepVolume(ctx context.Context, steps int) error {
	b.srv.store.mu.RLock()
	var now int
	if l := b.srv.store.leaves["Status/Audio/Volume"]; l != nil {
		_ = json.Unmarshal(l.raw, &now)
	}
	b.srv.store.mu.RUnlock()
	return b.do(ctx, "step", func(tx *Tx) { tx.Set("Audio/Volume", min(100, max(0, now+5*steps))) })
}

func (b *box) SendCamera(ctx context.Context, on bool) error {
	return b.do(ctx, "camera", func(tx *Tx) { tx.Set("Video/Camera/Sending", on) })
}

func (b *box) ShowSelf(ctx context.Context, on bool) error {
	return b.do(ctx, "selfview", func(tx *Tx) { tx.Set("Video/Selfview", on) })
}

func (b *box) SetLayout(ctx context.Context, layout string) error {
	return b.do(ctx, "layout "+layout, func(tx *Tx) { tx.Set("Stage/Layout", layout) })
}

// start is when things happen in these tests.
var start = time.Date(2026, 11, 3, 9, 2, 0, 0, time.UTC)

func newBox(t testing.TB) *box {
	t.Helper()
	return startBox(t, &box{})
}

func startBox(t testing.TB, b *box) *box {
	t.Helper()
	log := slog.New(slog.DiscardHandler)
	if testing.Verbose() {
		log = slog.New(slog.NewTextHandler(&testWriter{t: t}, &slog.HandlerOptions{Level: slog.LevelError}))
	}
	b.pair(t, log)
	b.srv = New(Room{ID: "ic-1", Name: "Vauban", Version: "1.2.3", Hosts: []string{"vauban.example"}},
		Deps{Calls: b, Audio: b, Video: b, Stage: b, Lobby: b, System: b, Network: b, Enrolment: b, Updates: b, Pairing: b.keeper}, log)
	b.srv.Publish(func(tx *Tx) {
		muted(tx, false)
		tx.Set("Audio/Volume", 55)
		tx.Set("Video/Camera", map[string]any{"Sending": true, "Cover": "Open"})
		tx.Set("Video/Selfview", false)
		tx.Set("Stage/Layout", "Speaker")
		tx.Set("Directory/Rooms/curie", Contact{"Curie", "Nord"})
	})
	return b
}

// testWriter writes log lines to the test that is running.
type testWriter struct {
	t    testing.TB
	mu   sync.Mutex
	over bool
}

func (w *testWriter) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.over {
		w.t.Logf("%s", p)
	}
	return len(p), nil
}

// serve serves the box on loopback.
func (b *box) serve(t testing.TB) *httptest.Server {
	t.Helper()
	hs := httptest.NewServer(b.srv.Handler())
	t.Cleanup(hs.Close)
	t.Cleanup(b.srv.Close)
	return hs
}

// A message is anything that the room sends.
type message struct {
	ID     json.RawMessage `json:"id"`
	Method string          `json:"method"`
	Params json.RawMessage `json:"params"`
	Result json.RawMessage `json:"result"`
	Error  *struct {
		Code    int       `json:"code"`
		Message string    `json:"message"`
		Data    errorData `json:"data"`
	} `json:"error"`
}

// A remote is a panel in a test.
type remote struct {
	t    testing.TB
	conn *websocket.Conn
}

// dial connects a panel and takes the greeting.
func dial(t testing.TB, url, name string) *remote {
	t.Helper()
	conn, resp, err := websocket.Dial(t.Context(), "ws"+strings.TrimPrefix(url, "http")+"/v1/ws?panel="+name, //nolint:bodyclose // the library closes it
		&websocket.DialOptions{Subprotocols: []string{subprotocol}})
	if err != nil {
		t.Fatalf("dial: %v (%v)", err, resp)
	}
	conn.SetReadLimit(8 << 20)
	t.Cleanup(func() { _ = conn.CloseNow() })
	p := &remote{t, conn}
	if m := p.read(); m.Method != "Session.Hello" {
		t.Fatalf("the first message is %s", m.Method)
	}
	return p
}

func (p *remote) send(text string) {
	p.t.Helper()
	if err := p.conn.Write(p.t.Context(), websocket.MessageText, []byte(text)); err != nil {
		p.t.Fatal(err)
	}
}

// read returns the next message that is no beat.
func (p *remote) read() message {
	p.t.Helper()
	m, err := p.next()
	if err != nil {
		p.t.Fatal(err)
	}
	return m
}

func (p *remote) next() (message, error) {
	for {
		ctx, cancel := context.WithTimeout(p.t.Context(), 20*time.Second)
		_, data, err := p.conn.Read(ctx)
		cancel()
		if err != nil {
			return message{}, err
		}
		var m message
		if err := json.Unmarshal(data, &m); err != nil {
			return m, errors.New(string(data))
		}
		if m.Method != "Session.Beat" {
			return m, nil
		}
	}
}

// ask sends a request and returns its answer.
func (p *remote) ask(text string) message {
	p.t.Helper()
	p.send(text)
	for {
		if m := p.read(); m.Method == "" {
			return m
		}
	}
}

// delta waits for the next Feedback.Event.
func (p *remote) delta() delta {
	p.t.Helper()
	for {
		if m := p.read(); m.Method == "Feedback.Event" {
			var d delta
			if err := json.Unmarshal(m.Params, &d); err != nil {
				p.t.Fatal(err)
			}
			return d
		}
	}
}

func equal(a, b []string) bool { return slices.Equal(a, b) }
