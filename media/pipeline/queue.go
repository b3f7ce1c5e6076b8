// SPDX-License-Identifier: Apache-2.0

package pipeline

import (
	"context"
	"sync"
)

// A Queue holds a bounded number of values in order and never blocks who
// pushes: when it is full, something is dropped and counted. Any goroutine may
// push; one pops.
type Queue[T any] struct {
	key   func(T) bool
	ready chan struct{} // holds a token when a value may be there

	mu       sync.Mutex
	ring     []T
	head, n  int
	drops    uint64
	awaitKey bool
}

// NewQueue makes a queue of the given length, at least 1, that drops the oldest
// value when it is full.
func NewQueue[T any](length int) *Queue[T] {
	return &Queue[T]{ring: make([]T, max(length, 1)), ready: make(chan struct{}, 1)}
}

// NewKeyQueue makes a queue for frames that need the ones before them. When it
// is full it drops what is pushed, up to a frame of which key reports that it
// needs no other. That one takes the place of all that waits: whoever fell
// behind goes on with the newest.
func NewKeyQueue[T any](length int, key func(T) bool) *Queue[T] {
	q := NewQueue[T](length)
	q.key = key
	return q
}

// Push appends v. It reports false if anything was dropped, v or another.
func (q *Queue[T]) Push(v T) bool {
	whole := q.push(v)
	wake(q.ready)
	return whole
}

func (q *Queue[T]) push(v T) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	drops := q.drops
	switch full := q.n == len(q.ring); {
	case q.key == nil && full:
		q.pop()
		q.drops++
	case q.key == nil || !full && !q.awaitKey:
	case q.key(v):
		q.drops += uint64(q.n)
		q.clear()
		q.awaitKey = false
	default:
		q.drops++
		q.awaitKey = true
		return false
	}
	q.ring[(q.head+q.n)%len(q.ring)] = v
	q.n++
	return q.drops == drops
}

// pop takes the oldest value; there is one, and the caller holds q.mu.
func (q *Queue[T]) pop() T {
	var none T
	v := q.ring[q.head]
	q.ring[q.head] = none // what it points to is not ours any more
	q.head = (q.head + 1) % len(q.ring)
	q.n--
	return v
}

// TryPop takes the oldest value, if there is one.
func (q *Queue[T]) TryPop() (v T, ok bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.n == 0 {
		return v, false
	}
	return q.pop(), true
}

// Pop waits for a value. Once ctx is done it returns the cause.
func (q *Queue[T]) Pop(ctx context.Context) (T, error) {
	return await(ctx, q.ready, q.TryPop)
}

// Ready returns a channel for select statements: after each receive the caller
// pops until nothing is left.
func (q *Queue[T]) Ready() <-chan struct{} { return q.ready }

// AwaitsKey reports whether a queue made by [NewKeyQueue] drops everything up
// to the next key frame.
func (q *Queue[T]) AwaitsKey() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.awaitKey
}

// Clear forgets all values. They do not count as dropped.
func (q *Queue[T]) Clear() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.clear()
}

func (q *Queue[T]) clear() {
	clear(q.ring)
	q.head, q.n = 0, 0
}

// Depth is how many values wait.
func (q *Queue[T]) Depth() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.n
}

// Drops counts the values that were dropped.
func (q *Queue[T]) Drops() uint64 {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.drops
}
