// SPDX-License-Identifier: Apache-2.0

//go:build interop

package interop

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"incamera/media/mls"
)

// scheduleLength is how many operations a random schedule has.
const scheduleLength = 120

// crowd bounds a meeting of the schedule.
const crowd = 10

// Two defects of ts-mls stop a client in a schedule, by what they say: see
// TestDefects, which shows that they are its own.
const (
	unmergedDefect = "non-blank intermediate node must list leaf node in its unmerged_leaves"
	refilledDefect = "No overlap between provided private keys and update path"
)

// says reports whether a peer refused with a text.
func says(err error, text string) bool {
	r, ok := errors.AsType[*refusal](err)
	return ok && strings.Contains(r.text, text)
}

// A schedule is a meeting by chance.
type schedule struct {
	*meeting
	letters []letter
	counts  map[string]int
}

// A letter is an application message on its way.
type letter struct {
	to    member
	msg   []byte
	text  string
	epoch uint64
}

// TestTSMLSSchedule drives meetings of both sides through operations and roles
// by chance: rivals, proposals by value and reference, letters that are lost,
// late and out of order.
func TestTSMLSSchedule(t *testing.T) {
	p := startTSMLS(t)
	for _, id := range suitesOfTSMLS {
		t.Run(fmt.Sprintf("%#04x", uint16(id)), func(t *testing.T) {
			r := random(t)
			m := &schedule{counts: map[string]int{}}
			s := suiteOf(t, id)
			m.meeting = newMeeting(r, p, s, func(int) bool {
				// Each side keeps a member, whoever leaves.
				switch n := m.theirs(); {
				case n == 0 && len(m.in) > 0:
					return true
				case n == len(m.in) && n > 0:
					return false
				}
				return r.IntN(2) == 0
			})
			report(t, tsmlsName, fmt.Sprintf("%d random operations", scheduleLength), s, m.meeting)
			m.add(t, m.start(t), 2)
			for range scheduleLength {
				m.step(t)
			}
			t.Logf("%d members at the end, %d of them theirs; %v", len(m.in), m.theirs(), m.counts)
		})
	}
}

func (m *schedule) theirs() int {
	n := 0
	for _, c := range m.in {
		if c.theirs() {
			n++
		}
	}
	return n
}

func (m *schedule) pick() member { return m.in[m.r.IntN(len(m.in))] }

// leaver picks a member; ok says that it may go: it is not by, and its side has
// another.
func (m *schedule) leaver(by member) (c member, ok bool) {
	c = m.pick()
	n := m.theirs()
	if !c.theirs() {
		n = len(m.in) - n
	}
	return c, c != by && n > 1 && len(m.in) > 2
}

// step does one operation, compares all members and model, and posts letters.
func (m *schedule) step(t *testing.T) {
	t.Helper()
	switch k := m.r.IntN(10); {
	case k == 0 && len(m.in) < crowd:
		m.counts["external commit"]++
		m.externally(t, m.newcomer(t), false)
	case k == 1 && len(m.in) > 1:
		m.counts["resync"]++
		c := m.pick()
		m.letters = slices.DeleteFunc(m.letters, func(l letter) bool { return l.to == c }) // it forgets
		m.externally(t, c, true)
	case k == 2:
		m.rivals(t)
	default:
		m.change(t)
	}
	m.settled(t)
	m.write(t)
	m.post(t)
}

// externally lets a client in by an external commit, with what another member
// tells of the group.
func (m *schedule) externally(t *testing.T, c member, resync bool) {
	t.Helper()
	members := m.others(c)
	info, err := members[m.r.IntN(len(members))].info(t)
	if err != nil {
		t.Fatal(err)
	}
	msg, err := c.joinExternal(t, info, resync)
	if c.theirs() && says(err, unmergedDefect) {
		m.met++
		m.counts["external commit lost to the peer's defect"]++
		return
	}
	if err != nil {
		t.Fatalf("%s joins: %v", c.name(), err)
	}
	m.enterBy(t, c, msg)
}

// rivals lets two members commit, one of whom loses.
func (m *schedule) rivals(t *testing.T) {
	t.Helper()
	m.counts["rivals"]++
	lost, won := m.pick(), m.pick()
	if lost == won {
		m.commit(t, won)
		return
	}
	if _, _, err := lost.commit(t); err != nil {
		t.Fatal(err)
	}
	lost.discard(t)
	m.commit(t, won)
}

