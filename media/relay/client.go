// SPDX-License-Identifier: Apache-2.0

package relay

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/coder/websocket"

	"incamera/media/signal"
)

const (
	dialTimeout = 5 * time.Second

	eventItems = 2048 // more than a relay sends a new member at once
	eventBytes = 32 << 20
)

var (
	// ErrStalled means that the connection was closed because nobody took its
	// events.
	ErrStalled = errors.New("relay: events were not taken")

	errProtocol = errors.New("relay: the relay broke the protocol")
)

// DialOptions describe a connection. Credentials are required, and of Expect
// at least one.
type DialOptions struct {
	Credentials
	Expect

	// dial replaces TCP in tests.
	dial func(ctx context.Context) (net.Conn, error)
}

// A Conn is a connection to a relay, for one meeting or one ring. Its methods
// may be called from several goroutines. After it broke, all of them return an
// error that wraps [ErrClosed]; a Conn does not come back by itself.
type Conn struct {
	link   link
	relay  Identity
	pile   *queue[Event] // what Events has not yet passed on
	events chan Event
	ended  context.Context // its cause is why
	done   chan struct{}   // closed when all goroutines have ended

	mu      sync.Mutex
	last    uint64 // request
	waiting map[uint64]chan signal.Message

	next uint64 // Seq of the next Ordered message; of the reading goroutine
}

// Dial connects to the relay at addr (host:port) and verifies who answers. It
// ends with ctx, at the latest after 5 seconds; the connection itself lives
// until Close.
func Dial(ctx context.Context, addr string, o DialOptions) (*Conn, error) {
	if _, err := o.identity(); err != nil {
		return nil, err
	}
	if o.Expect == (Expect{}) {
		return nil, errors.New("relay: neither name nor key of the relay")
	}
	if err := signal.CheckAddress(addr); err != nil {
		return nil, fmt.Errorf("relay: %w", err)
	}
	c := &Conn{
		pile: newQueue[Event](eventItems, eventBytes), events: make(chan Event),
		done: make(chan struct{}), waiting: make(map[uint64]chan signal.Message),
	}
	c.link.out = newQueue[[]byte](outItems, outBytes)
	running, cancel := context.WithCancelCause(context.WithoutCancel(ctx))
	c.ended, c.link.cancel = running, cancel

	transport := &http.Transport{TLSClientConfig: o.client(o.Expect, &c.relay), Protocols: noHTTP2(), DisableKeepAlives: true}
	if o.dial != nil {
		transport.DialContext = func(ctx context.Context, _, _ string) (net.Conn, error) { return o.dial(ctx) }
	}
	timed, stop := context.WithTimeout(ctx, dialTimeout)
	defer stop()
	ws, _, err := websocket.Dial(timed, "https://"+addr+path, &websocket.DialOptions{ //nolint:bodyclose // the WebSocket owns it
		HTTPClient: &http.Client{
			Transport:     transport,
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
		Subprotocols:   []string{subprotocol},
		OnPingReceived: c.link.noPing,
	})
	if err != nil {
		cancel(err)
		return nil, fmt.Errorf("relay: dial: %w", err)
	}
	if ws.Subprotocol() != subprotocol {
		_ = ws.CloseNow()
		cancel(errProtocol)
		return nil, errProtocol
	}
	ws.SetReadLimit(signal.MaxWelcome + 1<<10)
	c.link.ws = ws
	go c.live(running)
	return c, nil
}

// live runs the connection and passes on its events until both have ended.
func (c *Conn) live(ctx context.Context) {
	defer close(c.done)
	var wg sync.WaitGroup
	wg.Go(func() {
		defer close(c.events)
		for {
			e, ok := c.pile.pop(ctx)
			if !ok {
				return
			}
			select {
			case c.events <- e:
			case <-ctx.Done():
				return
			}
		}
	})
	_ = c.link.run(ctx, c.receive) // Err has it
	wg.Wait()
}

// receive takes one message of the relay. It runs on the reading goroutine and
// never waits.
func (c *Conn) receive(m signal.Message, _ []byte) error {
	switch b := m.Body.(type) {
	case signal.Closed:
		return &ClosedError{Reason: b.Reason}
	case signal.Opened:
		c.next = b.Seq
	case signal.Welcomed:
		c.next = b.Seq
	case signal.Ordered:
		if b.Seq != c.next { // a log with a gap is no log
			return fmt.Errorf("%w: message %d where %d was due", errProtocol, b.Seq, c.next)
		}
		c.next++
	}
	if e := event(m.Body); e != nil {
		if !c.pile.push(e, e.size()) {
			return ErrStalled
		}
		return nil
	}
	if !m.Kind().Answer() {
		return errProtocol
	}
	c.mu.Lock()
	answers := c.waiting[m.ID]
	c.mu.Unlock()
	if answers == nil {
		return nil // nobody waits any more
	}
	select {
	case answers <- m:
		return nil
	default:
		return fmt.Errorf("%w: too many answers", errProtocol)
	}
}

// Relay returns who answered.
func (c *Conn) Relay() Identity { return c.relay }

// Events returns what the relay tells a member, in order. The channel is
// closed when the connection has ended; Err then says why. It must be read
// from: a member that lets 2,048 events or 32 MiB pile up is disconnected.
func (c *Conn) Events() <-chan Event { return c.events }

// Done is closed when the connection has ended.
func (c *Conn) Done() <-chan struct{} { return c.done }

// Err returns why the connection ended, and nil while it lives. It wraps
// [ErrClosed]; a [*ClosedError] has the relay's reason.
func (c *Conn) Err() error {
	err := context.Cause(c.ended)
	if err == nil || errors.Is(err, ErrClosed) {
		return err
	}
	return fmt.Errorf("%w: %w", ErrClosed, err)
}

// Close ends the connection at once and waits for its goroutines. The relay
// keeps a member's place for RejoinTime; who leaves for good calls Leave
// first. It may be called twice; calls that wait return ErrClosed.
func (c *Conn) Close() error {
	c.link.cancel(ErrClosed)
	<-c.done
	return nil
}
