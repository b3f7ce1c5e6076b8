// SPDX-License-Identifier: Apache-2.0

package pipeline

import (
	"bytes"
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

func TestMailbox(t *testing.T) {
	var back []int
	m := NewMailbox(func(v int) { back = append(back, v) })
	if v, ok := m.TryTake(); ok {
		t.Errorf("an empty mailbox gave %d", v)
	}
	m.Put(1)
	m.Put(2)
	m.Put(3)
	if v, ok := m.TryTake(); !ok || v != 3 || m.Drops() != 2 || !slices.Equal(back, []int{1, 2}) {
		t.Errorf("took %d, %v after %d drops, %v came back; want 3 after 2, and 1 and 2", v, ok, m.Drops(), back)
	}
	if _, ok := m.TryTake(); ok {
		t.Error("a value was given twice")
	}
	m.Put(4)
	m.Clear()
	if m.Depth() != 0 || m.Drops() != 2 || !slices.Equal(back, []int{1, 2, 4}) {
		t.Errorf("after Clear: depth %d, %d drops, %v came back", m.Depth(), m.Drops(), back)
	}
}

func TestTakeAndPopWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, q := NewMailbox[int](nil), NewQueue[int](2)
		go func() {
			time.Sleep(time.Second)
			m.Put(7)
			time.Sleep(time.Second)
			q.Push(8)
		}()
		began := time.Now()
		if v, err := m.Take(t.Context()); v != 7 || err != nil || time.Since(began) != time.Second {
			t.Errorf("Take = %d, %v after %v", v, err, time.Since(began))
		}
		if v, err := q.Pop(t.Context()); v != 8 || err != nil || time.Since(began) != 2*time.Second {
			t.Errorf("Pop = %d, %v after %v", v, err, time.Since(began))
		}
		cause := errors.New("enough")
		ctx, cancel := context.WithCancelCause(t.Context())
		time.AfterFunc(time.Second, func() { cancel(cause) })
		if _, err := m.Take(ctx); !errors.Is(err, cause) {
			t.Errorf("Take = %v, want the cause", err)
		}
		if _, err := q.Pop(ctx); !errors.Is(err, cause) {
			t.Errorf("Pop = %v, want the cause", err)
		}
	})
}

// TestQueueModel compares queues with a slice, over random operations.
func TestQueueModel(t *testing.T) {
	key := func(v int) bool { return v%5 == 0 }
	for _, keyed := range []bool{false, true} {
		for seed := range uint64(20) {
			r := rand.New(rand.NewPCG(seed, 1))
			length := 1 + r.IntN(8)
			q := NewQueue[int](length)
			if keyed {
				q = NewKeyQueue(length, key)
			}
			var model []int
			var drops uint64
			await := false
			for n := range 2000 {
				switch r.IntN(5) {
				case 0, 1:
					v, ok := q.TryPop()
					if ok != (len(model) > 0) || ok && v != model[0] {
						t.Fatalf("step %d: popped %d, %v; want the first of %v", n, v, ok, model)
					}
					if ok {
						model = model[1:]
					}
				case 2, 3:
					before := drops
					if len(model) == length {
						await = keyed
						if !keyed {
							drops++
							model = model[1:]
						}
					}
					if await && key(n) {
						drops += uint64(len(model))
						model, await = nil, false
					}
					if await {
						drops++
					} else {
						model = append(model, n)
					}
					if whole := q.Push(n); whole != (drops == before) {
						t.Fatalf("step %d: Push reported %v, and %d were dropped", n, whole, drops-before)
					}
				case 4:
					if r.IntN(20) == 0 {
						q.Clear()
						model = nil
					}
				}
				if q.Depth() != len(model) || q.Drops() != drops || q.AwaitsKey() != await {
					t.Fatalf("step %d: depth %d, %d drops, awaits a key %v; want %d, %d, %v", n, q.Depth(), q.Drops(), q.AwaitsKey(), len(model), drops, await)
				}
			}
		}
	}
}

// TestQueueForgets checks that what was popped or dropped is not held.
func TestQueueForgets(t *testing.T) {
	q := NewQueue[*int](3)
	for range 10 {
		q.Push(new(int))
	}
	q.TryPop()
	q.Clear()
	for i, v := range q.ring {
		if v != nil {
			t.Errorf("place %d still holds a value", i)
		}
	}
}

func TestPool(t *testing.T) {
	made := 0
	p := NewPool(2, func() int { made++; return made })
	a, b, c := p.Get(), p.Get(), p.Get()
	p.Put(a)
	p.Put(b)
	p.Put(c)
	if x, y, z := p.Get(), p.Get(), p.Get(); x != b || y != a || z != 4 {
		t.Errorf("got %d, %d and %d; want 2 and 1 kept, then a new one", x, y, z)
	}
}

// TestSlab checks that what one frame appends never reaches another, even
// beyond what it asked for.
func TestSlab(t *testing.T) {
	s := slab{size: 100}
	var frames [][]byte
	for n := range 50 {
		b := s.take(1 + n%60)
		if len(b) != 0 || cap(b) != 1+n%60 {
			t.Fatalf("take(%d): length %d, capacity %d", 1+n%60, len(b), cap(b))
		}
		for range 1 + n%60 + n%3 {
			b = append(b, byte(n))
		}
		frames = append(frames, b)
	}
	for n, b := range frames {
		if !bytes.Equal(b, bytes.Repeat([]byte{byte(n)}, len(b))) {
			t.Errorf("frame %d was written over: %v", n, b)
		}
	}
}