// change commits a list of proposals by chance, some sent before.
func (m *schedule) change(t *testing.T) {
	t.Helper()
	by := m.pick()
	touched := []member{by} // those about whom there is a proposal
	var list []proposal
	var joiners []member
	psk := false
	for range m.r.IntN(4) {
		p, what := proposal{}, ""
		from := m.pick()
		sent := m.r.IntN(2) == 0
		switch m.r.IntN(6) {
		case 0, 1:
			if len(m.in)+len(joiners) < crowd {
				c, adds := m.newcomers(t, 1)
				joiners = append(joiners, c[0])
				p, what = adds[0], "add"
			}
		case 2:
			if c, ok := m.leaver(by); ok && len(touched) == 1 {
				touched = append(touched, c)
				p, what = removal(t, c), "remove"
				if sent && m.r.IntN(2) == 0 {
					from = c // it leaves by itself
				}
			}
		case 3:
			if !slices.Contains(touched, from) {
				touched = append(touched, from)
				p, what, sent = proposal{update: true}, "update", true
			}
		case 4:
			if !psk {
				psk = true
				p, what = proposal{psk: true}, "psk"
			}
		case 5:
			if !by.theirs() && !slices.ContainsFunc(list, func(p proposal) bool { return p.extensions != nil }) {
				data := mls.AppData{Component: 0x8000, Data: []byte{byte(m.r.IntN(256))}}
				p, what = proposal{extensions: []mls.Extension{mls.AppDataDictionary([]mls.AppData{data})}}, "extensions"
				sent = false // a list may have one
			}
		}
		if what == "" {
			continue
		}
		m.counts[what]++
		if sent {
			m.counts["by reference"]++
			m.propose(t, from, p)
		} else {
			list = append(list, p)
		}
	}
	if len(joiners) == 0 && m.r.IntN(4) == 0 { // who joins has no secret of the past
		if epoch, ok := m.remembered(t); ok {
			m.counts["resumption"]++
			list = append(list, proposal{resumption: &epoch})
		}
	}
	m.excuse = func(c member, err error) bool {
		if len(touched) < 2 || c != touched[1] || !c.theirs() || !says(err, refilledDefect) {
			return false
		}
		m.met++
		m.counts["removal unnoticed by the peer's defect"]++
		return true
	}
	welcome := m.commit(t, by, list...)
	m.excuse = nil
	m.letters = slices.DeleteFunc(m.letters, func(l letter) bool { return !slices.Contains(m.in, l.to) })
	var lost []member
	for _, c := range joiners {
		if err := c.join(t, welcome); err == nil {
			m.enter(t, c)
		} else if c.theirs() && says(err, unmergedDefect) {
			lost = append(lost, c)
		} else {
			t.Fatalf("%s joins: %v", c.name(), err)
		}
	}
	for _, c := range lost { // they are in the group and know nothing of it
		m.met++
		m.counts["joiner lost to the peer's defect"]++
		leaf := m.leafNamed(t, c.name())
		m.commit(t, m.pick(), proposal{remove: &leaf})
	}
	m.compare(t)
}

// remembered picks an epoch, this or one of three before, in which all members
// were.
func (m *schedule) remembered(t *testing.T) (uint64, bool) {
	t.Helper()
	now := m.in[0].view(t).Epoch
	epoch := now - min(now, uint64(m.r.IntN(4)))
	for _, c := range m.in {
		if m.since[c.name()] > epoch {
			return 0, false
		}
	}
	return epoch, true
}

// write lets somebody say a few things to the others, a quarter of which are
// lost.
func (m *schedule) write(t *testing.T) {
	t.Helper()
	from := m.pick()
	epoch := from.view(t).Epoch
	for i := range m.r.IntN(3) {
		text := fmt.Sprintf("%s %d/%d", from.name(), epoch, i)
		msg, err := from.protect(t, []byte(text))
		if err != nil {
			t.Fatalf("%s: %v", from.name(), err)
		}
		for _, to := range m.others(from) {
			if m.r.IntN(4) > 0 {
				m.letters = append(m.letters, letter{to: to, msg: msg, text: text, epoch: epoch})
			}
		}
	}
}

// post delivers letters in no order. All that are late by at most two epochs
// open.
func (m *schedule) post(t *testing.T) {
	t.Helper()
	m.r.Shuffle(len(m.letters), func(i, j int) { m.letters[i], m.letters[j] = m.letters[j], m.letters[i] })
	now := m.in[0].view(t).Epoch
	var keep []letter
	for _, l := range m.letters {
		switch {
		case now-l.epoch < 2 && m.r.IntN(3) == 0:
			keep = append(keep, l)
		case now-l.epoch > 2: // two commits in one step
			m.counts["too late"]++
		default:
			m.open(t, l.to, l.msg, l.text)
		}
	}
	m.letters = keep
}
