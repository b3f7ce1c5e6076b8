// SPDX-License-Identifier: Apache-2.0

package relay

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"github.com/coder/websocket"

	"incamera/media/signal"
)

const (
	path        = "/relay/v1"
	subprotocol = "incamera.relay.v1"

	beatEvery    = time.Second
	silence      = 3 * time.Second        // after which the other side is dead
	lookEvery    = 500 * time.Millisecond // whether it is; so a dead room shows within 4 s
	writeTimeout = 5 * time.Second
	readTimeout  = 10 * time.Second // from the first byte of a message to the last

	// A queue holds what a room may get at once: the log, who is there and who
	// knocks, and a Welcome.
	outItems = 1024
	outBytes = 24 << 20
)

var (
	errSlow  = errors.New("relay: the other side does not read what it is sent")
	errDead  = errors.New("relay: the other side is silent")
	errAlien = errors.New("relay: what no room or relay sends")
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
	began    time.Time
	heard    atomic.Int64 // when bytes last arrived: nanoseconds after began
}

// run reads, writes and beats until one of them fails or ctx is done, hands
// each message to receive, and returns the first cause once all have ended and
// the connection is closed.
//
// The pings of WebSockets are not used: who reads one must write the answer
// before it reads on, and two sides that both do so behind large messages wait
// for each other.
func (l *link) run(ctx context.Context, receive func(signal.Message, []byte) error) error {
	l.began = time.Now()
	var wg sync.WaitGroup
	wg.Go(func() { l.cancel(l.write(ctx)) })
	wg.Go(func() { l.cancel(l.beat(ctx)) })
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

func (l *link) beat(ctx context.Context) error {
	data, err := signal.Encode(signal.Message{Body: signal.Beat{}})
	if err != nil {
		return err
	}
	ticker := time.NewTicker(lookEvery)
	defer ticker.Stop()
	for last := l.began; ; {
		select {
		case now := <-ticker.C:
			if now.Sub(l.began)-time.Duration(l.heard.Load()) >= silence {
				return fmt.Errorf("%w: %w", ErrClosed, errDead)
			}
			if now.Sub(last) >= beatEvery {
				last = now
				l.out.push(data, len(data)) // where there is no room, there is something to send
			}
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// hear notes that the other side lives, or that nobody will listen for d.
func (l *link) hear(d time.Duration) { l.heard.Store(int64(time.Since(l.began) + d)) }

func (l *link) read(ctx context.Context, receive func(signal.Message, []byte) error) error {
	for {
		m, raw, err := l.next(ctx)
		if err != nil {
			return err
		}
		if _, ok := m.Body.(signal.Beat); !ok {
			if err := receive(m, raw); err != nil {
				return err
			}
		}
		now := time.Now()
		pause := max(l.messages.take(now, 1), l.bytes.take(now, len(raw)))
		l.hear(pause)
		if err := wait(ctx, pause); err != nil {
			return err
		}
	}
}

// An ear notes what it reads.
type ear struct {
	r io.Reader
	l *link
}

func (e ear) Read(p []byte) (int, error) {
	n, err := e.r.Read(p)
	e.l.hear(0)
	return n, err
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
		return signal.Message{}, nil, errAlien
	}
	defer time.AfterFunc(readTimeout, stop).Stop()
	r = ear{r, l}
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

// noPing ends a connection whose other side pings: none of ours does.
func (l *link) noPing(context.Context, []byte) bool {
	l.cancel(errAlien)
	return false
}
