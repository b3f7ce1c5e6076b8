// SPDX-License-Identifier: Apache-2.0

package call

import (
	"context"
	"time"

	"incamera/media/e2ee"
)

// Verdicts implements [e2ee.Observer].
func (m *meeting) Verdicts(e e2ee.Epoch) {
	m.post(func(*owner) {
		if e.Number == m.epoch.Number {
			m.epoch = e
			m.judged()
		}
	})
}

// judged takes the newest verdicts. A room whose enrolment the site has revoked
// loses its seat: every member asks for that, and one commit wins.
func (m *meeting) judged() {
	for _, in := range m.epoch.Members {
		other := m.members[in.Leaf]
		if other == nil {
			continue
		}
		other.Verdict = in.Verdict
		if in.Verdict.Revoked && !other.unwanted {
			m.log.Warn("a room whose enrolment was revoked is put out", "room", other.Name)
			other.unwanted = true
			m.removeLater(in.Leaf)
		}
	}
}

// freshen states the handle of the epoch at the relay, for newcomers. One
// member does: the one whose relay it is, or who acts for all.
func (m *meeting) freshen() {
	conn := m.conn
	if conn == nil || m.epoch.Members == nil || m.host.Room != m.engine.own.Room && !m.first() {
		return
	}
	handle := m.epoch.Handle()
	m.begin(func(ctx context.Context) {
		ctx, cancel := context.WithTimeout(ctx, askFor)
		defer cancel()
		if err := conn.Fresh(ctx, handle); err != nil && !isCause(err) {
			m.log.Warn("newcomers cannot prove that they are fresh", "err", err)
		}
	})
}

// maxAge is how old evidence may be before the panel warns.
func (m *meeting) maxAge() time.Duration {
	if limit := m.engine.config.Group.Attestation.MaxAge; limit > 0 {
		return limit
	}
	return e2ee.DefaultMaxAge
}

// age is that of a verdict's evidence in steps of ageStep, so that the status
// does not change all the time; rounded up, so that nothing looks fresher than
// it is.
func age(v e2ee.Verdict, now time.Time) time.Duration {
	if v.At.IsZero() {
		return 0
	}
	return now.Sub(v.At).Truncate(ageStep) + ageStep
}

const ageStep = 15 * time.Second
