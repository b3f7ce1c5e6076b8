// SPDX-License-Identifier: Apache-2.0

package relay_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"

	"incamera/media/relay"
	"incamera/media/signal"
)

// raw connects as a room, without our client.
func (h *house) raw(t testing.TB, name string) *websocket.Conn {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	c, _, err := websocket.Dial(ctx, "https://"+h.addr+relay.Path, &websocket.DialOptions{ //nolint:bodyclose // the WebSocket owns it
		HTTPClient:   h.http(t, name),
		Subprotocols: []string{relay.Subprotocol},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.CloseNow() })
	c.SetReadLimit(signal.MaxMessage)
	return c
}

func (h *house) http(t testing.TB, name string) *http.Client {
	return &http.Client{Transport: &http.Transport{DisableKeepAlives: true, TLSClientConfig: &tls.Config{
		Certificates:       []tls.Certificate{h.room(t, name).Certificate},
		InsecureSkipVerify: true, // the server is what is tested
	}}}
}

func encode(t testing.TB, id uint64, b signal.Body) []byte {
	t.Helper()
	data, err := signal.Encode(signal.Message{ID: id, Body: b})
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// ends reads until the other side ends the connection, and returns the reason
// it gave.
func ends(t testing.TB, c *websocket.Conn) (why relay.Reason) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	for {
		_, data, err := c.Read(ctx)
		if ctx.Err() != nil {
			t.Fatal("the connection goes on")
		}
		if err != nil {
			return why
		}
		if m, err := signal.Decode(data); err != nil {
			t.Errorf("%x: %v", data, err)
		} else if closed, ok := m.Body.(signal.Closed); ok {
			why = closed.Reason
		}
	}
}

// TestHostileClient: what no room sends ends the connection that sent it, and
// no other.
func TestHostileClient(t *testing.T) {
	h := newHouse(t)
	vauban := h.open(t)
	for name, attack := range map[string]func(context.Context, *websocket.Conn) error{
		"noise": func(ctx context.Context, c *websocket.Conn) error {
			return c.Write(ctx, websocket.MessageBinary, []byte("noise"))
		},
		"nothing": func(ctx context.Context, c *websocket.Conn) error {
			return c.Write(ctx, websocket.MessageBinary, nil)
		},
		"text": func(ctx context.Context, c *websocket.Conn) error {
			return c.Write(ctx, websocket.MessageText, encode(t, 1, signal.Attach{Meeting: meetingID}))
		},
		"too long for no member": func(ctx context.Context, c *websocket.Conn) error {
			c.Write(ctx, websocket.MessageBinary, make([]byte, signal.MaxSmall+1)) // may end before it is through
			return nil
		},
		"far too long": func(ctx context.Context, c *websocket.Conn) error {
			c.Write(ctx, websocket.MessageBinary, make([]byte, 2*signal.MaxMessage)) // likewise
			return nil
		},
		"an answer": func(ctx context.Context, c *websocket.Conn) error {
			return c.Write(ctx, websocket.MessageBinary, encode(t, 1, signal.Welcomed{Message: welcome(""), Seq: 1}))
		},
		"news": func(ctx context.Context, c *websocket.Conn) error {
			return c.Write(ctx, websocket.MessageBinary, encode(t, 0, signal.Ordered{Seq: 1, Message: commit(0, "")}))
		},
		"pings": func(ctx context.Context, c *websocket.Conn) error {
			go c.Ping(ctx)
			return nil
		},
	} {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			c := h.raw(t, "curie")
			if err := attack(ctx, c); err != nil {
				t.Error(err)
			}
			why := ends(t, c)
			if answer := name == "an answer" || name == "news"; answer != (why == signal.Confused) {
				t.Errorf("ended with %q", why)
			}
		})
	}
	if err := vauban.Commit(t.Context(), 0, commit(0, "x"), nil); err != nil {
		t.Error(err)
	}
	ordered(t, vauban, 1, commit(0, "x"))
}

