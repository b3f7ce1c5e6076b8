// SPDX-License-Identifier: Apache-2.0

package panel

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/coder/websocket"
)

var table = client{"table", RolePanel}

// TestRate has one client spend its commands, while others and mute go on.
func TestRate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBox(t)
		set := func(c client) *Refusal {
			_, refusal := b.srv.do(t.Context(), c, "Command/Audio/SetVolume", map[string]any{"Volume": json.Number("5")}, "")
			return refusal
		}
		for i := range int(commandRate.burst) {
			if refusal := set(table); refusal != nil {
				t.Fatalf("command %d: %v", i, refusal)
			}
		}
		refusal := set(table)
		if refusal == nil || refusal.Reason != RateLimited || refusal.RetryAfter <= 0 || refusal.RetryAfter > 60*time.Millisecond {
			t.Fatalf("beyond the burst: %v", refusal)
		}
		if refusal := set(client{"wall", RolePanel}); refusal != nil {
			t.Errorf("another client: %v", refusal)
		}
		for range 100 {
			if _, refusal := b.srv.do(t.Context(), table, silences, nil, ""); refusal != nil {
				t.Fatalf("mute: %v", refusal)
			}
		}
		time.Sleep(refusal.RetryAfter)
		if refusal := set(table); refusal != nil {
			t.Errorf("after the wait that was told: %v", refusal)
		}
		time.Sleep(time.Second)
		for i := range 20 {
			if refusal := set(table); refusal != nil {
				t.Errorf("command %d a second later: %v", i, refusal)
			}
		}
		if set(table) == nil {
			t.Error("more than 20 in a second")
		}
	})
}

// TestClients bounds what is kept of clients.
func TestClients(t *testing.T) {
	l := newLimits()
	for i := range 10 * maxClients {
		l.command(fmt.Sprint(i), time.Unix(int64(i), 0))
	}
	if len(l.clients) != maxClients || l.clients["0"] != nil || l.clients[fmt.Sprint(10*maxClients-1)] == nil {
		t.Errorf("%d clients", len(l.clients))
	}
}

// TestIdempotency has the same key mean the same command, for ten minutes.
func TestIdempotency(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBox(t)
		set := func(c client, volume int, key string) (string, Reason) {
			result, refusal := b.srv.do(t.Context(), c, "Command/Audio/SetVolume", map[string]any{"Volume": json.Number(fmt.Sprint(volume))}, key)
			if refusal != nil {
				return "", refusal.Reason
			}
			return string(result), ""
		}
		check := func(name string, c client, volume int, key string, want Reason, done int) {
			t.Helper()
			_, reason := set(c, volume, key)
			if n := len(b.done()); reason != want || n != done {
				t.Errorf("%s: %q, done %d times; want %q, %d", name, reason, n, want, done)
			}
		}
		check("first", table, 5, "k", "", 1)
		check("again", table, 5, "k", "", 0)
		check("other parameters", table, 6, "k", Conflict, 0)
		check("other client", client{"wall", RolePanel}, 6, "k", "", 1)
		check("other key", table, 5, "k2", "", 1)
		check("no key", table, 5, "", "", 1)
		b.fail(Refuse(DeviceMissing))
		check("refused", table, 7, "k3", DeviceMissing, 1)
		b.fail(nil)
		check("refused again", table, 7, "k3", DeviceMissing, 0)
		time.Sleep(memoryTime - time.Second)
		check("just remembered", table, 5, "k", "", 0)
		time.Sleep(time.Second)
		check("forgotten", table, 5, "k", "", 1)

		// Two touches at once are one command.
		gate := make(chan struct{})
		b.hold(gate)
		both := make(chan Reason, 2)
		for range 2 {
			go func() {
				_, reason := set(table, 9, "k4")
				both <- reason
			}()
		}
		synctest.Wait()
		close(gate)
		if a, c := <-both, <-both; a != "" || c != "" || len(b.done()) != 1 {
			t.Errorf("at once: %q, %q", a, c)
		}
	})
}

func TestMemoryBound(t *testing.T) {
	m := newMemory()
	now := time.Unix(0, 0)
	for i := range 3 * memorySize {
		e, first, refusal := m.begin("x", fmt.Sprint(i), [32]byte{}, now)
		if !first || refusal != nil {
			t.Fatal(first, refusal)
		}
		close(e.done)
	}
	if len(m.entries) > memorySize || m.order.Len() != len(m.entries) {
		t.Errorf("%d entries, %d in order", len(m.entries), m.order.Len())
	}
}

