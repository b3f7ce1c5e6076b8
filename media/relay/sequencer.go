// SPDX-License-Identifier: Apache-2.0

package relay

import (
	"bytes"

	"incamera/media/signal"
)

// An entry is one message of the log, encoded as all members get it.
type entry struct{ data []byte }

// commit is Commit of package signal: the first that is well formed and of the
// current epoch holds the slot; there is no second.
func (h *hub) commit(c *conn, id uint64, b signal.Commit) {
	m := c.meeting
	if c.place != member {
		h.fail(c, id, signal.CodeState, "not a member")
		return
	}
	head, err := signal.ReadHead(b.Message)
	if err != nil || head.Content != signal.ContentCommit || head.Epoch != b.Epoch || !bytes.Equal(head.Group, m.id) {
		h.fail(c, id, signal.CodeHead, "no commit of this meeting")
		return
	}
	if b.Epoch != m.epoch {
		h.answer(c, id, signal.Stale{Epoch: m.epoch, Seq: m.won})
		return
	}
	knocks := m.pending()
	joining := make([]*conn, len(b.Welcomes)) // all found, or nothing happens
	for i, w := range b.Welcomes {
		head, err := signal.ReadHead(w.Message)
		if err != nil || head.Wire != signal.WireWelcome {
			h.fail(c, id, signal.CodeHead, "no welcome")
			return
		}
		if joining[i] = knocks.find(w.Knock); joining[i] == nil {
			h.fail(c, id, signal.CodeNotFound, "no such knock")
			return
		}
	}
	if len(m.seats)+len(joining) > MaxMembers {
		h.fail(c, id, signal.CodeFull, "members")
		return
	}
	m.epoch++
	m.won = h.order(m, c, id, b.Message)
	for i, j := range joining {
		answer := signal.Welcomed{Message: b.Welcomes[i].Message, Seq: m.next}
		h.answer(j, j.knock.request, answer)
		delete(m.lobby, j)
		h.admit(m, j, m.next)
		h.broadcast(m, signal.KnockEnded{Knock: j.knock.number, Reason: signal.WasWelcomed}, j)
	}
}

// submit is Submit of package signal.
func (h *hub) submit(c *conn, id uint64, b signal.Submit) {
	m := c.meeting
	if c.place != member {
		h.fail(c, id, signal.CodeState, "not a member")
		return
	}
	head, err := signal.ReadHead(b.Message)
	if err != nil || !bytes.Equal(head.Group, m.id) {
		h.fail(c, id, signal.CodeHead, "no message of this meeting")
		return
	}
	past := uint64(0)
	switch head.Content {
	case signal.ContentApplication:
		past = pastEpochs
		if len(b.Message) > signal.MaxApplication {
			h.fail(c, id, signal.CodeHead, "application message too long")
			return
		}
	case signal.ContentProposal:
	case signal.ContentCommit:
		fallthrough
	default:
		h.fail(c, id, signal.CodeHead, "neither application message nor proposal")
		return
	}
	if head.Epoch > m.epoch || m.epoch-head.Epoch > past {
		h.answer(c, id, signal.Stale{Epoch: m.epoch, Seq: m.won})
		return
	}
	h.order(m, c, id, b.Message)
}

// order puts a message into the log, answers its sender, and passes it on to
// all members. It returns the message's Seq.
func (h *hub) order(m *meeting, from *conn, id uint64, message []byte) uint64 {
	seq := m.next
	data := h.encode(0, signal.Ordered{Seq: seq, Message: message})
	m.next++
	m.log = append(m.log, entry{data})
	m.logBytes += len(data)
	for len(m.log) > MaxLog || m.logBytes > MaxLogBytes {
		m.logBytes -= len(m.log[0].data)
		m.log[0] = entry{} // the array must not keep it
		m.log = m.log[1:]
	}
	h.answer(from, id, signal.Accepted{Seq: seq})
	for _, s := range m.seats {
		if s.conn != nil {
			h.send(s.conn, data)
		}
	}
	return seq
}

// from returns the messages from seq on. It reports false if the log no longer
// has them all, or seq is not yet due.
func (m *meeting) from(seq uint64) ([]entry, bool) {
	if seq > m.next || m.next-seq > uint64(len(m.log)) {
		return nil, false
	}
	return m.log[uint64(len(m.log))-(m.next-seq):], true
}
