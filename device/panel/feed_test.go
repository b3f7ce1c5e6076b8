// SPDX-License-Identifier: Apache-2.0

package panel

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/coder/websocket"
)

// everything is a reader of all that a panel may see.
func everything(t testing.TB, role Role) reader {
	t.Helper()
	r := reader{role: role}
	for _, q := range []string{"Status/**", "Event/**"} {
		p, refusal := parseQuery(q, role)
		if refusal != nil {
			t.Fatal(refusal)
		}
		r.patterns = append(r.patterns, p)
	}
	return r
}

// replica is what a client makes of a snapshot and deltas.
type replica map[string]any

func plain(t testing.TB, v any) map[string]any {
	t.Helper()
	text, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]any{}
	if err := json.Unmarshal(text, &out); err != nil {
		t.Fatal(err)
	}
	return out
}

func (r replica) apply(d *delta, t testing.TB) {
	if d.Reset {
		clear(r)
	}
	for _, path := range d.Removed {
		at, names := map[string]any(r), strings.Split(path, "/")[1:]
		for _, name := range names[:len(names)-1] {
			next, ok := at[name].(map[string]any)
			if !ok {
				at = nil
				break
			}
			at = next
		}
		delete(at, names[len(names)-1])
	}
	merge(r, plain(t, d.Status))
}

func merge(into, from map[string]any) {
	for k, v := range from {
		a, ok1 := into[k].(map[string]any)
		b, ok2 := v.(map[string]any)
		if ok1 && ok2 {
			merge(a, b)
		} else {
			into[k] = v
		}
	}
}

// leaves flattens a tree, as empty branches say nothing.
func leaves(tree map[string]any, path string, out map[string]string) map[string]string {
	for k, v := range tree {
		if m, ok := v.(map[string]any); ok {
			leaves(m, path+"/"+k, out)
		} else {
			out[path+"/"+k] = fmt.Sprint(v)
		}
	}
	return out
}

// TestReplica publishes at random and lets feeds read as seldom as they like,
// break off and resume: what they hold is what the store holds.
func TestReplica(t *testing.T) {
	for seed := range uint64(20) {
		rnd := rand.New(rand.NewPCG(seed, 1))
		b := newBox(t)
		r := everything(t, RolePanel)
		type follower struct {
			feed *feed
			copy replica
			loss int // of 100 reads
		}
		var all []*follower
		for i := range 4 {
			f := newFeed(b.srv.store, r, maxHz)
			snap, _ := f.start()
			all = append(all, &follower{f, plain(t, snap.Status), 30 * i})
		}
		for range 400 {
			b.srv.Publish(func(tx *Tx) {
				id := fmt.Sprintf("Roster/Members/m%d", rnd.IntN(5))
				switch rnd.IntN(6) {
				case 0:
					tx.Set(id, Member{Name: fmt.Sprint(rnd.IntN(9)), Verdict: "none", Link: "Good", VerdictAgeS: rnd.IntN(2)})
				case 1:
					tx.Remove(id)
				case 2:
					tx.Set("Audio/Volume", rnd.IntN(100))
				case 3:
					tx.Remove("Roster/Members")
					tx.Set(id, Member{Name: "x", Verdict: "none", Link: "Lost"})
				case 4:
					tx.Event("Call/EpochChanged", map[string]int{"Epoch": rnd.IntN(100)})
				case 5:
					tx.Set("Call", map[string]any{"State": "Idle", "Epoch": rnd.IntN(3)})
				}
			})
			for _, f := range all {
				if rnd.IntN(100) < f.loss {
					continue
				}
				if rnd.IntN(5) == 0 { // the connection is lost and comes back
					next := newFeed(b.srv.store, r, maxHz)
					if !next.resume(f.feed.seen) {
						t.Fatal("not resumed")
					}
					f.feed = next
				}
				if d := f.feed.collect(time.Now()); d != nil {
					f.copy.apply(d, t)
				}
			}
		}
		for i, f := range all {
			if d := f.feed.collect(time.Now()); d != nil {
				f.copy.apply(d, t)
			}
			snap, _ := newFeed(b.srv.store, r, 1).start()
			want := leaves(plain(t, snap.Status), "", map[string]string{})
			if got := leaves(f.copy, "", map[string]string{}); !maps.Equal(got, want) {
				t.Fatalf("seed %d, follower %d:\n got %v\nwant %v", seed, i, got, want)
			}
		}
	}
}

