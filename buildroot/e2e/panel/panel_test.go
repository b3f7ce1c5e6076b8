// SPDX-License-Identifier: Apache-2.0

package panel

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
)

// A script is a room that answers requests with what it is told to say.
type script func(method string, params map[string]any) (answer string, then []string)

// serve starts a room, and returns where. Its own host is another, as a room's.
func serve(t *testing.T, s script) string {
	t.Helper()
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Host != "127.0.0.1:7445" {
			http.Error(w, "another host", http.StatusForbidden)
			return
		}
		conn, err := websocket.Accept(w, r, &websocket.AcceptOptions{Subprotocols: []string{subprotocol}})
		if err != nil {
			return
		}
		defer func() { _ = conn.CloseNow() }()
		say := func(text string) { _ = conn.Write(r.Context(), websocket.MessageText, []byte(text)) }
		say(`{"jsonrpc":"2.0","method":"Session.Hello","params":{"Room":{"Id":"vauban","Name":"Vauban"}}}`)
		for {
			_, b, err := conn.Read(r.Context())
			if err != nil {
				return
			}
			var q struct {
				ID     json.Number
				Method string
				Params map[string]any
			}
			if json.Unmarshal(b, &q) != nil {
				return
			}
			answer, then := s(q.Method, q.Params)
			if answer == "" { // it restarts
				return
			}
			say(`{"jsonrpc":"2.0","id":` + q.ID.String() + `,` + answer + `}`)
			for _, text := range then {
				say(`{"jsonrpc":"2.0","method":"Feedback.Event","params":` + text + `}`)
			}
		}
	}))
	t.Cleanup(srv.Close)
	return strings.TrimPrefix(srv.URL, "http://")
}

// room is a small room: it can be called, refuses one thing, and restarts.
func room(method string, params map[string]any) (answer string, then []string) {
	switch method {
	case "Feedback.Subscribe":
		return `"result":{"Snapshot":{"Status":{"Call":{"State":"Idle"},"Roster":{"Members":{"1":{"Name":"a"},"2":{"Name":"b"}}}}}}`, nil
	case "Command/Call/Start":
		return `"result":{}`, []string{
			`{"Status":{"Call":{"State":"Ringing","CallId":"7"}},"Events":[{"Path":"Event/Call/Incoming","Value":{"Room":"` + params["Room"].(string) + `"}}]}`,
			`{"Removed":["Status/Roster/Members/2"],"Status":{"Call":{"State":"Connected"}}}`,
		}
	case "Command/System/Restart":
		return "", nil
	}
	return `"error":{"code":1007,"message":"no","data":{"Reason":"Conflict","Detail":"busy"}}`, nil
}

func dial(t *testing.T, s script) *Client {
	t.Helper()
	c, err := Dial(t.Context(), serve(t, s), "127.0.0.1:7445")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

func TestClient(t *testing.T) {
	c := dial(t, room)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	if c.Room != "vauban" || c.Name != "Vauban" || c.Text("Call/State") != "Idle" || len(c.Objects("Roster/Members")) != 2 {
		t.Errorf("at first: %q, %q, %v", c.Room, c.Name, c.Value("Call"))
	}
	if err := c.Do(ctx, "Call/Start", map[string]any{"Room": "curie"}); err != nil {
		t.Fatal(err)
	}
	if err := c.AwaitText(ctx, "Call/State", "InLobby", "Connected"); err != nil {
		t.Fatal(err)
	}
	want := map[string]map[string]any{"1": {"Name": "a"}}
	if got := c.Objects("Roster/Members"); !reflect.DeepEqual(got, want) || c.Text("Call/CallId") != "7" {
		t.Errorf("then the roster is %v", got)
	}
	if e := c.Events(); len(e) != 1 || e[0].Path != "Call/Incoming" || e[0].Value["Room"] != "curie" {
		t.Errorf("events %v", e)
	}
	refusal, ok := errors.AsType[*Refusal](c.Do(ctx, "Call/Leave", nil))
	if !ok || refusal.Code != 1007 || refusal.Data.Reason != "Conflict" {
		t.Errorf("a refusal is %v", refusal)
	}
	// What is handed out does not change with the room, nor the room with it.
	c.Value("Call").(map[string]any)["State"] = "Broken"
	if c.Text("Call/State") != "Connected" {
		t.Error("Value is no copy")
	}
	if err := c.Do(ctx, "System/Restart", nil); err == nil {
		t.Error("a request that nobody answered went well")
	}
	if err := c.Ended(ctx); err != nil {
		t.Error(err)
	}
	if err := c.AwaitText(ctx, "Call/State", "Idle"); err == nil || ctx.Err() != nil {
		t.Errorf("waiting for a room that is gone: %v", err)
	}
	if err := c.Do(ctx, "Call/Leave", nil); err == nil {
		t.Error("a request to a room that is gone")
	}
}

// TestWaits: waits end with their context, and say what stood there.
func TestWaits(t *testing.T) {
	c := dial(t, room)
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := c.AwaitText(ctx, "Call/State", "Connected"); !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "Idle") {
		t.Errorf("%v", err)
	}
	if err := c.Ended(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("%v", err)
	}
}

// TestSubscribeRefused: there is no client without Status.
func TestSubscribeRefused(t *testing.T) {
	c, err := Dial(t.Context(), serve(t, func(string, map[string]any) (string, []string) {
		return `"error":{"code":1003,"message":"no","data":{}}`, nil
	}), "127.0.0.1:7445")
	if err == nil {
		c.Close()
		t.Fatal("connected")
	}
}