// TestHTTP: before the upgrade, too, there is nothing to be had.
func TestHTTP(t *testing.T) {
	h := newHouse(t)
	client := h.http(t, "curie")
	for name, test := range map[string]struct {
		method, path string
		header       http.Header
		want         int
	}{
		"no upgrade":   {"GET", relay.Path, nil, http.StatusUpgradeRequired},
		"another path": {"GET", "/", nil, http.StatusNotFound},
		"a post":       {"POST", relay.Path, nil, http.StatusMethodNotAllowed},
		"a browser":    {"GET", relay.Path, http.Header{"Origin": {"https://" + h.addr}}, http.StatusForbidden},
	} {
		r, err := http.NewRequestWithContext(t.Context(), test.method, "https://"+h.addr+test.path, nil)
		if err != nil {
			t.Fatal(err)
		}
		for k, v := range test.header {
			r.Header[k] = v
		}
		resp, err := client.Do(r)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		resp.Body.Close()
		if resp.StatusCode != test.want {
			t.Errorf("%s: %s; want %d", name, resp.Status, test.want)
		}
	}
	if c, _, err := websocket.Dial(t.Context(), "https://"+h.addr+relay.Path, &websocket.DialOptions{HTTPClient: client}); err == nil { //nolint:bodyclose // the WebSocket owns it
		if _, _, err := c.Read(t.Context()); err == nil {
			t.Error("a connection without our protocol goes on")
		}
		c.CloseNow()
	}
}

// TestKilledRoom: the connections of a process that is killed are reset by its
// system; that shows at once.
func TestKilledRoom(t *testing.T) {
	h := newHouse(t)
	vauban := h.open(t)
	var tcp *net.TCPConn
	o := relay.DialOptions{Credentials: h.room(t, "curie"), Expect: relay.Expect{Name: "vauban"}}
	curie, err := relay.Dial(t.Context(), h.addr, o.Through(func(ctx context.Context) (net.Conn, error) {
		c, err := (&net.Dialer{}).DialContext(ctx, "tcp", h.addr)
		if err == nil {
			tcp = c.(*net.TCPConn)
		}
		return c, err
	}))
	if err != nil {
		t.Fatal(err)
	}
	defer curie.Close()
	if _, err := curie.Attach(t.Context(), meetingID); err != nil {
		t.Fatal(err)
	}
	done := knock(t.Context(), curie, "curie")
	k := await[relay.Knocked](t, vauban)
	if err := vauban.Commit(t.Context(), 0, commit(0, "add"), []relay.Welcome{{To: k.ID, Message: welcome("")}}); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	killed := time.Now()
	if err := errors.Join(tcp.SetLinger(0), tcp.Close()); err != nil {
		t.Fatal(err)
	}
	for p := await[relay.Presence](t, vauban); p.Connected; p = await[relay.Presence](t, vauban) {
	}
	t.Logf("seen after %v", time.Since(killed))
	<-curie.Done()
}