// TestOverflow has more happen than the ring holds: who was away is told so and
// gets all that there is.
func TestOverflow(t *testing.T) {
	b := newBox(t)
	r := everything(t, RolePanel)
	f := newFeed(b.srv.store, r, maxHz)
	_, seq := f.start()
	for i := range ringSize + 10 {
		b.srv.Publish(func(tx *Tx) { tx.Event("Call/EpochChanged", map[string]int{"Epoch": i}) })
	}
	if newFeed(b.srv.store, r, maxHz).resume(seq) {
		t.Error("resumed from before the ring")
	}
	d := f.collect(time.Now())
	if d == nil || !d.Reset || d.Lost != 10 || len(d.Events) != ringSize || plain(t, d.Status)["Audio"] == nil {
		t.Errorf("Reset %v, Lost %d, %d events", d.Reset, d.Lost, len(d.Events))
	}
	if f.collect(time.Now()) != nil {
		t.Error("told twice")
	}
	if newFeed(b.srv.store, r, maxHz).resume(b.srv.store.now() + 1) {
		t.Error("resumed from the future")
	}
}

// TestRingAge has moments leave the ring after ten minutes.
func TestRingAge(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBox(t)
		_, seq := newFeed(b.srv.store, everything(t, RolePanel), 1).start()
		knock := func() {
			b.srv.Publish(func(tx *Tx) { tx.Event("Lobby/Knocked", map[string]string{"Id": "x"}) })
		}
		knock()
		time.Sleep(ringAge)
		knock()
		if !newFeed(b.srv.store, everything(t, RolePanel), 1).resume(seq) {
			t.Error("forgotten too soon")
		}
		time.Sleep(time.Second)
		knock()
		if newFeed(b.srv.store, everything(t, RolePanel), 1).resume(seq) {
			t.Error("remembered for too long")
		}
	})
}

// TestResume follows over a socket, is cut off, and is told what it missed.
func TestResume(t *testing.T) {
	b := newBox(t)
	url := b.serve(t).URL
	p := dial(t, url, "table")
	p.ask(`{"jsonrpc":"2.0","id":1,"method":"Feedback.Subscribe","params":{"Query":["Status/**","Event/**"],"Snapshot":true}}`)
	b.srv.Publish(func(tx *Tx) {
		tx.Set("Lobby/Waiting/w1", Waiting{Name: "x", Credential: "aa", Verdict: "none", Why: "NotInvited"})
	})
	seq := p.delta().Seq
	_ = p.conn.CloseNow()
	b.srv.Publish(func(tx *Tx) {
		tx.Remove("Lobby/Waiting/w1")
		tx.Event("Lobby/Withdrawn", map[string]string{"Id": "w1"})
		tx.Set("Audio/Volume", 1)
		tx.Set("Audio/Volume", 2)
	})
	p = dial(t, url, "table")
	m := p.ask(fmt.Sprintf(`{"jsonrpc":"2.0","id":1,"method":"Feedback.Resume","params":{"BootId":%q,"Seq":%d,"Subscriptions":[{"Id":7,"Query":["Status/**","Event/**"]}]}}`, b.srv.boot, seq))
	if string(m.Result) != fmt.Sprintf(`{"Resumed":true,"Seq":%d}`, b.srv.store.now()) {
		t.Fatalf("%s %+v", m.Result, m.Error)
	}
	d := p.delta()
	if d.ID != 7 || !equal(d.Removed, []string{"Status/Lobby/Waiting/w1"}) || len(d.Events) != 1 || fmt.Sprint(d.Status) != "map[Audio:map[Volume:2]]" {
		t.Errorf("missed: %+v", d)
	}
}

// TestSlowReader does not read while much happens: it gets the latest state and
// no backlog.
func TestSlowReader(t *testing.T) {
	b := newBox(t)
	p := dial(t, b.serve(t).URL, "table")
	p.ask(`{"jsonrpc":"2.0","id":1,"method":"Feedback.Subscribe","params":{"Query":["Status/Audio/Volume"],"MaxHz":1}}`)
	for i := range 1000 {
		b.srv.Publish(func(tx *Tx) { tx.Set("Audio/Volume", i%100) })
	}
	b.srv.Publish(func(tx *Tx) { tx.Set("Audio/Volume", 42) })
	messages := 0
	for {
		messages++
		if d := p.delta(); fmt.Sprint(d.Status) == "map[Audio:map[Volume:42]]" {
			break
		}
	}
	if messages > 3 {
		t.Errorf("%d messages for what one a second can tell", messages)
	}
}

