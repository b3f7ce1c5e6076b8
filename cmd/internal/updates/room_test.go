// SPDX-License-Identifier: Apache-2.0

package updates

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"incamera/cmd/internal/boxlink"
	"incamera/cmd/internal/demo"
	"incamera/cmd/internal/kept"
	"incamera/device/panel"
	"incamera/secureboot/enrol"
	"incamera/secureboot/enrol/client"
)

const board = "qemu-arm64/debian"

// A machine is a box behind the real protocol: it holds releases and remembers
// what it was asked. A bundle is its version and padding.
type machine struct {
	boxlink.Box // what updates must not ask for panics

	mu       sync.Mutex
	status   boxlink.Status
	stick    []boxlink.Bundle
	restarts []string
	older    bool
	hold     chan struct{} // nil, or an installation waits half way until it is closed
	refuse   *boxlink.Refusal
	stubborn bool // refuses to restart
}

func (m *machine) Status(context.Context) (boxlink.Status, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.status, nil
}

func (m *machine) with(f func()) {
	m.mu.Lock()
	defer m.mu.Unlock()
	f()
}

func (m *machine) Install(ctx context.Context, bundle io.Reader, older bool) (boxlink.Release, error) {
	m.with(func() { m.status.Work = boxlink.Work{State: boxlink.Receiving} })
	defer m.with(func() { m.status.Work = boxlink.Work{State: boxlink.Idle} })
	b, err := io.ReadAll(bundle)
	if err != nil {
		return boxlink.Release{}, err
	}
	version := strings.TrimRight(string(b), " ")
	return m.write(ctx, version, older)
}

func (m *machine) write(ctx context.Context, version string, older bool) (boxlink.Release, error) {
	m.mu.Lock()
	m.status.Work = boxlink.Work{State: boxlink.Writing, Written: 40, Total: 80, Version: version}
	hold, refuse := m.hold, m.refuse
	m.mu.Unlock()
	if hold != nil {
		select {
		case <-hold:
		case <-ctx.Done():
			return boxlink.Release{}, context.Cause(ctx)
		}
	}
	if refuse != nil {
		return boxlink.Release{}, refuse
	}
	r := boxlink.Release{Version: version, Rollback: 1}
	m.with(func() { m.status.Update.Phase, m.status.Update.Target, m.older = boxlink.Armed, &r, older })
	return r, nil
}

func (m *machine) Stick(context.Context) ([]boxlink.Bundle, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.stick, nil
}

func (m *machine) Import(ctx context.Context, name string, older bool) (boxlink.Release, error) {
	defer m.with(func() { m.status.Work = boxlink.Work{State: boxlink.Idle} })
	for _, b := range m.stick {
		if b.Name == name {
			return m.write(ctx, strings.TrimSuffix(strings.TrimPrefix(name, "in-camera-"), ".bundle"), older)
		}
	}
	return boxlink.Release{}, &boxlink.Refusal{Reason: boxlink.Absent, Detail: "no such bundle"}
}

func (m *machine) Restart(_ context.Context, reason string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.stubborn {
		return &boxlink.Refusal{Reason: boxlink.Busy, Detail: "not now"}
	}
	m.restarts = append(m.restarts, reason)
	return nil
}

// boot is the start after a restart: the armed release is on trial.
func (m *machine) boot() {
	m.with(func() {
		m.status.Update.Phase, m.status.Update.Running = boxlink.Trial, *m.status.Update.Target
		m.status.Update.Failure = nil
	})
}

// commit and fail end the trial; fail also boots the release before.
func (m *machine) commit() {
	m.with(func() { m.status.Update.Phase, m.status.Update.Target = boxlink.Steady, nil })
}

func (m *machine) fail(reason string) {
	m.with(func() {
		u := &m.status.Update
		u.Failure = &boxlink.Failure{Version: u.Running.Version, Reason: reason, Detail: "in words"}
		u.Phase, u.Target, u.Running = boxlink.Steady, nil, boxlink.Release{Version: "1.0.0", Rollback: 1}
	})
}

func (m *machine) asked() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return append([]string{}, m.restarts...)
}

// restarted waits until boxd was asked n times for a restart.
func (r *room) restarted(n int) []string {
	r.t.Helper()
	for began := time.Now(); ; time.Sleep(10 * time.Millisecond) {
		if asked := r.machine.asked(); len(asked) == n {
			return asked
		} else if time.Since(began) > 10*time.Second {
			r.t.Fatalf("restarts: %v; want %d", asked, n)
		}
	}
}

// A shelf is a site that has bundles.
type shelf struct {
	mu      sync.Mutex
	bundles []enrol.BundleEntry
	err     error // of every call
	cut     bool  // bundles end half way
}

