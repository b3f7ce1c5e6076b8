// SPDX-License-Identifier: Apache-2.0

// Package panel drives a room through its public API, as a touch panel does:
// JSON-RPC 2.0 over WebSocket. It knows nothing of the room but what the API says.
package panel

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"strings"
	"sync"

	"github.com/coder/websocket"
)

const (
	subprotocol = "in-camera.v1"
	maxMessage  = 4 << 20 // bytes
)

// A Client is connected to one room. It keeps a copy of the room's Status. It may
// be used by many goroutines.
type Client struct {
	Room, Name string // as the room greets

	conn *websocket.Conn
	end  context.CancelCauseFunc

	mu      sync.Mutex
	status  map[string]any
	changed chan struct{}            // closed and replaced when status changes
	calls   map[int64]chan<- message // requests under way
	last    int64
	failed  error // why the connection ended
	events  []Event
}

// An Event is something that happened once.
type Event struct {
	Path  string // such as "Call/Refused"
	Value map[string]any
}

type message struct {
	ID     *int64          `json:"id"`
	Method string          `json:"method"`
	Params json.RawMessage `json:"params"`
	Result json.RawMessage `json:"result"`
	Error  *Refusal        `json:"error"`
}

// A Refusal is the room's answer to a request that it does not carry out.
type Refusal struct {
	Code    int    `json:"code"`
	Message string `json:"message"`
	Data    struct{ Reason, Detail string }
}

func (e *Refusal) Error() string { return fmt.Sprintf("%s (%d %s)", e.Message, e.Code, e.Data.Reason) }

// Dial connects to the API at addr, as the page on the room's own screen does. The
// panel serves that page under its own address only, so host says what that is.
func Dial(ctx context.Context, addr, host string) (*Client, error) {
	conn, _, err := websocket.Dial(ctx, "ws://"+addr+"/v1/ws", &websocket.DialOptions{Subprotocols: []string{subprotocol}, Host: host}) //nolint:bodyclose // the library has drained it
	if err != nil {
		return nil, err
	}
	return Over(ctx, conn)
}

// Over takes a connection that is open, and follows all of Status. It takes the
// greeting, or whatever else the room has said, as it comes. The connection ends
// with ctx or with [Client.Close].
func Over(ctx context.Context, conn *websocket.Conn) (*Client, error) {
	conn.SetReadLimit(maxMessage)
	c := &Client{conn: conn, status: map[string]any{}, changed: make(chan struct{}), calls: map[int64]chan<- message{}}
	reading, end := context.WithCancelCause(ctx)
	c.end = end
	go c.read(reading)
	var result struct {
		Snapshot struct{ Status map[string]any }
	}
	err := c.Call(ctx, "Feedback.Subscribe", map[string]any{"Query": []string{"Status/**", "Event/**"}, "Snapshot": true}, &result)
	if err != nil {
		c.Close()
		return nil, fmt.Errorf("panel: subscribe: %w", err)
	}
	c.update(func() { merge(c.status, result.Snapshot.Status) })
	return c, nil
}

// Close ends the connection. It may be called twice.
func (c *Client) Close() {
	c.end(errors.New("panel: closed"))
	_ = c.conn.CloseNow() // nobody waits for what is under way
}

// Do carries out the command at path, such as "Call/Answer".
func (c *Client) Do(ctx context.Context, path string, params map[string]any) error {
	if params == nil {
		params = map[string]any{}
	}
	if err := c.Call(ctx, "Command/"+path, params, nil); err != nil {
		return fmt.Errorf("panel: %s: %w", path, err)
	}
	return nil
}

