// SPDX-License-Identifier: Apache-2.0

package pipeline

import "sync"

// A Pool keeps a few values for reuse. Unlike a [sync.Pool] it keeps them
// through garbage collections, and it never keeps more than it was told to.
// Any goroutine may use it.
type Pool[T any] struct {
	fresh func() T

	mu   sync.Mutex
	free []T // its capacity is the limit
}

// NewPool makes a pool that keeps at most limit values and makes a new one with
// fresh when it has none.
func NewPool[T any](limit int, fresh func() T) *Pool[T] {
	return &Pool[T]{fresh: fresh, free: make([]T, 0, limit)}
}

// Get gives a value that was put, or a new one.
func (p *Pool[T]) Get() T {
	p.mu.Lock()
	if n := len(p.free); n > 0 {
		v := p.free[n-1]
		var none T
		p.free[n-1] = none
		p.free = p.free[:n-1]
		p.mu.Unlock()
		return v
	}
	p.mu.Unlock()
	return p.fresh()
}

// Put gives v back, or to the garbage collector if the pool is full.
func (p *Pool[T]) Put(v T) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.free) < cap(p.free) {
		p.free = append(p.free, v)
	}
}

// A slab gives memory to frames that peers hold for an unknown time. It is cut
// off the front of a large block, is never used twice, and goes to the garbage
// collector with the last frame of its block.
type slab struct {
	size  int
	block []byte
}

// take gives an empty slice with room for n bytes and no more.
func (s *slab) take(n int) []byte {
	if n > s.size/2 {
		return make([]byte, 0, n)
	}
	if n > len(s.block) {
		s.block = make([]byte, s.size)
	}
	b := s.block[:0:n]
	s.block = s.block[n:]
	return b
}
