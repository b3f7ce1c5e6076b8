// SPDX-License-Identifier: Apache-2.0

package eventlog_test

import (
	"errors"
	"slices"
	"testing"

	"incamera/secureboot/eventlog"
)

// TestMutations changes a true log in every way of each kind and has the replay
// refuse the result. A log after such a change still parses: that is the point.
func TestMutations(t *testing.T) {
	firmware, phases, want := boot(t)
	refused := map[string]int{}
	refuse := func(kind string, f, p []byte) {
		t.Helper()
		err := check(want, f, p)
		if !errors.Is(err, eventlog.ErrMismatch) && !errors.Is(err, eventlog.ErrMalformed) {
			t.Errorf("%s: %v; want a refusal", kind, err)
		}
		refused[kind]++
	}
	// each applies a change to one log or the other.
	each := func(kind string, change func(l *eventlog.Log) bool) {
		t.Helper()
		f, err := eventlog.Parse(firmware)
		if err != nil {
			t.Fatal(err)
		}
		if change(f) {
			refuse("firmware "+kind, f.Encode(), phases)
		}
		p, err := eventlog.Parse(phases)
		if err != nil {
			t.Fatal(err)
		}
		if change(p) {
			refuse("phases "+kind, firmware, p.Encode())
		}
	}
	extends := func(l *eventlog.Log, i int) bool {
		return i < len(l.Events) && l.Events[i].Type != eventlog.NoAction
	}
	const longest = 32 // more than either log has
	for i := range longest {
		each("cut before an event", func(l *eventlog.Log) bool {
			if !extends(l, i) {
				return false
			}
			l.Events = l.Events[:i]
			return true
		})
		each("without an event", func(l *eventlog.Log) bool {
			if !extends(l, i) {
				return false
			}
			l.Events = slices.Delete(l.Events, i, i+1)
			return true
		})
		each("with an event twice", func(l *eventlog.Log) bool {
			if !extends(l, i) {
				return false
			}
			l.Events = slices.Insert(l.Events, i, l.Events[i])
			return true
		})
		each("with an event hidden", func(l *eventlog.Log) bool {
			if !extends(l, i) {
				return false
			}
			l.Events[i].Type = eventlog.NoAction
			return true
		})
		each("with a remark made an event", func(l *eventlog.Log) bool {
			if i >= len(l.Events) || extends(l, i) {
				return false
			}
			l.Events[i].Type = eventlog.Action
			return true
		})
		each("with an event in another PCR", func(l *eventlog.Log) bool {
			if !extends(l, i) {
				return false
			}
			l.Events[i].PCR ^= 1
			return true
		})
		each("padded with a foreign event", func(l *eventlog.Log) bool {
			if i > len(l.Events) {
				return false
			}
			l.Measure(11, eventlog.IPL, []byte("ready"))
			foreign := l.Events[len(l.Events)-1]
			l.Events = slices.Insert(l.Events[:len(l.Events)-1], i, foreign)
			return true
		})
		for j := i + 1; j < longest; j++ {
			each("reordered", func(l *eventlog.Log) bool {
				if !extends(l, i) || !extends(l, j) || l.Events[i].PCR != l.Events[j].PCR || slices.Equal(l.Events[i].Digests[0].Sum, l.Events[j].Digests[0].Sum) {
					return false
				}
				l.Events[i], l.Events[j] = l.Events[j], l.Events[i]
				return true
			})
		}
		for bit := range 256 {
			each("with a bit of a digest flipped", func(l *eventlog.Log) bool {
				if !extends(l, i) {
					return false
				}
				sum := slices.Clone(l.Events[i].Digests[0].Sum)
				sum[bit/8] ^= 1 << (bit % 8)
				l.Events[i].Digests[0].Sum = sum
				return true
			})
		}
	}
	f, _, _ := boot(t)
	refuse("no phase log", f, eventlog.PhaseHeader())
	refuse("the phase log twice", f, append(slices.Clone(phases), phases[len(eventlog.PhaseHeader()):]...))
	for kind, n := range refused {
		t.Logf("%5d refused: %s", n, kind)
	}
	if len(refused) < 16 {
		t.Errorf("only %d kinds of change were tried", len(refused))
	}
}

// TestUnbound lists what a replay does not bind, so that nobody relies on it:
// remarks, types, data that is not what was hashed, and the order of events of
// different PCRs.
func TestUnbound(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(l *eventlog.Log)
	}{
		{"a remark more", func(l *eventlog.Log) { l.Measure(0, eventlog.NoAction, []byte("more")) }},
		{"another type", func(l *eventlog.Log) { l.Events[0].Type = eventlog.Action }},
		{"other data", func(l *eventlog.Log) { l.Events[0].Data = []byte("9.9") }},
		{"events of two PCRs in another order", func(l *eventlog.Log) { l.Events[0], l.Events[1] = l.Events[1], l.Events[0] }},
	} {
		firmware, phases, want := boot(t)
		l, err := eventlog.Parse(firmware)
		if err != nil {
			t.Fatal(err)
		}
		if !l.Events[0].Authentic() {
			t.Fatal("data that is what was hashed passes for other data")
		}
		c.change(l)
		if err := check(want, l.Encode(), phases); err != nil {
			t.Errorf("%s: %v; the comment of the package is wrong", c.name, err)
		}
		if c.name == "other data" && l.Events[0].Authentic() {
			t.Error("other data passes for what was hashed")
		}
	}
}