// TestBlockedWriter has a client that never reads: the session ends, and nothing
// waits for it.
func TestBlockedWriter(t *testing.T) {
	b := newBox(t)
	hs := b.serve(t)
	var d net.Dialer
	conn, err := d.DialContext(t.Context(), "tcp", strings.TrimPrefix(hs.URL, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.(*net.TCPConn).SetReadBuffer(4 << 10)
	fmt.Fprintf(conn, "GET /v1/events HTTP/1.1\r\nHost: localhost\r\n\r\n")
	open := func() int {
		b.srv.mu.Lock()
		defer b.srv.mu.Unlock()
		return b.srv.sessions
	}
	for deadline := time.Now().Add(40 * time.Second); ; {
		b.srv.Publish(func(tx *Tx) {
			for i := range 60 {
				tx.Set(fmt.Sprintf("Roster/Members/m%d", i), Member{Name: strings.Repeat("x", 150) + fmt.Sprint(time.Now().UnixNano()), Verdict: "none", Link: "Good"})
			}
		})
		if b.srv.store.now() > 1000 && open() == 0 {
			return
		}
		if time.Now().After(deadline) {
			t.Fatal("the session is still open")
		}
		<-time.After(5 * time.Millisecond)
	}
}

// TestEightPanels publishes 1,000 changes a second to eight panels that follow
// everything: all end with the same, in a bounded number of messages.
func TestEightPanels(t *testing.T) {
	b := newBox(t)
	url := b.serve(t).URL
	const panels, changes = 8, 1000
	type result struct {
		messages int
		err      error
	}
	results := make(chan result, panels)
	for i := range panels {
		p := dial(t, url, fmt.Sprintf("p%d", i))
		p.ask(`{"jsonrpc":"2.0","id":1,"method":"Feedback.Subscribe","params":{"Query":["Status/**","Event/**"],"Snapshot":true}}`)
		go func() {
			for n := 1; ; n++ {
				m, err := p.next()
				if err != nil || strings.Contains(string(m.Params), `"Volume":100`) {
					results <- result{n, err}
					return
				}
			}
		}()
	}
	began := time.Now()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for i := range changes {
		<-tick.C
		b.srv.Publish(func(tx *Tx) { tx.Set("Audio/Volume", i%100) })
	}
	b.srv.Publish(func(tx *Tx) { tx.Set("Audio/Volume", 100) })
	took := time.Since(began)
	total := 0
	for range panels {
		r := <-results
		if r.err != nil {
			t.Fatal(r.err)
		}
		total += r.messages
	}
	if limit := panels * (int(took.Seconds()*defaultHz) + 3); total > limit {
		t.Errorf("%d messages in %v, want at most %d", total, took, limit)
	}
	t.Logf("%d changes in %v reached %d panels in %d messages, the last %v after it was made", changes, took, panels, total, time.Since(began)-took)
}

// TestLevels are for who names them, at most ten times a second.
func TestLevels(t *testing.T) {
	b := newBox(t)
	set := func(in int) {
		b.srv.Publish(func(tx *Tx) { tx.Set("Audio/Levels", map[string]int{"In": in, "Out": 0}) })
	}
	set(1)
	all := newFeed(b.srv.store, everything(t, RolePanel), 0)
	if snap, _ := all.start(); strings.Contains(fmt.Sprint(snap), "Levels") {
		t.Error("a wildcard brings meters")
	}
	pat, refusal := parseQuery("Status/Audio/Levels", RolePanel)
	if refusal != nil {
		t.Fatal(refusal)
	}
	meters := newFeed(b.srv.store, reader{RolePanel, []pattern{pat}}, maxHz)
	meters.start()
	set(2)
	if all.collect(time.Now()) != nil {
		t.Error("a wildcard follows meters")
	}
	if d := meters.collect(time.Now()); d == nil || meters.interval != time.Second/meterHz {
		t.Errorf("meters: %+v every %v", d, meters.interval)
	}
}

// TestShutdown ends sessions and refuses what comes.
func TestShutdown(t *testing.T) {
	b := newBox(t)
	var lc net.ListenConfig
	l, err := lc.Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancelCause(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- b.srv.Serve(ctx, l) }()
	p := dial(t, "http://"+l.Addr().String(), "table")
	why := fmt.Errorf("update")
	stop(why)
	if _, err := p.next(); websocket.CloseStatus(err) != websocket.StatusGoingAway {
		t.Errorf("the session ended with %v", err)
	}
	if err := <-ended; err != why { //nolint:errorlint // the cause itself is promised
		t.Errorf("Serve = %v, want %v", err, why)
	}
	if _, refusal := b.srv.do(t.Context(), client{"x", RolePanel}, silences, nil, ""); refusal == nil || refusal.Reason != ShuttingDown {
		t.Errorf("after the end: %v", refusal)
	}
}