// TestTimeout has a device that does not answer.
func TestTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBox(t)
		b.hold(make(chan struct{}))
		began := time.Now()
		_, refusal := b.srv.do(t.Context(), table, silences, nil, "")
		if refusal == nil || refusal.Reason != Timeout || time.Since(began) != commandTime {
			t.Errorf("%v after %v", refusal, time.Since(began))
		}
	})
}

// TestTargets has people see one thing and mean that.
func TestTargets(t *testing.T) {
	b := newBox(t)
	b.srv.Publish(func(tx *Tx) {
		tx.Set("Call/CallId", "c-1")
		tx.Set("Call/State", "Connected")
		tx.Set("Roster/Members/m1", Member{Name: "Curie", Credential: "aa", Verdict: "none", Link: "Good"})
		tx.Set("Lobby/Waiting/w1", Waiting{Name: "Pascal", Credential: "bb", Verdict: "none", Why: "NotInvited"})
	})
	for _, tt := range []struct {
		path   string
		params map[string]any
		reason Reason
		done   string
	}{
		{"Call/Leave", map[string]any{"CallId": "c-1"}, "", "leave c-1"},
		{"Call/Leave", map[string]any{"CallId": "c-0"}, TargetChanged, ""},
		{"Roster/Remove", map[string]any{"Member": "m1", "Credential": "aa"}, "", "remove m1 aa"},
		{"Roster/Remove", map[string]any{"Member": "m1", "Credential": "bb"}, TargetChanged, ""},
		{"Roster/Remove", map[string]any{"Member": "m1/Name", "Credential": "aa"}, TargetChanged, ""},
		{"Lobby/Admit", map[string]any{"Id": "w1", "Credential": "bb"}, "", "admit w1 bb"},
		{"Lobby/Admit", map[string]any{"Id": "w1", "Credential": "aa"}, TargetChanged, ""},
		{"Lobby/Refuse", map[string]any{"Id": "w1", "Credential": "bb"}, "", "refuse w1 bb"},
		{"Lobby/Refuse", map[string]any{"Id": "w1", "Credential": ""}, TargetChanged, ""},
	} {
		reason := Reason("")
		if _, refusal := b.srv.do(t.Context(), table, "Command/"+tt.path, tt.params, ""); refusal != nil {
			reason = refusal.Reason
		}
		if done := strings.Join(b.done(), ", "); reason != tt.reason || done != tt.done {
			t.Errorf("%s %v = %q, done %q; want %q, %q", tt.path, tt.params, reason, done, tt.reason, tt.done)
		}
		b.srv.Publish(func(tx *Tx) { // what was done away with is there again
			tx.Set("Call/CallId", "c-1")
			tx.Set("Roster/Members/m1", Member{Name: "Curie", Credential: "aa", Verdict: "none", Link: "Good"})
			tx.Set("Lobby/Waiting/w1", Waiting{Name: "Pascal", Credential: "bb", Verdict: "none", Why: "NotInvited"})
		})
	}
}

// TestRoles has each role do and read what it may.
func TestRoles(t *testing.T) {
	b := newBox(t)
	b.srv.Publish(func(tx *Tx) {
		tx.Set("Call/CallId", "c-1")
		tx.Set("Lobby/Waiting/w1", Waiting{Name: "Pascal", Credential: "bb", Verdict: "none", Why: "NotInvited"})
	})
	for _, n := range nodes {
		for _, role := range []Role{RoleNone, RoleGuest, RolePanel, RoleFacilities, RoleSecurity, RoleFacilities | RoleSecurity} {
			may := role.includes(n.Role)
			switch {
			case n.Kind == Command:
				_, refusal := b.srv.do(t.Context(), client{"r" + strings.ReplaceAll(role.String(), "+", "-"), role}, n.Path, map[string]any{"No": true}, "")
				if refused := refusal.Reason == ForbiddenRole; refused == may {
					t.Errorf("%s may do %s: %v", role, n.Path, !refused)
				}
			case n.Kind == Value && !strings.Contains(n.Path, "+"):
				_, refusal := b.srv.store.get(n.Path, role)
				if refused := refusal != nil && refusal.Reason == ForbiddenRole; refused == may {
					t.Errorf("%s may read %s: %v (%v)", role, n.Path, !refused, refusal)
				}
			}
		}
	}
	guest := newFeed(b.srv.store, everything(t, RoleGuest), 1)
	if snap, _ := guest.start(); strings.Contains(fmt.Sprint(snap), "Pascal") || snap.Status["Audio"] == nil {
		t.Errorf("a guest sees %v", snap)
	}
	b.srv.Publish(func(tx *Tx) { tx.Remove("Lobby/Waiting/w1") })
	if d := guest.collect(time.Now()); d != nil {
		t.Errorf("a guest hears %+v", d)
	}
	if !RoleFacilities.includes(RolePanel) || RoleFacilities.includes(RoleSecurity) || RoleSecurity.includes(RoleFacilities) {
		t.Error("Facilities and Security include each other")
	}
}