func (s *shelf) Bundles(_ context.Context, b string) ([]enrol.BundleEntry, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if b != board {
		return nil, fmt.Errorf("asked for board %q", b)
	}
	return s.bundles, s.err
}

func (s *shelf) Bundle(_ context.Context, b, version string) (io.ReadCloser, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err != nil || b != board {
		return nil, errors.Join(s.err, errors.New(b))
	}
	var r io.Reader = strings.NewReader(version + strings.Repeat(" ", 1<<20))
	if s.cut {
		r = io.MultiReader(io.LimitReader(r, 1<<19), broken{})
	}
	return io.NopCloser(r), nil
}

func (s *shelf) Close() {}

type broken struct{}

func (broken) Read([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }

func entry(version string) enrol.BundleEntry {
	return enrol.BundleEntry{Board: board, Version: version, Rollback: 1, Size: 1 << 20, Approved: true}
}

// A room is updates between a machine, a site and a panel, over their real
// protocols.
type room struct {
	t       *testing.T
	machine *machine
	site    *shelf
	state   kept.File
	updates *Updates
	panel   *demo.Controller
	stop    func()
}

func newRoom(t *testing.T) *room {
	r := &room{
		t: t, site: &shelf{bundles: []enrol.BundleEntry{entry("1.1.0"), entry("1.0.0"), entry("0.9.0")}},
		machine: &machine{status: boxlink.Status{
			Serial: "IC-1", Board: board,
			Update: boxlink.Update{Phase: boxlink.Steady, Running: boxlink.Release{Version: "1.0.0", Rollback: 1}, Floor: 1},
			Work:   boxlink.Work{State: boxlink.Idle},
		}},
		state: kept.File(filepath.Join(t.TempDir(), "updates.json")),
	}
	r.start()
	t.Cleanup(func() { r.stop() })
	return r
}

// start starts the room's process anew.
func (r *room) start() {
	r.t.Helper()
	log := slog.New(slog.NewTextHandler(r.t.Output(), nil))
	socket := filepath.Join(r.t.TempDir(), "box.sock")
	ln, err := new(net.ListenConfig).Listen(r.t.Context(), "unix", socket)
	if err != nil {
		r.t.Fatal(err)
	}
	box := &http.Server{Handler: boxlink.Handler(r.machine, log), ReadHeaderTimeout: time.Second}
	go func() { _ = box.Serve(ln) }() // until it is closed
	var server *panel.Server
	r.updates = New(Config{
		Box: boxlink.New(socket), Site: func() (Site, error) { return r.site, nil },
		Publish: func(f func(*panel.Tx)) { server.Publish(f) }, State: r.state, Log: log,
	})
	server = panel.New(panel.Room{ID: "ic-1", Name: "Vauban"}, panel.Deps{Updates: r.updates}, log)
	web := httptest.NewServer(server.Handler())
	ctx, cancel := context.WithCancel(r.t.Context())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		if err := r.updates.Run(ctx); !errors.Is(err, context.Canceled) {
			r.t.Errorf("ended with %v", err)
		}
	}()
	if r.panel, err = demo.Dial(ctx, strings.TrimPrefix(web.URL, "http://")); err != nil {
		r.t.Fatal(err)
	}
	r.stop = sync.OnceFunc(func() {
		r.panel.Close()
		cancel()
		<-ended
		server.Close()
		web.Close()
		_ = box.Close() // a test's
	})
}

func (r *room) do(command string, params map[string]any) {
	r.t.Helper()
	if err := r.try(command, params); err != nil {
		r.t.Fatalf("%s: %v", command, err)
	}
}

func (r *room) try(command string, params map[string]any) error {
	ctx, cancel := context.WithTimeout(r.t.Context(), 10*time.Second)
	defer cancel()
	return r.panel.Do(ctx, "Updates/"+command, params)
}

// await waits until the panel shows the values.
func (r *room) await(values map[string]any) {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(r.t.Context(), 10*time.Second)
	defer cancel()
	err := r.panel.Await(ctx, fmt.Sprint(values), func() bool {
		for path, want := range values {
			if got := r.panel.Value("Updates/" + path); text(got) != text(want) {
				return false
			}
		}
		return true
	})
	if err != nil {
		r.t.Fatalf("%v; shown is %v", err, r.panel.Value("Updates"))
	}
}

// text is a value as it is on the wire.
func text(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return string(b)
}

func (r *room) happens(events <-chan map[string]any, want map[string]any) {
	r.t.Helper()
	select {
	case got := <-events:
		for k, v := range want {
			if got[k] != v {
				r.t.Errorf("event %v; want %v", got, want)
			}
		}
	case <-time.After(10 * time.Second):
		r.t.Errorf("no event %v", want)
	}
}

var errSilent = fmt.Errorf("%w: no route", client.ErrUnavailable)
