// SPDX-License-Identifier: Apache-2.0

package relay

import (
	"context"
	"sync"
)

// A queue passes values on in order and refuses more than it may hold, so that
// who does not take them costs a fixed amount of memory and delays nobody.
type queue[T any] struct {
	maxItems, maxBytes int
	wake               chan struct{} // holds a token once there is news

	mu     sync.Mutex
	items  []sized[T]
	bytes  int
	closed bool
}

type sized[T any] struct {
	item T
	size int
}

func newQueue[T any](items, bytes int) *queue[T] {
	return &queue[T]{maxItems: items, maxBytes: bytes, wake: make(chan struct{}, 1)}
}

// push appends an item that holds size bytes. It reports false if the queue is
// full or closed.
func (q *queue[T]) push(item T, size int) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed || len(q.items) == q.maxItems || q.bytes+size > q.maxBytes {
		return false
	}
	q.items = append(q.items, sized[T]{item, size})
	q.bytes += size
	q.signal()
	return true
}

// pop waits for the next item. It reports false once ctx is done, or the queue
// is closed and empty.
func (q *queue[T]) pop(ctx context.Context) (item T, ok bool) {
	for {
		if item, ok, closed := q.take(); ok || closed {
			return item, ok
		}
		select {
		case <-q.wake:
		case <-ctx.Done():
			return item, false
		}
	}
}

func (q *queue[T]) take() (item T, ok, closed bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.items) == 0 {
		return item, false, q.closed
	}
	first := q.items[0]
	q.items[0] = sized[T]{} // the array must not keep it
	q.items = q.items[1:]
	q.bytes -= first.size
	return first.item, true, false
}

// close lets what is in the queue pass and refuses the rest.
func (q *queue[T]) close() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.closed = true
	q.signal()
}

func (q *queue[T]) signal() {
	select {
	case q.wake <- struct{}{}:
	default:
	}
}