// TestNothingBehind has a room without devices.
func TestNothingBehind(t *testing.T) {
	b := newBox(t)
	srv := New(Room{ID: "x", Name: "x"}, Deps{}, b.srv.log)
	for _, n := range nodes {
		if n.Kind != Command {
			continue
		}
		if b.srv.commands[n.Path] == nil {
			t.Errorf("%s is declared and does nothing", n.Path)
		}
		if _, refusal := srv.execute(t.Context(), table, n.Path, params{}); refusal == nil || refusal.Reason != NotSupportedByHardware {
			t.Errorf("%s: %v", n.Path, refusal)
		}
	}
	if len(b.srv.commands) != strings.Count(fmt.Sprint(nodes), "{Command/") {
		t.Error("a command is not declared")
	}
}

// TestSessions fills the room with panels: four places are kept.
func TestSessions(t *testing.T) {
	b := newBox(t)
	b.srv.role = RolePanel
	url := b.serve(t).URL
	for i := range maxSessions - keptForCare {
		dial(t, url, fmt.Sprintf("p%d", i))
	}
	_, resp, err := websocket.Dial(t.Context(), "ws"+strings.TrimPrefix(url, "http")+"/v1/ws", &websocket.DialOptions{Subprotocols: []string{subprotocol}}) //nolint:bodyclose // the library closes it
	if err == nil || resp.StatusCode != http.StatusTooManyRequests || resp.Header.Get("Retry-After") == "" {
		t.Errorf("%v %v", resp, err)
	}
	if refusal := b.srv.enter(RoleFacilities); refusal != nil {
		t.Errorf("Facilities: %v", refusal)
	}
}

// TestSubscriptions bounds them in one session.
func TestSubscriptions(t *testing.T) {
	b := newBox(t)
	p := dial(t, b.serve(t).URL, "table")
	ask := func(method, params string) message {
		m := p.ask(fmt.Sprintf(`{"jsonrpc":"2.0","id":1,"method":"Feedback.%s","params":%s}`, method, params))
		return m
	}
	for i := range maxFeeds {
		if m := ask("Subscribe", `{"Query":["Status/Audio/Volume"]}`); m.Error != nil {
			t.Fatalf("subscription %d: %+v", i, m.Error)
		}
	}
	if m := ask("Subscribe", `{"Query":["Status/Audio/Volume"]}`); m.Error == nil || m.Error.Data.Reason != RateLimited || m.Error.Data.RetryAfterMs == 0 {
		t.Errorf("one too many: %+v", m)
	}
	if m := ask("Unsubscribe", `{"Id":3}`); m.Error != nil {
		t.Errorf("unsubscribe: %+v", m.Error)
	}
	if m := ask("Resume", `{"BootId":"x","Seq":0,"Subscriptions":[{"Id":4,"Query":["Status"]}]}`); m.Error == nil || m.Error.Data.Reason != Conflict {
		t.Errorf("an id that is taken: %+v", m)
	}
	if m := ask("Resume", `{"BootId":"x","Seq":0,"Subscriptions":[{"Id":3,"Query":["Status"]}]}`); m.Error != nil {
		t.Errorf("an id that is free: %+v", m.Error)
	}
}

// TestParallel has commands that hang: others are told to wait, mute waits.
func TestParallel(t *testing.T) {
	b := newBox(t)
	gate := make(chan struct{})
	b.hold(gate)
	p := dial(t, b.serve(t).URL, "table")
	for i := range maxParallel {
		p.send(fmt.Sprintf(`{"jsonrpc":"2.0","id":%d,"method":"Command/Video/CameraOff"}`, i))
	}
	m := p.ask(`{"jsonrpc":"2.0","id":"x","method":"Command/Video/CameraOn"}`)
	if m.Error == nil || m.Error.Data.Reason != RateLimited || string(m.ID) != `"x"` {
		t.Fatalf("one too many: %s %s %+v", m.ID, m.Result, m.Error)
	}
	p.send(`{"jsonrpc":"2.0","id":"mute","method":"Command/Audio/Mute"}`)
	close(gate)
	for range maxParallel + 1 {
		if m := p.read(); m.Error != nil {
			t.Errorf("%s: %+v", m.ID, m.Error)
		}
	}
}
