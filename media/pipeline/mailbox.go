// SPDX-License-Identifier: Apache-2.0

package pipeline

import (
	"context"
	"sync"
)

// A Mailbox holds one value: the newest wins. It suits what is worthless once
// something newer exists, such as a picture. Any goroutine may put; one takes.
type Mailbox[T any] struct {
	recycle func(T)
	ready   chan struct{} // holds a token when a value may be there

	mu    sync.Mutex
	v     T
	full  bool
	drops uint64
}

// NewMailbox makes an empty mailbox. What is replaced or cleared goes to
// recycle, which may be nil and must not block.
func NewMailbox[T any](recycle func(T)) *Mailbox[T] {
	return &Mailbox[T]{recycle: recycle, ready: make(chan struct{}, 1)}
}

// Put puts v in, in place of what may be there. It never blocks.
func (m *Mailbox[T]) Put(v T) {
	m.mu.Lock()
	old, replaced := m.v, m.full
	m.v, m.full = v, true
	if replaced {
		m.drops++
	}
	m.mu.Unlock()
	if replaced && m.recycle != nil {
		m.recycle(old)
	}
	wake(m.ready)
}

// TryTake takes the value, if there is one.
func (m *Mailbox[T]) TryTake() (v T, ok bool) {
	var none T
	m.mu.Lock()
	defer m.mu.Unlock()
	v, ok = m.v, m.full
	m.v, m.full = none, false
	return v, ok
}

// Take waits for a value. Once ctx is done it returns the cause.
func (m *Mailbox[T]) Take(ctx context.Context) (T, error) {
	return await(ctx, m.ready, m.TryTake)
}

// Clear gives a value that may be there to recycle. It does not count as
// dropped.
func (m *Mailbox[T]) Clear() {
	if v, ok := m.TryTake(); ok && m.recycle != nil {
		m.recycle(v)
	}
}

// Depth is 1 if a value is there, else 0.
func (m *Mailbox[T]) Depth() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.full {
		return 1
	}
	return 0
}

// Drops counts the values that were replaced before anyone took them.
func (m *Mailbox[T]) Drops() uint64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.drops
}

// wake leaves a token in ready unless there is one.
func wake(ready chan struct{}) {
	select {
	case ready <- struct{}{}:
	default:
	}
}

// await tries until it succeeds or ctx is done, once for each token.
func await[T any](ctx context.Context, ready <-chan struct{}, try func() (T, bool)) (T, error) {
	for {
		if v, ok := try(); ok {
			return v, nil
		}
		select {
		case <-ready:
		case <-ctx.Done():
			var none T
			return none, context.Cause(ctx)
		}
	}
}
