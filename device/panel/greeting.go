// SPDX-License-Identifier: Apache-2.0

package panel

import "time"

// hello is Session.Hello.
type hello struct {
	API  string `json:"Api"`
	Room struct {
		ID   string `json:"Id"`
		Name string
	}
	BootID string `json:"BootId"`
	Seq    uint64
	Schema string
	UI     string `json:"Ui"`
	Role   string
	Panel  string
	BeatMs int64

	Challenge string `json:",omitempty"` // over TLS: what Session.Prove signs
}

func (s *Server) hello(c client) hello {
	h := hello{
		API: "1.0", BootID: s.boot, Seq: s.store.now(), Schema: schemaHash(), UI: s.page.hash,
		Role: c.role.String(), Panel: c.by, BeatMs: beat.Milliseconds(),
	}
	h.Room.ID, h.Room.Name = s.room.ID, s.room.Name
	return h
}

// A pulse is Session.Beat. Seq is how far everything has been sent: the point
// to resume from.
type pulse struct {
	Seq uint64
	Now string
}

func newPulse(seq uint64, now time.Time) pulse {
	return pulse{seq, now.UTC().Format("2006-01-02T15:04:05.000Z07:00")}
}

func (s *store) now() uint64 {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.seq
}

// enter counts a session in.
func (s *Server) enter(role Role) *Refusal {
	s.mu.Lock()
	defer s.mu.Unlock()
	limit := maxSessions
	if role < RoleFacilities {
		limit -= keptForCare
	}
	switch {
	case s.closed():
		return &Refusal{Reason: ShuttingDown, RetryAfter: 5 * time.Second}
	case s.sessions >= limit:
		return &Refusal{Reason: RateLimited, Detail: "too many panels are connected", RetryAfter: 5 * time.Second}
	}
	s.sessions++
	return nil
}

func (s *Server) leave() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sessions--
}