// A liar is a relay that plays a script to whoever connects.
func liar(t *testing.T, h *house, script ...[]byte) *relay.Conn {
	t.Helper()
	mux := http.NewServeMux()
	mux.HandleFunc(relay.Path, func(w http.ResponseWriter, r *http.Request) {
		c, err := websocket.Accept(w, r, &websocket.AcceptOptions{Subprotocols: []string{relay.Subprotocol}})
		if err != nil {
			return
		}
		defer c.CloseNow()
		for _, data := range script {
			if _, _, err := c.Read(r.Context()); err != nil {
				return
			}
			if err := c.Write(r.Context(), websocket.MessageBinary, data); err != nil {
				return
			}
		}
		for {
			if _, _, err := c.Read(r.Context()); err != nil {
				return
			}
		}
	})
	ln, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{h.owner.Certificate}})
	if err != nil {
		t.Fatal(err)
	}
	web := &http.Server{Handler: mux}
	go web.Serve(ln)
	t.Cleanup(func() { web.Close() })
	o := relay.DialOptions{Credentials: h.room(t, "curie"), Expect: relay.Expect{Name: "vauban"}}
	c, err := relay.Dial(t.Context(), ln.Addr().String(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// TestHostileRelay: a relay that breaks the protocol loses the connection.
func TestHostileRelay(t *testing.T) {
	h := newHouse(t)
	opened := func(seq uint64) []byte { return encode(t, 1, signal.Opened{Epoch: 1, Seq: seq}) }
	message := func(seq uint64) []byte { return encode(t, 0, signal.Ordered{Seq: seq, Message: []byte("m")}) }
	for name, script := range map[string][][]byte{
		"noise":             {[]byte("noise")},
		"a request instead": {encode(t, 1, signal.Leave{})},
		"a wrong answer":    {encode(t, 1, signal.Ringing{})},
		"a gap":             {opened(5), message(6)},
		"a message again":   {opened(5), message(4)},
		"a log out of thin": {message(1)},
		"too much":          {make([]byte, signal.MaxWelcome+2<<10)},
	} {
		t.Run(name, func(t *testing.T) {
			c := liar(t, h, script...)
			_, err := c.Rejoin(t.Context(), meetingID, 5)
			if len(script) > 1 {
				if err != nil {
					t.Fatal(err)
				}
				err = c.Send(t.Context(), application(1, ""))
			}
			for range c.Events() { // until the end
			}
			if !errors.Is(err, relay.ErrClosed) || !errors.Is(c.Err(), relay.ErrClosed) {
				t.Errorf("%v; ended with %v", err, c.Err())
			}
			if log := strings.HasPrefix(name, "a "); log != errors.Is(c.Err(), relay.ErrProtocol) {
				t.Errorf("ended with %v", c.Err())
			}
		})
	}
}

// FuzzServer: whatever a room that is no member sends, over a real connection,
// the meeting beside it goes on.
func FuzzServer(f *testing.F) {
	h := newHouse(f)
	vauban := h.open(f)
	rounds := uint64(0)
	requests := [][]byte{
		encode(f, 1, signal.Attach{Meeting: meetingID}),
		encode(f, 2, signal.Knock{KeyPackage: keyPackage("x")}),
		encode(f, 3, signal.Commit{Message: commit(0, "x"), Welcomes: []signal.Welcome{{Knock: 1, Message: welcome("")}}}),
		encode(f, 4, signal.Submit{Message: application(0, "x")}),
		encode(f, 5, signal.Open{Meeting: meetingID}),
		encode(f, 6, signal.Rejoin{Meeting: meetingID, Seq: 1}),
		encode(f, 7, signal.Ring{Meeting: meetingID, Relay: "192.0.2.7:1"}),
		encode(f, 8, signal.Refuse{Knock: 1, Reason: signal.Busy}),
		encode(f, 9, signal.Evict{Room: relay.Room{Name: "vauban", Site: "Example"}}),
		encode(f, 10, signal.Leave{}),
	}
	for i, r := range requests {
		f.Add(append([]byte{byte(len(r))}, r...), i%2 == 0)
	}
	f.Add(append(append(append([]byte{byte(len(requests[0]))}, requests[0]...), byte(len(requests[1]))), requests[1]...), true)
	f.Fuzz(func(t *testing.T, script []byte, orderly bool) {
		c := h.raw(t, "curie")
		for len(script) > 0 { // a length, then a message
			n := min(int(script[0]), len(script)-1)
			if err := c.Write(t.Context(), websocket.MessageBinary, script[1:1+n]); err != nil {
				break
			}
			script = script[1+n:]
		}
		if orderly {
			go c.Close(websocket.StatusNormalClosure, "")
		} else {
			c.CloseNow()
		}
		rounds++
		msg := application(0, fmt.Sprint(rounds))
		if err := vauban.Send(t.Context(), msg); err != nil {
			t.Fatal(err)
		}
		ordered(t, vauban, rounds, msg)
	})
}

// TestLargestCommit: what the limits allow passes, through all the limits.
func TestLargestCommit(t *testing.T) {
	h := newHouse(t)
	vauban := h.open(t)
	c := h.dial(t, "curie")
	if _, err := c.Attach(t.Context(), meetingID); err != nil {
		t.Fatal(err)
	}
	got := make(chan relay.Admission, 1)
	go func() {
		a, _ := c.Knock(t.Context(), keyPackage(strings.Repeat("k", signal.MaxKeyPackage-4))) // the zero value fails below
		got <- a
	}()
	k := await[relay.Knocked](t, vauban)
	big := welcome(strings.Repeat("w", signal.MaxWelcome-4))
	msg := commit(0, strings.Repeat("c", signal.MaxHandshake-len(commit(0, ""))))
	if err := vauban.Commit(t.Context(), 0, msg, []relay.Welcome{{To: k.ID, Message: big}}); err != nil {
		t.Fatal(err)
	}
	if a := <-got; !bytes.Equal(a.Welcome, big) {
		t.Errorf("a welcome of %d bytes came as %d", len(big), len(a.Welcome))
	}
	ordered(t, vauban, 1, msg)
	if err := vauban.Commit(t.Context(), 1, commit(1, "next"), nil); err != nil {
		t.Error(err)
	}
	ordered(t, c, 2, commit(1, "next"))
}
