// SPDX-License-Identifier: Apache-2.0

package relay

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/coder/websocket"

	"incamera/media/signal"
)

const (
	path        = "/relay/v1"
	subprotocol = "incamera.relay.v1"

	pingEvery    = time.Second
	pingTimeout  = 3 * time.Second // with pingEvery: a dead room shows within 4 s
	writeTimeout = 5 * time.Second
	readTimeout  = 10 * time.Second // from the first byte of a message to the last

	// A queue holds what a room may get at once: the log, who is there and who
	// knocks, and a Welcome.
	outItems = 1024
	outBytes = 24 << 20
)

var (
	errSlow  = errors.New("relay: the other side does not read what it is sent")
	errFlood = errors.New("relay: too many pings")
	errText  = errors.New("relay: not a binary message")
)

// A link is one WebSocket connection with a bounded queue in front of it.
// Client and server run the same code.
type link struct {
	ws       *websocket.Conn
	out      *queue[[]byte]
	large    chan struct{} // slots for messages above signal.MaxSmall; nil: no limit
	messages throttle
	bytes    throttle
	cancel   context.CancelCauseFunc // ends run
}

// run reads, writes and pings until one of them fails or ctx is done, hands
// each message to receive, and returns the first cause once all have ended and
// the connection is closed.
func (l *link) run(ctx context.Context, receive func(signal.Message, []byte) error) error {
	var wg sync.WaitGroup
	wg.Go(func() { l.cancel(l.write(ctx)) })
	wg.Go(func() { l.cancel(l.ping(ctx)) })
	l.cancel(l.read(ctx, receive))
	wg.Wait()
	_ = l.ws.CloseNow() // what mattered has been said
	return context.Cause(ctx)
}

// write sends what is queued. Once the queue is closed and empty it closes the
// connection in order, so that the last message arrives.
func (l *link) write(ctx context.Context) error {
	for {
		data, ok := l.out.pop(ctx)
		if !ok {
			if ctx.Err() == nil {
				_ = l.ws.Close(websocket.StatusNormalClosure, "") // read sees the end of it
			}
			return ErrClosed
		}
		timed, stop := context.WithTimeoutCause(ctx, writeTimeout, errSlow)
		err := l.ws.Write(timed, websocket.MessageBinary, data)
		cause := context.Cause(timed)
		stop()
		if errors.Is(cause, errSlow) {
			return errSlow
		}
		if err != nil {
			return fmt.Errorf("%w: %w", ErrClosed, err)
		}
	}
}

func (l *link) ping(ctx context.Context) error {
	ticker := time.NewTicker(pingEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		timed, stop := context.WithTimeout(ctx, pingTimeout)
		err := l.ws.Ping(timed)
		stop()
		if err != nil {
			return fmt.Errorf("%w: %w", ErrClosed, err)
		}
	}
}

func (l *link) read(ctx context.Context, receive func(signal.Message, []byte) error) error {
	for {
		m, raw, err := l.next(ctx)
		if err != nil {
			return err
		}
		if err := receive(m, raw); err != nil {
			return err
		}
		now := time.Now()
		if err := wait(ctx, max(l.messages.take(now, 1), l.bytes.take(now, len(raw)))); err != nil {
			return err
		}
	}
}

// next reads one message. A small one costs its own size; of the large ones
// only as many as there are slots are in memory at a time.
func (l *link) next(ctx context.Context) (signal.Message, []byte, error) {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	kind, r, err := l.ws.Reader(ctx)
	if err != nil {
		return signal.Message{}, nil, fmt.Errorf("%w: %w", ErrClosed, err)
	}
	if kind != websocket.MessageBinary {
		return signal.Message{}, nil, errText
	}
	defer time.AfterFunc(readTimeout, stop).Stop()
	raw, err := io.ReadAll(io.LimitReader(r, signal.MaxSmall))
	if err == nil && len(raw) == signal.MaxSmall {
		if l.large != nil {
			select {
			case l.large <- struct{}{}:
				defer func() { <-l.large }()
			case <-ctx.Done():
				return signal.Message{}, nil, context.Cause(ctx)
			}
		}
		var more []byte
		more, err = io.ReadAll(r)
		raw = append(raw, more...)
	}
	if err != nil {
		return signal.Message{}, nil, fmt.Errorf("%w: %w", ErrClosed, err)
	}
	m, err := signal.Decode(raw)
	return m, raw, err
}

func wait(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return nil
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// pings limits how often the other side may ping: each ping is answered.
func (l *link) pings() func(context.Context, []byte) bool {
	t := throttle{rate: 4, burst: 16}
	return func(context.Context, []byte) bool {
		if t.take(time.Now(), 1) > 0 {
			l.cancel(errFlood)
			return false
		}
		return true
	}
}
