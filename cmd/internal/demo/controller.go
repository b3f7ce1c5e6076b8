// SPDX-License-Identifier: Apache-2.0

package demo

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/coder/websocket"
)

// A Controller drives a room through its public API, as a touch panel does:
// JSON-RPC 2.0 over WebSocket. It keeps a copy of the room's Status.
type Controller struct {
	conn   *websocket.Conn
	nextID atomic.Int64

	mu      sync.Mutex
	status  map[string]any
	changed chan struct{}               // closed and replaced when status changes
	calls   map[int64]chan<- rpcMessage // requests under way
	failed  error                       // why the connection ended
	watched map[string]chan map[string]any
}

type rpcMessage struct {
	ID     *int64          `json:"id"`
	Method string          `json:"method"`
	Params json.RawMessage `json:"params"`
	Result json.RawMessage `json:"result"`
	Error  *RPCError       `json:"error"`
}

// An RPCError is the room's refusal of a request.
type RPCError struct {
	Code    int    `json:"code"`
	Message string `json:"message"`
	Data    struct {
		Reason string `json:"Reason"`
	} `json:"data"`
}

func (e *RPCError) Error() string { return fmt.Sprintf("%s (%d %s)", e.Message, e.Code, e.Data.Reason) }

// Dial connects to the panel API at addr and subscribes to all of Status. The
// connection ends with ctx or with [Controller.Close].
func Dial(ctx context.Context, addr string) (*Controller, error) {
	conn, _, err := websocket.Dial(ctx, "ws://"+addr+"/v1/ws", &websocket.DialOptions{Subprotocols: []string{"in-camera.v1"}}) //nolint:bodyclose // the library has drained it
	if err != nil {
		return nil, err
	}
	conn.SetReadLimit(4 << 20)
	c := &Controller{
		conn: conn, status: map[string]any{}, changed: make(chan struct{}), calls: map[int64]chan<- rpcMessage{},
		watched: map[string]chan map[string]any{},
	}
	go c.read(ctx)
	var result struct {
		Snapshot struct{ Status map[string]any }
	}
	err = c.Call(ctx, "Feedback.Subscribe", map[string]any{"Query": []string{"Status/**", "Event/**"}, "Snapshot": true}, &result)
	if err != nil {
		_ = conn.CloseNow() // it is of no more use
		return nil, fmt.Errorf("subscribe: %w", err)
	}
	c.update(func() { merge(c.status, result.Snapshot.Status) })
	return c, nil
}

// Close ends the connection.
func (c *Controller) Close() { _ = c.conn.Close(websocket.StatusNormalClosure, "") }

// Do carries out the command at path, such as "Call/Answer".
func (c *Controller) Do(ctx context.Context, path string, params map[string]any) error {
	if params == nil {
		params = map[string]any{}
	}
	if err := c.Call(ctx, "Command/"+path, params, nil); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return nil
}

// Call makes one request and decodes its result into result, if that is not nil.
func (c *Controller) Call(ctx context.Context, method string, params, result any) error {
	id := c.nextID.Add(1)
	answer := make(chan rpcMessage, 1)
	c.mu.Lock()
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
			return fmt.Errorf("panel: %w", c.failed)
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
func (c *Controller) Value(path string) any {
	c.mu.Lock()
	defer c.mu.Unlock()
	return clone(value(c.status, path))
}

// clone copies objects all the way down. All else is replaced and not changed.
func clone(v any) any {
	object, ok := v.(map[string]any)
	if !ok {
		return v
	}
	out := make(map[string]any, len(object))
	for k, sub := range object {
		out[k] = clone(sub)
	}
	return out
}

// Text is [Controller.Value] for text.
func (c *Controller) Text(path string) string {
	s, _ := c.Value(path).(string)
	return s
}

// Await waits until ok holds. It looks again whenever Status has changed.
func (c *Controller) Await(ctx context.Context, what string, ok func() bool) error {
	for {
		c.mu.Lock()
		changed, failed := c.changed, c.failed
		c.mu.Unlock()
		if ok() {
			return nil
		}
		if failed != nil {
			return fmt.Errorf("waiting for %s: %w", what, failed)
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return fmt.Errorf("waiting for %s: %w", what, context.Cause(ctx))
		}
	}
}

// Members returns the members of the roster by their id.
func (c *Controller) Members() map[string]map[string]any {
	c.mu.Lock()
	defer c.mu.Unlock()
	all, _ := value(c.status, "Roster/Members").(map[string]any)
	out := map[string]map[string]any{}
	for id, m := range all {
		if member, ok := m.(map[string]any); ok {
			out[id] = maps.Clone(member)
		}
	}
	return out
}

// Watch returns the values of the events at path from now on, such as
// "Event/Call/Refused"; the newest are dropped while eight wait.
func (c *Controller) Watch(path string) <-chan map[string]any {
	c.mu.Lock()
	defer c.mu.Unlock()
	ch := make(chan map[string]any, 8)
	c.watched[path] = ch
	return ch
}

func (c *Controller) read(ctx context.Context) {
	for {
		_, b, err := c.conn.Read(ctx)
		var m rpcMessage
		if err == nil {
			err = json.Unmarshal(b, &m)
		}
		if err != nil {
			c.fail(err)
			return
		}
		switch {
		case m.ID != nil:
			c.mu.Lock()
			if answer := c.calls[*m.ID]; answer != nil {
				delete(c.calls, *m.ID)
				answer <- m
			}
			c.mu.Unlock()
		case m.Method == "Feedback.Event":
			var delta struct {
				Removed []string
				Status  map[string]any
				Events  []struct {
					Path  string
					Value map[string]any
				}
			}
			if err := json.Unmarshal(m.Params, &delta); err != nil {
				c.fail(err)
				return
			}
			c.update(func() {
				for _, path := range delta.Removed {
					remove(c.status, strings.TrimPrefix(path, "Status/"))
				}
				merge(c.status, delta.Status)
				for _, e := range delta.Events {
					select {
					case c.watched[e.Path] <- e.Value:
					default: // nobody watches, or has seen enough
					}
				}
			})
		}
	}
}

func (c *Controller) update(f func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	f()
	close(c.changed)
	c.changed = make(chan struct{})
}

func (c *Controller) fail(err error) {
	c.update(func() {
		c.failed = errors.Join(errors.New("connection to the panel API ended"), err)
		for _, answer := range c.calls {
			close(answer)
		}
		clear(c.calls)
	})
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