// Call makes one request and decodes its result into result, if that is not nil.
func (c *Client) Call(ctx context.Context, method string, params, result any) error {
	answer := make(chan message, 1)
	c.mu.Lock()
	c.last++
	id := c.last
	if c.failed != nil {
		defer c.mu.Unlock()
		return c.failed
	}
	c.calls[id] = answer
	c.mu.Unlock()
	b, err := json.Marshal(map[string]any{"jsonrpc": "2.0", "id": id, "method": method, "params": params})
	if err != nil {
		return err
	}
	if err := c.conn.Write(ctx, websocket.MessageText, b); err != nil {
		return err
	}
	select {
	case m, ok := <-answer:
		switch {
		case !ok:
			c.mu.Lock()
			defer c.mu.Unlock()
			return c.failed
		case m.Error != nil:
			return m.Error
		case result != nil:
			return json.Unmarshal(m.Result, result)
		}
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// Value returns what stands at path of Status, such as "Call/State", or nil. It
// is a copy: Status goes on changing.
func (c *Client) Value(path string) any {
	c.mu.Lock()
	defer c.mu.Unlock()
	return clone(value(c.status, path))
}

// Text is [Client.Value] for text.
func (c *Client) Text(path string) string {
	s, _ := c.Value(path).(string)
	return s
}

// Objects returns the members of a collection by their ids.
func (c *Client) Objects(path string) map[string]map[string]any {
	out := map[string]map[string]any{}
	all, _ := c.Value(path).(map[string]any)
	for id, m := range all {
		if o, ok := m.(map[string]any); ok {
			out[id] = o
		}
	}
	return out
}

// Events lists what has happened since the connection began.
func (c *Client) Events() []Event {
	c.mu.Lock()
	defer c.mu.Unlock()
	return append([]Event(nil), c.events...)
}

// Await waits until ok holds. It looks again whenever something has changed. Where
// it does not come to hold, the error has what stands at the paths in show.
func (c *Client) Await(ctx context.Context, what string, ok func() bool, show ...string) error {
	for {
		c.mu.Lock()
		changed, failed := c.changed, c.failed
		c.mu.Unlock()
		if ok() {
			return nil
		}
		if failed != nil {
			return fmt.Errorf("panel: waiting for %s: %w", what, failed)
		}
		select {
		case <-changed:
		case <-ctx.Done():
			stands := map[string]any{}
			for _, path := range show {
				stands[path] = c.Value(path)
			}
			return fmt.Errorf("panel: waiting for %s: %w; %v", what, context.Cause(ctx), stands)
		}
	}
}

// AwaitText waits until one of the texts stands at path.
func (c *Client) AwaitText(ctx context.Context, path string, want ...string) error {
	parent := path
	if i := strings.LastIndexByte(path, '/'); i > 0 {
		parent = path[:i]
	}
	return c.Await(ctx, fmt.Sprintf("%s to be one of %q", path, want), func() bool {
		got := c.Text(path)
		for _, w := range want {
			if got == w {
				return true
			}
		}
		return false
	}, parent)
}

// Ended waits until the room has ended the connection, as it does when it
// restarts.
func (c *Client) Ended(ctx context.Context) error {
	for {
		c.mu.Lock()
		changed, ended := c.changed, c.failed != nil
		c.mu.Unlock()
		if ended {
			return nil //nolint:nilerr // that it ended is what was waited for
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return fmt.Errorf("panel: the room does not end the connection: %w", context.Cause(ctx))
		}
	}
}

func (c *Client) read(ctx context.Context) {
	for {
		_, b, err := c.conn.Read(ctx)
		var m message
		if err == nil {
			err = json.Unmarshal(b, &m)
		}
		if err == nil {
			err = c.take(m)
		}
		if err != nil {
			c.fail(err)
			return
		}
	}
}

// take takes one message of the room.
func (c *Client) take(m message) error {
	switch {
	case m.ID != nil:
		c.mu.Lock()
		defer c.mu.Unlock()
		if answer := c.calls[*m.ID]; answer != nil {
			delete(c.calls, *m.ID)
			answer <- m
		}
	case m.Method == "Session.Hello":
		var hello struct {
			Room struct {
				ID   string `json:"Id"`
				Name string
			}
		}
		if err := json.Unmarshal(m.Params, &hello); err != nil {
			return err
		}
		c.update(func() { c.Room, c.Name = hello.Room.ID, hello.Room.Name })
	case m.Method == "Feedback.Event":
		var delta struct {
			Removed []string
			Status  map[string]any
			Events  []Event
		}
		if err := json.Unmarshal(m.Params, &delta); err != nil {
			return err
		}
		c.update(func() {
			for _, path := range delta.Removed {
				remove(c.status, strings.TrimPrefix(path, "Status/"))
			}
			merge(c.status, delta.Status)
			for _, e := range delta.Events {
				c.events = append(c.events, Event{strings.TrimPrefix(e.Path, "Event/"), e.Value})
			}
		})
	}
	return nil
}

func (c *Client) update(f func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	f()
	close(c.changed)
	c.changed = make(chan struct{})
}

func (c *Client) fail(err error) {
	c.update(func() {
		c.failed = fmt.Errorf("panel: the connection ended: %w", err)
		for _, answer := range c.calls {
			close(answer)
		}
		clear(c.calls)
	})
}

// clone copies objects all the way down. All else is replaced and not changed.
func clone(v any) any {
	object, ok := v.(map[string]any)
	if !ok {
		return v
	}
	out := maps.Clone(object)
	for k, sub := range out {
		out[k] = clone(sub)
	}
	return out
}

// merge lays src over dst: objects are merged, all else is replaced.
func merge(dst, src map[string]any) {
	for k, v := range src {
		if sub, ok := v.(map[string]any); ok {
			if old, ok := dst[k].(map[string]any); ok {
				merge(old, sub)
				continue
			}
		}
		dst[k] = v
	}
}

func remove(tree map[string]any, path string) {
	parent, leaf := tree, path
	if i := strings.LastIndexByte(path, '/'); i >= 0 {
		p, ok := value(tree, path[:i]).(map[string]any)
		if !ok {
			return
		}
		parent, leaf = p, path[i+1:]
	}
	delete(parent, leaf)
}

func value(tree map[string]any, path string) any {
	var at any = tree
	for name := range strings.SplitSeq(path, "/") {
		object, ok := at.(map[string]any)
		if !ok {
			return nil
		}
		at = object[name]
	}
	return at
}
