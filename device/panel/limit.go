// SPDX-License-Identifier: Apache-2.0

package panel

import (
	"container/list"
	"crypto/sha256"
	"encoding/json"
	"sync"
	"time"
)

// A rate is how many requests a bucket takes.
type rate struct{ perSecond, burst float64 }

var (
	commandRate = rate{20, 40}
	readRate    = rate{50, 100}
	// A stranger is who has not proved itself. A page that is opened, paired and
	// connected sends six requests.
	strangerRate  = rate{2, 20}
	handshakeRate = rate{10, 20} // of TLS, from one address
	roomHands     = rate{50, 100}
)

// maxClients bounds the buckets; with more clients the one that was silent
// longest starts anew. Sessions are 32 at most.
const maxClients = 256

// A bucket holds tokens; each request takes one.
type bucket struct {
	tokens float64
	at     time.Time
}

// take takes a token, or says how long until there is one.
func (b *bucket) take(r rate, now time.Time) time.Duration {
	if b.at.IsZero() {
		b.tokens = r.burst
	} else {
		b.tokens = min(r.burst, b.tokens+r.perSecond*now.Sub(b.at).Seconds())
	}
	b.at = now
	if b.tokens >= 1 {
		b.tokens--
		return 0
	}
	return time.Duration((1-b.tokens)/r.perSecond*float64(time.Second)).Round(time.Millisecond) + time.Millisecond
}

type limits struct {
	mu      sync.Mutex
	clients map[string]*spending
	hands   bucket // handshakes with anybody
}

type spending struct{ commands, reads, strangers, handshakes bucket }

func newLimits() *limits { return &limits{clients: map[string]*spending{}} }

// command takes one command of a client, or says how long it must wait.
func (l *limits) command(by string, now time.Time) time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.of(by).commands.take(commandRate, now)
}

// read takes one request that only reads.
func (l *limits) read(by string, now time.Time) time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.of(by).reads.take(readRate, now)
}

// stranger takes one request of who has not proved itself, from a place.
func (l *limits) stranger(place string, now time.Time) time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.of(place).strangers.take(strangerRate, now)
}

// handshake takes one handshake from a place, and reports whether it may be.
func (l *limits) handshake(place string, now time.Time) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.of(place).handshakes.take(handshakeRate, now) == 0 && l.hands.take(roomHands, now) == 0
}

func (l *limits) of(by string) *spending {
	if c := l.clients[by]; c != nil {
		return c
	}
	if len(l.clients) >= maxClients {
		oldest := ""
		for id, c := range l.clients {
			if oldest == "" || c.last().Before(l.clients[oldest].last()) {
				oldest = id
			}
		}
		delete(l.clients, oldest)
	}
	c := &spending{}
	l.clients[by] = c
	return c
}

func (s *spending) last() time.Time {
	at := s.commands.at
	for _, b := range []bucket{s.reads, s.strangers, s.handshakes} {
		if b.at.After(at) {
			at = b.at
		}
	}
	return at
}

const (
	memoryTime = 10 * time.Minute
	memorySize = 4096 // executions, of all clients: then the oldest is forgotten
	maxKey     = 64   // bytes
)

// A memory remembers what became of commands with an idempotency key.
type memory struct {
	mu      sync.Mutex
	entries map[string]*list.Element
	order   *list.List // of *execution, the oldest first
}

// An execution is one command with a key. Result and refusal may be read once
// done is closed.
type execution struct {
	name    string
	hash    [sha256.Size]byte
	at      time.Time
	done    chan struct{}
	result  json.RawMessage
	refusal *Refusal
}

func newMemory() *memory { return &memory{entries: map[string]*list.Element{}, order: list.New()} }

// begin finds the execution with this client's key. If it is the first, the
// caller must execute, fill it in and close done. With other parameters the key
// is refused.
func (m *memory) begin(by, key string, hash [sha256.Size]byte, now time.Time) (*execution, bool, *Refusal) {
	if len(key) > maxKey {
		return nil, false, &Refusal{Reason: InvalidParams, Detail: "IdempotencyKey has at most 64 bytes", Path: "IdempotencyKey"}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	for el := m.order.Front(); el != nil; el = m.order.Front() {
		e := el.Value.(*execution)
		if m.order.Len() < memorySize && now.Sub(e.at) < memoryTime {
			break
		}
		m.order.Remove(el)
		delete(m.entries, e.name)
	}
	name := by + "\n" + key
	if el := m.entries[name]; el != nil {
		e := el.Value.(*execution)
		if e.hash != hash {
			return nil, false, &Refusal{Reason: Conflict, Detail: "the idempotency key was used with other parameters", Path: "IdempotencyKey"}
		}
		return e, false, nil
	}
	e := &execution{name: name, hash: hash, at: now, done: make(chan struct{})}
	m.entries[name] = m.order.PushBack(e)
	return e, true, nil
}
