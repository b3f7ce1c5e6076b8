// SPDX-License-Identifier: Apache-2.0

package main

import (
	"io"
	"net/http"
	"sync"
	"time"
)

const (
	// transferStall is how long a transfer may stand still.
	transferStall = 30 * time.Second
	// transferTime is how long it may take: a gigabyte at 150 kB/s.
	transferTime = 2 * time.Hour
	// checkEvery is how long a room may go on to receive what it may no longer have.
	checkEvery = time.Second
)

// A deadline moves with each piece of a transfer, in place of those that the
// server has for other requests.
type deadline struct {
	conn *http.ResponseController
	end  time.Time
}

func newDeadline(w http.ResponseWriter) deadline {
	return deadline{http.NewResponseController(w), time.Now().Add(transferTime)}
}

func (d deadline) move() {
	at := time.Now().Add(transferStall)
	if at.After(d.end) {
		at = d.end
	}
	// Who has no deadlines to move needs none.
	_ = d.conn.SetReadDeadline(at)
	_ = d.conn.SetWriteDeadline(at)
}

type slowBody struct {
	io.ReadCloser
	deadline deadline
}

// slowly gives a body the time of a transfer.
func slowly(w http.ResponseWriter, body io.ReadCloser) io.ReadCloser {
	return &slowBody{body, newDeadline(w)}
}

func (b *slowBody) Read(p []byte) (int, error) {
	b.deadline.move()
	return b.ReadCloser.Read(p)
}

// A slowAnswer is the writer of a transfer. It asks again and again if the
// receiver may still have what it is sent.
type slowAnswer struct {
	http.ResponseWriter
	deadline deadline
	may      func() error
	asked    time.Time
	err      error
}

func (a *slowAnswer) Write(p []byte) (int, error) {
	if now := time.Now(); a.err == nil && now.Sub(a.asked) >= checkEvery {
		a.err, a.asked = a.may(), now
	}
	if a.err != nil {
		return 0, a.err
	}
	a.deadline.move()
	return a.ResponseWriter.Write(p)
}

// maxTurns bounds how many transfers one receiver has at a time: one, and one
// that it has given up and the verifier not yet.
const maxTurns = 2

// Turns counts the transfers to each receiver. The zero value is ready.
type turns struct {
	mu  sync.Mutex
	now map[string]int
}

// take begins a transfer to who; release ends it.
func (t *turns) take(who string) (release func(), err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.now[who] >= maxTurns {
		return nil, refuse(http.StatusTooManyRequests, codeBusy, "other transfers to the same receiver are under way")
	}
	if t.now == nil {
		t.now = map[string]int{}
	}
	t.now[who]++
	return func() {
		t.mu.Lock()
		defer t.mu.Unlock()
		if t.now[who]--; t.now[who] == 0 {
			delete(t.now, who)
		}
	}, nil
}
